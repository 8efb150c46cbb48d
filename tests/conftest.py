"""What every test may use, and what none may do: leave work behind, or be skipped in silence.

`--strict-skips` (for continuous integration) fails the run for a skip whose reason does not begin with one of
`ACCEPTED_SKIPS`: there a test may go unrun for want of a server or a device, and for nothing else.
"""

import asyncio
import contextlib
import inspect
import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from infra.settings import PROJECT_ROOT, Settings
from scripts.photos import Photos, prepare_photos
from tests.servers import kafka as kafka_server
from tests.servers import versitygw
from tests.servers.engine import or_skip
from tests.servers.kafka import KafkaServer
from tests.servers.versitygw import S3Server
from tests.stores import Servers, running_servers

ACCEPTED_SKIPS = ("no container engine", "no GPU", "no Qdrant server", "no small disk")

_EXIT_S = 5
"""How long a process that is told to end with the run may take to do so."""


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def photos() -> Photos:
    """Real photos, fetched once and kept below the cache folder."""
    return prepare_photos(Settings().cache_dir)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server. Every test takes a bucket of its own; none stops the server."""
    or_skip(versitygw.fetch)
    with versitygw.given_or_running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A real Kafka broker. Every test has topics of its own prefix; none stops the server."""
    or_skip(kafka_server.fetch)
    with kafka_server.running(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="session")
def real_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Real servers of every kind, which live as long as the run."""
    with running_servers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fail an asynchronous test whose loop still runs something after its other fixtures were torn down."""
    yield
    await asyncio.sleep(0)  # a task whose last step is due may take it
    left = [task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}]
    assert not left, f"tasks left running: {', '.join(left)}"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Guard each asynchronous test with `no_task_left`; the others need no event loop made for it."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.fixturenames.insert(0, "no_task_left")  # set up first, so torn down last


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--strict-skips`."""
    parser.addoption(
        "--stores",
        choices=("embedded", "distributed", "both"),
        default="both",
        help="what the HTTPS API's tests run on; `both`: embedded all, distributed those marked on_servers",
    )
    parser.addoption("--strict-skips", action="store_true", help="fail when a test is skipped without need")


def pytest_configure(config: pytest.Config) -> None:
    """Watch this run."""
    config.pluginmanager.register(_Run(strict_skips=bool(config.getoption("--strict-skips"))))


class _Run:
    """What a run skipped, left out and left behind."""

    def __init__(self, *, strict_skips: bool) -> None:
        self._strict_skips = strict_skips
        self._skips: Counter[str] = Counter()
        self._left_out = 0
        self._left_behind: list[str] = []
        # Children inherit it, so even one whose parent was killed is known as this run's.
        self._mark = os.environ["PYTEST_RUN_ID"] = uuid.uuid4().hex

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._count_skip(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._count_skip(report)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._left_out += len(items)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._end_processes()
        failed = self._left_behind or (self._strict_skips and self._unaccepted())
        if failed and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        terminalreporter.section("skipped, and why")
        for reason, count in self._skips.most_common():
            write(f"{count} skipped: {reason}")
        if not self._skips:
            write("nothing skipped")
        if self._left_out:
            write(f"{self._left_out} not asked for (the -m, -k or --deselect of this run)")
        if self._strict_skips and (unaccepted := self._unaccepted()):
            write(f"FAILED: skipped without need: {'; '.join(unaccepted)}", red=True)
        for process in self._left_behind:
            write(f"FAILED: left behind: {process}", red=True)

    def _count_skip(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self._skips[reason.removeprefix("Skipped: ")] += 1

    def _unaccepted(self) -> list[str]:
        return [reason for reason in self._skips if not reason.startswith(ACCEPTED_SKIPS)]

    def _end_processes(self) -> None:
        """Note the processes that outlive the tests, and kill them."""
        _, left = psutil.wait_procs(self._processes(), timeout=_EXIT_S)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._left_behind.append(f"process {process.pid}, {process.name()}")
                process.kill()

    def _processes(self) -> list[psutil.Process]:
        found = set(psutil.Process().children(recursive=True))
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("PYTEST_RUN_ID") == self._mark:
                    found.add(process)
        found.discard(psutil.Process())
        return list(found)
