"""What comes with a photo: at enrolment, and in a search."""

from collections.abc import Collection
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from schemas.api.base import Request, examples
from schemas.api.people import GivenConsent
from schemas.fields import MAX_LABELS, Label, Labels, Metadata, Moment, Name, ReferenceId, UserId
from schemas.messages import EnrolmentFields, SearchFields, VerifyFields
from schemas.recognition import FaceChoice
from schemas.records import Consent
from schemas.results import Location
from schemas.scoring import parse_threshold


class PhotoRequest(Request):
    """The base of what comes with a photo (`image`): as form fields, or as members of a JSON object.

    In a form everything is text. `form_lists` may be repeated fields, `name[]`, or one JSON array;
    `form_objects` are JSON.
    """

    form_lists: ClassVar[frozenset[str]] = frozenset()
    form_objects: ClassVar[frozenset[str]] = frozenset()
    second_photo: ClassVar[str | None] = None
    """The name of a second photo, if there may be one."""


class EnrolRequest(PhotoRequest):
    """Whose face it is. What is left out stays as the user's record has it. `reference_image`, where it is
    sent, is the photo of a document: the two must be of one person."""

    form_lists: ClassVar[frozenset[str]] = frozenset({"tags", "groups"})
    form_objects: ClassVar[frozenset[str]] = frozenset({"metadata", "consent"})
    second_photo: ClassVar[str | None] = "reference_image"

    model_config = examples(
        {
            "user_id": "u-1",
            "full_name": "Ada Lovelace",
            "tags": ["engineering", "visitor"],
            "groups": ["head-office"],
            "reference_id": "P-1042",
            "metadata": {"floor": 3},
        },
        {"user_id": "u-2"},
    )

    user_id: UserId
    """Your own name for the person."""
    full_name: Name | None = None
    tags: Labels | None = None
    """Words of yours to list people by."""
    groups: Labels | None = None
    """What searches can be narrowed to, and API keys bound to."""
    reference_id: ReferenceId | None = None
    """Another id of the person, such as a badge number."""
    metadata: Metadata | None = None
    """Whatever else you keep of the person, 4096 bytes of JSON at most."""
    valid_until: Moment | None = None
    """From this moment on nobody is matched with the user; a date is its first moment, in UTC."""
    consent: GivenConsent | None = None
    """That the person has agreed."""

    def fields(
        self, *, consent: Consent | None = None, within_groups: tuple[str, ...] | None = None
    ) -> EnrolmentFields:
        """What travels, with the consent as it is recorded."""
        given = self.model_dump(exclude={"consent"})
        return EnrolmentFields(**given, consent=consent, within_groups=within_groups)


_THRESHOLD_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
        {"type": "string", "pattern": r"^\s*(\d{1,3}(\.\d+)?|\.\d+)\s*%?\s*$"},
        {"type": "null"},
    ]
}
"""A threshold as it may be written: 85, "85%" or 0.85."""


def _threshold(value: object) -> float | None:
    return None if value is None else parse_threshold(value)


Threshold = Annotated[float | None, BeforeValidator(_threshold), WithJsonSchema(_THRESHOLD_SCHEMA)]


class SearchRequest(PhotoRequest):
    """Where to look, how sure to be, and where the photo was taken."""

    form_lists: ClassVar[frozenset[str]] = frozenset({"groups"})
    form_objects: ClassVar[frozenset[str]] = frozenset({"location"})

    model_config = examples(
        {
            "threshold": "90%",
            "groups": ["head-office"],
            "limit": 3,
            "location": {"device_id": "door-1", "site": "Main entrance"},
        },
        {},
    )

    threshold: Threshold = None
    """Percent of confidence that a candidate must reach; stricter than the company's policy, or equal to
    it, unless the credential may investigate."""
    groups: Annotated[tuple[Label, ...], Field(min_length=1, max_length=MAX_LABELS)] | None = None
    """Only users of one of these groups are searched."""
    limit: int = Field(default=1, ge=1, le=50)
    """How many candidates are shown at most, one a user."""
    location: Location | None = None
    """Where the photo was taken, for the access log."""
    face: FaceChoice = "largest"
    """Which faces are searched for: the most prominent one, or `all` of them."""
    investigate: bool = False
    """Show candidates below the threshold, too. Takes the scope `search:investigate`."""

    def fields(self, *, groups: Collection[str] | None, may_loosen: bool) -> SearchFields:
        """As a job carries them: `groups` and `may_loosen` are what the credential makes of the request."""
        return SearchFields(
            threshold_percent=self.threshold,
            groups=None if groups is None else tuple(sorted(groups)),
            limit=self.limit,
            location=self.location,
            face=self.face,
            may_loosen=may_loosen,
            investigate=self.investigate,
        )


class VerifyRequest(PhotoRequest):
    """Whom the photo is said to be of: a user, or whoever is on the second photo, `other_image`."""

    form_objects: ClassVar[frozenset[str]] = frozenset({"location"})
    second_photo: ClassVar[str | None] = "other_image"

    model_config = examples(
        {"user_id": "u-1", "threshold": 85, "location": {"device_id": "door-1"}}, {"other_image": "a photo"}
    )

    user_id: UserId | None = None
    """Whom the photo is compared with; or send `other_image`."""
    threshold: Threshold = None
    """As in a search."""
    location: Location | None = None
    """Where the photo was taken, for the access log."""

    def fields(self, *, groups: Collection[str] | None, may_loosen: bool) -> VerifyFields:
        """As a job carries them."""
        return VerifyFields(
            threshold_percent=self.threshold,
            groups=None if groups is None else tuple(sorted(groups)),
            location=self.location,
            may_loosen=may_loosen,
        )


class DetectRequest(PhotoRequest):
    """Nothing but the photo."""

    model_config = examples({})
