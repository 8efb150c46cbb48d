"""`faceid logs --csv` and `--ndjson`: files of the access log, fetched part by part."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scripts.cli import app
from scripts.commands import history
from tests.ingress.conftest import Client as Ingress
from tests.ingress.worker import Worker

pytestmark = pytest.mark.system

ATTEMPTS = 4


@pytest.fixture(autouse=True)
async def searched(logged_in: Ingress, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has searched, and fetches two lines at a time."""
    monkeypatch.setattr(history, "_PART", 2)
    for _ in range(ATTEMPTS):
        await logged_in.search(location='{"site": "hall, \\"left\\""}')


async def logs(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["logs", *words])


@pytest.mark.parametrize(("option", "accept"), [("--csv", "text/csv"), ("--ndjson", "application/x-ndjson")])
async def test_the_parts_make_up_what_the_server_writes_as_one(
    logged_in: Ingress, tmp_path: Path, option: str, accept: str
) -> None:
    target = tmp_path / "log"
    for limit in (None, 1, 3, ATTEMPTS, ATTEMPTS + 1):
        given = [] if limit is None else ["--limit", str(limit)]
        assert (await logs(option, str(target), "--outcome", "not_matched", *given)).exit_code == 0
        params = {} if limit is None else {"limit": str(limit)}
        whole = await logged_in.call(
            "GET", "/logs", params={"outcome": "not_matched", **params}, headers={"Accept": accept}
        )
        assert target.read_bytes() == whole.content
        assert len(whole.content.splitlines()) == min(limit or ATTEMPTS, ATTEMPTS) + (option == "--csv")


async def test_a_log_without_entries_is_a_file_without_lines(tmp_path: Path) -> None:
    for option, lines in (("--csv", 1), ("--ndjson", 0)):
        assert (await logs(option, str(tmp_path / "log"), "--outcome", "failed")).exit_code == 0
        assert len((tmp_path / "log").read_bytes().splitlines()) == lines


async def test_a_refusal_leaves_what_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("last year's")
    refused = await logs("--csv", str(tmp_path / "log"), "--from", "yesterday")
    assert (refused.exit_code, "neither a date" in refused.stderr) == (3, True)
    assert (tmp_path / "log").read_text() == "last year's"
