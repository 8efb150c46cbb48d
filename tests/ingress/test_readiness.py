"""GET /readyz with stores that really do not work: each is named, and back again once it does."""

import sqlite3

import pytest

from tests.ingress.conftest import Client


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress.readiness._STORE_TIMEOUT_S", 0.3)
    monkeypatch.setattr("ingress.readiness._KEPT_S", 0)


async def down(client: Client) -> list[str]:
    """What is not ready, by name."""
    answer = await client.call("GET", "/readyz")
    assert (answer.status == 503) is not answer.body["ready"]
    return [name for name, state in answer.body["parts"].items() if state != "ready"]


async def test_a_database_file_that_somebody_holds(stranger: Client) -> None:
    """Documents and broker are one file on the embedded stores, and so fail together."""
    assert await down(stranger) == []
    holder = sqlite3.connect(stranger.services.settings.data_dir / "faceid.sqlite")
    holder.execute("BEGIN IMMEDIATE")
    assert await down(stranger) == ["documents", "broker"]
    holder.rollback()
    holder.close()
    assert await down(stranger) == []


async def test_a_folder_of_objects_that_is_none(stranger: Client) -> None:
    folder = stranger.services.settings.data_dir / "objects"
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("a file where the folder should be")
    assert await down(stranger) == ["objects"]
    folder.unlink()
    aside.rename(folder)
    assert await down(stranger) == []


async def test_what_only_the_host_sees(stranger: Client) -> None:
    for part in ("model", "index"):
        stranger.parts.update({"model": "ready", "index": "ready", part: "not answering"})
        assert await down(stranger) == [part]
