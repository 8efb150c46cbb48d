"""What comes with a photo: at enrolment, and in a search."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from schemas.api.base import Request
from schemas.fields import MAX_LABELS, Label, Labels, Metadata, Name, ReferenceId, UserId
from schemas.messages import EnrolmentFields, SearchFields
from schemas.results import Location
from schemas.scoring import parse_threshold


class PhotoRequest(Request):
    """The base of what comes with a photo (`image`): as form fields, or as members of a JSON object.

    In a form everything is text. `form_lists` may be repeated fields, `name[]`, or one JSON array;
    `form_objects` are JSON.
    """

    form_lists: ClassVar[frozenset[str]] = frozenset()
    form_objects: ClassVar[frozenset[str]] = frozenset()


class EnrolRequest(PhotoRequest):
    """Whose face it is. What is left out stays as the user's record has it."""

    form_lists: ClassVar[frozenset[str]] = frozenset({"tags", "groups"})
    form_objects: ClassVar[frozenset[str]] = frozenset({"metadata"})

    user_id: UserId
    full_name: Name | None = None
    tags: Labels | None = None
    groups: Labels | None = None
    reference_id: ReferenceId | None = None
    metadata: Metadata | None = None

    def fields(self) -> EnrolmentFields:
        return EnrolmentFields(**self.model_dump())


def _threshold(value: object) -> float | None:
    return None if value is None else parse_threshold(value)


class SearchRequest(PhotoRequest):
    """Where to look, how sure to be, and where the photo was taken."""

    form_lists: ClassVar[frozenset[str]] = frozenset({"groups"})
    form_objects: ClassVar[frozenset[str]] = frozenset({"location"})

    threshold: Annotated[float | None, BeforeValidator(_threshold)] = None
    """Percent of confidence that a candidate must reach; stricter than the company's policy, or equal to
    it."""
    groups: Annotated[tuple[Label, ...], Field(min_length=1, max_length=MAX_LABELS)] | None = None
    """Only users of one of these groups are searched."""
    limit: int = Field(default=1, ge=1, le=50)
    location: Location | None = None

    def fields(self) -> SearchFields:
        return SearchFields(
            threshold_percent=self.threshold, groups=self.groups, limit=self.limit, location=self.location
        )
