"""What is wrong with a request, field by field, in our own words: no library's text leaves, and no value."""

from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from schemas.problems import FieldError, ProblemError

M = TypeVar("M", bound=BaseModel)

_MAX_ERRORS: Final = 20
_MAX_PATH_CHARS: Final = 128

# By pydantic's error types; `{…}` are filled from the limits of the model, never from the input.
_MESSAGES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "string_type": "must be text",
    "string_too_short": "is too short: at least {min_length}",
    "string_too_long": "is too long: at most {max_length}",
    "too_short": "is too short: at least {min_length}",
    "too_long": "is too long: at most {max_length}",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "literal_error": "must be one of {expected}",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "tuple_type": "must be a list",
    "enum": "must be one of {expected}",
    "uuid_parsing": "must be a UUID",
    "frozen_set_type": "must be a list",
    "value_error": "{error}",
}


def validated(model: type[M], given: object) -> M:
    """The request as its model. Raises `ProblemError("invalid_request")` with one entry a field."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _invalid(error) from None


def validated_json(model: type[M], given: object) -> M:
    """As `validated`, and strictly: a value that JSON has a type for must be of it, `"85"` is no number."""
    try:
        return model.model_validate_json(to_json(given), strict=True)
    except ValidationError as error:
        raise _invalid(error) from None


def invalid_fields(errors: list[FieldError]) -> ProblemError:
    """The problem that names these fields."""
    named = ", ".join(error.field for error in errors if error.field)
    detail = f"Wrong or missing: {named}." if named else None
    return ProblemError("invalid_request", detail, errors=errors)


def _invalid(error: ValidationError) -> ProblemError:
    errors = error.errors(include_url=False, include_input=False)
    return invalid_fields([_described(entry) for entry in errors[:_MAX_ERRORS]])


def _described(entry: Any) -> FieldError:
    path = ".".join(str(part) for part in entry["loc"])[:_MAX_PATH_CHARS]
    message = _MESSAGES.get(entry["type"], "is not valid")
    return FieldError(field=path, message=message.format(**entry.get("ctx", {})))
