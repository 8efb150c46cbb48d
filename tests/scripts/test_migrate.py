"""`faceid migrate` as an operator types it, between two folders of one machine."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from infra.clock import SystemClock
from infra.folder_lock import FolderLock
from infra.keys.company import CompanyKeys
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.opening import open_services
from infra.repositories.collections import COMPANIES
from infra.services import Services
from infra.settings import PROJECT_ROOT, Settings
from infra.vectors.edge import EdgeVectors
from tests.calibration import CALIBRATION
from tests.workers.conftest import COLLECTION, DIMENSIONS, MODEL, assembled
from tests.workers.migrating import contents, furnish

pytestmark = pytest.mark.system

WRITES_MORE = 6


@dataclass
class Site:
    """An installation in a folder."""

    folder: Path
    master: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "FACEID_DATA_DIR": str(self.folder / "data"),
            "FACEID_KEY_STORE": f"file:{self.folder / 'keys'}",
            "FACEID_MASTER_KEY_FILE": str(self.master),
        }

    @property
    def file(self) -> Path:
        """Its settings, as the other one's operator is given them."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / "site.env"
        lines = [f"{name}={value}" for name, value in self.environment.items()]
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Services]:
        values = {name.removeprefix("FACEID_").lower(): value for name, value in self.environment.items()}
        async with open_services(Settings(**values), MODEL, CALIBRATION, SystemClock()) as services:  # type: ignore[arg-type]
            yield services


@dataclass
class Ended:
    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


async def run(site: Site, *words: str) -> Ended:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FACEID_")}
    path = os.pathsep.join([str(PROJECT_ROOT), str(PROJECT_ROOT / "scripts" / "client")])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        env={**kept, **site.environment, "PYTHONPATH": path},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=PROJECT_ROOT,
    )
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def migrate(site: Site, *words: str | Path) -> Ended:
    return await run(site, "scripts.cli", "migrate", *map(str, words))


@pytest.fixture
async def source(tmp_path: Path) -> Site:
    """A site with a company in it."""
    site = Site(tmp_path / "source", tmp_path / "master" / "master.key")
    store = open_key_store(f"file:{site.folder / 'keys'}")
    await CompanyKeys(MasterKey.create(site.master), store, SystemClock()).initialise()
    vectors = EdgeVectors(tmp_path / "index", DIMENSIONS, COLLECTION)
    await vectors.start()
    try:
        async with site.opened() as services:
            company, _ = await services.accounts.register(
                company_name="Example Ltd", email="admin@example.com", password_hash="", model=MODEL
            )
            await furnish(assembled(services, vectors, UUID(company.id)))
    finally:
        await vectors.close()
    return site


async def content(site: Site) -> tuple[UUID | None, Any]:
    """The one company of a site, and what it has."""
    async with site.opened() as services:
        companies = await services.documents.companies(COMPANIES)
        if not companies:
            return None, None
        (company_id,) = companies
        return company_id, await contents(services, company_id)


async def test_it_is_killed_anywhere_and_goes_on_there_and_back(source: Site, tmp_path: Path) -> None:
    target, again = (Site(tmp_path / name, source.master) for name in ("target", "again"))
    company_id, before = await content(source)
    kills = 0
    while True:
        dying = ("tests.scripts.dying_migration", str(target.file), str(WRITES_MORE * kills))
        ended = await run(source, *dying)
        if ended.status != -signal.SIGKILL:
            break
        kills += 1
        assert await content(target) == (None, None)
        checked = await migrate(source, "--to", target.file, "--check") if kills == 1 else None
        assert checked is None or checked.status == 1, checked.err
    assert (ended.status, kills > 3) == (0, True), ended.err
    done = await migrate(source, "--to", target.file)
    assert done.status == 0, done.err
    assert await content(target) == (company_id, before)
    checked = await migrate(target, "--from", source.file, "--check")
    assert checked.status == 0, checked.out
    assert all(row["same"] for row in checked.rows)
    faces = next(row for row in checked.rows if row["what"] == "faces")
    assert faces["company_id"] == str(company_id)
    assert faces["source"] == faces["target"]
    assert faces["source"]["count"] == 4
    back = await migrate(target, "--to", again.file, "--company", str(company_id))
    assert back.status == 0, back.err
    assert await content(again) == (company_id, before)


async def test_what_can_not_be_is_told_in_a_line(source: Site, tmp_path: Path) -> None:
    target = Site(tmp_path / "target", source.master)
    MasterKey.create(tmp_path / "other" / "master.key")
    other = Site(tmp_path / "other-target", tmp_path / "other" / "master.key")
    unknown = str(UUID(int=5))
    for words, status, said in (
        ((), 2, "Say one of --to FILE and --from FILE"),
        (("--to", target.file, "--from", target.file), 2, "Say one of"),
        (("--to", tmp_path / "nothing.env"), 3, "there is no file"),
        (("--to", source.file), 3, "in the same place"),
        (("--to", other.file), 3, "master keys differ"),
        (("--to", target.file, "--company", unknown), 3, f"no company {unknown}"),
        (("--to", target.file, "--replace"), 2, "--yes"),
    ):
        ended = await migrate(source, *words)
        assert (ended.status, said in ended.err) == (status, True), (words, ended.err)
        assert "Traceback" not in ended.err
    held = FolderLock(source.folder / "data")
    try:
        ended = await migrate(source, "--to", target.file)
    finally:
        held.close()
    assert ended.status == 3
    assert "is in use by another faceid process" in ended.err
