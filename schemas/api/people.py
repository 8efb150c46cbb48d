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
    """Only faces of this user."""
    reference_id: ReferenceId | None = None
    """Only of users with this reference id."""
    group: Label | None = None
    """Only faces of users of this group."""
    tag: Label | None = None
    """Only faces of users with this tag."""


class ImageQuery(Request):
    """Which of a face's photos: the one that it was enrolled with, or the `reference` that this was compared
    with."""

    model_config = examples({"kind": "face"})

    kind: Literal["face", "reference"] = "face"
    """The photo that was enrolled, or its `reference`."""


class FaceAnswer(Answer):
    """An enrolled face and whose it is; never the template."""

    face_id: UUID
    user_id: str
    full_name: str | None
    groups: list[str]
    tags: list[str]
    quality: Quality | None
    """As it was measured at enrolment."""
    box: Box | None
    """Where the face is in the photo that was enrolled."""
    model: ModelStamp
    created_at: Instant
    enrolled_by: str | None
    """The credential that enrolled it."""
    has_photo: bool
    """Whether the photo was kept."""
    has_reference_photo: bool
    """Whether the photo of a document was kept."""


class FacePage(Answer):
    """Faces, newest first."""

    items: list[FaceAnswer]
    next_cursor: str | None


class GivenConsent(Request):
    """That a person has agreed to being recognised: to which version of your text, and when (now, if left
    out). Who wrote it down is known from the credential."""

    text_version: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(readable)]
    """Which version of your text the person agreed to."""
    given_at: Moment | None = None
    """When; now, if left out."""


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
    """Only users with this reference id."""
    full_name: Name | None = None
    """The whole name, in any letter case."""
    group: Label | None = None
    """Only users of this group."""
    tag: Label | None = None
    """Only users with this tag."""


class UserPatch(Request):
    """What is to change of a person. `metadata` is merged member by member; lists and `consent` are replaced
    whole."""

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
    """Replaced whole."""
    groups: Labels | None = None
    """Replaced whole; searches go by them once this is answered."""
    reference_id: ReferenceId | None = None
    metadata: dict[str, JsonValue] | None = None
    """Merged member by member; null takes one away."""
    valid_until: Moment | None = None
    """From this moment on nobody is matched with the user; a date is its first moment, in UTC."""
    consent: GivenConsent | None = None
    """Null takes it back."""


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
