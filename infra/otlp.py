"""Traces by OTLP over HTTP. OpenTelemetry is known here alone.

`OTEL_TRACES_SAMPLER` and its like, which its SDK reads, decide how many are taken.
"""

import asyncio
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from infra.tracing import Attributes, Tracing

_EXPORT_TIMEOUT_S: Final = 5.0
_NS: Final = 1_000_000_000
_HEADER: Final = "traceparent"


class OtlpTracing(Tracing):
    """Sends spans from a thread of its own, in batches; what a collector does not take in time is lost."""

    is_on = True

    def __init__(self, endpoint: str) -> None:
        url = endpoint if urlsplit(endpoint).path.strip("/") else f"{endpoint.rstrip('/')}/v1/traces"
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "faceid"}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=_EXPORT_TIMEOUT_S))
        )
        self._tracer = self._provider.get_tracer("faceid")
        self._propagator = TraceContextTextMapPropagator()

    def span(
        self,
        name: str,
        *,
        parent: str | None = None,
        links: Iterable[str | None] = (),
        attributes: Attributes | None = None,
    ) -> AbstractContextManager[None]:
        return self._span(name, parent, list(links), attributes or {})

    @contextmanager
    def _span(
        self, name: str, parent: str | None, links: list[str | None], attributes: Attributes
    ) -> Generator[None]:
        linked = [trace.Link(context) for link in links if (context := self._named(link)).is_valid]
        with self._tracer.start_as_current_span(
            name,
            context=self._under(parent),
            links=linked,
            attributes=attributes,
            # An exception's words may hold what was sent.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception:
                span.set_status(trace.StatusCode.ERROR)
                raise

    def past(self, name: str, started_at: datetime, ended_at: datetime, *, parent: str | None) -> None:
        span = self._tracer.start_span(name, context=self._under(parent), start_time=_ns(started_at))
        span.end(max(_ns(started_at), _ns(ended_at)))

    def note(self, **attributes: str | int) -> None:
        trace.get_current_span().set_attributes(attributes)

    def current(self) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(_HEADER)

    async def close(self) -> None:
        await asyncio.to_thread(self._provider.shutdown)

    def _under(self, parent: str | None) -> Context | None:
        """None is the span around."""
        return self._propagator.extract({_HEADER: parent}, context=Context()) if parent else None

    def _named(self, traceparent: str | None) -> trace.SpanContext:
        context = self._propagator.extract({_HEADER: traceparent or ""}, context=Context())
        return trace.get_current_span(context).get_span_context()


def _ns(at: datetime) -> int:
    return int(at.timestamp() * _NS)
