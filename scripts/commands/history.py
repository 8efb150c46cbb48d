"""`faceid jobs` and `faceid logs`: what was asked, and what came of it."""

import contextlib
import csv as csv_text
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from scripts.commands.terminal import AsJson, Limit, Output, ProfileName, server

if TYPE_CHECKING:
    from faceid_client import Client

jobs = typer.Typer(help="What was submitted.", no_args_is_help=True)

_PART: Final = 5000
"""So many lines of an export are fetched at a time."""


@jobs.command("list")
def list_jobs(
    state: Annotated[
        str | None, typer.Option(help="queued, succeeded, failed, expired or superseded.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="enroll, search, verify, detect, delete_face, erase_user or regroup_user."),
    ] = None,
    correlation_id: Annotated[str | None, typer.Option(help="Only of this correlation id.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="A date or time, inclusive.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="A date or time, exclusive.")] = None,
    limit: Limit = 50,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """List jobs, newest first."""
    which = {"state": state, "kind": kind, "correlation_id": correlation_id, "from": since, "to": until}
    columns = ("job_id", "kind", "state", "created_at", "ended_at")
    with server(profile) as faceid:
        Output(as_json).listing(faceid.pages("/jobs", which), columns, limit=limit)


@jobs.command("show")
def show_job(
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID")],
    wait_s: Annotated[float, typer.Option(help="Seconds to wait for its end.", min=0)] = 0,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """Show a job and what came of it."""
    with server(profile) as faceid:
        Output(as_json).record(faceid.job(job_id, wait_s=wait_s))


def logs(
    user_id: Annotated[str | None, typer.Option("--user-id", help="Only of this user.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="A date or time, inclusive.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="A date or time, exclusive.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="matched, not_matched, enrolled, refused, failed or expired.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Only of this device.")] = None,
    csv: Annotated[
        Path | None,
        typer.Option(dir_okay=False, allow_dash=True, help="Write all of it to this file as CSV."),
    ] = None,
    ndjson: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, allow_dash=True, help="Write all of it to this file, a line of JSON each."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="At most so many, the newest first; 0 for all. Unless told, 50, and all in a file.", min=0
        ),
    ] = None,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """The access log: every attempt at recognition, newest first."""
    which = {"user_id": user_id, "from": since, "to": until, "outcome": outcome, "device_id": device}
    given = {name: value for name, value in which.items() if value is not None}
    with server(profile) as faceid:
        for target, format_ in ((csv, _CSV), (ndjson, _NDJSON)):
            if target is not None:
                _export(faceid, given, target, format_, limit or None)
        if csv is None and ndjson is None:
            columns = ("time", "kind", "outcome", "user_id", "code", "confidence", "location")
            items = faceid.pages("/logs", given)
            Output(as_json).listing(items, columns, limit=50 if limit is None else limit)


@dataclass(frozen=True)
class _Format:
    """How the server writes entries as lines."""

    content_type: str
    head_lines: int
    read: Callable[[Iterable[str]], Iterable[Mapping[str, Any]]]


_CSV: Final = _Format("text/csv", 1, csv_text.DictReader)
_NDJSON: Final = _Format("application/x-ndjson", 0, lambda lines: map(json.loads, lines))


def _export(
    faceid: "Client", which: Mapping[str, str], target: Path, format_: _Format, limit: int | None
) -> None:
    parts = _parts(faceid, which, format_, limit)
    first = next(parts)  # Before the file is opened: a refusal must not cost what the file holds.
    with contextlib.ExitStack() as stack:
        file = sys.stdout.buffer if str(target) == "-" else stack.enter_context(target.open("wb"))
        for part in chain([first], parts):
            file.write(part)


def _parts(
    faceid: "Client", which: Mapping[str, str], format_: _Format, limit: int | None
) -> Iterator[bytes]:
    """As the server writes it, each part from the last line of the one before on: a file of any size takes
    little memory, and a connection that is lost costs one part, which is fetched again."""
    params, left, head_lines = dict(which), limit, 0
    while left != 0:
        params["limit"] = str(min(_PART, left or _PART))
        headers = {"Accept": format_.content_type}
        part: bytes = faceid.request("GET", "/logs", params=params, headers=headers).body or b""
        yield part.split(b"\n", head_lines)[-1]
        lines = list(format_.read(io.StringIO(part.decode(), newline="")))
        if len(lines) < int(params["limit"]):
            return
        params["cursor"] = lines[-1]["cursor"]
        left = None if left is None else left - len(lines)
        head_lines = format_.head_lines
