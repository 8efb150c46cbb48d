"""What requests and answers share: strictness, and how listings are asked for."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Request(BaseModel):
    """The base of what clients send: a field that is not known is refused, since a typing error in one that
    narrows (a threshold, a group) must not open a door."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )


class Answer(BaseModel):
    """The base of what a resource answers. The words below a field are its description in the OpenAPI
    document, and every member is there, null or not."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


def examples(*given: dict[str, Any]) -> ConfigDict:
    """The `model_config` of a request with examples: they stand in the OpenAPI document, and a test sends
    them."""
    return ConfigDict(json_schema_extra={"examples": list(given)})


class PageQuery(Request):
    """The base of what listings take."""

    limit: int = Field(default=50, ge=1, le=500)
    """How many items at most."""
    cursor: str | None = None
    """Where to go on: the `next_cursor` of the page before."""

    def filters(self) -> dict[str, object]:
        """What narrows the listing: what a cursor is tied to."""
        return self.model_dump(exclude={"limit", "cursor", "wait"})


Wait = Annotated[float, Field(ge=0)]
"""Seconds to wait; the server's own bound applies where it is lower."""
