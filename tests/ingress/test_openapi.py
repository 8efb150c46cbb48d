"""The document: valid, complete, served, and true of the routes."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from ingress.openapi.codes import BEFORE_ANY_OPERATION
from ingress.openapi.docs_page import operations
from ingress.openapi.pages import api_document
from ingress.openapi.problem_pages import codes_of
from ingress.routes import ROUTES
from schemas.access import KEY_SCOPES
from schemas.problem_types import PROBLEM_TYPES
from tests.ingress.conformance import check_answer
from tests.ingress.conftest import Client

PAGES = ("/openapi.json", "/docs", "/problems", "/problems/no_face")
COMMON = {"X-Correlation-ID": "abc", "Content-Type": "application/json"}


def schemas_in(part: Any) -> Iterator[dict[str, Any]]:
    """Every schema object in a part of the document."""
    if isinstance(part, dict):
        for key, value in part.items():  # pyright: ignore[reportUnknownVariableType]
            if key == "schema":
                yield value
            yield from schemas_in(value)
    elif isinstance(part, list):
        for value in part:  # pyright: ignore[reportUnknownVariableType]
            yield from schemas_in(value)


def test_it_is_valid_openapi_3_1() -> None:
    assert api_document()["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(api_document()).validate()


def test_its_schemas_are_valid() -> None:
    document = api_document()
    for schema in [*document["components"]["schemas"].values(), *schemas_in(document["paths"])]:
        Draft202012Validator.check_schema(schema)


def test_it_has_each_route_and_nothing_else() -> None:
    described = [(method.upper(), path) for method, path, _ in operations(api_document())]
    assert described == [(route.method, route.path) for route in ROUTES]
    names = [operation["operationId"] for _, _, operation in operations(api_document())]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_it_says_who_may_call(route: Any) -> None:
    operation = api_document()["paths"][route.path][route.method.lower()]
    scopes = [str(route.scope)] if route.scope else []
    if route.public:
        assert operation["security"] == ([{}, {"bearer": scopes}] if scopes else [])
    elif route.scope is None or route.scope in KEY_SCOPES:
        assert operation["security"] == [{"bearer": scopes}, {"key": scopes}]
    else:
        assert operation["security"] == [{"bearer": scopes}]


def test_it_says_all_of_each_operation() -> None:
    for _, _, operation in operations(api_document()):
        assert operation["summary"]
        assert len(operation["summary"]) <= 120, operation["summary"]
        assert operation["description"].startswith(operation["summary"])


def test_it_says_what_each_parameter_and_each_policy_is() -> None:
    document = api_document()
    wordless = [
        f"{method} {path} {parameter['name']}"
        for method, path, operation in operations(document)
        for parameter in operation["parameters"]
        if "$ref" not in parameter and not parameter.get("description")
    ]
    policies = [name for name in document["components"]["schemas"] if name.endswith(("Policy", "Policies"))]
    assert len(policies) >= 6
    wordless += [
        f"{policy}.{name}"
        for policy in policies
        for name, member in document["components"]["schemas"][policy]["properties"].items()
        if not member.get("description")
    ]
    assert wordless == []


def test_a_patch_keeps_what_is_left_out() -> None:
    """A generated client would send a default that it was told of."""
    schemas = api_document()["components"]["schemas"]
    patches = [schema for name, schema in schemas.items() if name.endswith("MergePatch")]
    assert len(patches) == 2
    for patch in patches:
        for member in patch["properties"].values():
            assert "default" not in member
            assert {"type": "null"} in member["anyOf"]


def test_each_code_is_answered_by_some_operation() -> None:
    answered = {code for _, _, operation in operations(api_document()) for code in codes_of(operation)}
    shown_once = set[str]() if any(route.answers_secret for route in ROUTES) else {"secret_already_shown"}
    assert answered == PROBLEM_TYPES.keys() - BEFORE_ANY_OPERATION - shown_once


def test_an_answered_member_may_be_new_and_a_sent_one_must_be_known() -> None:
    schemas = api_document()["components"]["schemas"]
    assert "additionalProperties" not in schemas["SearchResult"]
    assert all(schemas[name]["additionalProperties"] is False for name in ("SearchForm", "Location"))


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_fresh_by_their_etag(stranger: Client, path: str) -> None:
    first = await stranger.call("GET", path)
    assert first.status == 200
    assert first.headers["Cache-Control"] == "public, max-age=300"
    etag = first.headers["ETag"]
    assert etag.startswith('"')  # A strong one.
    again = await stranger.call("GET", path, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status, again.content, again.headers["ETag"]) == (304, b"", etag)
    other = await stranger.call("GET", path, headers={"If-None-Match": '"other"'})
    assert (other.status, other.content) == (200, first.content)
    head = await stranger.call("HEAD", path)
    assert (head.status, head.headers["ETag"]) == (200, etag)


async def test_what_is_served_is_the_document(stranger: Client) -> None:
    assert (await stranger.call("GET", "/openapi.json")).body == api_document()


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body", "complaint"),
    [
        ("GET", "/healthz", 418, {}, {}, "answered 418, which is not documented"),
        ("GET", "/healthz", 200, {}, {"status": "well"}, r"\$\.status"),
        ("GET", "/healthz", 200, {}, {}, "'status' is a required property"),
        ("GET", "/healthz", 200, {}, {"status": "ok", "mood": "fine"}, "'mood' was unexpected"),
        ("GET", "/healthz", 200, {"Content-Type": "text/plain"}, None, "with text/plain"),
        ("GET", "/healthz", 200, {"Location": "/"}, {"status": "ok"}, "with Location"),
        ("GET", "/nowhere", 404, {}, {}, "required property"),
        ("POST", "/logout", 204, {}, {}, "with a body"),
    ],
)
def test_an_answer_that_is_not_documented_is_found(
    method: str, path: str, status: int, headers: dict[str, str], body: Any, complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_answer(method, path, status, {**COMMON, **headers}, body, content=b"{}")


def test_a_code_that_is_not_documented_is_found() -> None:
    value = api_document()["components"]["examples"]["no_face"]["value"]
    headers = {**COMMON, "Content-Type": "application/problem+json"}
    check_answer("POST", "/face/search", 422, headers, value, content=b"{}")
    with pytest.raises(AssertionError, match="with the code no_face, which is not documented"):
        check_answer("POST", "/register", 422, headers, value, content=b"{}")


def test_a_header_that_is_missing_is_found() -> None:
    with pytest.raises(AssertionError, match="without X-Correlation-ID"):
        check_answer("GET", "/healthz", 200, {}, {"status": "ok"}, content=b"{}")
