"""The master key: 32 random bytes in a file, which wrap every company's key and yield the platform's own."""

from pathlib import Path
from typing import Self
from uuid import UUID

from infra.clock import Entropy, system_entropy
from infra.crypto.cipher import KEY_BYTES, open_, seal
from infra.crypto.derive import derive
from infra.crypto.framing import frame
from infra.durable_files import make_private_folders
from infra.keys.errors import MasterKeyExists, MasterKeyMalformed, MasterKeyMissing
from infra.keys.private_files import read_private, write_new

_FINGERPRINT_BYTES = 8


class MasterKey:
    """The root of all keys. Never used itself: only what is derived from it is.

    `fingerprint` tells master keys apart and isn't secret: 16 hexadecimal digits derived like any sub-key, so
    they say nothing about the others. The key store records it, which is how a wrong key is noticed at start.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self._wrapping_key = derive(key, "wrap company keys")
        self.fingerprint = derive(key, "fingerprint")[:_FINGERPRINT_BYTES].hex()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key. Raises MasterKeyMissing, UnsafePermissions or MasterKeyMalformed, and never goes on
        without."""
        try:
            key = read_private(path)
        except FileNotFoundError:
            raise MasterKeyMissing(path) from None
        if len(key) != KEY_BYTES:
            raise MasterKeyMalformed(path, len(key))
        return cls(key)

    @classmethod
    def create(cls, path: Path, entropy: Entropy = system_entropy) -> Self:
        """Make the key and its file (0600), on disk when this returns. Raises MasterKeyExists."""
        key = entropy(KEY_BYTES)
        make_private_folders(path.parent)
        try:
            write_new(path, key)
        except FileExistsError:
            raise MasterKeyExists(path) from None
        return cls(key)

    def derive(self, purpose: str) -> bytes:
        """The platform's sub-key for one purpose."""
        return derive(self._key, f"platform {purpose}")

    def wrap(self, company_id: UUID, company_key: bytes, entropy: Entropy = system_entropy) -> bytes:
        """Seal a company's key, bound to the company."""
        return seal(self._wrapping_key, company_key, _binding(company_id), entropy)

    def unwrap(self, company_id: UUID, wrapped: bytes) -> bytes:
        """Open what `wrap` made for this company. Raises Unsealable."""
        return open_(self._wrapping_key, wrapped, _binding(company_id))

    def __repr__(self) -> str:
        return f"MasterKey({self.fingerprint})"


def _binding(company_id: UUID) -> bytes:
    return frame("company key", company_id)
