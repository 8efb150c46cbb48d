"""The API as methods, asynchronous. `Client` has the same ones for code without an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from typing import Any, Literal, TypedDict, Unpack
from urllib.parse import quote

from faceid_client.answers import (
    Detection,
    EnrolledFace,
    Enrolment,
    Job,
    LogEntry,
    Search,
    User,
    Verification,
)
from faceid_client.connection import Connection, Photo, Reply
from faceid_client.errors import ApiError, JobPending

_LONGEST_WAIT_S = 30
_BETWEEN_LOOKS_S = 0.2


class Person(TypedDict, total=False):
    """What belongs to a user; what is left out stays as it is."""

    full_name: str | None
    tags: Sequence[str]
    groups: Sequence[str]
    reference_id: str | None
    metadata: Mapping[str, Any]
    valid_until: str | None
    consent: Mapping[str, str] | None


class SearchOptions(TypedDict, total=False):
    """How a search is narrowed. `threshold` is percent (85, "85%" and 0.85 mean the same)."""

    threshold: float | str
    groups: Sequence[str]
    limit: int
    face: Literal["largest", "all"]
    location: Mapping[str, Any]


class LogFilter(TypedDict, total=False):
    """Which access-log entries; `since` inclusive, `until` exclusive."""

    user_id: str
    since: str | date
    until: str | date
    outcome: str
    device_id: str


class FaceFilter(TypedDict, total=False):
    """Which faces or users."""

    user_id: str
    reference_id: str
    tag: str
    group: str


class AsyncClient(Connection):
    """A FaceID server. Photos are bytes or paths. What takes a job waits for its end, `wait_s` at most, and
    then raises JobPending, which has its id; every refusal is an ApiError with a stable `code`."""

    async def register(self, company_name: str, email: str, password: str) -> str:
        """Make a company and its first admin, who then logs in; answers the company's id."""
        account = {"company_name": company_name, "email": email, "password": password}
        return (await self.request("POST", "/register", json=account)).body["company_id"]

    async def login(self, email: str, password: str) -> None:
        """Log in; the token is used, and refreshed when it has expired, from now on."""
        await self.keep(await self.request("POST", "/login", json={"email": email, "password": password}))

    async def logout(self) -> None:
        """End the session: its tokens stop working at once."""
        await self.request("POST", "/logout")
        self.token = self.refresh_token = None

    async def enroll(
        self,
        photo: Photo,
        user_id: str,
        *,
        reference_image: Photo | None = None,
        wait_s: float = 60,
        **person: Unpack[Person],
    ) -> Enrolment:
        """Put a face into the gallery. `reference_image` (an ID card) is compared with it first."""
        photos = {"image": photo}
        if reference_image is not None:
            photos["reference_image"] = reference_image
        return Enrolment.read(
            await self._recognise("/face/enroll", photos, wait_s, user_id=user_id, **person)
        )

    async def search(self, photo: Photo, *, wait_s: float = 60, **options: Unpack[SearchOptions]) -> Search:
        """Who is this?"""
        return Search.read(await self._recognise("/face/search", {"image": photo}, wait_s, **options))

    async def verify(
        self,
        photo: Photo,
        *,
        user_id: str | None = None,
        other_image: Photo | None = None,
        threshold: float | str | None = None,
        wait_s: float = 60,
    ) -> Verification:
        """Is this that user, or the person of that other photo? Give one of the two."""
        photos = {"image": photo}
        if other_image is not None:
            photos["other_image"] = other_image
        fields = {"user_id": user_id, "threshold": threshold}
        return Verification.read(await self._recognise("/face/verify", photos, wait_s, **fields))

    async def detect(self, photo: Photo, *, wait_s: float = 60) -> Detection:
        """Where are faces, and how good are they? Nobody is identified, nothing is stored."""
        return Detection.read(await self._recognise("/face/detect", {"image": photo}, wait_s))

    async def user(self, user_id: str) -> User:
        return User.read(await self.get(f"/users/{quote(user_id, safe='')}"))

    async def update_user(self, user_id: str, **changes: Unpack[Person]) -> User:
        """Change what is given; None takes a value away."""
        path = f"/users/{quote(user_id, safe='')}"
        return User.read((await self.request("PATCH", path, json=dict(changes))).body)

    async def delete_user(self, user_id: str, *, wait_s: float = 60) -> None:
        """Erase a person: faces, photos and traces."""
        await self._delete(f"/users/{quote(user_id, safe='')}", wait_s)

    async def users(self, **which: Unpack[FaceFilter]) -> AsyncIterator[User]:
        """Everybody who is enrolled, newest first, fetched a page at a time."""
        async for item in self.pages("/users", which):
            yield User.read(item)

    async def face(self, face_id: str) -> EnrolledFace:
        return EnrolledFace.read(await self.get(f"/faces/{quote(face_id, safe='')}"))

    async def delete_face(self, face_id: str, *, wait_s: float = 60) -> None:
        await self._delete(f"/faces/{quote(face_id, safe='')}", wait_s)

    async def faces(self, **which: Unpack[FaceFilter]) -> AsyncIterator[EnrolledFace]:
        """Faces, newest first, fetched a page at a time."""
        async for item in self.pages("/faces", which):
            yield EnrolledFace.read(item)

    async def job(self, job_id: str, *, wait_s: float = 0) -> Job:
        """How far a job is; held until it has ended, `wait_s` at most."""
        until_s = time.monotonic() + wait_s
        while True:
            wait = max(0, min(until_s - time.monotonic(), _LONGEST_WAIT_S))
            path, params = f"/jobs/{quote(job_id, safe='')}", {"wait": f"{wait:.3f}"}
            job = Job.read((await self.request("GET", path, params=params, wait_s=wait)).body)
            if job.state != "queued" or time.monotonic() >= until_s:
                return job
            await asyncio.sleep(_BETWEEN_LOOKS_S)

    async def jobs(self, **which: str) -> AsyncIterator[Job]:
        """Jobs, newest first, fetched a page at a time."""
        async for item in self.pages("/jobs", which):
            yield Job.read(item)

    async def logs(self, **which: Unpack[LogFilter]) -> AsyncIterator[LogEntry]:
        """The access log, newest first, fetched a page at a time: break off when there is enough of it."""
        names = {"since": "from", "until": "to"}
        async for item in self.pages(
            "/logs", {names.get(name, name): value for name, value in which.items()}
        ):
            yield LogEntry.read(item)

    async def get(self, path: str, **params: str) -> Any:
        """The JSON of any resource."""
        return (await self.request("GET", path, params=params)).body

    async def pages(self, path: str, which: Mapping[str, object], *, limit: int = 100) -> AsyncIterator[Any]:
        """The items of any listing, a page at a time."""
        params = {name: str(value) for name, value in which.items() if value is not None}
        params["limit"] = str(limit)
        while True:
            page = await self.get(path, **params)
            for item in page["items"]:
                yield item
            if not page.get("next_cursor"):
                return
            params["cursor"] = page["next_cursor"]

    async def _recognise(
        self, path: str, photos: Mapping[str, Photo], wait_s: float, **fields: object
    ) -> dict[str, Any]:
        given = {name: value for name, value in fields.items() if value is not None}
        wait = min(wait_s, _LONGEST_WAIT_S)
        until_s = time.monotonic() + wait_s
        reply = await self.request(
            "POST", path, photo=photos, fields=given, headers=_prefer(wait), wait_s=wait
        )
        return await self._ended(reply, until_s)

    async def _delete(self, path: str, wait_s: float) -> None:
        wait = min(wait_s, _LONGEST_WAIT_S)
        until_s = time.monotonic() + wait_s
        await self._ended(await self.request("DELETE", path, headers=_prefer(wait), wait_s=wait), until_s)

    async def _ended(self, reply: Reply, until_s: float) -> Any:
        """The result of what was answered at once, or of the job that it became."""
        if reply.status != 202:
            return reply.body
        job = await self.job(reply.body["job_id"], wait_s=until_s - time.monotonic())
        if job.state == "queued":
            raise JobPending(job.job_id)
        if job.state != "succeeded":
            told: dict[str, Any] = job.problem or {
                "code": f"job_{job.state}",
                "title": "The job was not done",
            }
            known = {"job_id": job.job_id, "correlation_id": job.correlation_id}
            raise ApiError(told.get("status", 500), {}, {**known, **told})
        return job.result


def _prefer(wait_s: float) -> dict[str, str]:
    return {"Prefer": f"wait={int(wait_s)}" if wait_s >= 1 else "respond-async"}
