"""API keys as a client sees them."""

from typing import Annotated, Final
from uuid import UUID

from pydantic import BeforeValidator, Field, WithJsonSchema

from schemas.access import KEY_SCOPES, Scope
from schemas.api.base import Answer, PageQuery, Request, examples
from schemas.fields import MAX_LABELS, Instant, Label, Moment, Name

OVERLAP_S: Final = 86_400
"""How long a rotated key's former secret works on, unless told."""

_MAX_OVERLAP_S: Final = 30 * 86_400


def _of_a_key(scope: object) -> object:
    if scope not in sorted(KEY_SCOPES):
        raise ValueError(f"must be one of {', '.join(sorted(KEY_SCOPES))}")
    return scope


KeyScope = Annotated[
    Scope,
    BeforeValidator(_of_a_key),
    WithJsonSchema({"type": "string", "enum": sorted(KEY_SCOPES)}, mode="validation"),
]
"""A scope that a key may be given: there are others, which only members have."""


class ApiKeysQuery(PageQuery):
    """All API keys of the company."""

    model_config = examples({"limit": 20})


class ApiKeyRequest(Request):
    """What the key is called and what it may do."""

    model_config = examples(
        {
            "name": "Front door",
            "scopes": ["search"],
            "groups": ["head-office"],
            "expires_at": "2099-01-01T00:00:00Z",
        }
    )

    name: Name
    """For people, to tell keys apart."""
    scopes: Annotated[frozenset[KeyScope], Field(min_length=1)]
    """What the key may do."""
    groups: Annotated[tuple[Label, ...], Field(min_length=1, max_length=MAX_LABELS)] | None = None
    """The only groups of users that the key sees, changes, searches and enrols into; without them, all."""
    expires_at: Moment | None = None
    """When the key stops working; without it, never."""


class RotateRequest(Request):
    """How the old secret goes."""

    model_config = examples({"overlap_s": 3600})

    overlap_s: int = Field(default=OVERLAP_S, ge=0, le=_MAX_OVERLAP_S)
    """For how many seconds the secret that is replaced works on; 0 ends it at once, after a leak."""


class ApiKeyAnswer(Answer):
    """An API key, without its secret."""

    key_id: UUID
    name: str
    scopes: list[Scope]
    groups: list[str] | None
    """The only groups of users that the key has to do with; null: all."""
    last_four: str
    """The last characters of the key, to tell keys apart; they are part of its checksum."""
    created_at: Instant
    created_by: str
    """The credential that made the key."""
    rotated_at: Instant | None
    previous_works_until: Instant | None
    """Until when the secret from before the last rotation works; null when it does not (any more)."""
    expires_at: Instant | None
    """When the key stops working; null: never."""


class ApiKeyPage(Answer):
    """API keys, newest first."""

    items: list[ApiKeyAnswer]
    next_cursor: str | None


class ApiKeySecretAnswer(ApiKeyAnswer):
    """An API key with its secret, which is shown here and never again."""

    api_key: str
    """What to send as `X-API-Key`."""
