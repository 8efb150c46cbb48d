"""The service as an operator meets it: started, refused, hung, stopped, and looked at on disk."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from faceid_client import AsyncClient
from scripts.photos import Photos
from scripts.service_process import ServiceNotStarted, ServiceProcess
from tests.system.photos import variants

pytestmark = pytest.mark.system

ACCOUNT = {
    "company_name": "Planted Company",
    "email": "planted@example.com",
    "password": "a planted long password",
}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    service = ServiceProcess(
        tmp_path / "home", tmp_path / "serve.log", extra_environment={"FACEID_INDEX_TIMEOUT_S": "2"}
    )
    await service.start()
    yield service
    await service.stop()


async def test_a_second_service_on_the_same_folder_is_refused(
    service: ServiceProcess, tmp_path: Path
) -> None:
    second = ServiceProcess(service.home, tmp_path / "second.log")
    with pytest.raises(ServiceNotStarted):
        await second.start()
    said = (tmp_path / "second.log").read_text()
    assert f"is in use by another faceid process (process {service.pid})" in said
    assert "Traceback" not in said
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        assert (await api.call("GET", "/healthz")).status == 200


async def test_it_is_ready_with_model_and_index_and_trusted_only_by_its_own_authority(
    service: ServiceProcess,
) -> None:
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        ready = await api.call("GET", "/readyz")
    assert ready.status == 200
    assert {"model", "index"} <= set(ready.body["parts"])
    public_trust = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    async with aiohttp.ClientSession(connector=public_trust) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{service.url}/healthz")


async def test_an_index_that_hangs_is_replaced_and_the_search_answered(
    service: ServiceProcess, photos: Photos
) -> None:
    photo = photos.stranger.read_bytes()
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        await api.call("POST", "/register", json=ACCOUNT)
        await api.login(ACCOUNT["email"], ACCOUNT["password"])
        assert (await api.call("POST", "/face/enroll", photo=photo, fields={"user_id": "u-1"})).status == 201
        (index,) = [
            child
            for child in psutil.Process(service.pid).children(recursive=True)
            if any(part.endswith("edge_child") for part in child.cmdline())
        ]
        index.send_signal(signal.SIGSTOP)
        found = await api.call("POST", "/face/search", photo=photo, headers={"Prefer": "wait=50"})
        assert (found.status, found.body["matched"]) == (200, True)
        assert not index.is_running()


async def test_sigterm_leaves_nothing_undone_and_nobody_behind(
    service: ServiceProcess, photos: Photos
) -> None:
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        await api.call("POST", "/register", json=ACCOUNT)
        await api.login(ACCOUNT["email"], ACCOUNT["password"])
        jobs: list[str] = []
        for photo in variants(photos.people["Joe Biden"][0], 5):
            accepted = await api.call(
                "POST",
                "/face/enroll",
                photo=photo,
                fields={"user_id": "u-1"},
                headers={"Prefer": "respond-async"},
            )
            assert accepted.status == 202
            jobs.append(accepted.body["job_id"])
        tree = psutil.Process(service.pid).children(recursive=True)
        assert len(tree) >= 2
        token = api.token
    assert await service.stop() == 0
    _, left = await asyncio.to_thread(psutil.wait_procs, tree, timeout=5)
    assert not left
    await service.start()
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        api.token = token
        for job in jobs:
            done = await api.call("GET", f"/jobs/{job}", params={"wait": "50"})
            assert done.body["state"] == "succeeded"


async def test_nothing_that_names_or_shows_a_person_lies_readable_on_disk(
    service: ServiceProcess, photos: Photos, tmp_path: Path
) -> None:
    photo = photos.people["Joe Biden"][0].read_bytes()
    person: dict[str, str | list[str]] = {
        "user_id": "planted-user-id",
        "full_name": "Planted Name",
        "reference_id": "planted-reference",
        "metadata": '{"note": "planted metadata"}',
    }
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        await api.call("POST", "/register", json=ACCOUNT)
        await api.login(ACCOUNT["email"], ACCOUNT["password"])
        tokens = {"access_token": api.token or "", "refresh_token": api.refresh_token or ""}
        assert (await api.call("POST", "/face/enroll", photo=photo, fields=person)).status == 201
        located: dict[str, str | list[str]] = {"location": '{"site": "planted site"}'}
        assert (await api.call("POST", "/face/search", photo=photo, fields=located)).body["matched"]
    await service.stop()

    planted = {
        "name": b"Planted Name",
        "user id": b"planted-user-id",
        "reference": b"planted-reference",
        "metadata": b"planted metadata",
        "e-mail": ACCOUNT["email"].encode(),
        "company": ACCOUNT["company_name"].encode(),
        "password": ACCOUNT["password"].encode(),
        "site": b"planted site",
        "access token": tokens["access_token"].encode(),
        "refresh token": tokens["refresh_token"].encode(),
        "photo": photo[1000:1032],
    }
    assert _found_on_disk(tmp_path, planted) == []


def _found_on_disk(folder: Path, planted: dict[str, bytes]) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    return [
        f"{what} in {path.relative_to(folder)}"
        for path in files
        for what, text in planted.items()
        if text in path.read_bytes()
    ]
