"""How inputs and answers tell the OpenAPI document what they are; everything that reads or writes bodies says
it in these words."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel


@dataclass(frozen=True)
class BodyContent:
    """One way to send a body: a model in a media type. `files` are the photos in it, by name, and whether
    each is required: parts of a form, base64 in JSON."""

    media_type: str
    model: type[BaseModel]
    files: Mapping[str, bool] = field(default_factory=dict[str, bool])
    is_patch: bool = False
    """Whether it is what is to change of the model (RFC 7396)."""


@dataclass(frozen=True)
class InputDescription:
    """What an input takes from a request, and the codes of the problems that it raises."""

    query: type[BaseModel] | None = None
    bodies: tuple[BodyContent, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Media:
    """An answer's body in a media type of its own. `model` is of the JSON value, or of each line of lines."""

    media_type: str
    model: type[BaseModel] | None = None


AnswerBody = type[BaseModel] | Media
Answers = Mapping[int, AnswerBody | tuple[AnswerBody, ...] | None]
"""What is answered that is no problem, by status: a model as JSON, other media, any of several (the client
chooses by Accept), or None for no body."""
