"""A company from its first member to its end, in a real service, and what is then left of it on disk."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from faceid_client import AsyncClient, Reply
from infra.clock import SystemClock
from infra.opening import open_services, open_vectors
from infra.repositories.collections import ALL, COMPANIES, LOGINS
from infra.settings import Settings
from schemas.ids import PLATFORM
from scripts.photos import Photos
from scripts.service_process import ServiceProcess
from workers.recognition.model import calibrated_model
from workers.recognition.weights import find_weights

pytestmark = pytest.mark.system

ADMIN = {
    "company_name": "Short Lived Ltd",
    "email": "admin@example.com",
    "password": "a long enough password",
}
STAFF = {"email": "staff@example.com", "password": "another long password"}
_DEADLINE_S = 60


async def test_a_company_lives_and_ends(tmp_path: Path, photos: Photos) -> None:
    service = ServiceProcess(tmp_path / "home", tmp_path / "serve.log")
    await service.start()
    try:
        company_id = await _lived(service, photos)
        async with asyncio.timeout(_DEADLINE_S):
            await _cleared(service.log_file, company_id)
    finally:
        assert await service.stop() == 0
    assert await _left_of(service, company_id) == {}
    names = [path.name for path in (tmp_path / "home").rglob("*")]
    assert names
    assert not [name for name in names if str(company_id) in name], "neither key nor blob of the company"


async def _lived(service: ServiceProcess, photos: Photos) -> UUID:
    """Everything that a company does with members and keys; answers its id when it has been deleted."""
    async with (
        AsyncClient(service.url, ca_file=service.ca_file) as admin,
        AsyncClient(service.url, ca_file=service.ca_file) as staff,
        AsyncClient(service.url, ca_file=service.ca_file) as door,
    ):
        registered = await admin.call("POST", "/register", json=ADMIN)
        await admin.login(ADMIN["email"], ADMIN["password"])
        await admin.call("PATCH", "/company", json={"policies": {"retention": {"keep_photos": True}}})
        invited = await admin.call("POST", "/members", json={"email": STAFF["email"], "role": "staff"})
        token = {"token": invited.body["set_password_token"], "new_password": STAFF["password"]}
        assert (await staff.call("POST", "/me/password", json=token)).status == 204
        await staff.login(STAFF["email"], STAFF["password"])
        first, second, *_ = photos.people["Joe Biden"] + photos.people["Barack Obama"]
        for user_id, photo in (("u-1", first), ("u-2", second)):
            fields: dict[str, str | list[str]] = {"user_id": user_id, "groups": ["lobby"]}
            enrolled = await staff.call("POST", "/face/enroll", photo=photo.read_bytes(), fields=fields)
            assert enrolled.status == 201, enrolled.body

        made = await admin.call("POST", "/api-keys", json={"name": "door", "scopes": ["search"]})
        key = {"X-API-Key": made.body["api_key"]}

        async def search() -> Reply:
            return await door.call("POST", "/face/search", photo=first.read_bytes(), headers=key)

        found = await search()
        assert (found.status, found.body["best"]["user_id"]) == (200, "u-1")
        shown = (await admin.call("GET", "/company")).body
        assert (shown["users"], shown["faces"]) == (2, 2)
        assert shown["operating_point"]["fpir"] == pytest.approx(0.003), "which bounds so small a gallery"
        assert (await admin.call("DELETE", f"/api-keys/{made.body['key_id']}")).status == 204
        refused = await search()
        assert (refused.status, refused.body["code"]) == (401, "invalid_api_key")

        company_id = registered.body["company_id"]
        closed = await admin.call("DELETE", "/company", params={"confirm": company_id})
        assert closed.status == 204
        for client in (admin, staff):
            assert (await client.call("GET", "/jobs", params={"correlation_id": "x"})).status == 401
        assert (await admin.call("POST", "/register", json=ADMIN)).status == 201, "the address is free"
        return UUID(company_id)


async def _cleared(log_file: Path, company_id: UUID) -> None:
    """Until the service has said that it has cleared the company away."""
    with log_file.open(encoding="utf-8") as log:
        while True:
            line = log.readline()
            if "company_cleared" in line and str(company_id) in line:
                return
            if not line:
                await asyncio.sleep(0.05)  # A file rings no bell.


async def _left_of(service: ServiceProcess, company_id: UUID) -> dict[str, int]:
    """How much of the company the stopped service's stores hold, the record that says it is closed apart."""
    given = {name.removeprefix("FACEID_").lower(): value for name, value in service.settings.items()}
    settings = Settings.model_validate(given)
    model = calibrated_model(find_weights(settings.model, settings.cache_dir))
    async with (
        open_services(settings, model.stamp, model.calibration, SystemClock()) as services,
        open_vectors(settings, model.stamp, SystemClock()) as index,
    ):
        logins = (await services.documents.find(LOGINS, PLATFORM, limit=500)).items
        counts = {
            "index": await index.count(company_id),
            "objects": len([blob async for blob in services.objects.list(company_id, "")]),
            "logins": sum(login.company_id == company_id for login in logins),
        }
        for collection in ALL:
            if collection is not COMPANIES:
                counts[collection.name] = await services.documents.count(collection, company_id)
    return {where: count for where, count in counts.items() if count}
