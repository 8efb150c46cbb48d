"""How the commands speak: tables and colour to a person, JSON to a program, and an exit status to both."""

import json
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

if TYPE_CHECKING:
    from faceid_client import Client

T = TypeVar("T")

AsJson = Annotated[
    bool | None,
    typer.Option("--json/--no-json", help="Print JSON; by itself when the output is no terminal."),
]
ProfileName = Annotated[
    str | None, typer.Option("--profile", envvar="FACEID_PROFILE", help="Which log-in to use.")
]
Sure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether that is meant.")]
Limit = Annotated[int, typer.Option(help="At most so many, the newest first; 0 for all.", min=0)]


_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


class Exit(IntEnum):
    """What the exit status says. 2 is a wrong command line, 130 an interruption."""

    OK = 0
    NO = 1
    """The answer is no: nobody was matched, or something is out of step."""
    REFUSED = 3
    UNREACHABLE = 4
    NOT_LOGGED_IN = 5


class Output:
    """Where a command's answer goes."""

    def __init__(self, as_json: bool | None) -> None:
        self.as_json = not sys.stdout.isatty() if as_json is None else as_json
        self.console = Console(highlight=False)

    def document(self, body: Any) -> None:
        """One answer as JSON: indented for eyes, on a line for programs."""
        if sys.stdout.isatty():
            self.console.print_json(json.dumps(body))
        else:
            typer.echo(json.dumps(body))

    def record(self, body: Mapping[str, Any], then: str = "") -> None:
        """One thing, by its fields, and what a person does with it. A value is never cut or broken into
        lines: a secret is shown once, and is for copying."""
        if self.as_json:
            self.document(body)
            return
        fields = list(_flat(body))
        width = max(len(name) for name, _ in fields)
        for name, value in fields:
            gap = " " * (width - len(name) + 2)
            self.console.print(f" [dim]{name}[/]{gap}{escape(_text(value))}", soft_wrap=True)
        if then:
            self.console.print(then, soft_wrap=True)

    def listing(self, items: Iterable[Mapping[str, Any]], columns: Sequence[str], *, limit: int = 0) -> None:
        """Many things: a line of JSON each as they come, or a table of these fields."""
        table = Table()
        for column in columns:
            table.add_column(column, overflow="fold")  # an id is for copying: all of it
        for number, item in enumerate(items, start=1):
            if self.as_json:
                typer.echo(json.dumps(item))
            else:
                table.add_row(*(escape(_text(item.get(column))) for column in columns))
            if number == limit:
                break
        if not self.as_json:
            self.console.print(table if table.row_count else "[dim]none[/]")

    def said(self, words: str, body: Mapping[str, Any] | None = None) -> None:
        """That something was done; a program reads `body`, or nothing but the exit status."""
        if not self.as_json:
            self.console.print(words)
        elif body is not None:
            self.document(body)


def complain(words: str) -> None:
    """What is wrong, on standard error."""
    Console(stderr=True, highlight=False).print(words, style="red", soft_wrap=True, markup=False)


def sure(question: str, already: bool) -> None:
    """Ask before something is lost; a program must say `--yes`."""
    if already:
        return
    if not sys.stdin.isatty():
        complain(f"{question} Say --yes if that is meant.")
        raise typer.Exit(2)
    typer.confirm(question, abort=True)


@contextmanager
def server(profile: str | None) -> Generator["Client"]:
    """The server that the person is logged in to. What goes wrong is told with what to do about it."""
    from faceid_client import Client
    from scripts.profiles import Profile, ProfileClient

    with explained(), Client.over(ProfileClient(Profile.find(profile))) as client:
        yield client


@contextmanager
def explained() -> Generator[None]:
    """Tell errors of the client in a person's words, and leave with their exit status."""
    from faceid_client import FaceIdError

    try:
        yield
    except FaceIdError as error:
        words, status = explain(error)
        complain(words)
        raise typer.Exit(status) from None


def explain(error: Exception) -> tuple[str, int]:
    """What happened and what to do, and the exit status that says so."""
    from faceid_client import ApiError, JobPending, NotReachable, NotTrusted
    from scripts.profiles import NotLoggedIn

    match error:
        case NotLoggedIn():
            return f"{error}\nLog in with: faceid login", Exit.NOT_LOGGED_IN
        case NotTrusted():
            return (
                f"{error}\nSay which authority to trust: faceid login --ca FILE, or FACEID_CA_FILE "
                "(`faceid serve` names the file when it starts).",
                Exit.UNREACHABLE,
            )
        case NotReachable():
            return (
                f"{error}\nIs the service running (`faceid serve`), and the address right?",
                Exit.UNREACHABLE,
            )
        case JobPending():
            return f"{error}\nSee what comes of it: faceid jobs show {error.job_id}", Exit.UNREACHABLE
        case ApiError():
            return _refusal(error)
        case _:
            return str(error), Exit.REFUSED


def _refusal(error: Any) -> tuple[str, int]:
    lines = [f"{error.title} ({error.code})."]
    if error.detail:
        lines.append(error.detail)
    lines += [f"  {one['field']}: {one['message']}" for one in error.errors]
    if not error.problem:
        lines.append("FaceID does not answer so. Is there a proxy before it, and the address right?")
    elif error.status >= 500:
        lines.append(f"Correlation id: {error.correlation_id}")
    if error.code in {"unauthenticated", "invalid_token", "token_expired"}:
        lines.append("Log in with: faceid login")
    if error.status == 401:
        return "\n".join(lines), Exit.NOT_LOGGED_IN
    return "\n".join(lines), Exit.UNREACHABLE if error.status in {429, 503} else Exit.REFUSED


def one_by_one(items: Sequence[T], doing: str, work: Callable[[T], None]) -> None:
    """Do it for each, with a progress bar where a person waits for several."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=len(items) < 2 or not console.is_terminal) as bar:
        task = bar.add_task(doing, total=len(items))
        for item in items:
            work(item)
            bar.advance(task)


def _flat(body: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """The fields, those of objects under dotted names."""
    for name, value in body.items():
        if isinstance(value, dict) and value:
            yield from _flat(cast("dict[str, Any]", value), f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
        case dict():
            return json.dumps(value)
        case str() if _TIME.match(value):
            return value[:19].replace("T", " ")
        case _:
            return str(value)
