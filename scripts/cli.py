"""The `faceid` command. Each command imports what it needs when it is called: torch alone takes seconds."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from scripts.commands import history, moving, operating, organisation, people, recognition, session, upkeep
from scripts.commands.terminal import AsJson, Exit, Output, ProfileName, complain

if TYPE_CHECKING:
    from infra.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,
)
bench = typer.Typer(help="Measure speed and accuracy on this machine.", no_args_is_help=True)
app.add_typer(bench, name="bench")
app.command()(session.register)
app.command()(session.login)
app.command()(session.logout)
app.command()(session.password)
app.command()(recognition.enroll)
app.command()(recognition.search)
app.command()(recognition.verify)
app.command()(recognition.detect)
app.add_typer(people.users, name="users")
app.add_typer(people.faces, name="faces")
app.add_typer(history.jobs, name="jobs")
app.command()(history.logs)
app.add_typer(organisation.members, name="members")
app.add_typer(organisation.keys, name="keys")
app.add_typer(organisation.company, name="company")
app.command()(upkeep.reindex)
app.command()(upkeep.reconcile)
app.command()(operating.lag)
app.add_typer(operating.deadletters, name="deadletters")
app.command()(operating.pause)
app.command()(operating.resume)
app.command()(moving.migrate)

LfwFolder = Annotated[
    Path,
    typer.Option(
        "--lfw", help="Folder of LFW deep-funneled with the View-1 lists.", exists=True, file_okay=False
    ),
]

_FACES_LOADED = 20_000

BenchFolder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where to put what is measured (else the cache). It is removed again."),
]


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"faceid {version('faceid-api')}")
        raise typer.Exit


@app.callback()
def faceid(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Face recognition server: who is this?"""


@app.command()
def setup(
    weights_only: Annotated[
        bool, typer.Option(help="Only the weights, as an image of workers has them.")
    ] = False,
) -> None:
    """Make whatever the service needs and does not have: weights, keys, certificate; on servers topics,
    collections, bucket and index."""
    from scripts.setup import prepare_model, set_up

    if weights_only:
        stamp = prepare_model(_settings(), _say).stamp
        _say(f"ready: model {stamp.id} {stamp.version}")
        return
    done = set_up(_settings(), _say)
    _say(f"ready: model {done.model.stamp.id} {done.model.stamp.version}")
    if done.ca_file is not None:
        _say(f"clients trust {done.ca_file}")


@app.command()
def serve() -> None:
    """Run everything on this machine: HTTPS, workers, index and stores, in one go."""
    from scripts.serve import serve as run

    raise typer.Exit(asyncio.run(run(_settings(), _say)))


@app.command()
def ingress() -> None:
    """Run HTTPS alone, beside workers in other processes; as many as you like."""
    from scripts.serve_ingress import serve_ingress as run

    raise typer.Exit(asyncio.run(run(_settings(), _say)))


@app.command()
def worker(
    roles: Annotated[
        str | None,
        typer.Option(help="What it does, by comma: face, registrar, relay, retention. All, unless told."),
    ] = None,
) -> None:
    """Run what works on jobs, beside ingresses in other processes; as many as you like."""
    from infra.settings import Settings
    from scripts.serve_worker import serve_worker as run

    settings = _settings() if roles is None else Settings.model_validate({"roles": roles})
    raise typer.Exit(asyncio.run(run(settings, _say)))


@app.command()
def demo() -> None:
    """Set everything up and show the service at work with real photos."""
    from scripts.demo import demo as run

    raise typer.Exit(run(_settings(), Console()))


@app.command()
def config(as_json: AsJson = None) -> None:
    """Print the settings, and where each came from."""
    from scripts.configuration import print_settings

    print_settings(_settings(), Output(as_json))


@app.command()
def calibrate(lfw: LfwFolder) -> None:
    """Measure what scores mean for the model, from View-1 of LFW, and store it with the model."""
    from scripts.calibrate import calibrate_command

    calibrate_command(lfw, _settings())


@bench.command()
def accuracy(lfw: LfwFolder, as_json: AsJson = None) -> None:
    """View-1 test pairs of LFW, failures to detect counted as errors."""
    from scripts.bench.accuracy import accuracy_command

    accuracy_command(lfw, _settings(), as_json=Output(as_json).as_json)


@bench.command()
def speed(
    searches: Annotated[int, typer.Option(help="How many searches to time.", min=5)] = 60,
    as_json: AsJson = None,
) -> None:
    """Where a search's time goes, beside a plain facenet-pytorch script on the same photo."""
    from scripts.bench.speed import speed_command

    speed_command(_settings(), Console(), searches=searches, as_json=Output(as_json).as_json)


@bench.command()
def scale(
    faces: Annotated[int, typer.Option(help="How many synthetic faces.", min=1000)] = 1_000_000,
    probes: Annotated[int, typer.Option(help="How many searches in each company.", min=10)] = 2000,
    seed: Annotated[int, typer.Option(help="Another seed, other faces.", min=0)] = 1,
    folder: BenchFolder = None,
    as_json: AsJson = None,
) -> None:
    """The embedded index with a million synthetic faces: time, memory, recall."""
    from scripts.bench.scale import scale_command

    scale_command(
        _settings(),
        Console(),
        faces=faces,
        probes=probes,
        seed=seed,
        folder=folder,
        as_json=Output(as_json).as_json,
    )


@bench.command()
def load(
    faces: Annotated[
        int | None,
        typer.Option(
            help=f"How many synthetic faces; {_FACES_LOADED:,} unless told. For a service of its own only.",
            min=100,
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(envvar="FACEID_URL", help="Measure this running service, as a client of it.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", dir_okay=False, exists=True, help="The authority to trust there.")
    ] = None,
    profile: ProfileName = None,
    seconds: Annotated[
        float, typer.Option(help="For how long searches arrive; all else is in proportion.", min=3)
    ] = 60,
    seed: Annotated[int, typer.Option(help="Other faces, other arrivals.", min=0)] = 1,
    folder: BenchFolder = None,
    as_json: AsJson = None,
) -> None:
    """Whole HTTPS searches at four fifths of what a service can do, and what it can do.

    Of a service of its own, with many synthetic faces; or, with --url or FACEID_URL, of one that is running,
    with the API key in FACEID_API_KEY or the log-in that is kept. There four people are enrolled in your
    company and erased again; the searches stay in its access log.
    """
    from scripts.bench.load import NewService, RunningService, load_command

    if url is not None and (faces is not None or folder is not None):
        raise typer.BadParameter("--faces and --folder are for a service of its own, without --url")
    target = RunningService(url, ca, profile) if url else NewService(faces or _FACES_LOADED, folder)
    load_command(_settings(), Console(), target, seconds=seconds, seed=seed, as_json=Output(as_json).as_json)


def main() -> None:
    """The command's entry point: what a person can mend is told in one line, without a traceback."""
    try:
        app()
    except Exception as error:
        status = _told(error)
        if status is None:
            raise
        sys.exit(status)


def _told(error: Exception) -> int | None:
    """Tell of a fault that a person can mend, and answer the exit status; None for any other."""

    from pydantic import ValidationError

    from infra.settings_file import faults_of
    from scripts.faults import FAULTS
    from scripts.sharing import NotShared

    if isinstance(error, ValidationError):
        for fault in faults_of(error):
            complain(fault)
        return 2
    if isinstance(error, NotShared):
        complain(str(error))
        return 2
    if isinstance(error, FAULTS):
        complain(str(error))
        return Exit.REFUSED
    if isinstance(error, OSError) and error.filename is not None:
        complain(f"{error.filename}: {error.strerror}. Name another file, or put that right.")
        return Exit.REFUSED
    return None


def _settings() -> "Settings":
    from infra.settings import Settings

    return Settings()


def _say(words: str) -> None:
    typer.echo(words)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
