"""Access tokens: short-lived signed JWTs that say who is asking.

Signed with HS256 (HMAC-SHA256) under a key derived from the master key, and accepted under no other
algorithm. EdDSA would let somebody verify who can't issue; here every ingress does both and all hold the
master key, so a key pair would protect nothing, and a MAC is smaller and cheaper. `kid` is the signing
key's fingerprint and `typ` is `at+jwt` (RFC 9068), so a token of another key or kind is refused before its
signature.

The role isn't in the token: it is read from the member's record, so that a demotion counts at once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.clock import Clock, Entropy, system_entropy
from infra.crypto.derive import derive

_ALGORITHM = "HS256"
_TYPE = "at+jwt"
_MAX_TOKEN_CHARS = 2048
_MESSAGES = {
    "invalid_token": "The access token isn't valid.",
    "token_expired": "The access token has expired.",
}


class TokenInvalid(Exception):
    """The token is refused. `code` says whether a newer one would do (`token_expired`) or not."""

    def __init__(self, code: Literal["invalid_token", "token_expired"]) -> None:
        super().__init__(_MESSAGES[code])
        self.code = code


class _Payload(BaseModel):
    """The registered claims (RFC 7519) and ours, as they stand in the token. Times are Unix seconds."""

    model_config = ConfigDict(frozen=True)

    iss: str
    aud: str
    sub: UUID
    cid: UUID
    sid: UUID
    jti: str = Field(min_length=1, max_length=64)
    iat: int = Field(strict=True)
    # Bounded so that it is a date: year 9999.
    exp: int = Field(strict=True, ge=0, le=253_402_300_799)


@dataclass(frozen=True)
class AccessClaims:
    """Who is asking: a member of a company, in the session that one log-in began."""

    member_id: UUID
    company_id: UUID
    session_id: UUID
    token_id: str
    expires_at: datetime


@dataclass(frozen=True)
class AccessTokenPolicy:
    """Who issues tokens, for whom, for how long, and how far two machines' clocks may be apart."""

    issuer: str = "faceid"
    audience: str = "faceid-api"
    lifetime_s: int = 900
    leeway_s: int = 30


class AccessTokens:
    """Issues and verifies access tokens. `key` is `PlatformKey.access_token_key`."""

    def __init__(
        self,
        key: bytes,
        clock: Clock,
        policy: AccessTokenPolicy | None = None,
        entropy: Entropy = system_entropy,
    ) -> None:
        self._key = key
        self._clock = clock
        self._entropy = entropy
        self.policy = policy or AccessTokenPolicy()
        self._key_id = derive(key, "key id")[:8].hex()

    def issue(self, *, member_id: UUID, company_id: UUID, session_id: UUID) -> str:
        """A token that is valid from now for `policy.lifetime_s`."""
        issued_at = self._clock.now()
        payload = _Payload(
            iss=self.policy.issuer,
            aud=self.policy.audience,
            sub=member_id,
            cid=company_id,
            sid=session_id,
            jti=self._entropy(16).hex(),
            iat=int(issued_at.timestamp()),
            exp=int((issued_at + timedelta(seconds=self.policy.lifetime_s)).timestamp()),
        )
        headers = {"kid": self._key_id, "typ": _TYPE}
        return jwt.encode(payload.model_dump(mode="json"), self._key, algorithm=_ALGORITHM, headers=headers)

    def verify(self, token: str) -> AccessClaims:
        """What a token says, once its signature, purpose and time are found right. Raises TokenInvalid."""
        payload = self._authentic(token)
        now_s = self._clock.now().timestamp()
        if payload.iat > now_s + self.policy.leeway_s:
            raise TokenInvalid("invalid_token")
        if payload.exp <= now_s - self.policy.leeway_s:
            raise TokenInvalid("token_expired")
        return AccessClaims(
            member_id=payload.sub,
            company_id=payload.cid,
            session_id=payload.sid,
            token_id=payload.jti,
            expires_at=datetime.fromtimestamp(payload.exp, UTC),
        )

    def _authentic(self, token: str) -> _Payload:
        if len(token) > _MAX_TOKEN_CHARS or not token.isascii():
            raise TokenInvalid("invalid_token")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("kid") != self._key_id or header.get("typ") != _TYPE:
                raise TokenInvalid("invalid_token")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                issuer=self.policy.issuer,
                audience=self.policy.audience,
                # Times are compared by `verify` with the injected clock; the library would ask the machine's.
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            return _Payload.model_validate(claims)
        except (jwt.InvalidTokenError, ValidationError):
            raise TokenInvalid("invalid_token") from None
