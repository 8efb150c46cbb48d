"""The API as methods, asynchronous. `Client` has the same ones for code without an event loop."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from datetime import date
from typing import Any, Final, Unpack
from urllib.parse import quote

from faceid_client import shapes
from faceid_client.connection import Connection, Photo
from faceid_client.errors import ApiError, JobPending

_LONGEST_WAIT_S: Final = 30
_BETWEEN_LOOKS_S: Final = 0.2


class AsyncClient(Connection):
    """A FaceID server. Photos are bytes or paths, answers the dicts of `faceid_client.shapes`.

    What takes a job waits for its end, `wait_s` at most, and then raises JobPending, which has its id. Every
    refusal is an ApiError with a stable `code`. Listings come newest first and are fetched a page at a time:
    break off when there is enough. What has no method here is within reach of `get`, `pages` and `request`.
    """

    async def register(self, company_name: str, email: str, password: str) -> str:
        """Make a company and its first admin, who then logs in; answers the company's id."""
        account = {"company_name": company_name, "email": email, "password": password}
        return (await self.request("POST", "/register", json=account)).body["company_id"]

    async def login(self, email: str, password: str) -> None:
        """Log in; the token is used, and refreshed when it has expired, from now on."""
        self._take(await self.request("POST", "/login", json={"email": email, "password": password}))

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
        **person: Unpack[shapes.Person],
    ) -> shapes.Enrolment:
        """Put a face into the gallery. `reference_image` (an ID card) is compared with it first."""
        photos = {"image": photo, "reference_image": reference_image}
        return await self._recognise("enroll", photos, {"user_id": user_id, **person}, wait_s)

    async def search(
        self, photo: Photo, *, wait_s: float = 60, **options: Unpack[shapes.SearchOptions]
    ) -> shapes.Search:
        """Who is this?"""
        return await self._recognise("search", {"image": photo}, options, wait_s)

    async def verify(
        self,
        photo: Photo,
        *,
        user_id: str | None = None,
        other_image: Photo | None = None,
        threshold: float | str | None = None,
        location: Mapping[str, Any] | None = None,
        wait_s: float = 60,
    ) -> shapes.Verification:
        """Is this that user, or the person of that other photo? Give one of the two."""
        photos = {"image": photo, "other_image": other_image}
        fields = {"user_id": user_id, "threshold": threshold, "location": location}
        return await self._recognise("verify", photos, fields, wait_s)

    async def detect(self, photo: Photo, *, wait_s: float = 60) -> shapes.Detection:
        """Where are faces, and how good are they? Nobody is identified, nothing is stored."""
        return await self._recognise("detect", {"image": photo}, {}, wait_s)

    async def user(self, user_id: str) -> shapes.User:
        return await self.get(_path("users", user_id))

    def users(
        self,
        *,
        full_name: str | None = None,
        reference_id: str | None = None,
        group: str | None = None,
        tag: str | None = None,
    ) -> AsyncGenerator[shapes.User]:
        """Everybody who is enrolled and is all that is given."""
        which = {"full_name": full_name, "reference_id": reference_id, "group": group, "tag": tag}
        return self.pages("/users", which)

    async def update_user(self, user_id: str, **changes: Unpack[shapes.Person]) -> shapes.User:
        """Change what is given; None takes a value away."""
        return (await self.request("PATCH", _path("users", user_id), json=changes)).body

    async def delete_user(self, user_id: str, *, wait_s: float = 60) -> None:
        """Erase a person: faces, photos and traces."""
        await self._ended("DELETE", _path("users", user_id), wait_s)

    async def face(self, face_id: str) -> shapes.EnrolledFace:
        return await self.get(_path("faces", face_id))

    def faces(
        self,
        *,
        user_id: str | None = None,
        reference_id: str | None = None,
        group: str | None = None,
        tag: str | None = None,
    ) -> AsyncGenerator[shapes.EnrolledFace]:
        """Faces of users who are all that is given."""
        which = {"user_id": user_id, "reference_id": reference_id, "group": group, "tag": tag}
        return self.pages("/faces", which)

    async def delete_face(self, face_id: str, *, wait_s: float = 60) -> None:
        await self._ended("DELETE", _path("faces", face_id), wait_s)

    async def job(self, job_id: str, *, wait_s: float = 0) -> shapes.Job:
        """How far a job is; held until it has ended, `wait_s` at most."""
        until_s = time.monotonic() + wait_s
        while True:
            wait = max(0, min(until_s - time.monotonic(), _LONGEST_WAIT_S))
            path, params = _path("jobs", job_id), {"wait": f"{wait:.3f}"}
            job: shapes.Job = (await self.request("GET", path, params=params, wait_s=wait)).body
            if job["state"] != "queued" or time.monotonic() >= until_s:
                return job
            await asyncio.sleep(_BETWEEN_LOOKS_S)

    def jobs(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        correlation_id: str | None = None,
        since: str | date | None = None,
        until: str | date | None = None,
    ) -> AsyncGenerator[shapes.Job]:
        """What was submitted; `since` inclusive, `until` exclusive."""
        which = {"state": state, "kind": kind, "correlation_id": correlation_id}
        return self.pages("/jobs", {**which, "from": since, "to": until})

    def logs(
        self,
        *,
        user_id: str | None = None,
        since: str | date | None = None,
        until: str | date | None = None,
        outcome: str | None = None,
        device_id: str | None = None,
    ) -> AsyncGenerator[shapes.LogEntry]:
        """The access log; `since` inclusive, `until` exclusive."""
        which = {"user_id": user_id, "outcome": outcome, "device_id": device_id}
        return self.pages("/logs", {**which, "from": since, "to": until})

    async def get(self, path: str, **params: str) -> Any:
        """Any resource: its JSON, or its bytes where it is no JSON."""
        return (await self.request("GET", path, params=params)).body

    async def pages(self, path: str, which: Mapping[str, object], *, limit: int = 100) -> AsyncGenerator[Any]:
        """The items of any listing; what is None in `which` is not asked for."""
        params = {name: _text(value) for name, value in which.items() if value is not None}
        params["limit"] = str(limit)
        while True:
            page = await self.get(path, **params)
            for item in page["items"]:
                yield item
            if page["next_cursor"] is None:
                return
            params["cursor"] = page["next_cursor"]

    async def _recognise(
        self, what: str, photos: Mapping[str, Photo | None], fields: Mapping[str, Any], wait_s: float
    ) -> Any:
        photo = {name: one for name, one in photos.items() if one is not None}
        given = {name: value for name, value in fields.items() if value is not None}
        return await self._ended("POST", f"/face/{what}", wait_s, photo=photo, fields=given)

    async def _ended(self, method: str, path: str, wait_s: float, **content: Any) -> Any:
        """The result of what was answered at once, or of the job that it became."""
        until_s = time.monotonic() + wait_s
        wait = min(wait_s, _LONGEST_WAIT_S)
        prefer = {"Prefer": f"wait={int(wait)}" if wait >= 1 else "respond-async"}
        reply = await self.request(method, path, headers=prefer, wait_s=wait, **content)
        if reply.status != 202:
            return reply.body
        job = await self.job(reply.body["job_id"], wait_s=until_s - time.monotonic())
        if job["state"] == "queued":
            raise JobPending(job["job_id"])
        if job["state"] != "succeeded":
            raise ApiError.of_job(job)
        return job["result"]


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
