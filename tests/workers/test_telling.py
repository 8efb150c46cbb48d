"""What the log says of a job: every line names it, and no failure goes untold."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import pytest
import structlog
from structlog.contextvars import merge_contextvars

from infra.broker.delivery import UNEXPECTED, UNREADABLE, Done, Failed, Outcome, StoreDown
from infra.broker.doorbell import Doorbell
from infra.broker.port import Delivery
from infra.broker.window import Window
from infra.documents.port import DocumentsUnavailable
from schemas.jobs import JobState
from tests.workers.conftest import Workshop, person
from workers.ending import failed
from workers.face import FaceStage
from workers.face_worker import FaceWorker
from workers.registrar_worker import RegistrarWorker


class OneBatch:
    """A window that holds one batch, and what became of it."""

    def __init__(self, *deliveries: Delivery) -> None:
        self.batch = list(deliveries)
        self.outcomes: list[Outcome] = []
        self.stopping = asyncio.Event()

    async def next_batch(self, _messages: int, _size: int) -> list[Delivery]:
        return self.take()

    def take(self, *_: int) -> list[Delivery]:
        batch, self.batch = self.batch, []
        return batch

    async def settle(self, deliveries: Sequence[Delivery], outcome: Outcome) -> None:
        self.outcomes += [outcome] * len(deliveries)
        self.stopping.set()


async def decide(workshop: Workshop, *deliveries: Delivery) -> list[Outcome]:
    window = OneBatch(*deliveries)
    await RegistrarWorker(workshop.registrar, cast(Window, window), workshop.services).run()
    return window.outcomes


async def test_a_jobs_end_is_one_line_that_names_it(workshop: Workshop) -> None:
    job, delivery = await workshop.enrolment("u-1", person(1))
    with structlog.testing.capture_logs(processors=[merge_contextvars]) as lines:
        assert await decide(workshop, delivery) == [Done()]
        await workshop.finisher.finish(workshop.company_id, job, failed(job))
    about = {"correlation_id": "correlation", "job_id": job.id, "company_id": workshop.company_id}
    ended = {"event": "job_ended", "kind": "enroll", "state": "succeeded", "outcome": "enrolled"}
    assert lines == [{**about, **ended, "code": None, "log_level": "info"}], "who loses the race ends nothing"
    assert (await workshop.ended(job)).state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("error", "event", "outcome"),
    [
        (ZeroDivisionError("secret"), "message_failed", Failed(UNEXPECTED)),
        (DocumentsUnavailable("the disk is full"), "store_unavailable", StoreDown()),
    ],
)
async def test_a_failure_is_told_of_each_job_that_it_holds_up(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, error: Exception, event: str, outcome: Outcome
) -> None:
    async def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr(type(workshop.services.accounts), "company", broken)
    jobs, deliveries = zip(*[await workshop.enrolment(f"u-{n}", person(n)) for n in (1, 2)], strict=True)
    with structlog.testing.capture_logs(processors=[merge_contextvars]) as lines:
        assert await decide(workshop, *deliveries) == [outcome] * 2
    assert [(line["event"], line["correlation_id"], str(line["job_id"])) for line in lines] == [
        (event, "correlation", job.id) for job in jobs
    ]
    assert {line["exc_info"] for line in lines} == {error}


async def test_a_photo_that_cannot_be_opened_is_told_with_its_job(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        services = workshop.services

        async def open(self, delivery: Delivery) -> None:
            raise ZeroDivisionError(delivery.topic)

    job, delivery = await workshop.enrolment("u-1", person(1))
    window, bell = OneBatch(delivery), Doorbell()
    worker = FaceWorker(
        cast(FaceStage, Broken()), cast(Window, window), cast(Window, window), bell, window.stopping
    )
    with structlog.testing.capture_logs(processors=[merge_contextvars]) as lines:
        await worker.run()
    (line,) = lines
    assert (line["event"], line["correlation_id"], line["job_id"]) == (
        "message_failed",
        "correlation",
        UUID(job.id),
    )
    assert window.outcomes == [Failed(UNEXPECTED)]


async def test_what_is_no_message_is_told_without_a_job(workshop: Workshop) -> None:
    with structlog.testing.capture_logs(processors=[merge_contextvars]) as lines:
        assert await decide(workshop, workshop.delivery(b"nothing")) == [Failed(UNREADABLE)]
    (line,) = lines
    assert (line["event"], line["cause"], "job_id" in line) == ("message_failed", UNREADABLE, False)
