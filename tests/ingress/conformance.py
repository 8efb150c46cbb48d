"""Whether an answer is as the OpenAPI document says: each answer in the tests of the ingress is held against
it."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from ingress.openapi.pages import api_document

_DOCUMENT: Final = "urn:document"
_PROBLEM: Final = "application/problem+json"
_TOLD: Final = ("Location", "Retry-After", "Preference-Applied", "Link", "ETag", "WWW-Authenticate")
"""Headers that stand nowhere but where the document says so."""


def check_answer(
    method: str, path: str, status: int, headers: Mapping[str, str], body: Any, *, content: bytes
) -> None:
    """Raises AssertionError, saying what about the answer is not documented."""
    where = f"{method} {path.partition('?')[0]} answered {status}"
    operation = operation_at("GET" if method == "HEAD" else method, path)
    if (
        operation is None
    ):  # There is no such operation, or a test made it: its problems are ours all the same.
        if method != "HEAD" and status >= 400:
            check_schema({"$ref": "#/components/schemas/Problem"}, body, where)
        return
    assert str(status) in operation["responses"], f"{where}, which is not documented: {body}"
    documented = operation["responses"][str(status)]
    _check_headers(documented.get("headers", {}), headers, where)
    bodies: Mapping[str, Any] = documented.get("content", {})
    if method == "HEAD":
        return
    if not bodies:
        assert content == b"", f"{where} with a body"
        return
    media_type = headers.get("Content-Type", "").partition(";")[0]
    assert media_type in bodies, f"{where} with {media_type}, which is not documented"
    if media_type.endswith("json") and "nd" not in media_type:
        check_schema(bodies[media_type]["schema"], body, where)
    if media_type == _PROBLEM:
        codes = bodies[media_type]["examples"]
        assert body["code"] in codes, (
            f"{where} with the code {body['code']}, which is not documented: say it in the route's `problems`"
        )


def operation_at(method: str, path: str) -> dict[str, Any] | None:
    """The operation that a request of this path is for."""
    for pattern, item in _paths():
        if pattern.fullmatch(path.partition("?")[0]) and method.lower() in item:
            return item[method.lower()]
    return None


def check_schema(schema: Mapping[str, Any], value: Any, where: str) -> None:
    """Raises AssertionError, naming what is wrong with the value."""
    if "$ref" in schema:
        found = cast(list[ValidationError], list(_validator(schema["$ref"]).iter_errors(value)))  # pyright: ignore[reportUnknownMemberType]
        said = "; ".join(f"{error.json_path}: {error.message}" for error in found)
        assert not found, f"{where}, but {said}"


def _check_headers(documented: Mapping[str, Any], given: Mapping[str, str], where: str) -> None:
    for name in _TOLD:
        assert name not in given or name in documented, f"{where} with {name}, which is not documented"
    for name, reference in documented.items():
        header = api_document()["components"]["headers"][reference["$ref"].rpartition("/")[2]]
        assert name in given or not header.get("required"), f"{where} without {name}"


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    # Those without parameters first: `/problems` is no code.
    paths = sorted(api_document()["paths"].items(), key=lambda entry: entry[0].count("{"))
    return [
        (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), cast(dict[str, Any], item))
        for path, item in paths
    ]


@cache
def _validator(reference: str) -> Draft202012Validator:
    return Draft202012Validator(
        {"$ref": _DOCUMENT + reference},
        registry=_registry(),
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


@cache
def _registry() -> Registry[Any]:
    resource = Resource[Any].from_contents(_closed(api_document()), default_specification=DRAFT202012)
    return Registry[Any]().with_resource(_DOCUMENT, resource)


def _closed(part: Any) -> Any:
    """The document for whom a member that it does not name is a mistake: a client passes it over, a test
    doesn't."""
    if isinstance(part, dict):
        members = {key: _closed(value) for key, value in cast(dict[str, Any], part).items()}
        if members.get("type") == "object" and "properties" in members:
            members.setdefault("additionalProperties", False)
        return members
    if isinstance(part, list):
        return [_closed(value) for value in cast(list[Any], part)]
    return part
