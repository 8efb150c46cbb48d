"""The client's types name what the server answers: all of it, and nothing else."""

import inspect
import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from pydantic import BaseModel

from faceid_client import AsyncClient, shapes
from schemas.api.jobs import JobAnswer, JobsQuery
from schemas.api.logs import LogItem, LogQuery
from schemas.api.people import FaceAnswer, FaceQuery, UserAnswer, UserPatch, UserQuery
from schemas.api.photos import SearchRequest, VerifyRequest
from schemas.results import DetectResult, EnrolResult, FaceResult, SearchResult, VerifyResult

ANSWERS: list[tuple[type, type[BaseModel]]] = [
    (shapes.Enrolment, EnrolResult),
    (shapes.Search, SearchResult),
    (shapes.FaceFound, FaceResult),
    (shapes.Verification, VerifyResult),
    (shapes.Detection, DetectResult),
    (shapes.User, UserAnswer),
    (shapes.EnrolledFace, FaceAnswer),
    (shapes.Job, JobAnswer),
    (shapes.LogEntry, LogItem),
]


@pytest.mark.parametrize(("shape", "model"), ANSWERS)
def test_an_answer_has_the_members_that_the_server_gives_it(shape: type, model: type[BaseModel]) -> None:
    assert list(differences(shape.__name__, shape, model)) == []


def test_what_is_given_is_what_the_server_takes() -> None:
    assert set(get_type_hints(shapes.Person)) == set(UserPatch.model_fields)
    assert set(get_type_hints(shapes.SearchOptions)) == set(SearchRequest.model_fields)
    for method, query, own in (
        (AsyncClient.verify, VerifyRequest, {"photo", "other_image", "wait_s"}),
        (AsyncClient.users, UserQuery, set[str]()),
        (AsyncClient.faces, FaceQuery, set[str]()),
        (AsyncClient.jobs, JobsQuery, set[str]()),
        (AsyncClient.logs, LogQuery, set[str]()),
    ):
        names = set(inspect.signature(method).parameters) - {"self", *own}
        taken = {{"from_": "since", "to": "until"}.get(name, name) for name in query.model_fields}
        assert names == taken - {"limit", "cursor", "wait"}


def differences(where: str, shape: Any, served: Any) -> list[str]:
    """Where the type does not fit what is served, by the path to it."""
    if is_typeddict(shape):
        hints = get_type_hints(shape)
        if not (isinstance(served, type) and issubclass(served, BaseModel)):
            return [f"{where} is no object"]
        given = {name: field.annotation for name, field in served.model_fields.items()}
        found = [f"{where}.{name}" for name in hints.keys() ^ given.keys()]
        for name in hints.keys() & given.keys():
            found += differences(f"{where}.{name}", hints[name], given[name])
        return found
    if (is_optional(shape), get_origin(shape) is list) != (is_optional(served), get_origin(served) is list):
        return [where]
    if is_optional(shape) or get_origin(shape) is list:
        return differences(where, get_args(shape)[0], get_args(served)[0])
    if get_origin(shape) is Literal and issubclass(served, Enum):
        return [] if set(get_args(shape)) == {one.value for one in served} else [where]
    if isinstance(served, type) and issubclass(served, BaseModel):
        return [] if get_origin(shape) is dict else [where]
    numbers = {float, int, bool}
    return [where] if (shape in numbers or served in numbers) and shape is not served else []


def is_optional(hint: Any) -> bool:
    return get_origin(hint) in {Union, types.UnionType} and type(None) in get_args(hint)
