"""One time for machines whose clocks differ, from what the broker stamps."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.broker.kafka.broker import KafkaBroker
from infra.clock import ManualClock, SystemClock
from infra.common_clock import CommonClock
from infra.crypto.tokens import AccessTokens
from schemas.ids import PLATFORM
from tests.clocks import SkewedClock
from tests.contract.broker_adapters import JOBS, kafka_options
from tests.servers.kafka import KafkaServer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def stamped(clock: CommonClock, ahead: timedelta, *, took: timedelta = SECOND) -> timedelta:
    """What the clock is corrected by once the broker, so far ahead, has stamped half-way."""
    sent = clock.own.now()
    clock.stamped(sent + took / 2 + ahead, sent=sent, acknowledged=sent + took)
    return clock.now() - clock.own.now()


def test_a_clock_that_may_be_right_is_left_alone() -> None:
    clock = CommonClock(ManualClock(NOW))
    assert stamped(clock, timedelta()) == timedelta()
    assert stamped(clock, SECOND / 2) == timedelta(), "it may have been stamped right before the answer"


@pytest.mark.parametrize("ahead", [timedelta(minutes=2), timedelta(minutes=-2)])
def test_a_clock_is_moved_as_far_as_it_is_proved_wrong_and_back_again(ahead: timedelta) -> None:
    clock = CommonClock(ManualClock(NOW))
    assert abs(stamped(clock, ahead) - ahead) <= SECOND / 2 + timedelta(milliseconds=1)
    quick = timedelta(milliseconds=2)
    assert abs(stamped(clock, ahead, took=quick) - ahead) <= quick
    assert abs(stamped(clock, timedelta(), took=quick)) <= quick


def test_a_broker_that_is_off_by_more_than_sweeps_allow_for_is_not_followed() -> None:
    clock = CommonClock(ManualClock(NOW))
    assert stamped(clock, timedelta(minutes=6)) == timedelta()


@asynccontextmanager
async def opened(kafka: KafkaServer, folder: Path, ahead: timedelta) -> AsyncGenerator[CommonClock]:
    clock = CommonClock(SkewedClock(ahead))
    broker = KafkaBroker(kafka_options(kafka.plain, folder), clock)
    try:
        await broker.start([JOBS])
        await broker.ping()
        yield clock
    finally:
        await broker.close()


@pytest.mark.system
async def test_who_starts_two_minutes_ahead_or_behind_knows_it_before_it_sets_a_deadline(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    skew, true = timedelta(minutes=2), SystemClock()
    async with opened(kafka, tmp_path, skew) as fast, opened(kafka, tmp_path, -skew) as slow:
        for clock in (fast, slow):
            assert abs(clock.now() - true.now()) < timedelta(seconds=10)
        # What one issues the other takes, at once.
        issuer, verifier = AccessTokens(bytes(32), fast), AccessTokens(bytes(32), slow)
        for one, other in ((issuer, verifier), (verifier, issuer)):
            token = one.issue(member_id=PLATFORM, company_id=PLATFORM, session_id=PLATFORM)
            assert other.verify(token).member_id == PLATFORM
