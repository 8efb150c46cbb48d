"""Faces and people as a client sees them."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, JsonValue

from schemas.api.base import Answer, PageQuery, Request, examples
from schemas.fields import Instant, Label, Labels, Moment, Name, ReferenceId, UserId, readable
from schemas.recognition import Box, ModelStamp, Quality


class FaceQuery(PageQuery):
    """Which faces: of users who are all that is given. A page may be shorter than `limit` and yet have a
    `next_cursor`."""

    model_config = examples(
        {"user_id": "u-1", "group": "head-office", "tag": "visitor"}, {"reference_id": "P-1042"}
    )

    user_id: UserId | None = None
    reference_id: ReferenceId | None = None
    group: Label | None = None
    tag: Label | None = None


class ImageQuery(Request):
    """Which of a face's photos: the one that it was enrolled with, or the `reference` that this was compared
    with."""

    model_config = examples({"kind": "face"})

    kind: Literal["face", "reference"] = "face"


class FaceAnswer(Answer):
    """An enrolled face and whose it is; never the template."""

    face_id: UUID
    user_id: str
    full_name: str | None
    groups: list[str]
    tags: list[str]
    quality: Quality | None
    box: Box | None
    model: ModelStamp
    created_at: Instant
    enrolled_by: str | None
    has_photo: bool
    has_reference_photo: bool


class FacePage(Answer):
    """Faces, newest first."""

    items: list[FaceAnswer]
    next_cursor: str | None


class GivenConsent(Request):
    """That a person has agreed to being recognised: to which version of your text, and when (now, if left
    out). Who wrote it down is known from the credential."""

    text_version: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(readable)]
    given_at: Moment | None = None


class ConsentAnswer(Answer):
    """A person's consent as it was recorded."""

    text_version: str
    given_at: Instant
    recorded_by: str
    """The credential that recorded it."""


class UserQuery(PageQuery):
    """Which users: those who are all that is given. `full_name` is the whole name in any letter case. A page
    may be shorter than `limit` and yet have a `next_cursor`."""

    model_config = examples(
        {"full_name": "Ada Lovelace", "group": "head-office"}, {"tag": "visitor", "limit": 20}
    )

    reference_id: ReferenceId | None = None
    full_name: Name | None = None
    group: Label | None = None
    tag: Label | None = None


class UserPatch(Request):
    """A JSON merge patch (RFC 7396): what is left out stays, null clears. `metadata` is merged member by
    member; lists and `consent` are replaced whole."""

    model_config = examples(
        {
            "full_name": "Ada King",
            "groups": ["head-office", "floor-3"],
            "metadata": {"floor": None, "desk": 7},
        },
        {
            "valid_until": "2036-12-31",
            "consent": {"text_version": "2026-01", "given_at": "2026-03-01T09:30:00Z"},
        },
        {"reference_id": None},
    )

    full_name: Name | None = None
    tags: Labels | None = None
    groups: Labels | None = None
    reference_id: ReferenceId | None = None
    metadata: dict[str, JsonValue] | None = None
    valid_until: Moment | None = None
    """From this moment on nobody is matched with the user; a date is its first moment, in UTC."""
    consent: GivenConsent | None = None


class UserAnswer(Answer):
    """A person who is enrolled."""

    user_id: str
    full_name: str | None
    tags: list[str]
    groups: list[str]
    reference_id: str | None
    metadata: dict[str, JsonValue]
    consent: ConsentAnswer | None
    valid_until: Instant | None
    expired: bool
    """`valid_until` is past: no search matches the user."""
    faces: int
    """How many faces of theirs are enrolled."""
    created_at: Instant
    updated_at: Instant


class UserPage(Answer):
    """Users, newest first."""

    items: list[UserAnswer]
    next_cursor: str | None
