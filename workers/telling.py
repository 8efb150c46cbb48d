"""What the log says of messages: each line names the job that it is about, and no failure goes untold."""

from collections.abc import Generator
from contextlib import contextmanager

import structlog

from infra.broker.delivery import Failed, Outcome, outcome_of
from infra.broker.port import Delivery
from infra.telemetry import log_context
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


def told_outcome(error: Exception) -> Outcome:
    """What an error raised by a handler means for its message; the log hears of it at once."""
    outcome = outcome_of(error)
    if isinstance(outcome, Failed):
        _log.error("message_failed", cause=outcome.cause, exc_info=error)
    else:
        _log.warning("store_unavailable", exc_info=error)
    return outcome
