import os
import stat
from pathlib import Path

import pytest

from infra.durable_files import make_private_folders
from infra.keys.errors import UnsafePermissions
from infra.keys.private_files import read_private, shred, write_new, write_over


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_private_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private_folders(tmp_path / "a" / "b")
        write_new(tmp_path / "a" / "b" / "key", b"secret")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700
    assert mode(tmp_path / "a" / "b" / "key") == 0o600
    assert read_private(tmp_path / "a" / "b" / "key") == b"secret"


def test_a_new_file_never_replaces_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_new(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "key", b"second")
    assert read_private(tmp_path / "key") == b"first"
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]


def test_a_file_can_be_replaced_as_a_whole(tmp_path: Path) -> None:
    write_over(tmp_path / "key", b"first, and longer")
    write_over(tmp_path / "key", b"second")
    write_over(tmp_path / "ca.pem", b"public", 0o644)
    assert read_private(tmp_path / "key") == b"second"
    assert mode(tmp_path / "ca.pem") == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "key"]


@pytest.mark.parametrize("shared", [0o640, 0o604, 0o660, 0o601])
def test_what_others_can_open_is_refused_with_what_to_do(tmp_path: Path, shared: int) -> None:
    path = tmp_path / "key"
    write_new(path, b"secret")
    path.chmod(shared)
    with pytest.raises(UnsafePermissions, match="chmod 600") as refusal:
        read_private(path)
    assert f"{shared:04o}" in str(refusal.value)


def test_a_shredded_file_is_overwritten_before_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_new(path, b"secret")
    (tmp_path / "witness").hardlink_to(path)
    assert shred(path)
    assert not shred(path)
    assert (tmp_path / "witness").read_bytes() == bytes(6)


def test_what_a_crash_left_of_a_file_is_shredded_with_it(tmp_path: Path) -> None:
    write_new(tmp_path / "key", b"secret")
    (tmp_path / ".key.0123456789abcdef").write_bytes(b"secret")
    (tmp_path / ".other.0123456789abcdef").write_bytes(b"kept")
    assert shred(tmp_path / "key")
    assert [path.name for path in tmp_path.iterdir()] == [".other.0123456789abcdef"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_new(tmp_path / "key", b"secret")
    assert list(tmp_path.iterdir()) == []
