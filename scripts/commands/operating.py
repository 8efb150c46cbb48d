"""`faceid lag`, `deadletters`, `pause`, `resume`: for an operator, beside the service while it runs."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import typer

from scripts.commands.terminal import AsJson, Exit, Output, Sure, complain, sure

deadletters = typer.Typer(help="What was given up: look, try again, let go.", no_args_is_help=True)

_ID_HELP = "The job's id; of a message that can't be read, TOPIC/PARTITION/OFFSET."
LetterId = Annotated[str, typer.Argument(help=_ID_HELP)]
SomeLetter = Annotated[str | None, typer.Argument(help=_ID_HELP)]
Cause = Annotated[str | None, typer.Option(help="All that died of this.")]
Every = Annotated[bool, typer.Option("--all", help="All there are.")]

_COLUMNS = ("id", "company_id", "topic", "cause", "attempts", "died_at", "expires_at")
_OUTCOMES = ("id", "company_id", "outcome")


def lag(as_json: AsJson = None) -> None:
    """How far the workers are behind: messages that wait or are at work, and the age of the oldest."""
    Output(as_json).listing(_operate("lag"), ("topic", "group", "messages", "oldest_s"))


@deadletters.command("list")
def list_letters(cause: Cause = None, as_json: AsJson = None) -> None:
    """Jobs that were given up in the last week, and messages that could not be read, oldest first."""
    Output(as_json).listing(_operate("dead_letters", cause=cause), _COLUMNS)


@deadletters.command("show")
def show_letter(letter_id: LetterId, as_json: AsJson = None) -> None:
    """One of them, with its job and where its message lies; never what the message holds."""
    (row,) = _operate("dead_letter", id=letter_id)
    Output(as_json).record(row)


@deadletters.command("replay")
def replay_letters(
    letter_id: SomeLetter = None, cause: Cause = None, every: Every = False, as_json: AsJson = None
) -> None:
    """Put jobs, or messages that a newer version can read, into the queue again. The exit status is 1 if one
    of them could not be."""
    rows = _operate("replay", **_which(letter_id, cause, every=every))
    Output(as_json).listing(rows, _OUTCOMES)
    raise typer.Exit(Exit.OK if all(row["outcome"] == "queued" for row in rows) else Exit.NO)


@deadletters.command("drop")
def drop_letters(
    letter_id: SomeLetter = None,
    cause: Cause = None,
    every: Every = False,
    yes: Sure = False,
    as_json: AsJson = None,
) -> None:
    """Let go of jobs for good, their photos and keys are deleted; of messages, too."""
    which = _which(letter_id, cause, every=every)
    sure("They can't be looked into or tried again afterwards.", yes)
    Output(as_json).listing(_operate("drop", **which), _OUTCOMES)


def pause(
    company_id: Annotated[
        UUID | None, typer.Argument(help="The company's id; without one those that are paused are listed.")
    ] = None,
    as_json: AsJson = None,
) -> None:
    """Take no photos of a company for now. What it reads and deletes works, and what it sent before is
    done."""
    output = Output(as_json)
    if company_id is None:
        output.listing(_operate("paused"), ("company_id", "paused_at"))
        return
    _switch(company_id, output, paused=True)


def resume(
    company_id: Annotated[UUID, typer.Argument(help="The company's id.")], as_json: AsJson = None
) -> None:
    """Take photos of a company again."""
    _switch(company_id, Output(as_json), paused=False)


def _switch(company_id: UUID, output: Output, *, paused: bool) -> None:
    (row,) = _operate("pause", company_id=str(company_id), paused=paused)
    words = "is paused" if paused else "is not paused"
    output.said(f"{company_id} {words}{'' if row['changed'] else ', as before'}.", row)


def _which(letter_id: str | None, cause: str | None, *, every: bool) -> dict[str, str]:
    """What is meant: exactly one letter, those of one cause, or all."""
    if sum((letter_id is not None, cause is not None, every)) != 1:
        complain("Say which: an id, --cause, or --all.")
        raise typer.Exit(2)
    if letter_id is not None:
        return {"id": letter_id}
    return {} if cause is None else {"cause": cause}


def _operate(operation: str, **asked: Any) -> Sequence[dict[str, Any]]:
    from scripts.operations import OperationRefused

    try:
        return asyncio.run(_done(operation, asked))
    except OperationRefused as refusal:
        complain(str(refusal))
        raise typer.Exit(Exit.REFUSED) from None


async def _done(operation: str, asked: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Do it on the stores; where a service on this machine has them to itself, it does it."""
    from infra.folder_lock import FolderInUse
    from infra.settings import Settings
    from scripts.commands.upkeep import opened
    from scripts.control import ask_running
    from scripts.operations import OPERATIONS

    try:
        async with opened() as stores:
            return await OPERATIONS[operation](stores.services, asked)
    except FolderInUse:
        rows = await ask_running(Settings(), operation, asked)
        if rows is None:
            raise
        return rows
