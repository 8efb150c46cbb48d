"""One route as an operation of the document: what may be sent, and what comes back."""

import re
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from ingress.describing import AnswerBody, Media
from ingress.openapi.access import security_of, who_may
from ingress.openapi.bodies import request_body
from ingress.openapi.codes import makes_job, problems_of
from ingress.openapi.models import Models, Schema, prose, without_null
from ingress.routing import Route
from schemas.problem_types import PROBLEM_TYPES, ProblemType

PATH_PARAMETER: Final = re.compile(r"\{(\w+)(?::[^{}]*)?\}")

_UUID: Final[Schema] = {"type": "string", "format": "uuid"}
_PATH_SCHEMAS: Final[Mapping[str, Schema]] = {
    "user_id": {"type": "string", "minLength": 1, "maxLength": 128},
    "code": {"type": "string", "enum": sorted(PROBLEM_TYPES)},
}
"""What stands in a path, by name; everything else is an id of ours."""
_PATH_WORDS: Final[Mapping[str, str]] = {
    "user_id": "Your own id of the person, percent-encoded, slashes too.",
    "face_id": "As the enrolment or `GET /faces` answered it.",
    "job_id": "As a 202 or any answer of a job has it.",
    "member_id": "As `GET /members` has it.",
    "key_id": "As `GET /api-keys` has it; not the key itself.",
    "code": "The `code` of a problem.",
}


def operation_of(route: Route[Any], models: Models) -> dict[str, Any]:
    """The operation object of a route."""
    described = route.takes.describe()
    words = prose(route.handler.__doc__)
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "tags": [tag_of(route)],
        "summary": re.split(r"(?<=[^.])[.:;]\s", words)[0].rstrip("."),
        "description": f"{words}\n\n{who_may(route)}",
        "security": security_of(route),
        "parameters": [*_of_path(route), *_of_headers(route)],
        "responses": _responses(route, models, problems_of(route, described)),
    }
    if described.query is not None:
        operation["parameters"][:0] = _of_query(models.sent(described.query))
    if described.bodies:
        operation["requestBody"] = request_body(described.bodies, models)
    if route.scope is not None:
        operation["x-scope"] = str(route.scope)
    return operation


def operation_id(route: Route[Any]) -> str:
    """The handler's name after its module's."""
    return f"{tag_of(route)}_{route.handler.__name__}"


def tag_of(route: Route[Any]) -> str:
    """The module that the handler is in: operations are grouped as the code is."""
    return route.handler.__module__.rpartition(".")[2]


def tag_words(route: Route[Any]) -> str:
    """What a group is about: the first words of its module's docstring."""
    words = prose(sys.modules[route.handler.__module__].__doc__)
    return words.partition(":")[0].rstrip(".")


def _of_path(route: Route[Any]) -> Iterable[dict[str, Any]]:
    for name in PATH_PARAMETER.findall(route.path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_WORDS[name],
            "schema": _PATH_SCHEMAS.get(name, _UUID),
        }


def _of_query(model: Schema) -> list[dict[str, Any]]:
    required = model.get("required", [])
    examples: list[dict[str, Any]] = model.get("examples", [])
    parameters: list[dict[str, Any]] = []
    for name, given in model.get("properties", {}).items():
        schema = without_null(given)
        parameter: dict[str, Any] = {"name": name, "in": "query", "required": name in required}
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        parameter["schema"] = schema
        # An example of the whole query has the same number in each of its parameters.
        values = {
            f"example_{number}": {"value": example[name]}
            for number, example in enumerate(examples, 1)
            if name in example
        }
        if values:
            parameter["examples"] = values
        parameters.append(parameter)
    return parameters


def _of_headers(route: Route[Any]) -> Iterable[dict[str, str]]:
    if makes_job(route):
        yield {"$ref": "#/components/parameters/Prefer"}
    if route.idempotent:
        yield {"$ref": "#/components/parameters/Idempotency-Key"}
    yield {"$ref": "#/components/parameters/X-Correlation-ID"}


def _responses(
    route: Route[Any], models: Models, problems: Mapping[int, list[ProblemType]]
) -> dict[str, Any]:
    responses = _answers(route, models)
    for status, kinds in problems.items():
        problem = _problem(status, kinds)
        answer = responses.setdefault(str(status), problem)
        if answer is not problem:  # Told apart by their content type.
            answer["description"] = f"{answer['description']} Or {problem['description']}"
            answer["headers"] = {**answer["headers"], **problem["headers"]}
            answer["content"] = {**answer.get("content", {}), **problem["content"]}
    return dict(sorted(responses.items()))


def _answers(route: Route[Any], models: Models) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, body in route.answers.items():
        given = body if isinstance(body, tuple) else () if body is None else (body,)
        answer: dict[str, Any] = {
            "description": _what_comes(status, given),
            "headers": _headers(_header_names(route, status, given)),
        }
        if given:
            answer["content"] = dict(_content(part, models) for part in given)
        answers[str(status)] = answer
    return answers


def _what_comes(status: int, bodies: tuple[AnswerBody, ...]) -> str:
    if status == 202:
        return "Accepted, and not done yet: ask after the job."
    for body in bodies:
        model = body.model if isinstance(body, Media) else body
        if model is not None:
            return prose(model.__doc__)
    return HTTPStatus(status).phrase


def _content(body: AnswerBody, models: Models) -> tuple[str, dict[str, Any]]:
    if not isinstance(body, Media):
        return "application/json", {"schema": models.answered(body)}
    if body.model is None:
        text = body.media_type.startswith("text/")
        schema: Schema = {"type": "string"} if text else {"contentMediaType": body.media_type}
        if body.media_type.endswith("json"):
            schema = {"type": "object"}
        return body.media_type, {"schema": schema}
    if body.media_type.endswith("ndjson"):
        # 3.1 has no word for it: each line is a JSON value of its own.
        line = models.answered(body.model)
        return body.media_type, {
            "schema": {"type": "string", "description": "JSON, a line each.", "x-line": line}
        }
    return body.media_type, {"schema": models.answered(body.model)}


def _header_names(route: Route[Any], status: int, bodies: tuple[AnswerBody, ...]) -> Iterable[str]:
    yield "X-Correlation-ID"
    if status == 202:
        yield from ("Location", "Retry-After")
    if status in {200, 201} and 201 in route.answers:
        yield "Location"
    if makes_job(route):
        yield "Preference-Applied"
    if route.idempotent:
        yield "Idempotent-Replayed"
    if any("next_cursor" in body.model_fields for body in bodies if not isinstance(body, Media)):
        yield "Link"
    if 304 in route.answers:
        yield "ETag"


def _problem(status: int, kinds: list[ProblemType]) -> dict[str, Any]:
    names = ["X-Correlation-ID"]
    if status == 401:
        names.append("WWW-Authenticate")
    if status in {429, 503} or any(kind.code == "idempotency_in_progress" for kind in kinds):
        names.append("Retry-After")
    return {
        "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds) + ".",
        "headers": _headers(names),
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds},
            }
        },
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
