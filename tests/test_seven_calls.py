"""The owner's seven calls, exactly as a reader of the README would try them: one token, nothing
configured."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faceid_client import AsyncClient
from scripts.photos import Photos
from scripts.service_process import ServiceProcess

pytestmark = pytest.mark.system


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    service = ServiceProcess(tmp_path, tmp_path / "serve.log")
    await service.start()
    yield service
    assert await service.stop() == 0


async def test_the_seven_calls(  # noqa: PLR0915 - a reader's first minutes, in their order
    service: ServiceProcess, photos: Photos
) -> None:
    began = datetime.now(UTC)
    obama = [path.read_bytes() for path in photos.people["Barack Obama"]]
    stranger = photos.stranger.read_bytes()
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        # 1. register
        account = {
            "company_name": "Example Ltd",
            "email": "admin@example.com",
            "password": "a long enough password",
        }
        registered = await api.call("POST", "/register", json=account)
        assert registered.status == 201
        assert set(registered.body) >= {"company_id", "member_id"}

        # 2. log in
        logged_in = await api.call(
            "POST", "/login", json={"email": account["email"], "password": account["password"]}
        )
        assert logged_in.status == 200
        assert logged_in.body["token_type"].lower() == "bearer"
        assert logged_in.body["expires_in"] == 900
        api.token = logged_in.body["access_token"]

        # 3. enrol, twice the same person, then the same photo again, then the face under another name
        person: dict[str, str | list[str]] = {
            "user_id": "u-1",
            "full_name": "Barack Obama",
            "tags": ["visitor"],
        }
        first = await api.call("POST", "/face/enroll", photo=obama[0], fields=person)
        second = await api.call("POST", "/face/enroll", photo=obama[1], fields=person)
        assert (first.status, second.status) == (201, 201)
        face_ids = {first.body["face_id"], second.body["face_id"]}
        again = await api.call("POST", "/face/enroll", photo=obama[0], fields=person)
        assert (again.status, again.body["already_enrolled"]) == (200, True)
        assert again.body["face_id"] == first.body["face_id"]
        duplicate = await api.call("POST", "/face/enroll", photo=obama[2], fields={"user_id": "u-2"})
        assert (duplicate.status, duplicate.body["code"]) == (409, "duplicate_face")
        assert duplicate.headers["Content-Type"].startswith("application/problem+json")

        # 4. search, with another photo of the person and with a stranger's
        door: dict[str, str | list[str]] = {"location": '{"device_id": "door-1"}'}
        found = await api.call("POST", "/face/search", photo=obama[2], fields=door)
        assert found.status == 200
        assert found.body["matched"] is True
        assert found.body["best"]["user_id"] == "u-1"
        assert found.body["best"]["full_name"] == "Barack Obama"
        assert found.body["best"]["face_id"] in face_ids
        assert found.body["best"]["confidence"] >= found.body["threshold"] >= 85
        assert found.body["gallery_size"] == 1
        nobody = await api.call("POST", "/face/search", photo=stranger, fields=door)
        assert (nobody.status, nobody.body["matched"], nobody.body["best"]) == (200, False, None)

        # 5. the access log: of everybody, of one user, of a period
        log = await api.call("GET", "/logs")
        outcomes = [entry["outcome"] for entry in log.body["items"]]
        assert outcomes == ["not_matched", "matched", "refused", "enrolled", "enrolled", "enrolled"]
        of_user = await api.call("GET", "/logs", params={"user_id": "u-1"})
        assert [entry["outcome"] for entry in of_user.body["items"]] == [
            "matched",
            "enrolled",
            "enrolled",
            "enrolled",
        ]
        assert all(entry["user_id"] == "u-1" for entry in of_user.body["items"])
        assert of_user.body["items"][0]["location"] == {"device_id": "door-1"}
        period = {"from": began.isoformat(), "to": (began + timedelta(hours=1)).isoformat()}
        assert len((await api.call("GET", "/logs", params=period)).body["items"]) == 6
        before = {"to": began.isoformat()}
        assert (await api.call("GET", "/logs", params=before)).body["items"] == []

        # 6. one face
        face = await api.call("GET", f"/faces/{first.body['face_id']}")
        assert face.status == 200
        assert face.body["user_id"] == "u-1"
        assert "template" not in str(face.body)

        # 7. deleted is gone, and no search matches it
        for face_id in face_ids:
            assert (await api.call("DELETE", f"/faces/{face_id}")).status == 204
            assert (await api.call("GET", f"/faces/{face_id}")).status == 404
            assert (await api.call("DELETE", f"/faces/{face_id}")).status == 404
        after = await api.call("POST", "/face/search", photo=obama[2])
        assert (after.status, after.body["matched"]) == (200, False)
