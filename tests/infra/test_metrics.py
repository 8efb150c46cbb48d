"""Metrics: made from one table, told to whoever scrapes, and never waited for."""

import asyncio
import re
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from infra.broker.port import BrokerUnavailable, Lag, OutgoingMessage, Topic
from infra.broker.sqlite import SqliteBroker
from infra.broker.topics import ALL, SEARCH
from infra.clock import ManualClock, SystemClock
from infra.metric_table import (
    CHILD_RESTARTS,
    IN_FLIGHT,
    JOB_SECONDS,
    JOBS,
    LAG_MEASURED,
    LAG_MESSAGES,
    LAG_SECONDS,
    REQUESTS,
    TABLE,
)
from infra.metrics import Metrics
from infra.sqlite.file import SqliteFile
from infra.watching import LagWatch, listening

LABELS = {
    *("method", "route", "status", "code", "kind", "outcome", "stage", "topic", "cause", "child", "chore"),
    *("store", "id", "version", "engine", "device", "precision"),
}
"""What a metric may be told apart by: none of it names a company, a person, a key or a request."""


def test_the_table_is_well_formed() -> None:
    assert len({metric.name for metric in TABLE}) == len(TABLE)
    for metric in TABLE:
        assert re.fullmatch(r"faceid_[a-z_]+", metric.name)
        assert metric.help.endswith(".")
        assert set(metric.labels) <= LABELS
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert (metric.kind == "histogram") == bool(metric.buckets)


def test_each_owner_has_metrics_of_their_own() -> None:
    ours, theirs = Metrics(SystemClock()), Metrics(SystemClock())
    ours.count(JOBS, "search", "matched")
    assert ours.value("faceid_jobs_total", kind="search", outcome="matched") == 1
    assert theirs.value("faceid_jobs_total", kind="search", outcome="matched") is None


def test_a_block_is_timed_whichever_way_it_ends() -> None:
    clock = ManualClock()
    metrics = Metrics(clock)

    def fail() -> None:
        with metrics.timed(JOB_SECONDS, "search"):
            clock.advance(0.2)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert metrics.value("faceid_job_seconds_sum", kind="search") == pytest.approx(0.2)
    assert metrics.value("faceid_job_seconds_bucket", kind="search", le="0.1") == 0
    assert metrics.value("faceid_job_seconds_bucket", kind="search", le="0.25") == 1


def test_what_is_read_is_there_for_as_long_as_it_can_be_read() -> None:
    metrics, held = Metrics(SystemClock()), [3.0]
    with metrics.reading(IN_FLIGHT, lambda: held[0], "search"):
        held[0] = 4
        assert metrics.value("faceid_in_flight_messages", topic="search") == 4
        with metrics.reading(IN_FLIGHT, lambda: 9, "search"):
            assert metrics.value("faceid_in_flight_messages", topic="search") == 9
    assert metrics.value("faceid_in_flight_messages", topic="search") is None
    with metrics.reading(CHILD_RESTARTS, lambda: 2, "compute"):
        assert b'faceid_child_restarts_total{child="compute"} 2.0' in metrics.text()


async def test_they_are_served_in_plain_http_and_nothing_else_is() -> None:
    metrics = Metrics(SystemClock())
    metrics.count(REQUESTS, "GET", "/faces/{face_id}", "200")
    async with listening(metrics, "127.0.0.1", 0) as port, aiohttp.ClientSession() as http:
        async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert 'faceid_requests_total{method="GET",route="/faces/{face_id}",status="200"} 1.0' in text
        assert "process_resident_memory_bytes" in text
        assert "_created" not in text
        async with http.get(f"http://127.0.0.1:{port}/") as answer:
            assert answer.status == 404


class Moody(SqliteBroker):
    """Does not answer while it is `down`, and never while it is `hung`."""

    down = False
    hung = False
    asked = asyncio.Event()

    async def lag(self, topic: Topic, group: str) -> Lag:
        if self.hung:
            self.asked.set()
            await asyncio.Event().wait()
        if self.down:
            raise BrokerUnavailable("down")
        return await super().lag(topic, group)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(tmp_path: Path, clock: ManualClock) -> AsyncGenerator[Moody]:
    broker = Moody(SqliteFile(tmp_path / "faceid.sqlite"), clock)
    await broker.start(ALL)
    yield broker
    await broker.close()


async def test_a_scrape_shows_the_last_lag_and_its_age(broker: Moody, clock: ManualClock) -> None:
    metrics = Metrics(clock)
    labels = {"topic": SEARCH.name}
    await broker.publish(SEARCH, [OutgoingMessage(b"key", b"value")] * 3)
    clock.advance(timedelta(minutes=2).total_seconds())
    async with LagWatch(broker, metrics, clock, [SEARCH]).at_work():
        await clock.until_sleeping()
        assert metrics.value(LAG_MESSAGES.name, **labels) == 3
        assert metrics.value(LAG_SECONDS.name, **labels) == 120
        broker.down = True
        clock.advance(5)
        await clock.until_sleeping()
        assert metrics.value(LAG_MESSAGES.name, **labels) == 3
        assert metrics.value(LAG_MEASURED.name, **labels) == 5
        broker.down = False
        clock.advance(5)
        await clock.until_sleeping()
        assert metrics.value(LAG_SECONDS.name, **labels) == 130
        broker.hung = True
        clock.advance(5)
        await broker.asked.wait()
        clock.advance(30)
        assert metrics.value(LAG_MEASURED.name, **labels) == 35
    assert metrics.value(LAG_MEASURED.name, **labels) is None
