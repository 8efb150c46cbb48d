"""What is particular to objects as files: crashes, a full disk, who may read them, what is left behind."""

import asyncio
import os
import random
import resource
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from infra.objects.filesystem import FilesystemObjects
from infra.objects.port import ObjectNotFound, ObjectsUnavailable
from tests.infra.objects import writing_host

A = UUID(int=0xA)
MIB = 2**20


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncGenerator[FilesystemObjects, None]:
    objects = FilesystemObjects(tmp_path / "data" / "objects")
    await objects.start()
    yield objects
    await objects.close()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@contextmanager
def largest_file(size: int) -> Generator[None, None, None]:
    """A disk that takes no more, as far as the kernel can play one for a single process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_files_and_folders_are_for_their_owner_alone(
    objects: FilesystemObjects, tmp_path: Path
) -> None:
    await objects.put(A, "photos/x", b"x")
    for path in (tmp_path / "data").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


async def test_no_folder_gets_large_and_an_empty_one_is_removed(
    objects: FilesystemObjects, tmp_path: Path
) -> None:
    keys = [f"photos/{n}" for n in range(300)]
    await asyncio.gather(*(objects.put(A, key, b"") for key in keys))
    photos = tmp_path / "data" / "objects" / str(A) / "photos"
    assert len(list(photos.iterdir())) > 100
    await asyncio.gather(*(objects.delete(A, key) for key in keys))
    assert [path.name for path in (tmp_path / "data" / "objects").rglob("*")] == [".new"]


async def test_a_full_disk_is_unavailable_and_nothing_half_written_stays(
    objects: FilesystemObjects, tmp_path: Path
) -> None:
    await objects.put(A, "photos/x", b"before")
    with largest_file(MIB):
        for key in ("photos/x", "photos/y"):
            with pytest.raises(ObjectsUnavailable, match="disk refused"):
                await objects.put(A, key, bytes(2 * MIB))
    assert await objects.get(A, "photos/x") == b"before"
    with pytest.raises(ObjectNotFound):
        await objects.get(A, "photos/y")
    assert len(files(tmp_path)) == 1
    with largest_file(0), pytest.raises(ObjectsUnavailable):
        await objects.ping()
    await objects.ping()


async def test_errors_do_not_tell_the_key(objects: FilesystemObjects, tmp_path: Path) -> None:
    await objects.put(A, "photos/secret", b"")
    (file,) = files(tmp_path)
    file.unlink()
    file.mkdir()
    for call in (objects.get(A, "photos/secret"), objects.put(A, "photos/secret", b"")):
        with pytest.raises(ObjectsUnavailable) as raised:
            await call
        assert "secret" not in str(raised.value)
        assert raised.value.__cause__ is None


async def test_a_disk_that_hangs_is_unavailable_and_no_work_piles_up(tmp_path: Path) -> None:
    objects = FilesystemObjects(tmp_path, max_threads=1, timeout_s=0.1)
    await objects.start()
    released = threading.Event()
    with pytest.raises(ObjectsUnavailable, match="did not answer"):
        await objects._run(released.wait)
    for _ in range(3):
        with pytest.raises(ObjectsUnavailable, match="did not answer"):
            await objects.ping()
    assert objects._threads._work_queue.qsize() == 0
    released.set()
    await objects.close()


async def test_leftovers_and_strangers_do_not_count(tmp_path: Path) -> None:
    objects = FilesystemObjects(tmp_path)
    await objects.start()
    await objects.put(A, "photos/x", b"x")
    leftover, being_written = tmp_path / ".new" / "leftover", tmp_path / ".new" / "another-process"
    leftover.write_bytes(b"half")
    being_written.write_bytes(b"half")
    hours_ago_s = leftover.stat().st_mtime - 2 * 3600
    os.utime(leftover, (hours_ago_s, hours_ago_s))
    (tmp_path / "lost+found").mkdir()
    assert [info.key async for info in objects.list(None, "")] == ["photos/x"]
    await objects.close()
    again = FilesystemObjects(tmp_path)
    await again.start()
    assert list((tmp_path / ".new").iterdir()) == [being_written]
    await again.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_killed_host_leaves_whole_objects_and_all_that_it_acknowledged(
    tmp_path: Path, seed: int
) -> None:
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.infra.objects.writing_host", tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    said = [await host.stdout.readline() for _ in range(random.Random(seed).randrange(20, 120))]
    host.kill()
    said += (await host.stdout.read()).splitlines()
    await host.wait()
    assert [int(line) for line in said] == list(range(len(said)))
    objects = FilesystemObjects(tmp_path)
    await objects.start()
    for key in range(writing_host.KEYS):
        found = await objects.get(writing_host.COMPANY, f"photos/{key}")
        last = max(number for number in range(len(said)) if number % writing_host.KEYS == key)
        # The put that was under way may have been done.
        possible = {last, len(said)} if len(said) % writing_host.KEYS == key else {last}
        assert found in {writing_host.blob(number) for number in possible}
    # What it was writing may still lie beside, until it is old enough to be nobody's.
    assert len([path for path in files(tmp_path) if path.parent.name != ".new"]) == writing_host.KEYS
    await objects.close()
