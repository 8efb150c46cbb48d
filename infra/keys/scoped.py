"""A key that seals and finds the data of one scope: a company, or the platform."""

from uuid import UUID

from infra.clock import Entropy, system_entropy
from infra.crypto.cipher import Octets, open_, seal
from infra.crypto.derive import derive, exact_text, expand, folded_text, lookup_hash
from infra.crypto.framing import frame


class ScopedKey:
    """Seals fields and makes the keyed hashes under which they are found.

    What is sealed is bound to its scope, its purpose (`user.full_name`, say) and its record, by the key
    (one is derived for each purpose and record) and by the associated data: copied into another record,
    field or company, it doesn't open. Hold one for as long as an operation takes and not longer, since keys
    are meant to expire.
    """

    def __init__(self, scope_id: UUID, key: bytes, entropy: Entropy = system_entropy) -> None:
        self.scope_id = scope_id
        self._key = key
        self._entropy = entropy
        self._purpose_keys: dict[str, bytes] = {}

    def seal_text(self, purpose: str, record_id: str | UUID, text: str) -> bytes:
        return self.seal_bytes(purpose, record_id, text.encode("utf-8", "surrogatepass"))

    def open_text(self, purpose: str, record_id: str | UUID, sealed: Octets) -> str:
        """Raises Unsealable unless sealed by `seal_text` for the same purpose and record."""
        return self.open_bytes(purpose, record_id, sealed).decode("utf-8", "surrogatepass")

    def seal_bytes(self, purpose: str, record_id: str | UUID, plaintext: Octets) -> bytes:
        key, aad = self._seal_key(purpose, record_id)
        return seal(key, plaintext, aad, self._entropy)

    def open_bytes(self, purpose: str, record_id: str | UUID, sealed: Octets) -> bytes:
        """Raises Unsealable unless sealed by `seal_bytes` for the same purpose and record."""
        key, aad = self._seal_key(purpose, record_id)
        return open_(key, sealed, aad)

    def lookup(self, purpose: str, value: str) -> str:
        """The hash (32 hexadecimal digits) under which exactly this text is found; case matters."""
        return lookup_hash(self._purpose_key(f"exact {purpose}"), exact_text(value)).hex()

    def lookup_folded(self, purpose: str, value: str) -> str:
        """The hash (32 hexadecimal digits) under which this text is found in whatever case it is written."""
        return lookup_hash(self._purpose_key(f"folded {purpose}"), folded_text(value)).hex()

    def _seal_key(self, purpose: str, record_id: str | UUID) -> tuple[bytes, bytes]:
        return expand(self._purpose_key(f"seal {purpose}"), record_id), frame(
            self.scope_id, purpose, record_id
        )

    def _purpose_key(self, purpose: str) -> bytes:
        key = self._purpose_keys.get(purpose)
        if key is None:
            key = self._purpose_keys[purpose] = derive(self._key, purpose)
        return key

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.scope_id})"
