"""Room for photos on their way in."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest

from ingress.uploads import Uploads
from tests.ingress.conftest import Client, jpeg

PHOTO = 100


async def is_let_in(uploads: Uploads, needed_bytes: int) -> bool:
    """Whether there is room at once."""
    entering = asyncio.create_task(enter(uploads, needed_bytes))
    for _ in range(10):
        await asyncio.sleep(0)
    let_in = entering.done()
    entering.cancel()
    await asyncio.wait([entering])
    return let_in


async def enter(uploads: Uploads, needed_bytes: int) -> None:
    async with uploads.room(needed_bytes):
        pass


async def test_two_photos_take_the_room_of_two() -> None:
    uploads = Uploads(PHOTO, places=3)
    async with uploads.room(2 * PHOTO):
        assert not await is_let_in(uploads, 2 * PHOTO)
        assert await is_let_in(uploads, 1), "who gave up waiting has left nothing taken"
        async with uploads.room(PHOTO):
            assert not await is_let_in(uploads, 1)
    assert await is_let_in(uploads, 3 * PHOTO)


async def test_who_needs_more_than_there_is_has_all_of_it() -> None:
    uploads = Uploads(PHOTO, places=2)
    async with uploads.room(1000 * PHOTO):
        assert not await is_let_in(uploads, 1)
    assert await is_let_in(uploads, 1000 * PHOTO)


async def test_those_who_need_much_do_not_wait_for_each_other_for_ever() -> None:
    uploads = Uploads(PHOTO, places=3)
    async with asyncio.timeout(5):
        await asyncio.gather(*(enter(uploads, 2 * PHOTO) for _ in range(20)))


async def chunked(content: bytes) -> AsyncGenerator[bytes]:
    yield content


async def test_a_request_has_room_by_its_length_or_the_most_that_it_may_have(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    room = Uploads.room

    @asynccontextmanager
    async def noted(uploads: Uploads, needed_bytes: int) -> AsyncGenerator[None]:
        asked.append(needed_bytes)
        async with room(uploads, needed_bytes):
            yield

    monkeypatch.setattr(Uploads, "room", noted)
    largest = client.services.settings.max_photo_bytes
    json: Mapping[str, str] = {"Content-Type": "application/json"}

    assert (await client.search()).status == 200
    assert len(jpeg()) < asked[-1] < 2000
    await client.call("POST", "/face/search", data=b"{}", headers=json)
    assert asked[-1] == 8
    await client.call("POST", "/face/search", data=chunked(b"{}"), headers=json)
    assert asked[-1] > 4 * largest
    await client.call("POST", "/face/verify", data=chunked(b"{}"), headers=json)
    assert asked[-1] > 8 * largest, "it may have two"
    with_two = {"Content-Type": "multipart/form-data; boundary=a"}
    await client.call("POST", "/face/enroll", data=chunked(b"--a--"), headers=with_two)
    assert asked[-1] == 2 * largest
