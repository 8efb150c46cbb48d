"""What is particular to objects on S3, on a real server: who is let in, what a crash leaves, several at
once."""

import asyncio
import hashlib
import itertools
import os
import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from infra.clock import ManualClock, SystemClock
from infra.objects.port import ObjectNotFound, ObjectsUnavailable
from infra.objects.s3 import S3Objects
from infra.objects.s3_client import connected
from infra.objects.s3_place import S3Place
from infra.refused import StoreRefused
from infra.starting import started
from tests.servers import versitygw
from tests.servers.engine import or_skip
from tests.servers.versitygw import S3Server

pytestmark = pytest.mark.system

A = UUID(int=0xA)


@asynccontextmanager
async def opened(place: S3Place, **arguments: Any) -> AsyncGenerator[S3Objects]:
    objects = S3Objects(place, SystemClock(), **arguments)
    try:
        yield objects
    finally:
        await objects.close()


async def made(place: S3Place) -> S3Place:
    async with opened(place) as objects:
        assert await objects.make_bucket()
    return place


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[S3Server]:
    """A server that the test may kill."""
    or_skip(versitygw.fetch)
    with versitygw.running(tmp_path) as server:
        yield server


@pytest.fixture
def with_tls(tmp_path: Path) -> Iterator[S3Server]:
    or_skip(versitygw.fetch)
    with versitygw.running(tmp_path, tls=True) as server:
        yield server


async def test_a_bucket_is_made_once_and_only_when_told(s3_server: S3Server) -> None:
    place = s3_server.place()
    async with opened(place) as objects:
        with pytest.raises(StoreRefused, match=r"bucket tests-.*`faceid setup` makes it.*FACEID_S3_BUCKET"):
            await objects.start()
        assert await objects.make_bucket()
        assert not await objects.make_bucket()
        await objects.start()
        await objects.ping()
        assert [info async for info in objects.list(None, "")] == []


async def test_several_may_make_the_bucket_at_once(s3_server: S3Server) -> None:
    place = s3_server.place()
    async with opened(place) as one, opened(place) as other:
        outcomes = await asyncio.gather(*(objects.make_bucket() for objects in (one, other) * 4))
        assert any(outcomes)
        await one.start()


async def test_who_is_not_let_in_is_told_which_setting_is_wrong(s3_server: S3Server) -> None:
    place = await made(s3_server.place())
    secret = SecretStr("another secret altogether")
    for wrong, setting in (
        (replace(place, secret_key=secret), "FACEID_S3_SECRET_KEY"),
        (replace(place, access_key="stranger"), "FACEID_S3_ACCESS_KEY"),
        (replace(place, bucket="Not_A_Bucket"), "FACEID_S3_BUCKET"),
    ):
        async with opened(wrong) as objects:
            for call in (objects.start, objects.make_bucket):
                with pytest.raises(StoreRefused, match=setting) as raised:
                    await call()
                assert secret.get_secret_value() not in str(raised.value)
    async with opened(replace(s3_server.place(), region="eu-west-1")) as objects:
        with pytest.raises(StoreRefused, match="FACEID_S3_REGION"):
            await objects.make_bucket()


async def test_a_bucket_that_keeps_versions_is_refused(s3_server: S3Server) -> None:
    """What is erased must be gone."""
    place = await made(s3_server.place())
    async with connected(place) as client:
        versioning: Any = client  # of the library's calls the adapter needs this one not
        await versioning.put_bucket_versioning(
            Bucket=place.bucket, VersioningConfiguration={"Status": "Enabled"}
        )
    async with opened(place) as objects:
        with pytest.raises(StoreRefused, match="keeps versions"):
            await objects.start()


async def test_with_tls_the_authority_must_be_trusted(with_tls: S3Server) -> None:
    place = await made(with_tls.place())
    blob = os.urandom(20 * 2**20)
    async with opened(place) as objects:
        await objects.start()
        await objects.put(A, "photos/x", blob)
        assert await objects.get(A, "photos/x") == blob
    async with opened(replace(place, ca_file=None)) as objects:
        with pytest.raises(StoreRefused, match=r"certificate is not trusted.*FACEID_S3_CA_FILE"):
            await objects.start()


async def test_a_server_of_the_other_protocol_is_not_talked_to(
    with_tls: S3Server, s3_server: S3Server
) -> None:
    plain, secured = s3_server.place(), with_tls.place()
    assert plain.endpoint is not None
    assert secured.endpoint is not None
    async with opened(replace(plain, endpoint=plain.endpoint.replace("http", "https"))) as objects:
        with pytest.raises(StoreRefused, match=r"does not speak TLS.*FACEID_S3_ENDPOINT"):
            await objects.start()
    async with opened(replace(secured, endpoint=secured.endpoint.replace("https", "http"))) as objects:
        with pytest.raises(ObjectsUnavailable, match="no connection"):
            await objects.start()


async def test_a_server_that_comes_up_later_is_waited_for(tmp_path: Path) -> None:
    or_skip(versitygw.fetch)
    clock = ManualClock()
    with versitygw.running(tmp_path, up=False) as server:
        async with opened(server.place()) as objects:

            async def make_and_start() -> None:
                await objects.make_bucket()
                await objects.start()

            starting = asyncio.create_task(started("objects", make_and_start, clock))
            await clock.until_sleeping()
            assert not starting.done()
            await asyncio.to_thread(server.restart)
            clock.advance(60)
            await starting
            await objects.ping()


# In some runs versitygw 1.8.0 loses one of the objects in parts; whether it is its fault is not known yet.
@pytest.mark.parametrize("in_parts", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_nothing_acknowledged_is_lost_or_torn_when_the_server_is_killed(
    mortal: S3Server, in_parts: bool
) -> None:
    """Writers put objects while the server dies three times; with `in_parts` one puts large ones.

    Each has a key of its own, as all have that the service keeps. versitygw replaces an object in two steps:
    killed in between, it has none.
    """
    seed = 11
    print(f"seed {seed}")
    chance = random.Random(seed)
    place = await made(mortal.place())
    acknowledged: dict[str, int] = {}
    over, acknowledgements = asyncio.Event(), asyncio.Semaphore(0)

    async def write(objects: S3Objects, name: str, size: int) -> None:
        for number in itertools.takewhile(lambda _: not over.is_set(), itertools.count()):
            key = f"photos/{name}-{number}"
            try:
                await objects.put(A, key, blob_of(number, size))
            except ObjectsUnavailable:
                await asyncio.sleep(0)  # a server that is left alone says so at once
                continue
            acknowledged[key] = number
            acknowledgements.release()

    sizes = {str(n): chance.randrange(1, 200_000) for n in range(8)}
    if in_parts:
        sizes["0"] = 17 * 2**20
    async with opened(place, timeout_s=5) as objects:
        writers = [asyncio.create_task(write(objects, name, size)) for name, size in sizes.items()]
        for _ in range(3):
            for _ in range(40):
                await acknowledgements.acquire()
            mortal.kill()
            await asyncio.to_thread(mortal.restart)
        over.set()
        await asyncio.gather(*writers)
        assert {key.split("/")[1].split("-")[0] for key in acknowledged} == set(sizes)
        for key, number in acknowledged.items():
            name = key.removeprefix("photos/").split("-")[0]
            assert await objects.get(A, key) == blob_of(number, sizes[name]), key


async def test_a_server_that_hangs_is_unavailable_in_time_and_then_goes_on(mortal: S3Server) -> None:
    place = await made(mortal.place())
    async with opened(place, timeout_s=3) as objects:
        await objects.put(A, "photos/x", b"x")
        mortal.pause()
        for call in (objects.ping(), objects.get(A, "photos/x"), objects.put(A, "photos/y", b"y")):
            with pytest.raises(ObjectsUnavailable, match="in time"):
                await call
        mortal.go_on()
    async with opened(place) as objects:
        assert await objects.get(A, "photos/x") == b"x"
        with pytest.raises(ObjectNotFound):
            await objects.get(A, "photos/z")


async def test_parts_that_a_crash_left_are_cleared_away_a_day_later_and_others_are_not(
    s3_server: S3Server,
) -> None:
    place = await made(s3_server.place())
    names = {f"photos/{A}/=x", f"inflight/{A}/=x", "somebody/else's"}
    async with connected(place) as client:
        for name in names:
            await client.create_multipart_upload(Bucket=place.bucket, Key=name)

        async def left() -> set[str]:
            answer = await client.list_multipart_uploads(Bucket=place.bucket)
            return {upload["Key"] for upload in answer.get("Uploads", ())}

        for later, expected in ((timedelta(hours=23), names), (timedelta(hours=25), {"somebody/else's"})):
            objects = S3Objects(place, ManualClock(SystemClock().now() + later))
            await objects.start()
            await objects.close()
            assert await left() == expected


async def test_what_is_not_ours_in_the_bucket_is_neither_listed_nor_touched(s3_server: S3Server) -> None:
    place = await made(s3_server.place())
    async with connected(place) as client:
        for name in ("read.me", "inflight/read.me", f"inflight/{A}/read.me", "inflight/a/=b"):
            await client.put_object(Bucket=place.bucket, Key=name, Body=b"")
    async with opened(place) as objects:
        await objects.put(A, "inflight/x", b"x")
        for company_id, prefix in ((None, ""), (None, "inflight/"), (A, ""), (A, "inflight/")):
            assert [info.key async for info in objects.list(company_id, prefix)] == ["inflight/x"]


async def test_a_sweep_of_what_is_in_flight_does_not_walk_through_what_is_kept(s3_server: S3Server) -> None:
    place = await made(s3_server.place())
    async with opened(place, listed_at_a_time=10) as objects:
        companies = [uuid4() for _ in range(20)]
        await asyncio.gather(*(objects.put(company, f"photos/{uuid4()}", b"x") for company in companies))
        await objects.put(companies[3], "inflight/x", b"x")
        asked: list[str] = []
        pages = objects._pages

        def counted(prefix: str, **arguments: str) -> AsyncGenerator[Any]:
            asked.append(prefix)
            return pages(prefix, **arguments)

        objects._pages = counted
        found = [info async for info in objects.list(None, "inflight/")]
        assert [(info.company_id, info.key) for info in found] == [(companies[3], "inflight/x")]
        assert asked == ["inflight/"]


def blob_of(number: int, size: int) -> bytes:
    """Tells which it is, and that it is whole."""
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return digest * (size // len(digest) + 1)
