"""What the commands tell a person, and that it says what to do."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceid_client import ApiError
from scripts.cli import app
from scripts.commands.terminal import Exit, Output, explain
from tests.ingress.conftest import Client as Ingress
from tests.ingress.conftest import jpeg
from tests.ingress.worker import Worker


def test_an_answer_of_something_before_the_server_is_told_apart() -> None:
    words, status = explain(ApiError(502, {}, b"<html>Bad Gateway</html>"))
    assert "proxy" in words
    assert "Correlation id" not in words
    assert status == Exit.REFUSED


def test_a_fault_of_the_server_names_what_the_operator_needs() -> None:
    words, _ = explain(ApiError(500, {}, {"code": "internal", "title": "Wrong", "correlation_id": "c-1"}))
    assert "Correlation id: c-1" in words


def test_a_secret_is_shown_whole_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    secret = "fid_" + "x" * 93
    Output(False).record({"name": "[door]", "api_key": secret, "groups": None}, "Keep it.")
    shown = capsys.readouterr().out.splitlines()
    assert shown == [" name     [door]", f" api_key  {secret}", " groups   ", "Keep it."]


@pytest.mark.system
async def test_who_has_not_waited_long_enough_is_told_how_to_ask_again(
    logged_in: Ingress, worker: Worker, tmp_path: Path
) -> None:
    worker.hold = True
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    words = ["search", str(tmp_path / "photo.jpg"), "--wait-s", "1"]
    ended = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert ended.exit_code == Exit.UNREACHABLE
    job = await worker.job(1)
    assert f"faceid jobs show {job.id}" in ended.stderr
