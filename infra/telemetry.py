"""Logging: JSON lines to stderr, or coloured ones where a person watches; each line says which job it
belongs to.

Ours goes through structlog: `get_logger(__name__).info("job_ended", outcome=…)`, the event a constant in
snake case, everything that varies a keyword. What libraries log takes the same way out, from warnings up,
without the values that they would fill in. Every line passes `infra.redaction`.
"""

import logging
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from infra.clock import Clock, SystemClock
from infra.redaction import describe_exception, redact, redact_text

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

Level = Literal["debug", "info", "warning", "error"]

_OURS: Final = ("schemas", "infra", "workers", "ingress", "scripts")
_WRITTEN_HERE: Final = frozenset({"timestamp", "level", "logger", "exception"})
"""Keys whose values this module makes itself."""


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; `name` is its `__name__`."""
    return structlog.stdlib.get_logger(name)


@contextmanager
def log_context(
    *, correlation_id: str | None = None, job_id: UUID | str | None = None, company_id: UUID | None = None
) -> Generator[None]:
    """Put these into every line that is logged within, by this task and those that it starts."""
    given = {"correlation_id": correlation_id, "job_id": job_id, "company_id": company_id}
    with bound_contextvars(**{name: value for name, value in given.items() if value is not None}):
        yield


def configure_logging(
    level: Level = "info",
    *,
    stream: TextIO | None = None,
    console: bool | None = None,
    clock: Clock | None = None,
) -> None:
    """Send every log line of the process to `stream` (stderr). Call it once, first.

    `console` chooses lines for people over JSON; by default, if the stream is a terminal.
    """
    output = sys.stderr if stream is None else stream
    for_people = output.isatty() if console is None else console
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _Timestamp(clock or SystemClock()),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    last: list[Processor] = (
        [_exception_as_text, structlog.dev.ConsoleRenderer(colors=output.isatty())]
        if for_people
        else [structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _template_only],
            processors=[
                _describe_exception,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _redact,
                *last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for package in _OURS:
        logging.getLogger(package).setLevel(level.upper())
    # Otherwise a line that can't be written is printed raw, arguments and all.
    logging.raiseExceptions = False


def log_uncaught() -> None:
    """Log what nobody caught in the process, its threads and its finalisers, instead of printing it raw."""
    log = get_logger(__name__)

    def process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("uncaught_exception", exc_info=error)

    def thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            log.critical("uncaught_exception_in_thread", exc_info=args.exc_value)

    def finaliser(args: "UnraisableHookArgs") -> None:
        log.error("uncaught_exception_in_finaliser", exc_info=args.exc_value)

    sys.excepthook = process
    threading.excepthook = thread
    sys.unraisablehook = finaliser


class _Timestamp:
    """Adds the time, RFC 3339 in UTC to the millisecond."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        line["timestamp"] = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return line


def _template_only(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Of a library's line keep what its author wrote, not what was filled in.

    The first line of that only: asyncio appends the repr of tasks and exceptions below.
    """
    record = cast(logging.LogRecord, line["_record"])
    line["event"] = str(record.msg).partition("\n")[0]
    return line


def _describe_exception(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    given: Any = line.pop("exc_info", None)
    if given is True:
        given = sys.exception()
    error = cast(tuple[Any, ...], given)[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        line["exception"] = describe_exception(error)
    return line


def _redact(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    return {
        name: value
        if name in _WRITTEN_HERE
        else redact_text(str(value))
        if name == "event"
        else redact(name, value)
        for name, value in line.items()
    }


def _exception_as_text(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    if "exception" in line:
        line["exception"] = "\n".join(_as_text(line["exception"]))
    return line


def _as_text(described: dict[str, Any], indent: str = "") -> Iterator[str]:
    details = (described[name] for name in ("code", "errno", "message") if name in described)
    yield f"{indent}{': '.join((described['type'], *details))}"
    yield from (f"{indent}    {frame}" for frame in described["frames"])
    for inner in (*described.get("exceptions", ()), *filter(None, [described.get("cause")])):
        yield from _as_text(inner, f"{indent}  ")
