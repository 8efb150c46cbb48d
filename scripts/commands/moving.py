"""`faceid migrate`: moving up from one machine to many, and back."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from scripts.commands.terminal import AsJson, Exit, Output, Sure, complain, sure

if TYPE_CHECKING:
    from workers.migrating.comparing import Compared


def migrate(
    to: Annotated[
        Path | None, typer.Option("--to", help="Settings of the installation that is copied into.")
    ] = None,
    origin: Annotated[
        Path | None, typer.Option("--from", help="Settings of the installation that is copied from.")
    ] = None,
    company: Annotated[UUID | None, typer.Option(help="Only this company.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare both, and write nothing.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give up what the target has of the same companies.")
    ] = False,
    yes: Sure = False,
    as_json: AsJson = None,
) -> None:
    """Copy one company, or all, from one installation into another, and check that both have the same.

    One of the two is that of this environment, the other that of a settings file: lines FACEID_…=…. The
    services of both must be stopped. What was cut off goes on when it is run again. The exit status is 1 if
    something differs, and then nothing was opened in the target."""
    from infra.broker.delivery import STORE_DOWN

    if (to is None) == (origin is None):
        complain("Say one of --to FILE and --from FILE: the other side is that of the environment.")
        raise typer.Exit(2)
    if replace and not check:
        sure("What the target has of these companies is lost.", yes)
    try:
        rows = asyncio.run(_migrate(to, origin, company, check=check, replace=replace))
    except STORE_DOWN as error:
        complain(f"A store does not answer: {error}.\nRun it again: it goes on where it was.")
        raise typer.Exit(Exit.UNREACHABLE) from None
    _tell(rows, Output(as_json))
    if not all(row.is_same for row in rows):
        complain(
            "They differ."
            if check
            else "They differ, and what was copied now was not opened in the target. Run it again."
        )
        raise typer.Exit(Exit.NO)


async def _migrate(
    to: Path | None, origin: Path | None, company: UUID | None, *, check: bool, replace: bool
) -> "list[Compared]":
    from infra.settings import Settings
    from infra.settings_file import read_settings
    from infra.telemetry import configure_logging
    from scripts.migration import Asked, migrate

    configure_logging("warning")
    source = Settings() if origin is None else read_settings(origin)
    target = Settings() if to is None else read_settings(to)
    asked = Asked(source, target, company, replace=replace, only_check=check)
    with _bar() as bar:
        return await migrate(asked, bar)


def _tell(rows: "list[Compared]", output: Output) -> None:
    columns = ("company_id", "what", "source", "target", "same")
    output.listing((_row(row, as_json=output.as_json) for row in rows), columns)


def _row(row: "Compared", *, as_json: bool) -> dict[str, Any]:
    sides = {"source": row.source, "target": row.target}
    told: dict[str, Any] = {
        name: {"count": side.count, "sha256": side.sha256} if as_json else side.count
        for name, side in sides.items()
    }
    of_one = {"company_id": None if row.company_id is None else str(row.company_id), "what": row.what}
    return of_one | told | {"differing": row.differing, "same": row.is_same}


class _Bar:
    """A bar on a terminal, a new one for each thing that is done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, doing: str, total: int | None) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(doing, total=total)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._progress.advance(self._task, count)


@contextmanager
def _bar() -> Generator[_Bar]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield _Bar(progress)
