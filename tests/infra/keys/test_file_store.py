"""What is particular to keys in files; the rest is in tests/contract/test_key_store.py."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from infra.keys.errors import (
    CompanyKeyGone,
    KeyStoreCorrupt,
    KeyStoreMissing,
    KeyStoreUnsupported,
    UnsafePermissions,
)
from infra.keys.file_store import FileKeyStore
from infra.keys.from_url import open_key_store
from infra.keys.store import WrappedKey

COMPANY = UUID(int=1)
KEY = WrappedKey(master_fingerprint="00", wrapped=b"sealed", created_at=datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture
async def store(tmp_path: Path) -> FileKeyStore:
    made = FileKeyStore(tmp_path / "keys")
    await made.initialise("00")
    await made.create(COMPANY, KEY)
    return made


async def test_files_are_private(store: FileKeyStore, tmp_path: Path) -> None:
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}


async def test_a_file_that_others_can_read_is_refused(store: FileKeyStore, tmp_path: Path) -> None:
    (tmp_path / "keys" / f"{COMPANY}.key").chmod(0o644)
    with pytest.raises(UnsafePermissions):
        await store.get(COMPANY)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b'{"version":2,"master_fingerprint":"00","wrapped":""}']
)
async def test_a_damaged_file_is_an_error_and_not_a_deleted_company(
    store: FileKeyStore, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "keys" / f"{COMPANY}.key").write_bytes(content)
    with pytest.raises(KeyStoreCorrupt) as error:
        await store.get(COMPANY)
    assert error.value.__suppress_context__


async def test_a_damaged_mark_is_an_error(store: FileKeyStore, tmp_path: Path) -> None:
    (tmp_path / "keys" / "store.json").write_bytes(b"{")
    with pytest.raises(KeyStoreCorrupt):
        await store.check("00")


async def test_a_foreign_file_is_an_error_and_half_a_write_is_not_listed(
    store: FileKeyStore, tmp_path: Path
) -> None:
    (tmp_path / "keys" / f".{UUID(int=2)}.key.0123456789abcdef").write_bytes(b"half")
    assert await store.list() == {COMPANY}
    (tmp_path / "keys" / "notes.key").write_bytes(b"")
    with pytest.raises(KeyStoreCorrupt, match=r"notes\.key"):
        await store.list()


async def test_a_folder_that_vanished_is_not_a_deleted_company(store: FileKeyStore, tmp_path: Path) -> None:
    (tmp_path / "keys").rename(tmp_path / "unmounted")
    with pytest.raises(KeyStoreMissing):
        await store.get(COMPANY)
    (tmp_path / "unmounted").rename(tmp_path / "keys")
    assert await store.get(COMPANY) == KEY


async def test_deleting_leaves_no_copy_of_the_key(store: FileKeyStore, tmp_path: Path) -> None:
    (tmp_path / "keys" / f".{COMPANY}.key.0123456789abcdef").write_bytes(KEY.wrapped)
    await store.delete(COMPANY)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["store.json"]


def test_a_wrapped_key_is_not_shown() -> None:
    assert "sealed" not in repr(KEY)


@pytest.mark.parametrize("form", ["file:{}", "file://{}", "FILE:{}"])
async def test_the_setting_names_a_folder(store: FileKeyStore, tmp_path: Path, form: str) -> None:
    opened = open_key_store(form.format(tmp_path / "keys"))
    assert await opened.get(COMPANY) == KEY


async def test_a_folder_is_taken_letter_by_letter(tmp_path: Path) -> None:
    folder = tmp_path / "100% of #keys?"
    await open_key_store(f"file:{folder}").initialise("00")
    with pytest.raises(CompanyKeyGone):
        await FileKeyStore(folder).get(COMPANY)


@pytest.mark.parametrize(
    "url",
    ["", "/keys", "file:", "file:keys", "file://host/keys", "mongodb://root:hunter2@db/", "s3://bucket"],
)
def test_other_settings_are_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(KeyStoreUnsupported, match="FACEID_KEY_STORE") as refusal:
        open_key_store(url)
    assert "hunter2" not in str(refusal.value)
