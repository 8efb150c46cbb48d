"""Opaque tokens: refresh tokens (`frt_…`), API keys (`fid_…`) and set-password tokens (`spt_…`), kept only as
hashes.

A token is `prefix | company id (22) | record id (22) | secret (43) | checksum (6)`, all but the prefix in
base 62, so that a double click selects it whole. The ids find the record, among its company's, without the
secret's being searched for; the secret is 256 random bits; the checksum (CRC-32, as GitHub's tokens carry)
tells a typing error from a token that was revoked, and lets scanners for leaked secrets be sure. It
protects nothing.

What is stored is HMAC-SHA256 of the token. Against guessing, a plain hash of 256 random bits would do; the
key keeps somebody who can write to the database, but hasn't the master key, from planting a token of their
own.
"""

import hmac
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from infra.clock import Entropy, system_entropy
from infra.crypto.derive import keyed_hash

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_ID_CHARS = 22
_SECRET_BYTES = 32
_SECRET_CHARS = 43
_CHECKSUM_CHARS = 6


class TokenKind(StrEnum):
    """What a token is for, and how it begins."""

    REFRESH = "frt_"
    API_KEY = "fid_"
    SET_PASSWORD = "spt_"  # noqa: S105 - how such a token begins, no secret


class TokenMalformed(Exception):
    """This was never a token: mistyped, cut off, or of another kind."""

    code: ClassVar[str] = "token_malformed"

    def __init__(self) -> None:
        super().__init__("The token is incomplete or mistyped.")


@dataclass(frozen=True)
class NewToken:
    """A token to show once, and the digest to store."""

    text: str = field(repr=False)
    digest: bytes = field(repr=False)


@dataclass(frozen=True)
class PresentedToken:
    """What a client sent: which record of which company it claims, and the digest to compare with that
    record's."""

    company_id: UUID
    record_id: UUID
    digest: bytes = field(repr=False)

    def matches(self, stored_digest: bytes) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.digest, stored_digest)


class OpaqueTokens:
    """Makes and reads the tokens of one kind. `key` is the platform's for that kind
    (`infra.keys.platform`)."""

    def __init__(self, kind: TokenKind, key: bytes, entropy: Entropy = system_entropy) -> None:
        self._kind = kind
        self._key = key
        self._entropy = entropy

    def generate(self, company_id: UUID, record_id: UUID) -> NewToken:
        """A new token for the record that will hold its digest: a session, or an API key's record."""
        ids = _encode(company_id.bytes, _ID_CHARS) + _encode(record_id.bytes, _ID_CHARS)
        text = self._kind + ids + _encode(self._entropy(_SECRET_BYTES), _SECRET_CHARS)
        return NewToken(text + _checksum(text), self._digest(text))

    def parse(self, token: str) -> PresentedToken:
        """Read what a client sent, without looking anything up. Raises TokenMalformed."""
        text, checksum = token[:-_CHECKSUM_CHARS], token[-_CHECKSUM_CHARS:]
        body = text.removeprefix(self._kind)
        if (
            len(text) != len(self._kind) + 2 * _ID_CHARS + _SECRET_CHARS
            or not text.startswith(self._kind)
            or not all(digit in _VALUES for digit in body)
            or checksum != _checksum(text)
        ):
            raise TokenMalformed
        company, record = _decode(body[:_ID_CHARS]), _decode(body[_ID_CHARS : 2 * _ID_CHARS])
        if company >> 128 or record >> 128:
            raise TokenMalformed
        return PresentedToken(UUID(int=company), UUID(int=record), self._digest(text))

    def _digest(self, text: str) -> bytes:
        return keyed_hash(self._key, text.encode("ascii"))


def _encode(octets: bytes, width: int) -> str:
    value = int.from_bytes(octets, "big")
    digits: list[str] = []
    for _ in range(width):
        value, digit = divmod(value, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _decode(text: str) -> int:
    value = 0
    for digit in text:
        value = value * len(_DIGITS) + _VALUES[digit]
    return value


def _checksum(text: str) -> str:
    return _encode(zlib.crc32(text.encode("ascii")).to_bytes(4, "big"), _CHECKSUM_CHARS)
