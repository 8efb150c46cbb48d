"""Following one request through ingress, broker and workers, where somebody collects that (OpenTelemetry).

A span tells what was done and for how long: by kind, stage, route and outcome, and by the job's id. Nothing
that a client has sent is in one. Without `FACEID_TRACES_ENDPOINT` nothing is imported, and a span is an empty
block.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Final

from infra.refused import StoreRefused
from infra.settings import Settings

Attributes = dict[str, str | int]


class Tracing(ABC):
    """Where spans go. `traceparent` is a span's name for itself (W3C Trace Context), as messages carry it."""

    is_on: bool

    @abstractmethod
    def span(
        self,
        name: str,
        *,
        parent: str | None = None,
        links: Iterable[str | None] = (),
        attributes: Attributes | None = None,
    ) -> AbstractContextManager[None]:
        """The block as a span: under `parent`, or else under the one around it. `links` are others that it
        was done for as well."""

    @abstractmethod
    def past(self, name: str, started_at: datetime, ended_at: datetime, *, parent: str | None) -> None:
        """A span that is over."""

    @abstractmethod
    def note(self, **attributes: str | int) -> None:
        """Something more about the span around this."""

    @abstractmethod
    def current(self) -> str | None:
        """The span around this, None outside of any."""

    @abstractmethod
    async def close(self) -> None:
        """Send what was not sent yet, as far as that can be done within seconds."""


class Untraced(Tracing):
    """Nobody collects."""

    is_on = False

    def span(
        self,
        name: str,
        *,
        parent: str | None = None,
        links: Iterable[str | None] = (),
        attributes: Attributes | None = None,
    ) -> AbstractContextManager[None]:
        return _NOTHING

    def past(self, name: str, started_at: datetime, ended_at: datetime, *, parent: str | None) -> None:
        return

    def note(self, **attributes: str | int) -> None:
        return

    def current(self) -> str | None:
        return None

    async def close(self) -> None:
        return


_NOTHING: Final = nullcontext()


def tracing_of(settings: Settings) -> Tracing:
    """As the settings have it. Raises StoreRefused where the extra is not installed."""
    if settings.traces_endpoint is None:
        return Untraced()
    try:
        from infra.otlp import OtlpTracing  # noqa: PLC0415 - an extra, which only those have who want it
    except ModuleNotFoundError as error:
        raise StoreRefused(
            "FACEID_TRACES_ENDPOINT takes the extra `traces`: pip install 'faceid-api[traces]'"
        ) from error
    return OtlpTracing(settings.traces_endpoint)
