"""A company moves from one machine to servers and back, and every answer stays what it was."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, cast

import pytest

from faceid_client import AsyncClient, Reply
from infra.settings import PROJECT_ROOT
from scripts.photos import Photos
from scripts.service_process import ServiceProcess
from tests.stores import Servers
from tests.system.cluster import Cluster

pytestmark = pytest.mark.system

ACCOUNT: Final = {
    "company_name": "Example Ltd",
    "email": "admin@example.com",
    "password": "a long enough password",
}
POLICIES: Final = {"retention": {"keep_photos": True}, "duplicate": {"on_duplicate": "flag"}}
PERSON: Final[dict[str, str | list[str]]] = {
    "user_id": "obama",
    "full_name": "Barack Obama",
    "groups": ["hq"],
    "tags": ["vip"],
}
# What an answer says of its own request or run alone.
OWN: Final = ("job_id", "timings_ms", "correlation_id")


@dataclass
class Questions:
    """Asks one company's service, wherever that is, with credentials that were given out once."""

    photos: Photos
    ca_file: Path | None = None
    token: str = ""
    refresh_token: str = ""
    key: str = ""
    photo_ids: list[str] = field(default_factory=list[str])

    @asynccontextmanager
    async def asking(self, service: ServiceProcess) -> AsyncGenerator[AsyncClient]:
        """Nobody logs in again: what the first service gave out counts at all."""
        self.ca_file = service.ca_file
        async with AsyncClient(service.url, ca_file=self.ca_file) as api:
            api.token = self.token or None
            yield api

    async def begin(self, api: AsyncClient) -> None:
        """People, a machine's key, a refusal, a deletion: what there is to ask about."""
        assert (await self._once(api, "/register", json=ACCOUNT)).status == 201
        await api.login(ACCOUNT["email"], ACCOUNT["password"])
        self.token, self.refresh_token = api.token or "", api.refresh_token or ""
        assert (await api.call("PATCH", "/company", json={"policies": POLICIES})).status == 200
        scopes = ["search", "logs:read", "faces:read"]
        made = await api.call("POST", "/api-keys", json={"name": "door", "scopes": scopes})
        self.key = made.body["api_key"]
        first = await self._once(api, "/face/enroll", photo=self._photo("Barack Obama"), fields=PERSON)
        assert first.status == 201, first.body
        second, biden = self._photo("Barack Obama", 1), self._photo("Joe Biden")
        for user_id, photo in (("obama", second), ("biden", biden), ("gone", self.photos.stranger)):
            enrolled = await api.call("POST", "/face/enroll", photo=photo, fields={"user_id": user_id})
            assert enrolled.status == 201, enrolled.body
            self.photo_ids.append(enrolled.body["face_id"])
        assert (await api.call("DELETE", f"/faces/{self.photo_ids.pop()}")).status == 204
        nobody = await api.call("POST", "/face/enroll", photo=self.photos.no_face, fields={"user_id": "cat"})
        assert nobody.status == 422

    async def recognised(self, api: AsyncClient) -> list[Any]:
        """What new attempts say, but for what they say of themselves."""
        probe, stranger = self._photo("Barack Obama", 2), self.photos.stranger.read_bytes()
        asked: list[tuple[str, bytes, dict[str, str | list[str]]]] = [
            ("/face/search", probe, {"limit": "5"}),
            ("/face/search", probe, {"groups": ["hq"], "threshold": "99"}),
            ("/face/search", probe, {"groups": ["lab"]}),
            ("/face/search", stranger, {}),
            ("/face/verify", probe, {"user_id": "obama"}),
            ("/face/verify", probe, {"user_id": "biden"}),
            ("/face/enroll", self._photo("Barack Obama", 1), {"user_id": "obama"}),
        ]
        answers: list[Any] = []
        for path, photo, fields in asked:
            reply = await api.call("POST", path, photo=photo, fields=fields, headers={"Prefer": "wait=50"})
            assert reply.status == 200, (path, reply.body)
            answers.append({name: value for name, value in reply.body.items() if name not in OWN})
        assert [answer.get("matched") for answer in answers] == [True, True, False, False, True, False, None]
        return answers

    async def read(self, api: AsyncClient) -> dict[str, Any]:
        """All that can be read, in pages, by a person and by a machine; and what was answered before."""
        told: dict[str, Any] = {}
        for path in ("/users", "/faces", "/jobs", "/logs", "/members", "/api-keys"):
            told[path] = await self._items(api, path, {"limit": "2"})
        for path, name, value in (
            ("/logs", "user_id", "obama"),
            ("/logs", "outcome", "refused"),
            ("/faces", "group", "hq"),
            ("/users", "tag", "vip"),
        ):
            told[f"{path}?{name}"] = found = await self._items(api, path, {name: value})
            assert found, f"{path} has nothing by {name}"
        one_by_one = [f"/jobs/{job['job_id']}" for job in told["/jobs"]]
        for path in ("/company", "/users/obama", "/users/gone", f"/faces/{self.photo_ids[0]}", *one_by_one):
            reply = await api.call("GET", path)
            told[path] = [reply.status, {n: v for n, v in reply.body.items() if n != "correlation_id"}]
        for face in told["/faces"]:
            told[f"image of {face['face_id']}"] = await self._image(api, face["face_id"])
        async with AsyncClient(api.url, ca_file=self.ca_file, api_key=self.key) as door:
            told["door"] = await self._items(door, "/faces", {})
        for path, given in (
            ("/register", {"json": ACCOUNT}),
            ("/face/enroll", {"photo": self._photo("Barack Obama"), "fields": PERSON}),
        ):
            again = await self._once(api, path, **given)
            told[f"{path} again"] = [again.status, again.body]
        return told

    async def _once(self, api: AsyncClient, path: str, **given: Any) -> Reply:
        return await api.call("POST", path, headers={"Idempotency-Key": f"once:{path}"}, **given)

    def _photo(self, name: str, number: int = 0) -> bytes:
        return self.photos.people[name][number].read_bytes()

    async def _items(self, api: AsyncClient, path: str, which: Mapping[str, str]) -> list[Any]:
        items, params = list[Any](), dict(which)
        while True:
            reply = await api.call("GET", path, params=params)
            assert reply.status == 200, (path, reply.body)
            items += reply.body["items"]
            if reply.body["next_cursor"] is None:
                return items
            params["cursor"] = reply.body["next_cursor"]

    async def _image(self, api: AsyncClient, face_id: str) -> str:
        headers = {"Authorization": f"Bearer {api.token}"}
        async with api._session().get(f"{api.url}/faces/{face_id}/image", headers=headers) as answer:
            assert answer.status == 200, face_id
            return hashlib.sha256(await answer.read()).hexdigest()


def differences(one: Any, other: Any, at: str = "") -> list[str]:
    """Where two answers differ: a failure names that, instead of all that was answered."""
    if isinstance(one, dict) and isinstance(other, dict):
        these, those = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
        pairs = [(these.get(name), those.get(name), f"{at}.{name}") for name in sorted({*these, *those})]
    elif isinstance(one, list) and isinstance(other, list):
        both = zip_longest(cast("list[Any]", one), cast("list[Any]", other))
        pairs = [(this, that, f"{at}[{place}]") for place, (this, that) in enumerate(both)]
    else:
        return [] if one == other else [f"{at}: {one!r} is now {other!r}"]
    return [found for pair in pairs for found in differences(*pair)]


async def migrate(source: ServiceProcess, target: ServiceProcess) -> None:
    """`faceid migrate`, with the services of both stopped."""
    target.home.mkdir(exist_ok=True)
    path = target.home / "target.env"
    path.write_text("\n".join(f"{name}={value}" for name, value in target.settings.items()), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.cli", "migrate", "--to", str(path)),
        env={**os.environ, **source.settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=PROJECT_ROOT,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (out.decode()[-3000:], err.decode()[-3000:])


@pytest.mark.timeout(400)
async def test_every_answer_is_the_same_on_servers_and_back_on_one_machine(
    tmp_path: Path, photos: Photos, real_servers: Servers
) -> None:
    questions, servers = Questions(photos), real_servers.apart()
    first = ServiceProcess(tmp_path / "first", tmp_path / "first.log")
    kept = {"FACEID_MASTER_KEY_FILE": first.settings["FACEID_MASTER_KEY_FILE"]}
    keys = {"FACEID_KEY_STORE": servers.mongo.url.replace("/?", f"/{servers.name}-keys?")}
    cluster = Cluster(tmp_path / "cluster", {**servers.environment, **kept, **keys})
    on_servers = ServiceProcess(cluster.home, tmp_path / "unused.log", extra_environment=cluster.stores)
    again = ServiceProcess(tmp_path / "again", tmp_path / "again.log", extra_environment=kept)
    async with AsyncExitStack() as running:
        for service in (first, again):
            running.push_async_callback(service.stop)
        running.push_async_callback(cluster.stop)

        await first.start()
        async with questions.asking(first) as api:
            await questions.begin(api)
            recognised = await questions.recognised(api)
            before = await questions.read(api)
        assert await first.stop() == 0

        await cluster.set_up()
        await migrate(first, on_servers)
        ingress, _ = await asyncio.gather(cluster.add_ingress(), cluster.add_worker())
        async with questions.asking(ingress) as api:
            assert differences(before, await questions.read(api)) == []
            assert differences(recognised, await questions.recognised(api)) == []
            between = await questions.read(api)
            assert len(between["/jobs"]) == len(before["/jobs"]) + len(recognised)
        await cluster.stop()

        await migrate(on_servers, again)
        await again.start()
        async with questions.asking(again) as api:
            assert differences(between, await questions.read(api)) == []
            assert differences(recognised, await questions.recognised(api)) == []
            refreshed = await api.call(
                "POST", "/token/refresh", json={"refresh_token": questions.refresh_token}
            )
            assert refreshed.status == 200, refreshed.body
        assert await again.stop() == 0
