"""What every adapter of the objects role does."""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from infra.clock import SystemClock
from infra.objects.filesystem import FilesystemObjects
from infra.objects.port import ObjectNotFound, Objects
from infra.objects.s3 import S3Objects
from schemas.ids import PLATFORM
from tests.servers.versitygw import S3Server

A, B = UUID(int=0xA), UUID(int=0xB)


@pytest.fixture(params=["filesystem", pytest.param("s3", marks=pytest.mark.system)])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Objects]:
    """Makes the adapter, not started, on the same data each time."""
    if request.param == "filesystem":
        return lambda: FilesystemObjects(tmp_path / "objects")
    server: S3Server = request.getfixturevalue("s3_server")
    place = server.place()
    # Few at a time, so that a listing has pages.
    s3 = partial(S3Objects, place, SystemClock(), listed_at_a_time=100)
    maker = s3()
    await maker.make_bucket()
    await maker.close()
    return s3


@pytest.fixture
async def objects(make: Callable[[], Objects]) -> AsyncGenerator[Objects, None]:
    objects = make()
    await objects.start()
    yield objects
    await objects.close()


async def listed(
    objects: Objects, company_id: UUID | None, prefix: str = "", older_than: datetime | None = None
) -> set[tuple[UUID, str, int]]:
    return {
        (info.company_id, info.key, info.size_bytes)
        async for info in objects.list(company_id, prefix, older_than=older_than)
    }


@pytest.mark.parametrize("size", [0, 1, 5_000_000, 20_000_000])
async def test_what_is_put_is_got_and_a_second_put_replaces_it(objects: Objects, size: int) -> None:
    blob = os.urandom(size)
    await objects.put(A, "photos/x", blob)
    assert await objects.get(A, "photos/x") == blob
    await objects.put(A, "photos/x", b"another")
    assert await objects.get(A, "photos/x") == b"another"
    assert await listed(objects, A) == {(A, "photos/x", 7)}


async def test_what_is_not_there_is_not_found(objects: Objects) -> None:
    with pytest.raises(ObjectNotFound):
        await objects.get(A, "photos/x")
    assert not await objects.delete(A, "photos/x")
    assert await listed(objects, A) == set()
    assert await listed(objects, None) == set()


async def test_a_deleted_object_is_gone(objects: Objects) -> None:
    await objects.put(A, "photos/x", b"x")
    await objects.put(A, "photos/y", b"y")
    assert await objects.delete(A, "photos/x")
    assert not await objects.delete(A, "photos/x")
    with pytest.raises(ObjectNotFound):
        await objects.get(A, "photos/x")
    assert await listed(objects, A) == {(A, "photos/y", 1)}


async def test_many_are_deleted_at_once_whether_they_are_there_or_not(objects: Objects) -> None:
    keys = [f"photos/{n}" for n in range(150)]
    await asyncio.gather(*(objects.put(A, key, b"x") for key in keys))
    await objects.put(B, keys[0], b"x")
    await objects.delete_many(A, [*keys[10:], "photos/never", "photos/never/was"])
    assert {key for _, key, _ in await listed(objects, A)} == set(keys[:10])
    assert await listed(objects, B) == {(B, keys[0], 1)}
    await objects.delete_many(A, [])
    await objects.delete_many(A, keys)
    assert await listed(objects, A) == set()


async def test_companies_do_not_see_or_touch_each_other(objects: Objects) -> None:
    for company_id in (A, B, PLATFORM):
        await objects.put(company_id, "photos/x", str(company_id).encode())
    assert await objects.delete(B, "photos/x")
    assert await objects.get(A, "photos/x") == str(A).encode()
    with pytest.raises(ObjectNotFound):
        await objects.get(B, "photos/x")
    assert await listed(objects, B) == set()
    assert await listed(objects, None) == {(A, "photos/x", 36), (PLATFORM, "photos/x", 36)}


async def test_a_key_may_be_a_folder_of_other_keys(objects: Objects) -> None:
    keys = ["x", "x/y", "x/y/z", "xy/z", "x/" + "z" * 100]
    for key in keys:
        await objects.put(A, key, key.encode())
    for key in keys:
        assert await objects.get(A, key) == key.encode()
    assert {key for _, key, _ in await listed(objects, A)} == set(keys)
    assert {key for _, key, _ in await listed(objects, A, "x/")} == set(keys[1:3] + keys[4:])
    assert await objects.delete(A, "x/y")
    assert {key for _, key, _ in await listed(objects, A, "x/y/")} == {"x/y/z"}


async def test_a_listing_is_by_prefix_of_one_company_or_all(objects: Objects) -> None:
    jobs = [uuid4() for _ in range(300)]
    await asyncio.gather(*(objects.put(A if job.int % 2 else B, f"inflight/{job}", b"12") for job in jobs))
    await objects.put(A, "photos/x", b"x")
    expected = {(A if job.int % 2 else B, f"inflight/{job}", 2) for job in jobs}
    assert await listed(objects, None, "inflight/") == expected
    assert await listed(objects, A, "inflight/") == {entry for entry in expected if entry[0] == A}
    assert await listed(objects, None) == expected | {(A, "photos/x", 1)}
    assert await listed(objects, A, "nothing/") == set()


async def test_a_listing_tells_ages_and_leaves_out_what_is_young(objects: Objects) -> None:
    await objects.put(A, "inflight/x", b"x")
    now = datetime.now(UTC)
    (info,) = [info async for info in objects.list(A, "inflight/")]
    assert abs(info.modified_at - now) < timedelta(minutes=5)
    assert info.modified_at.tzinfo is UTC
    assert await listed(objects, A, "inflight/", older_than=now - timedelta(hours=1)) == set()
    assert len(await listed(objects, A, "inflight/", older_than=now + timedelta(hours=1))) == 1


async def test_what_is_listed_may_be_deleted_meanwhile(objects: Objects) -> None:
    keys = {f"inflight/{n}" for n in range(300)}
    await asyncio.gather(*(objects.put(A, key, b"") for key in keys))
    seen: set[str] = set()
    async for info in objects.list(None, "inflight/"):
        seen.add(info.key)
        assert await objects.delete(info.company_id, info.key)
    assert seen == keys
    assert await listed(objects, None) == set()


async def test_a_listing_may_be_left_early(objects: Objects) -> None:
    for n in range(5):
        await objects.put(A, f"inflight/{n}", b"")
    async for _ in objects.list(A, "inflight/"):
        break
    await objects.ping()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "x/",
        "/x",
        "x//y",
        "..",
        "x/../y",
        ".",
        "./x",
        ".hidden",
        "é",
        "x y",
        "x\0",
        "x\\y",
        "=ab/x",
        "x\n",
        "x" * 200,
        "x/" * 300 + "x",
    ],
)
async def test_a_key_that_is_none_is_refused(objects: Objects, key: str) -> None:
    for call in (
        objects.put(A, key, b""),
        objects.get(A, key),
        objects.delete(A, key),
        objects.delete_many(A, ["x", key]),
    ):
        with pytest.raises(ValueError, match="key"):
            await call


@pytest.mark.parametrize("prefix", ["x", "/", "../", "x/../", "x//"])
async def test_a_prefix_that_is_none_is_refused(objects: Objects, prefix: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        await listed(objects, A, prefix)


async def test_puts_and_deletions_side_by_side(objects: Objects) -> None:
    """A deletion that leaves nothing behind must not take the place away from under a put."""

    async def come_and_go(key: str) -> None:
        for _ in range(20):
            await objects.put(A, key, key.encode())
            assert await objects.get(A, key) == key.encode()
            assert await objects.delete(A, key)

    await asyncio.gather(*(come_and_go(f"inflight/{n}") for n in range(8)))
    assert await listed(objects, A) == set()


async def test_the_same_may_be_deleted_by_several_at_once(objects: Objects) -> None:
    keys = [f"inflight/{number}" for number in range(40)]
    for _ in range(5):
        await asyncio.gather(*(objects.put(A, key, b"sealed") for key in keys))
        await asyncio.gather(*(objects.delete_many(A, keys) for _ in range(4)))
        assert await listed(objects, A) == set()
    for _ in range(5):
        await objects.put(A, keys[0], b"sealed")
        assert True in await asyncio.gather(*(objects.delete(A, keys[0]) for _ in range(8)))


async def test_after_any_operations_the_store_is_the_model(
    make: Callable[[], Objects], objects: Objects
) -> None:
    seed = 7
    print(f"seed {seed}")
    chance = random.Random(seed)
    model: dict[tuple[UUID, str], bytes] = {}
    for _ in range(200):
        place = (chance.choice((A, B)), chance.choice(("photos/", "inflight/")) + str(chance.randrange(20)))
        match chance.randrange(3):
            case 0:
                assert await objects.delete(*place) == (model.pop(place, None) is not None)
            case _:
                model[place] = chance.randbytes(chance.randrange(50))
                await objects.put(*place, model[place])
    await objects.close()
    reopened = make()
    await reopened.start()
    assert await listed(reopened, None) == {(*place, len(blob)) for place, blob in model.items()}
    for place, blob in model.items():
        assert await reopened.get(*place) == blob
    await reopened.close()
