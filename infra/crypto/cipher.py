"""Authenticated encryption: AES-256-GCM with a random nonce.

A sealed value is `version (1 byte) | nonce (12 bytes) | ciphertext | tag (16 bytes)`. The version is bound
into the associated data, so a later format can't be passed off as this one.

How often one key may seal: with random 96-bit nonces, NIST SP 800-38D section 8.3 allows at most 2^32
messages a key, which keeps the chance that a nonce repeats below 2^-32; a repeat would reveal the XOR of
two plaintexts and let somebody forge. Nothing here counts to 2^32, because no key comes near it: each job
has a key of its own, which seals a handful of messages, and what a company stores is sealed with a key
derived for one purpose and one record (`infra.keys.scoped`), so that only rewriting a single field of a
single record four billion times would reach the limit. One message may hold up to 64 GiB (section 5.2.1.1);
ours are photos at most.
"""

from typing import ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.clock import Entropy, system_entropy

KEY_BYTES = 32
OVERHEAD_BYTES = 1 + 12 + 16
"""How much longer a sealed value is than what it holds."""

_VERSION = b"\x01"
_NONCE_BYTES = 12
_HEAD_BYTES = len(_VERSION) + _NONCE_BYTES

Octets = bytes | bytearray | memoryview


class Unsealable(Exception):
    """Sealed under another key, for another place, or altered. Which of these is told to nobody."""

    code: ClassVar[str] = "unsealable"

    def __init__(self) -> None:
        super().__init__("A sealed value can't be opened with this key in this place.")


def seal(key: bytes, plaintext: Octets, aad: bytes, entropy: Entropy = system_entropy) -> bytes:
    """Encrypt, and bind to `aad`, which is not stored: the opener has to know it.

    Raises ValueError if the key isn't 32 bytes.
    """
    nonce = entropy(_NONCE_BYTES)
    return b"".join((_VERSION, nonce, _cipher(key).encrypt(nonce, plaintext, _VERSION + aad)))


def open_(key: bytes, sealed: Octets, aad: bytes) -> bytes:
    """The plaintext of what `seal` made with the same key and `aad`.

    Raises `Unsealable` if any bit of the three differs, ValueError if the key isn't 32 bytes.
    """
    cipher = _cipher(key)
    view = memoryview(sealed)
    if len(view) < OVERHEAD_BYTES or bytes(view[:1]) != _VERSION:
        raise Unsealable
    try:
        return cipher.decrypt(view[1:_HEAD_BYTES], view[_HEAD_BYTES:], _VERSION + aad)
    except InvalidTag:
        raise Unsealable from None


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return AESGCM(key)
