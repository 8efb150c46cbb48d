import asyncio
import gc
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import structlog

from infra.clock import ManualClock
from infra.keys.errors import CompanyKeyGone
from infra.telemetry import configure_logging, get_logger, log_context, log_uncaught

COMPANY, JOB = UUID(int=1), UUID(int=2)


class Output(io.StringIO):
    """What was logged; `lines` are its JSON lines."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def untouched() -> Iterator[None]:
    """Put the process's logging and hooks back as they were."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    levels = {
        name: logging.getLogger(name).level for name in ("schemas", "infra", "workers", "ingress", "scripts")
    }
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.reset_defaults()


@pytest.fixture
def output(untouched: None) -> Output:
    stream = Output()
    configure_logging(stream=stream, clock=ManualClock(datetime(2026, 3, 1, 9, 30, 0, 123_456, tzinfo=UTC)))
    return stream


def test_a_line_is_json_with_time_level_and_logger(output: Output) -> None:
    get_logger("workers.face").info("job_ended", duration_ms=12.5)
    assert output.lines == [
        {
            "timestamp": "2026-03-01T09:30:00.123Z",
            "level": "info",
            "logger": "workers.face",
            "event": "job_ended",
            "duration_ms": 12.5,
        }
    ]


async def test_lines_say_which_job_they_belong_to_in_each_task_its_own(output: Output) -> None:
    async def work(correlation_id: str) -> None:
        with log_context(correlation_id=correlation_id, job_id=JOB, company_id=COMPANY):
            await asyncio.sleep(0)
            get_logger("workers.face").info("working")
        get_logger("workers.face").info("done")

    await asyncio.gather(work("one"), work("two"))
    working = [line for line in output.lines if line["event"] == "working"]
    assert {line["correlation_id"] for line in working} == {"one", "two"}
    assert {(line["job_id"], line["company_id"]) for line in working} == {(str(JOB), str(COMPANY))}
    assert not any("job_id" in line for line in output.lines if line["event"] == "done")


def test_secrets_and_people_are_masked_by_name_and_by_looks(output: Output) -> None:
    get_logger("ingress.auth").warning(
        "refused for ann@example.org", password="hunter2", detail="Bearer abcdefgh12"
    )
    (line,) = output.lines
    assert line["password"] == line["detail"] == "[redacted]"
    assert "ann" not in output.getvalue()


def test_an_exception_is_described_without_data(output: Output) -> None:
    try:
        name = "Zoë"
        int(name)
    except ValueError:
        get_logger("workers.face").exception("job_failed")
    (line,) = output.lines
    assert line["level"] == "error"
    assert line["exception"]["type"] == "ValueError"
    assert line["exception"]["frames"][0].startswith("tests/infra/test_telemetry.py:")
    assert "Zoë" not in output.getvalue()


def test_a_librarys_line_keeps_its_template_and_loses_its_values(output: Output) -> None:
    log = logging.getLogger("botocore.parsers")
    log.warning("Response body %s of %s", "Zoë", "ann@example.org", extra={"person": "Zoë"}, stack_info=True)
    log.info("chatter")
    (line,) = output.lines
    assert line["event"] == "Response body %s of %s"
    assert line["logger"] == "botocore.parsers"
    assert "Zoë" not in output.getvalue()


async def test_a_task_that_nobody_awaited_is_logged_without_its_message(output: Output) -> None:
    async def fail() -> None:
        raise ValueError("Zoë")

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    (line,) = output.lines
    assert line["event"] == "Task exception was never retrieved"
    assert line["exception"]["type"] == "ValueError"
    assert "Zoë" not in output.getvalue()


def test_the_level_counts_for_us_and_libraries_speak_from_warnings_up(untouched: None) -> None:
    stream = Output()
    configure_logging("debug", stream=stream)
    get_logger("workers.face").debug("ours")
    logging.getLogger("aiohttp.access").info("GET /users/zoe")
    configure_logging("error", stream=stream)
    get_logger("workers.face").warning("ours_again")
    assert [line["event"] for line in stream.lines] == ["ours"]


def test_a_person_gets_lines_of_text_with_the_same_care(untouched: None) -> None:
    stream = Output()
    configure_logging(stream=stream, console=True)
    error = CompanyKeyGone(COMPANY)
    error.__cause__ = ValueError("Zoë")
    get_logger("workers.face").error("job_failed", email="ann@example.org", exc_info=error)
    text = stream.getvalue()
    assert "job_failed" in text
    assert f"infra.keys.errors.CompanyKeyGone: company_key_gone: Company {COMPANY} has no key." in text
    assert "  ValueError\n" in text
    assert "Zoë" not in text
    assert "ann@" not in text


def test_a_line_that_cannot_be_written_is_not_printed_raw(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    output.close()
    get_logger("workers.face").info("job_ended", detail="Zoë")
    assert capsys.readouterr().err == ""


def test_what_nobody_caught_is_logged_without_its_message(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    log_uncaught()
    error = ValueError("Zoë")
    sys.excepthook(ValueError, error, None)

    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()

    class Untidy:
        def __del__(self) -> None:
            raise error

    Untidy()
    gc.collect()
    assert [line["event"] for line in output.lines] == [
        "uncaught_exception",
        "uncaught_exception_in_thread",
        "uncaught_exception_in_finaliser",
    ]
    assert all(line["exception"]["type"] == "ValueError" for line in output.lines)
    assert "Zoë" not in output.getvalue() + capsys.readouterr().err


def test_an_interrupt_is_no_error(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    log_uncaught()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert output.lines == []
    assert "KeyboardInterrupt" in capsys.readouterr().err
