"""The OpenAPI 3.1 document of a route table."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel

from ingress.describing import AnswerBody, Media
from ingress.openapi.access import SECURITY_SCHEMES
from ingress.openapi.models import Models, prose
from ingress.openapi.operations import PATH_PARAMETER, operation_of, tag_of, tag_words
from ingress.openapi.shared import ABOUT, HEADERS, PARAMETERS
from ingress.routing import Route
from schemas.problem_types import PROBLEM_TYPES
from schemas.problems import Problem, ProblemError

Document = dict[str, Any]

_EXAMPLE_ID: Final = "0198c0de-0000-7000-8000-000000000001"


def build_document(routes: Sequence[Route[Any]]) -> Document:
    """Describe the routes, in their order."""
    models = Models(_sent(routes), [*_answered(routes), Problem])
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = PATH_PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = operation_of(route, models)
    return {
        "openapi": "3.1.0",
        "info": {"title": "FaceID API", "version": version("faceid-api"), "description": prose(ABOUT)},
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [
            {"name": name, "description": words}
            for name, words in {tag_of(route): tag_words(route) for route in routes}.items()
        ],
        "paths": paths,
        "components": {
            "schemas": models.keep_only([paths, {"$ref": "#/components/schemas/Problem"}]),
            "examples": {code: _example(code) for code in PROBLEM_TYPES},
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _example(code: str) -> dict[str, Any]:
    problem = ProblemError(code)
    return {
        "summary": problem.type.title,
        "value": problem.problem(_EXAMPLE_ID).model_dump(mode="json", exclude_none=True),
    }


def _sent(routes: Sequence[Route[Any]]) -> list[type[BaseModel]]:
    descriptions = [route.takes.describe() for route in routes]
    queries = [described.query for described in descriptions if described.query is not None]
    return [*queries, *(body.model for described in descriptions for body in described.bodies)]


def _answered(routes: Sequence[Route[Any]]) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = []
    for route in routes:
        for body in route.answers.values():
            parts: tuple[AnswerBody, ...] = body if isinstance(body, tuple) else (body,) if body else ()
            given = [part.model if isinstance(part, Media) else part for part in parts]
            models += [model for model in given if model is not None]
    return models
