"""A person's life in the service, with real photos: agreed, enrolled, moved, expired, shown, erased."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from faceid_client import AsyncClient
from scripts.photos import Photos
from scripts.service_process import ServiceProcess

pytestmark = pytest.mark.system

ACCOUNT = {"company_name": "Example Ltd", "email": "admin@example.com", "password": "a long enough password"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """A company's admin at a service; the company keeps photos and requires consent."""
    service = ServiceProcess(tmp_path / "home", tmp_path / "serve.log")
    await service.start()
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        await api.call("POST", "/register", json=ACCOUNT)
        await api.login(ACCOUNT["email"], ACCOUNT["password"])
        policies = {"consent_required": True, "retention": {"keep_photos": True}}
        answer = await api.call("PATCH", "/company", json={"policies": policies})
        assert answer.status == 200, answer.body
        yield api
    await service.stop()


async def test_a_person_from_consent_to_erasure(api: AsyncClient, photos: Photos) -> None:
    first, second, probe = (path.read_bytes() for path in photos.people["Barack Obama"][:3])
    user = "/users/hq%2Fobama%20%E2%98%85"
    consent = json.dumps({"text_version": "2026-01"})
    fields: dict[str, str | list[str]] = {"user_id": "hq/obama ★", "groups": ["hq", "staff"]}

    async def found(**given: str) -> str | None:
        fields: dict[str, str | list[str]] = {**given}
        answer = await api.call("POST", "/face/search", photo=probe, fields=fields)
        assert answer.status == 200, answer.body
        return answer.body["best"]["user_id"] if answer.body["matched"] else None

    async def verified() -> tuple[int, Any]:
        fields: dict[str, str | list[str]] = {"user_id": "hq/obama ★"}
        answer = await api.call("POST", "/face/verify", photo=probe, fields=fields)
        return answer.status, answer.body.get("code") or answer.body["matched"]

    async def change(**given: Any) -> None:
        answer = await api.call("PATCH", user, json=given)
        assert answer.status == 200, answer.body

    # Without consent nothing is kept.
    refused = await api.call("POST", "/face/enroll", photo=first, fields=fields)
    assert (refused.status, refused.body["code"]) == (422, "consent_required")
    assert (await api.call("GET", user)).status == 404

    agreed = await api.call("POST", "/face/enroll", photo=first, fields={**fields, "consent": consent})
    assert agreed.status == 201
    again = await api.call("POST", "/face/enroll", photo=second, fields={"user_id": "hq/obama ★"})
    assert again.status == 201
    assert (await api.call("GET", user)).body["faces"] == 2
    faces = (await api.call("GET", "/faces", params={"group": "staff"})).body["items"]
    assert [face["face_id"] for face in faces] == [again.body["face_id"], agreed.body["face_id"]]
    for face_id, photo in ((agreed.body["face_id"], first), (again.body["face_id"], second)):
        assert (await api.call("GET", f"/faces/{face_id}/image")).body == photo

    # A search limited to a group goes by it once the change has been answered.
    assert await found(groups="hq") == "hq/obama ★"
    assert await found(groups="lab") is None
    await change(groups=["lab"])
    assert await found(groups="lab") == "hq/obama ★"
    assert await found(groups="hq") is None

    # Nobody past their validity, or without consent, is matched.
    await change(valid_until="2020-01-01")
    assert (await api.call("GET", user)).body["expired"] is True
    assert (await found(), await verified()) == (None, (409, "user_not_valid"))
    await change(valid_until=None)
    assert (await found(), await verified()) == ("hq/obama ★", (200, True))
    await change(consent=None)
    assert (await found(), await verified()) == (None, (409, "user_not_valid"))
    await change(consent={"text_version": "2026-02"})
    assert await found() == "hq/obama ★"

    assert (await api.call("DELETE", user)).status == 204
    assert (await api.call("GET", user)).status == 404
    assert (await api.call("GET", "/users")).body["items"] == []
    assert (await api.call("GET", "/faces")).body["items"] == []
    for face_id in (agreed.body["face_id"], again.body["face_id"]):
        assert (await api.call("GET", f"/faces/{face_id}")).status == 404
        assert (await api.call("GET", f"/faces/{face_id}/image")).status == 404
    assert await found() is None
    told = json.dumps((await api.call("GET", "/logs")).body, ensure_ascii=False)
    assert "obama" not in told
