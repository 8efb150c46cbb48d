"""Access-log entries as pages of JSON, and as lines of NDJSON and CSV (RFC 4180)."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from infra.keys.company import CompanyKey
from infra.repositories.access_log import opened_details
from schemas.api.logs import LogItem, LogLine
from schemas.jobs import JobRecord, Outcome

_LOCATION: Final = ("device_id", "site", "latitude", "longitude")
_COLUMNS: Final = tuple(
    column for name in LogLine.model_fields for column in (_LOCATION if name == "location" else (name,))
)

# Spreadsheets take a cell that begins with one of these for a formula, or skip it and take what follows.
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")

CursorOf = Callable[[JobRecord], str]


@dataclass(frozen=True)
class LogFormat:
    """A way to write entries as lines: what comes before the first, and each page of them."""

    content_type: str
    extension: str
    head: bytes
    page: Callable[[Iterator[LogLine]], bytes]


def log_items(jobs: Sequence[JobRecord], key: CompanyKey, *, with_nearest: bool) -> Iterator[LogItem]:
    """Entries with their seals opened. A page of them takes tens of milliseconds: call it in a thread."""
    for job in jobs:
        yield LogItem(**_fields(job, key, with_nearest=with_nearest))


def log_lines(
    jobs: Sequence[JobRecord], key: CompanyKey, cursor_of: CursorOf, *, with_nearest: bool
) -> Iterator[LogLine]:
    """The same, as lines of an export."""
    for job in jobs:
        yield LogLine(**_fields(job, key, with_nearest=with_nearest), cursor=cursor_of(job))


def _fields(job: JobRecord, key: CompanyKey, *, with_nearest: bool) -> dict[str, Any]:
    details = opened_details(job, key)
    return {
        "time": job.created_at,
        "job_id": UUID(job.id),
        "kind": job.kind,
        "outcome": job.outcome or Outcome.FAILED,
        "code": job.code,
        "user_id": details.user_id,
        "other_user_ids": list(details.other_user_ids),
        "nearest_user_id": details.nearest_user_id if with_nearest else None,
        "score": job.score,
        "similarity": job.similarity,
        "confidence": job.confidence_percent,
        "threshold": job.threshold_percent,
        "location": details.location,
        "photo_hash": job.photo_hash,
        "credential": job.submitted_by,
        "correlation_id": job.correlation_id,
    }


def _ndjson(lines: Iterator[LogLine]) -> bytes:
    return b"".join(line.model_dump_json().encode() + b"\n" for line in lines)


def _csv(lines: Iterator[LogLine]) -> bytes:
    return _csv_rows(_cells(line.model_dump(mode="json")) for line in lines)


def _csv_rows(rows: Iterator[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cells(line: dict[str, Any]) -> list[Any]:
    values: dict[str, Any] = {**line, **(line["location"] or {})}
    return [_cell(values.get(column)) for column in _COLUMNS]


def _cell(value: Any) -> Any:
    """A number as it is, a list as JSON (nothing where it is empty), and text that can be no formula."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False) if value else None
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA_STARTS else value


FORMATS: Final = {
    "text/csv": LogFormat(
        "text/csv; charset=utf-8; header=present", "csv", _csv_rows(iter([_COLUMNS])), _csv
    ),
    "application/x-ndjson": LogFormat("application/x-ndjson", "ndjson", b"", _ndjson),
}
