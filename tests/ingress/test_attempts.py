"""One entry of the access log for each attempt at recognition, whatever became of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import FormData

from infra.repositories.jobs import Ending
from schemas.access import Role
from schemas.jobs import JobRecord
from tests.ingress.conftest import Answer, Client, form, jpeg
from tests.ingress.test_recognition import END, FORM, part
from tests.ingress.worker import Worker
from workers.ending import expired, failed, superseded


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"max_photo_bytes": 20_000, "max_photo_pixels": 10_000}


async def test_each_attempt_is_one_entry_whatever_became_of_it(
    client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.photos._TIMEOUT_S", 0.3)
    attempts = Attempts(client, worker)

    # Refused by the ingress, once it knows who asks.
    for code, photo in {
        "unsupported_media_type": b"GIF89a",
        "corrupt_image": jpeg()[:60],
        "image_dimensions": jpeg(101, 100),
        "image_too_large": jpeg() + bytes(20_000),
    }.items():
        for call in (client.search(photo), enrolment(client, photo)):
            await attempts.ended("refused", code, await call)
    for code, fields in {
        "invalid_request": {"limit": "many"},
        "invalid_threshold": {"threshold": "1"},
    }.items():
        await attempts.ended("refused", code, await client.search(None, headers=None, **fields))
    for code, body, content_type in (
        ("malformed_body", b"nothing", FORM),
        ("malformed_body", b"{", "application/json"),
        ("invalid_request", b'{"limit": 1, "limit": 2}', "application/json"),
        ("body_too_large", part(b'Content-Disposition: form-data; name="a"', bytes(70_000)) + END, FORM),
        ("body_too_large", bytes(200_000), "application/json"),
        ("unsupported_content_type", b"", "image/jpeg"),
    ):
        for path in ("/face/search", "/face/enroll"):
            headers = {"Content-Type": content_type}
            answer = await client.call("POST", path, data=body, headers=headers)
            await attempts.ended("refused", code, answer)
    await attempts.ended("refused", "request_timeout", await endless(client))

    await two_photos_are_refused(attempts)

    # Refused, or not, by the worker.
    worker.recognise = "ada"
    await attempts.ended("matched", None, await client.search())
    worker.recognise = None
    await attempts.ended("not_matched", None, await client.search())
    await attempts.ended("enrolled", None, await client.enrol())
    for path, name, fields in TWO_PHOTOS:
        answer = await client.call("POST", path, data=two(jpeg(), name, jpeg(), **fields))
        await attempts.ended("enrolled" if fields else "matched", None, answer)
    await attempts.ended("matched", None, await verification(client))
    worker.refuse_with = "no_face"
    await attempts.ended("refused", "no_face", await client.search())
    await attempts.ended("refused", "no_face", await client.enrol())
    await attempts.ended("refused", "no_face", await verification(client))
    for path, name, fields in TWO_PHOTOS:
        answer = await client.call("POST", path, data=two(jpeg(), name, jpeg(), **fields))
        await attempts.ended("refused", "no_face", answer)

    # Ended by whoever found that it can't be done, twice over as after a crash.
    worker.hold = True
    await attempts.given_up("failed", "job_failed", failed)
    await attempts.given_up("expired", "job_expired", expired)
    await attempts.given_up("refused", "job_superseded", superseded)

    worker.hold = False
    await client.become(Role.STAFF)
    answer = await client.search(threshold="2%")
    verified = await client.call("POST", "/face/verify", data=form(user_id="ada", threshold="2%"))
    await client.become(Role.ADMIN)
    await attempts.both("refused", "threshold_too_low", answer, verified)
    await client.become(Role.AUDITOR)
    await attempts.ended("refused", "forbidden", await client.search())
    await attempts.ended("refused", "forbidden", await client.enrol())
    await attempts.ended("refused", "forbidden", await verification(client))


TWO_PHOTOS: list[tuple[str, str, dict[str, str]]] = [
    ("/face/verify", "other_image", {}),
    ("/face/enroll", "reference_image", {"user_id": "ada"}),
]
"""What takes a second photo, and what is said beside it."""


class Attempts:
    """Counts entries: after each attempt there is one more, and it is that attempt's."""

    def __init__(self, client: Client, worker: Worker) -> None:
        self.client = client
        self.worker = worker
        self.known: set[str] = set()

    async def ended(self, outcome: str, code: str | None, answer: Answer) -> None:
        assert answer.code == code
        await self.entered(outcome, code, answer.body["job_id"])

    async def both(self, outcome: str, code: str, *answers: Answer) -> None:
        """Of two attempts at a time when the log could not be read."""
        assert [answer.code for answer in answers] == [code] * len(answers)
        await self.entered(outcome, code, *(answer.body["job_id"] for answer in answers))

    async def entered(self, outcome: str, code: str | None, *job_ids: str) -> None:
        log = await self.client.call("GET", "/logs?limit=500")
        new = [entry for entry in log.body["items"] if entry["job_id"] not in self.known]
        assert [(entry["job_id"], entry["outcome"], entry["code"]) for entry in reversed(new)] == [
            (job_id, outcome, code) for job_id in job_ids
        ]
        self.known.update(job_ids)

    async def given_up(self, outcome: str, code: str, ending_of: Callable[[JobRecord], Ending]) -> None:
        for path, data in {
            "/face/search": form(),
            "/face/enroll": two(jpeg(), "reference_image", jpeg(), user_id="ada"),
            "/face/verify": form(user_id="ada"),
        }.items():
            before = len(self.worker.jobs)
            accepted = await self.client.call("POST", path, data=data, headers={"Prefer": "respond-async"})
            assert accepted.status == 202
            job = await self.worker.job(before + 1)
            for _ in range(2):
                await self.worker.finish(self.client.company_id, job, ending_of(job))
            await self.entered(outcome, code, job.id)


async def two_photos_are_refused(attempts: Attempts) -> None:
    """Verifications, and enrolments with the photo of a document, whichever of the photos is to blame."""
    client = attempts.client
    good, bad = jpeg(), b"GIF89a"
    for path, name, fields in TWO_PHOTOS:
        for first, second in ((bad, good), (good, bad)):
            answer = await client.call("POST", path, data=two(first, name, second, **fields))
            await attempts.ended("refused", "unsupported_media_type", answer)
        answer = await client.call("POST", path, data=two(good, name, jpeg(101, 100), **fields))
        await attempts.ended("refused", "image_dimensions", answer)
        answer = await client.call("POST", path, data=two(good, name, jpeg() + bytes(20_000), **fields))
        await attempts.ended("refused", "image_too_large", answer)
    for code, fields in {
        "not_found": {"user_id": "nobody"},
        "invalid_request": {},
        "invalid_threshold": {"user_id": "nobody", "threshold": "high"},
    }.items():
        answer = await client.call("POST", "/face/verify", data=form(good, **fields))
        await attempts.ended("refused", code, answer)


async def enrolment(client: Client, photo: bytes) -> Answer:
    return await client.call("POST", "/face/enroll", data=form(photo, user_id="ada"))


async def verification(client: Client) -> Answer:
    return await client.call("POST", "/face/verify", data=form(user_id="ada"))


def two(photo: bytes, name: str, other: bytes, **fields: str) -> FormData:
    data = form(photo, **fields)
    data.add_field(name, other, filename="other.jpg")
    return data


async def endless(client: Client) -> Answer:
    """A search whose photo stops coming."""

    async def begun() -> Any:
        yield b"--x\r\n"
        await client_is_refused.wait()

    client_is_refused = asyncio.Event()
    headers = {"Content-Type": FORM}
    try:
        return await client.call("POST", "/face/search", data=begun(), headers=headers)
    finally:
        client_is_refused.set()
