"""Spans, as a collector on the other end of OTLP over HTTP reads them."""

import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from infra.refused import StoreRefused
from infra.settings import PROJECT_ROOT, Settings
from infra.tracing import Untraced, tracing_of

NOTHING: dict[str, Any] = {}


@dataclass
class Collector:
    """What came in, by name."""

    endpoint: str = ""
    spans: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])

    async def take(self, request: web.Request) -> web.Response:
        message = ExportTraceServiceRequest.FromString(await request.read())
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.setdefault(span.name, []).append(span)
        return web.Response(content_type="application/x-protobuf")

    def one(self, name: str) -> Any:
        (span,) = self.spans[name]
        return span


@pytest.fixture
async def collector() -> AsyncGenerator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.endpoint = f"http://127.0.0.1:{site.port}"
    yield collector
    await runner.cleanup()


async def test_a_span_is_carried_on_by_its_name(collector: Collector) -> None:
    tracing = tracing_of(Settings(traces_endpoint=collector.endpoint))
    assert tracing.current() is None
    with tracing.span("request"):
        sent = tracing.current()
        tracing.note(status=202)
    assert sent is not None
    now = datetime(2026, 1, 1, tzinfo=UTC)
    tracing.past("queue", now, now + timedelta(seconds=2), parent=sent)
    with tracing.span("open", parent=sent), tracing.span("records"):
        pass
    with tracing.span("analyse", links=[sent, None, "no span"], attributes={"jobs": 2}):
        pass
    await tracing.close()

    request, opened = collector.one("request"), collector.one("open")
    assert (request.parent_span_id, request.attributes[0].value.int_value) == (b"", 202)
    assert opened.parent_span_id == collector.one("queue").parent_span_id == request.span_id
    assert collector.one("records").parent_span_id == opened.span_id
    assert {span.trace_id for (span,) in collector.spans.values() if span.name != "analyse"} == {
        request.trace_id
    }
    queue = collector.one("queue")
    assert queue.end_time_unix_nano - queue.start_time_unix_nano == 2_000_000_000
    analysed = collector.one("analyse")
    assert [link.span_id for link in analysed.links] == [request.span_id]
    assert analysed.trace_id != request.trace_id


async def test_what_went_wrong_is_marked_without_its_words(collector: Collector) -> None:
    tracing = tracing_of(Settings(traces_endpoint=collector.endpoint))

    def fail() -> None:
        with tracing.span("decide"):
            raise LookupError("Ada Lovelace")

    with pytest.raises(LookupError):
        fail()
    await tracing.close()
    span = collector.one("decide")
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert b"Ada" not in span.SerializeToString()


def test_off_it_is_an_empty_block_and_nothing_is_imported() -> None:
    tracing = tracing_of(Settings())
    assert isinstance(tracing, Untraced)
    assert tracing.span("a") is tracing.span("b")
    program = "import sys, ingress.server, workers.telling; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=PROJECT_ROOT
    ).stdout.split()
    assert "infra.tracing" in loaded
    assert not any(name.startswith("opentelemetry") for name in loaded)


def test_an_endpoint_without_the_extra_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "infra.otlp", raising=False)
    with pytest.raises(StoreRefused, match="faceid-api\\[traces\\]"):
        tracing_of(Settings(traces_endpoint="http://127.0.0.1:4318"))
