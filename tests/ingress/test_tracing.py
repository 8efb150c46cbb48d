"""A request's span goes with the job's message, and says nothing of who it is about."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from infra.broker.topics import SEARCH
from schemas.messages import decode_message
from tests.infra.test_tracing import Collector, collector
from tests.ingress.conftest import Client

__all__ = ["collector"]


@pytest.fixture
def overrides(collector: Collector) -> dict[str, Any]:
    return {"traces_endpoint": collector.endpoint}


async def sent(client: Client) -> AsyncGenerator[str | None]:
    """The spans that the messages on the search topic name."""
    subscription = await client.services.broker.subscribe(SEARCH, "reader")
    for delivery in await subscription.fetch(max_messages=10, max_bytes=2**26, wait_s=5):
        yield decode_message(delivery.value)[0].traceparent
    await subscription.close()


async def test_the_message_names_the_requests_span(client: Client, collector: Collector) -> None:
    ids = {"X-Correlation-ID": "ada-at-the-door", "traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    assert (await client.search(headers=ids)).status == 200
    (traceparent,) = [name async for name in sent(client)]
    await client.services.tracing.close()
    span = collector.one("POST /face/search")
    assert traceparent is not None
    assert traceparent.startswith(f"00-{span.trace_id.hex()}-{span.span_id.hex()}-")
    assert span.trace_id.hex() != "1" * 32, "a client does not choose its trace"
    told = b"".join(span.SerializeToString() for spans in collector.spans.values() for span in spans)
    for name in ("ada-at-the-door", "ada@example.org", str(client.company_id)):
        assert name.encode() not in told
