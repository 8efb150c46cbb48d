"""What a header says to readers of other versions."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from schemas.jobs import JobKind
from schemas.messages import MessageHeader, MessageUnreadable, decode_message, encode_message, job_named

HEADER = MessageHeader(
    type="search",
    company_id=UUID(int=1),
    job_id=UUID(int=2),
    kind=JobKind.SEARCH,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    correlation_id="a-call",
    reply_to=None,
)
BEFORE_TRACES = {
    *("schema_version", "type", "company_id", "job_id", "kind", "created_at", "correlation_id", "reply_to")
}


def encoded(header: MessageHeader) -> bytes:
    return encode_message(header, lambda _: b"sealed")


def changed(message: bytes, **fields: object) -> bytes:
    """The message as a later version might write it."""
    length = int.from_bytes(message[4:8], "big")
    text = json.dumps(json.loads(message[8 : 8 + length]) | fields).encode()
    return message[:4] + len(text).to_bytes(4, "big") + text + message[8 + length :]


def test_without_traces_a_header_is_what_it_was_before_there_were_any() -> None:
    message = encoded(HEADER)
    length = int.from_bytes(message[4:8], "big")
    assert json.loads(message[8 : 8 + length]).keys() == BEFORE_TRACES
    assert decode_message(message)[0] == HEADER


def test_a_span_travels_in_the_header() -> None:
    header = HEADER.model_copy(update={"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
    assert decode_message(encoded(header))[0] == header


def test_what_a_later_version_adds_is_passed_over_but_a_new_form_is_not() -> None:
    message = encoded(HEADER)
    header, associated, sealed = decode_message(changed(message, colour="green"))
    assert (header, sealed) == (HEADER, b"sealed")
    assert b"green" in associated, "what was written is what was sealed with"
    with pytest.raises(MessageUnreadable):
        decode_message(changed(message, schema_version=2))


def test_of_whatever_version_it_is_a_message_names_its_job_or_nobody() -> None:
    message = encoded(HEADER)
    later = changed(message, schema_version=2, kind="a new one", created_at="otherwise")
    assert job_named(message) == job_named(later) == (HEADER.company_id, HEADER.job_id)
    for nobodys in (b"", b"garbage", message[:40], changed(message, job_id="x"), b"FID2" + message[4:]):
        assert job_named(nobodys) is None
