from pathlib import Path
from uuid import UUID

import pytest

from infra.crypto.cipher import Unsealable
from infra.keys.errors import MasterKeyExists, MasterKeyMalformed, MasterKeyMissing, UnsafePermissions
from infra.keys.master import MasterKey

COMPANY = UUID(int=1)


def test_a_created_key_is_the_one_that_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    created, loaded = MasterKey.create(path), MasterKey.load(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert loaded.fingerprint == created.fingerprint
    assert loaded.unwrap(COMPANY, created.wrap(COMPANY, b"company key")) == b"company key"


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    fingerprint = MasterKey.create(path).fingerprint
    with pytest.raises(MasterKeyExists):
        MasterKey.create(path)
    assert MasterKey.load(path).fingerprint == fingerprint


def test_a_lost_key_is_not_replaced_by_another(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyMissing, match="backup"):
        MasterKey.load(tmp_path / "master.key")
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    MasterKey.create(path)
    path.chmod(0o644)
    with pytest.raises(UnsafePermissions, match="chmod 600"):
        MasterKey.load(path)


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33), b"0" * 64])
def test_a_damaged_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(MasterKeyMalformed, match=f"{len(content)} bytes"):
        MasterKey.load(path)


def test_a_wrapped_key_opens_for_its_company_and_master_only() -> None:
    master = MasterKey(bytes(32))
    wrapped = master.wrap(COMPANY, b"company key")
    with pytest.raises(Unsealable):
        master.unwrap(UUID(int=2), wrapped)
    with pytest.raises(Unsealable):
        MasterKey(bytes([1] * 32)).unwrap(COMPANY, wrapped)


def test_fingerprints_tell_keys_apart_and_nothing_shows_the_key() -> None:
    key = bytes(range(32))
    master = MasterKey(key)
    assert master.fingerprint != MasterKey(bytes(32)).fingerprint
    assert len(master.fingerprint) == 16
    assert repr(master) == f"MasterKey({master.fingerprint})"
    assert master.fingerprint not in {master.derive(purpose)[:8].hex() for purpose in ("fingerprint", "")}


def test_platform_keys_differ_by_purpose() -> None:
    master = MasterKey(bytes(32))
    assert master.derive("a") == master.derive("a") != master.derive("b")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKey(bytes(16))
