"""`faceid jobs` and `faceid logs`: what was asked, and what came of it."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from scripts.commands.terminal import AsJson, Limit, Output, ProfileName, server

jobs = typer.Typer(help="What was submitted.", no_args_is_help=True)

_CSV, _NDJSON = "text/csv", "application/x-ndjson"


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
        Output(as_json).record(faceid.job(job_id, wait_s=wait_s).raw)


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
    limit: Limit = 50,
    profile: ProfileName = None,
    as_json: AsJson = None,
) -> None:
    """The access log: every attempt at recognition, newest first."""
    which = {"user_id": user_id, "from": since, "to": until, "outcome": outcome, "device_id": device}
    given = {name: value for name, value in which.items() if value is not None}
    if csv is not None or ndjson is not None:
        for target, accept in ((csv, _CSV), (ndjson, _NDJSON)):
            if target is not None:
                _export(given, target, accept, profile)
        return
    columns = ("time", "kind", "outcome", "user_id", "code", "confidence", "location")
    with server(profile) as faceid:
        Output(as_json).listing(faceid.pages("/logs", given), columns, limit=limit)


def _export(which: dict[str, str], target: Path, accept: str, profile: str | None) -> None:
    """As the server sends it, piece by piece: a file of any size takes no memory."""
    with contextlib.ExitStack() as stack:
        to_output = str(target) == "-"
        file = sys.stdout.buffer if to_output else stack.enter_context(target.open("wb"))
        faceid = stack.enter_context(server(profile))
        for piece in faceid.stream("/logs", params=which, accept=accept):
            file.write(piece)
