"""What requests and answers share: strictness, and how listings are asked for."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Request(BaseModel):
    """The base of what clients send: a field that is not known is refused, since a typing error in one that
    narrows (a threshold, a group) must not open a door."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class PageQuery(Request):
    """The base of what listings take."""

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = None

    def filters(self) -> dict[str, object]:
        """What narrows the listing: what a cursor is tied to."""
        return self.model_dump(exclude={"limit", "cursor", "wait"})


Wait = Annotated[float, Field(ge=0)]
"""Seconds to wait; the server's own bound applies where it is lower."""
