"""Keys from keys, and keyed hashes by which sealed values are found again."""

import hmac
import unicodedata

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from infra.crypto.cipher import KEY_BYTES
from infra.crypto.framing import Part, frame

LOOKUP_BYTES = 16
"""Length of a look-up hash: HMAC-SHA256 cut to its first half.

RFC 2104 section 5 allows cutting to half the hash. Two of a billion values agree by chance with probability
1.5e-21 (n^2 / 2^129), and nobody without the key can look for such a pair offline, so the other half would
only double the size of every index; 16 bytes also fit a UUID column. Secrets are compared at full length
(`infra.crypto.opaque`).
"""

_SUITE = "faceid/1"


def derive(key: bytes, purpose: str) -> bytes:
    """The sub-key of a key for one purpose: HKDF-SHA256 (RFC 5869), the purpose as its info, 32 bytes.

    Sub-keys say nothing about each other or about the key, so a value sealed or hashed for one purpose
    can't be used for another.
    """
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=frame(_SUITE, "purpose", purpose)).derive(key)


def expand(key: bytes, *context: Part) -> bytes:
    """The sub-key of a derived key for one record: HKDF-Expand alone, 32 bytes.

    A key that came out of `derive` is uniformly random already, for which RFC 5869 section 3.3 lets the
    extract step be left out; that makes a key a record cheap enough (2 µs) to derive at each use.
    """
    return HKDFExpand(SHA256(), KEY_BYTES, info=frame(_SUITE, "context", *context)).derive(key)


def keyed_hash(key: bytes, value: bytes) -> bytes:
    """HMAC-SHA256 in full, 32 bytes."""
    return hmac.digest(key, value, "sha256")


def lookup_hash(key: bytes, value: bytes) -> bytes:
    """The keyed hash under which a sealed value is stored and found, `LOOKUP_BYTES` long."""
    return keyed_hash(key, value)[:LOOKUP_BYTES]


def exact_text(text: str) -> bytes:
    """Text as it is told apart: letter by letter, in Unicode's normal form C.

    One letter may be written as one code point or as two; a reader can't tell, and a search from another
    operating system has to find it.
    """
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")


def folded_text(text: str) -> bytes:
    """Text without regard to case: a canonical caseless match (Unicode 3.13, D145), in normal form C."""
    return exact_text(unicodedata.normalize("NFD", text).casefold())
