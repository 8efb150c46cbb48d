"""JSON merge patches (RFC 7396): a client sends what it wants changed, and null for what shall be as it is by
itself."""

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from pydantic import BaseModel

from ingress.bodies import BODY_CODES, Input, JsonBody, json_body
from ingress.calls import Call
from ingress.describing import BodyContent, InputDescription
from ingress.validation import validated, validated_json

M = TypeVar("M", bound=BaseModel)

CONTENT_TYPES: Final = ("application/merge-patch+json", "application/json")


@dataclass(frozen=True)
class Patch(Generic[M]):
    """What is to change of a model."""

    model: type[M]
    given: dict[str, Any]

    def applied_to(self, current: M) -> M:
        """The model with the patch merged in. The whole that it becomes is checked, strictly: raises
        `ProblemError("invalid_request")` with one entry a field."""
        return validated_json(self.model, merged(current.model_dump(mode="json"), self.given))


class MergePatch(Input[Patch[M]]):
    """A merge patch of a model."""

    def __init__(self, model: type[M]) -> None:
        self.model = model

    async def read(self, call: Call) -> Patch[M]:
        return Patch(self.model, await json_body(call.request, CONTENT_TYPES))

    def describe(self) -> InputDescription:
        return _described(self.model)


class FieldsPatch(JsonBody[M]):
    """A merge patch of what changes field by field: what is given is in `model_fields_set`, and None
    clears."""

    async def read(self, call: Call) -> M:
        return validated(self.model, await json_body(call.request, CONTENT_TYPES))

    def describe(self) -> InputDescription:
        return _described(self.model)


def _described(model: type[BaseModel]) -> InputDescription:
    bodies = tuple(BodyContent(content_type, model, is_patch=True) for content_type in CONTENT_TYPES)
    return InputDescription(bodies=bodies, codes=(*BODY_CODES, "invalid_request"))


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396 §2, to the letter."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = dict(cast(dict[str, Any], target)) if isinstance(target, dict) else {}
    for name, value in cast(dict[str, Any], patch).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
