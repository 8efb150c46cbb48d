"""What the log says of messages: each line names the job that it is about, and no failure goes untold."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime

import structlog

from infra.broker.delivery import Failed, Outcome, outcome_of
from infra.broker.port import Delivery
from infra.telemetry import log_context
from infra.tracing import Tracing
from schemas.messages import MessageUnreadable, decode_message

_log = structlog.get_logger(__name__)


@contextmanager
def message_context(delivery: Delivery) -> Generator[None]:
    """Put the message's correlation id, job and company into every line that is logged within."""
    try:
        header, _, _ = decode_message(delivery.value)
    except MessageUnreadable:
        yield
        return
    with log_context(
        correlation_id=header.correlation_id, job_id=header.job_id, company_id=header.company_id
    ):
        yield


def traced(tracing: Tracing, name: str, *batch: Delivery) -> AbstractContextManager[None]:
    """The block as a span: under the one that sent the message; of several, linked to each."""
    if not tracing.is_on:
        return nullcontext()
    senders = [_sender(delivery) for delivery in batch]
    if len(senders) == 1:
        return tracing.span(name, parent=senders[0])
    return tracing.span(name, links=senders, attributes={"faceid.batch.jobs": len(batch)})


def trace_queue(tracing: Tracing, delivery: Delivery, now: datetime) -> None:
    """How long the message has waited in its topic, as a span."""
    if tracing.is_on:
        tracing.past("queue", delivery.appended_at, now, parent=_sender(delivery))


def _sender(delivery: Delivery) -> str | None:
    try:
        return decode_message(delivery.value)[0].traceparent
    except MessageUnreadable:
        return None


def told_outcome(error: Exception) -> Outcome:
    """What an error raised by a handler means for its message; the log hears of it at once."""
    outcome = outcome_of(error)
    if isinstance(outcome, Failed):
        _log.error("message_failed", cause=outcome.cause, exc_info=error)
    else:
        _log.warning("store_unavailable", exc_info=error)
    return outcome
