"""Verification, detection, several faces of a photo, references and duplicate policies: with the real model,
on one service."""

import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from faceid_client import AsyncClient, Reply
from scripts.photos import Photos
from scripts.service_process import ServiceProcess
from tests.workers.recognition.test_quality_gate import CASES, as_png, pictures_of

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

_HEIGHT_PX = 560


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("recognition")
    service = ServiceProcess(folder / "home", folder / "serve.log")
    await service.start()
    yield service
    await service.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def api(service: ServiceProcess, request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    """An admin of a company of the test's own."""
    account = {
        "company_name": "Example Ltd",
        "email": f"{abs(hash(request.node.name))}@example.com",
        "password": "a long enough password",
    }
    async with AsyncClient(service.url, ca_file=service.ca_file) as api:
        assert (await api.call("POST", "/register", json=account)).status == 201
        await api.login(account["email"], account["password"])
        yield api


def upright(path: Path) -> Image.Image:
    """A photo at the height that all are pasted together at."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    return picture.resize((picture.width * _HEIGHT_PX // picture.height, _HEIGHT_PX))


def group_picture(*paths: Path) -> bytes:
    """Several people beside each other."""
    pictures = [upright(path) for path in paths]
    scene = Image.new("RGB", (sum(picture.width for picture in pictures), _HEIGHT_PX))
    left = 0
    for picture in pictures:
        scene.paste(picture, (left, 0))
        left += picture.width
    target = io.BytesIO()
    scene.save(target, "JPEG", quality=92)
    return target.getvalue()


async def send(
    api: AsyncClient, path: str, photo: bytes, other: tuple[str, bytes] | None = None, **fields: Any
) -> Reply:
    """A call with one photo or two, as JSON."""
    photos = {"image": photo} | dict([other] if other else [])
    encoded = {name: base64.b64encode(content).decode() for name, content in photos.items()}
    return await api.call("POST", path, json={**encoded, **fields})


async def enrol(api: AsyncClient, photo: bytes, user_id: str) -> Reply:
    reply = await send(api, "/face/enroll", photo, user_id=user_id)
    assert reply.status == 201, reply.body
    return reply


async def test_a_photo_is_the_users_or_is_not(api: AsyncClient, photos: Photos) -> None:
    first, second, third = (group_picture(path) for path in photos.people["Barack Obama"])
    for photo in (first, second):
        await enrol(api, photo, "obama")
    right = await send(api, "/face/verify", third, user_id="obama")
    assert (right.status, right.body["matched"], right.body["comparisons"]) == (200, True, 2)
    assert right.body["confidence"] >= right.body["threshold"]
    wrong = await send(api, "/face/verify", photos.stranger.read_bytes(), user_id="obama")
    assert (wrong.status, wrong.body["matched"]) == (200, False)
    unknown = await send(api, "/face/verify", third, user_id="nobody")
    assert (unknown.status, unknown.body["code"]) == (404, "not_found")

    same = await send(api, "/face/verify", first, ("other_image", third))
    assert (same.body["matched"], same.body["user_id"], same.body["comparisons"]) == (True, None, 1)
    different = await send(api, "/face/verify", first, ("other_image", photos.stranger.read_bytes()))
    assert different.body["matched"] is False
    faceless = await send(api, "/face/verify", first, ("other_image", photos.no_face.read_bytes()))
    assert (faceless.status, faceless.body["code"]) == (422, "no_face")
    assert faceless.body["detail"].startswith("other_image: ")

    log = (await api.call("GET", "/logs")).body["items"]
    outcomes = [entry["outcome"] for entry in log if entry["kind"] == "verify"]
    assert outcomes == ["refused", "not_matched", "matched", "refused", "not_matched", "matched"]
    assert [entry["user_id"] for entry in log if entry["kind"] == "verify"] == [None] * 5 + ["obama"]


async def test_all_faces_of_a_group_are_detected_and_found(api: AsyncClient, photos: Photos) -> None:
    obama, hopper = photos.people["Barack Obama"], photos.people["Grace Hopper"][0]
    group = group_picture(obama[2], hopper)
    await enrol(api, obama[0].read_bytes(), "obama")
    await enrol(api, obama[1].read_bytes(), "obama")
    await enrol(api, hopper.read_bytes(), "hopper")

    seen = await send(api, "/face/detect", group)
    assert seen.status == 200
    good = [face for face in seen.body["faces"] if face["probe"]["usable"]]
    assert len(good) == 2
    assert {face["enrolment"]["code"] for face in good} <= {"multiple_faces", None}
    nobody = await send(api, "/face/detect", photos.no_face.read_bytes())
    assert (nobody.status, nobody.body["faces"]) == (200, [])

    found = await send(api, "/face/search", group, face="all")
    assert (found.status, found.body["matched"]) == (200, True)
    matched = [one["best"]["user_id"] for one in found.body["results"] if one["matched"]]
    assert sorted(matched) == ["hopper", "obama"]
    assert found.body["best"]["user_id"] == matched[0]

    everybody = (await api.call("GET", "/logs")).body["items"]
    assert [entry["kind"] for entry in everybody] == ["search", "enroll", "enroll", "enroll"]
    for user_id in matched:
        entries = (await api.call("GET", "/logs", params={"user_id": user_id})).body["items"]
        assert entries[0]["job_id"] == found.body["job_id"]


async def test_who_investigates_sees_who_came_near(api: AsyncClient, photos: Photos) -> None:
    await enrol(api, photos.people["Barack Obama"][0].read_bytes(), "obama")
    stranger = photos.stranger.read_bytes()
    ordinary = await send(api, "/face/search", stranger, limit=5)
    assert ordinary.body["candidates"] == []
    investigated = await send(api, "/face/search", stranger, limit=5, investigate=True)
    assert investigated.body["matched"] is False
    (candidate,) = investigated.body["candidates"]
    assert (candidate["user_id"], candidate["accepted"]) == ("obama", False)


async def test_a_reference_is_of_the_same_person_or_nothing_is_enrolled(
    api: AsyncClient, photos: Photos
) -> None:
    first, second, _ = (path.read_bytes() for path in photos.people["Barack Obama"])
    somebody_else = ("reference_image", photos.stranger.read_bytes())
    mismatch = await send(api, "/face/enroll", first, somebody_else, user_id="obama")
    assert (mismatch.status, mismatch.body["code"]) == (422, "reference_mismatch")
    assert (await send(api, "/face/search", first)).body["matched"] is False

    match = await send(api, "/face/enroll", first, ("reference_image", second), user_id="obama")
    assert match.status == 201
    assert match.body["reference"]["confidence"] >= 85
    assert (await send(api, "/face/search", second)).body["matched"] is True


@pytest.mark.parametrize(("action", "flagged"), [("flag", True), ("allow", False)])
async def test_a_company_that_lets_duplicates_in(
    api: AsyncClient, photos: Photos, action: str, flagged: bool
) -> None:
    first, second, _ = (path.read_bytes() for path in photos.people["Barack Obama"])
    await enrol(api, first, "one")
    rejected = await send(api, "/face/enroll", second, user_id="two")
    assert (rejected.status, rejected.body["code"], rejected.body["user_id"]) == (
        409,
        "duplicate_face",
        "one",
    )
    changed = await api.call("PATCH", "/company", json={"policies": {"duplicate": {"on_duplicate": action}}})
    assert changed.status == 200, changed.body
    let_in = await send(api, "/face/enroll", second, user_id="two")
    assert (let_in.status, let_in.body["flagged_duplicate"]) == (201, flagged)


async def test_every_code_of_the_gate_over_https(api: AsyncClient, photos: Photos) -> None:
    pictures = pictures_of(photos)
    for case in CASES:
        photo = as_png(case.make(pictures))
        for path, code, who in (
            ("/face/search", case.probe, {}),
            ("/face/enroll", case.enrolment, {"user_id": "u-1"}),
        ):
            answer = await send(api, path, photo, None, **who)
            expected = (201 if who else 200) if code is None else 422
            assert (case.name, path, answer.status) == (case.name, path, expected), answer.body
            assert (case.name, answer.body.get("code")) == (case.name, code)


async def test_what_is_refused_of_a_users_further_faces(api: AsyncClient, photos: Photos) -> None:
    first, second, third = (path.read_bytes() for path in photos.people["Barack Obama"])
    await enrol(api, first, "obama")
    again = await send(api, "/face/enroll", first, user_id="obama")
    assert (again.status, again.body["already_enrolled"]) == (200, True)
    mismatch = await send(api, "/face/enroll", photos.stranger.read_bytes(), user_id="obama")
    assert (mismatch.status, mismatch.body["code"]) == (409, "face_mismatch")
    await enrol(api, second, "obama")
    changed = await api.call("PATCH", "/company", json={"policies": {"max_faces_per_user": 2}})
    assert changed.status == 200
    too_many = await send(api, "/face/enroll", third, user_id="obama")
    assert (too_many.status, too_many.body["code"]) == (409, "too_many_faces_for_user")
    assert (await api.call("GET", "/users/obama")).body["faces"] == 2
    log = (await api.call("GET", "/logs")).body["items"]
    assert [(entry["outcome"], entry["code"]) for entry in log] == [
        ("refused", "too_many_faces_for_user"),
        ("enrolled", None),
        ("refused", "face_mismatch"),
        ("enrolled", None),
        ("enrolled", None),
    ]


async def test_what_is_enrolled_is_found_so_nobody_is_who_is_past_validity(
    api: AsyncClient, photos: Photos
) -> None:
    first, second, _ = (path.read_bytes() for path in photos.people["Barack Obama"])
    await enrol(api, first, "obama")
    assert (await api.call("PATCH", "/users/obama", json={"valid_until": "2026-01-01"})).status == 200
    refused = await send(api, "/face/enroll", second, user_id="obama")
    assert (refused.status, refused.body["code"]) == (409, "user_not_valid")
    given: dict[str, Any] = {"valid_until": "2099-01-01", "consent": {"text_version": "2026-01"}}
    renewed = await send(api, "/face/enroll", second, user_id="obama", **given)
    assert (renewed.status, renewed.body["valid_until"]) == (201, "2099-01-01T00:00:00.000Z")
    assert renewed.body["consent"]["text_version"] == "2026-01"
    assert (await send(api, "/face/search", first)).body["best"]["user_id"] == "obama"
