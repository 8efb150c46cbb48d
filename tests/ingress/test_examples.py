"""Every example of the document, sent as it stands there: it is accepted, and the answer is as documented
(`Client.call` sees to that)."""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp
import pytest

from ingress.openapi.docs_page import operations
from ingress.openapi.pages import api_document
from tests.ingress.conformance import check_schema
from tests.ingress.conftest import Client, jpeg, keep_photo

pytestmark = pytest.mark.system

Example = tuple[str, str, str | None, str | None, dict[str, Any]]
"""Method, path, media type (None: the query), the example's name, and what it holds."""

ADMIN: Final = api_document()["paths"]["/register"]["post"]["requestBody"]["content"]["application/json"][
    "examples"
]["example_1"]["value"]


async def face_id(client: Client) -> str:
    made = (await client.enrol("u-1")).body["face_id"]
    await keep_photo(client, made, jpeg())
    return made


async def job_id(client: Client) -> str:
    return (await client.enrol("u-1")).body["job_id"]


async def user_id(client: Client) -> str:
    return (await client.enrol("u-1")).body["user_id"]


async def member_id(client: Client) -> str:
    body = {"email": "hedy@example.com", "role": "staff"}
    return (await client.call("POST", "/members", json=body)).body["member_id"]


async def key_id(client: Client) -> str:
    body = {"name": "door", "scopes": ["search"]}
    return (await client.call("POST", "/api-keys", json=body)).body["key_id"]


async def code(_client: Client) -> str:
    return "no_face"


IN_PATH: Final[Mapping[str, Callable[[Client], Awaitable[str]]]] = {
    made.__name__: made for made in (face_id, job_id, user_id, member_id, key_id, code)
}
"""How to come by what stands in a path, by its name there."""


def asked(operation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parameters of a query."""
    return [given for given in operation["parameters"] if given.get("in") == "query"]


def query_examples(operation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The examples of a query, each put together from its parameters."""
    found: dict[str, dict[str, Any]] = {}
    for parameter in asked(operation):
        for name, example in parameter.get("examples", {}).items():
            found.setdefault(name, {})[parameter["name"]] = example["value"]
    return found


def all_examples() -> list[Example]:
    found: list[Example] = []
    for method, path, operation in operations(api_document()):
        contents = operation.get("requestBody", {}).get("content", {})
        for media_type, content in contents.items():
            for name, example in content.get("examples", {}).items():
                found.append((method, path, media_type, name, example["value"]))
        for name, query in query_examples(operation).items():
            found.append((method, path, None, name, query))
        if not contents and not any(given.get("required") for given in asked(operation)):
            found.append((method, path, None, None, {}))
    return found


def test_whatever_takes_something_has_an_example() -> None:
    for method, path, operation in operations(api_document()):
        contents = operation.get("requestBody", {}).get("content", {})
        assert all(content.get("examples") for content in contents.values()), f"{method} {path}"
        assert not asked(operation) or query_examples(operation), f"{method} {path}"


@pytest.mark.parametrize("example", all_examples(), ids=lambda example: " ".join(map(str, example[:4])))
async def test_each_example_is_accepted(stranger: Client, worker: object, example: Example) -> None:
    method, path, media_type, _, value = example
    client = stranger if path == "/register" else await stranger.register(ADMIN["email"], ADMIN["password"])
    for name, made in IN_PATH.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", await made(client))
    assert "{" not in path, f"say in IN_PATH how to come by what {path} takes"
    if path == "/face/verify":
        await client.enrol("u-1")
    if path == "/token/refresh":  # No example can hold it.
        value = {"refresh_token": client.refresh_token}
    if "confirm" in value:
        value = {"confirm": str(client.company_id)}
    options: dict[str, Any] = {}
    if media_type is None:
        options["params"] = value
    elif media_type == "multipart/form-data":
        options["data"] = form_of(value)
    else:
        options["data"] = json.dumps(value)
        options["headers"] = {"Content-Type": media_type}
    answer = await client.call(method.upper(), path, **options)
    assert 200 <= answer.status < 300, answer.body


def form_of(example: Mapping[str, Any]) -> aiohttp.FormData:
    """A form as its schema and encoding say: lists as repeated fields, objects as JSON."""
    data = aiohttp.FormData()
    for name, value in example.items():
        if name.endswith("image"):
            data.add_field(name, jpeg(), filename=value, content_type="image/jpeg")
        elif isinstance(value, dict):
            data.add_field(name, json.dumps(value), content_type="application/json")
        else:
            for item in value if isinstance(value, list) else [value]:  # pyright: ignore[reportUnknownVariableType]
                data.add_field(name, str(item))  # pyright: ignore[reportUnknownArgumentType]
    return data


def test_each_example_is_as_its_schema_says() -> None:
    for method, path, operation in operations(api_document()):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            for name, example in content["examples"].items():
                check_schema(content["schema"], example["value"], f"{name} of {method} {path}")
    for code, example in api_document()["components"]["examples"].items():
        check_schema({"$ref": "#/components/schemas/Problem"}, example["value"], code)


def test_the_photo_of_the_examples_is_one() -> None:
    contents = api_document()["paths"]["/face/search"]["post"]["requestBody"]["content"]
    image = contents["application/json"]["examples"]["example_1"]["value"]["image"]
    assert base64.b64decode(image, validate=True).startswith(b"\x89PNG")
