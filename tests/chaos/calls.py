"""A client that gets its answer in the end: it repeats what was cut off, on whatever ingress is up."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from faceid_client import AsyncClient, ConnectionLost, NotReachable, Reply

_PATIENCE_S: Final = 300.0
"""How long a call may go unanswered: starting a killed process again takes most of a minute on two cores."""
_PAUSE_S: Final = 0.2
_POLL_S: Final = 20
_TRY_AGAIN: Final = frozenset({429, 503})


@dataclass
class Calls:
    """The calls of one company's clients, over all ingresses; counts what they came to.

    Every POST goes under an Idempotency-Key of its own, so that a repetition is the same request.
    """

    urls: Callable[[], Sequence[str]]
    ca_file: Path
    api_key: str
    chance: random.Random
    told: Counter[str] = field(default_factory=Counter[str])
    """How often: `answered`, `accepted` (202, resolved later), `cut` (no answer: killed), `put off` (503)."""

    async def result(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        gone_is_done: bool = False,
        wait_s: int = 10,
        **content: Any,
    ) -> Any:
        """What came of a request: the body of its answer, or the result of the job that it became.

        `gone_is_done`: a 404 is what a deletion that was cut off, and done, looks like when it is repeated.
        """
        headers = {"Prefer": f"wait={wait_s}" if wait_s else "respond-async"}
        if key is not None:
            headers["Idempotency-Key"] = key
        cut_before = self.told["cut"]
        reply = await self._answer(method, path, headers=headers, wait_s=wait_s, **content)
        if reply.status == 404 and gone_is_done and self.told["cut"] > cut_before:
            return None
        if reply.status != 202:
            assert reply.status in {200, 201, 204}, (method, path, reply.status, reply.body)
            self.told["answered"] += 1
            return reply.body
        self.told["accepted"] += 1
        job = await self.ended(reply.body["job_id"])
        assert job["state"] == "succeeded", job
        return job["result"]

    async def ended(self, job_id: str) -> dict[str, Any]:
        """The job, once it has ended."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                params = {"wait": str(_POLL_S)}
                job = (await self._answer("GET", f"/jobs/{job_id}", params=params, wait_s=_POLL_S)).body
                if job["state"] != "queued":
                    return job

    async def items(self, path: str, **which: str) -> list[dict[str, Any]]:
        """A whole listing."""
        found: list[dict[str, Any]] = []
        params = {"limit": "500", **which}
        while True:
            page = (await self._answer("GET", path, params=params)).body
            found.extend(page["items"])
            if page["next_cursor"] is None:
                return found
            params["cursor"] = page["next_cursor"]

    async def _answer(self, method: str, path: str, **content: Any) -> Reply:
        """The first answer that is neither "later" nor "still at it"."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                pause_s = _PAUSE_S
                urls = self.urls()
                reply = await self._attempt(self.chance.choice(urls), method, path, content) if urls else None
                if reply is None:
                    self.told["cut"] += bool(urls)
                elif reply.status in _TRY_AGAIN or _is_in_progress(reply):
                    self.told["put off"] += 1
                    pause_s = float(reply.headers.get("Retry-After", _PAUSE_S))
                else:
                    return reply
                await asyncio.sleep(
                    pause_s
                )  # What a client does who is told, or has to guess, when to return.

    async def _attempt(self, url: str, method: str, path: str, content: Mapping[str, Any]) -> Reply | None:
        try:
            async with AsyncClient(url, ca_file=self.ca_file, api_key=self.api_key) as api:
                return await api.call(method, path, **content)
        except (ConnectionLost, NotReachable):
            return None


def _is_in_progress(reply: Reply) -> bool:
    return reply.status == 409 and reply.body["code"] == "idempotency_in_progress"
