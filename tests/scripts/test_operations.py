"""What an operator asks of a running service: over its socket, with real stores and no model."""

import json
import stat
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import typer

from infra.clock import ManualClock
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.opening import open_services
from infra.repositories.collections import AUDIT_EVENTS, DEAD_LETTERS
from infra.services import Services
from infra.settings import Settings
from infra.submission import Submitter
from schemas.jobs import JobRecord
from schemas.letters import DeadLetter
from schemas.messages import SearchFields
from schemas.recognition import ModelStamp
from scripts.commands.operating import deadletters, lag, pause, resume
from scripts.control import ask_running, socket_path, taking_operations
from scripts.operations import OperationRefused
from tests.calibration import CALIBRATION


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FACEID_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("FACEID_MASTER_KEY_FILE", str(tmp_path / "keys" / "master.key"))
    monkeypatch.setenv("FACEID_KEY_STORE", f"file:{tmp_path / 'keys' / 'companies'}")
    return Settings()


@pytest.fixture
async def services(settings: Settings, clock: ManualClock) -> AsyncGenerator[Services]:
    """A running service's, as far as commands see it."""
    master = MasterKey.create(settings.master_key_file)
    await open_key_store(settings.key_store).initialise(master.fingerprint)
    stamp = ModelStamp(id="test", version="1")
    async with (
        open_services(settings, stamp, CALIBRATION, clock) as services,
        taking_operations(services),
    ):
        yield services


@pytest.fixture
async def company_id(services: Services) -> UUID:
    company, _ = await services.accounts.register(
        company_name="Acme", email="ada@example.org", password_hash="", model=services.model
    )
    return UUID(company.id)


async def searched(services: Services, company_id: UUID) -> JobRecord:
    return await services.submission.search(
        Submitter(company_id, "member:test", "correlation", reply_to=None),
        b"a photo",
        SearchFields(),
        deadline_at=services.clock.now() + timedelta(seconds=60),
        synced=False,
    )


async def letter(services: Services, company_id: UUID, job: JobRecord) -> DeadLetter:
    now = services.clock.now()
    letter = DeadLetter(
        id=job.id,
        topic="search",
        cause="compute_died",
        attempts=3,
        wrapped_key=job.wrapped_key,
        blob_key=None,
        mentions=(),
        died_at=now,
        expires_at=now + timedelta(days=7),
    )
    await services.documents.insert(DEAD_LETTERS, company_id, letter)
    return letter


async def test_only_the_owner_of_the_folder_is_heard(services: Services) -> None:
    path = socket_path(services.settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_lag_by_topic(services: Services, company_id: UUID, clock: ManualClock) -> None:
    await searched(services, company_id)
    clock.advance(90)
    await searched(services, company_id)
    rows = await ask_running(services.settings, "lag", {})
    assert rows == [
        {"topic": "search", "group": "workers", "messages": 2, "oldest_s": 90.0},
        {"topic": "enroll", "group": "workers", "messages": 0, "oldest_s": None},
        {"topic": "templates", "group": "workers", "messages": 0, "oldest_s": None},
    ]


async def test_letters_are_listed_and_shown_without_what_they_hold(
    services: Services, company_id: UUID
) -> None:
    job = await searched(services, company_id)
    await letter(services, company_id, job)
    (row,) = await ask_running(services.settings, "dead_letters", {"cause": "compute_died"}) or []
    assert (row["job_id"], row["company_id"], row["attempts"]) == (job.id, str(company_id), 3)
    assert await ask_running(services.settings, "dead_letters", {"cause": "compute_hung"}) == []
    (shown,) = await ask_running(services.settings, "dead_letter", {"id": job.id}) or []
    assert (shown["kind"], shown["state"], shown["message"]) == ("search", "queued", None)
    assert "key" not in json.dumps(shown)
    (dropped,) = await ask_running(services.settings, "drop", {}) or []
    assert dropped["outcome"] == "dropped"
    with pytest.raises(OperationRefused):
        await ask_running(services.settings, "dead_letter", {"id": job.id})


async def test_a_pause_is_in_the_companys_record_and_its_trail(services: Services, company_id: UUID) -> None:
    async def switched(paused: bool) -> bool:
        asked = {"company_id": str(company_id), "paused": paused}
        (row,) = await ask_running(services.settings, "pause", asked) or []
        return row["changed"]

    assert await switched(True)
    assert not await switched(True)
    (row,) = await ask_running(services.settings, "paused", {}) or []
    assert row["company_id"] == str(company_id)
    assert await switched(False)
    assert await ask_running(services.settings, "paused", {}) == []
    events = (await services.documents.find(AUDIT_EVENTS, company_id, order_by=("occurred_at",))).items
    assert sorted(event.type for event in events)[-2:] == ["company.paused", "company.resumed"]
    with pytest.raises(OperationRefused, match="no company"):
        await ask_running(services.settings, "pause", {"company_id": str(UUID(int=1)), "paused": True})


async def test_nobody_listens_without_a_service(settings: Settings) -> None:
    assert await ask_running(settings, "lag", {}) is None


async def test_an_operation_that_the_service_lacks(services: Services) -> None:
    with pytest.raises(OperationRefused):
        await ask_running(services.settings, "fly", {})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """What the commands ask, answered by nothing but a row of their own words."""
    calls: list[tuple[str, dict[str, str]]] = []

    def operate(operation: str, **given: str) -> list[dict[str, object]]:
        calls.append((operation, given))
        return [{"outcome": "queued", "changed": True, **given}]

    monkeypatch.setattr("scripts.commands.operating._operate", operate)
    return calls


def test_the_commands_ask_for_what_they_say(
    asked: list[tuple[str, dict[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()
    app.add_typer(deadletters, name="deadletters")
    for command in (lag, pause, resume):
        app.command()(command)
    job_id = str(UUID(int=7))
    expected: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {
        ("lag",): ("lag", {}),
        ("deadletters", "list"): ("dead_letters", {"cause": None}),
        ("deadletters", "show", job_id): ("dead_letter", {"id": job_id}),
        ("deadletters", "replay", job_id): ("replay", {"id": job_id}),
        ("deadletters", "replay", "--cause", "poison"): ("replay", {"cause": "poison"}),
        ("deadletters", "replay", "--all"): ("replay", {}),
        ("deadletters", "drop", "--all", "--yes"): ("drop", {}),
        ("pause",): ("paused", {}),
        ("pause", job_id): ("pause", {"company_id": job_id, "paused": True}),
        ("resume", job_id): ("pause", {"company_id": job_id, "paused": False}),
    }
    for words, call in expected.items():
        with pytest.raises(SystemExit) as ended:
            app(words)
        assert (ended.value.code, asked.pop()) == (0, call)
    for words in (("replay",), ("replay", job_id, "--all"), ("drop", "--all")):
        with pytest.raises(SystemExit) as ended:
            app(("deadletters", *words))
        assert (ended.value.code, asked) == (2, [])
