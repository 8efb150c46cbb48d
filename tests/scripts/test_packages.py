"""Fetching by hash, with the real pip and an index that is a folder."""

import zipfile
from pathlib import Path

import pytest

from scripts.packages import PackageUnavailable, fetch_package, sha256_of

pytestmark = pytest.mark.system

METADATA = "Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"


def make_wheel(folder: Path, tag: str) -> Path:
    """A wheel of the package `parcel` 1.0."""
    wheel = folder / f"parcel-1.0-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("parcel/photo.bin", b"pixels")
        archive.writestr("parcel-1.0.dist-info/METADATA", METADATA)
        archive.writestr("parcel-1.0.dist-info/WHEEL", WHEEL.format(tag=tag))
        archive.writestr("parcel-1.0.dist-info/RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the registry."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_package_is_fetched_once(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, "py3-none-any")
    sha256 = sha256_of(wheel)
    fetched = fetch_package("parcel", "1.0", sha256, tmp_path / "packages")
    assert (fetched.parent, sha256_of(fetched)) == (tmp_path / "packages", sha256)
    wheel.unlink()
    assert fetch_package("parcel", "1.0", sha256, tmp_path / "packages") == fetched


def test_another_platforms_wheel_is_fetched(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, "cp311-cp311-manylinux2014_s390x")
    fetched = fetch_package("parcel", "1.0", sha256_of(wheel), tmp_path, platform="manylinux2014_s390x")
    assert fetched.name == wheel.name


def test_other_content_is_refused_and_not_kept(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "py3-none-any")
    with pytest.raises(PackageUnavailable, match=r"^parcel 1\.0 could not be fetched"):
        fetch_package("parcel", "1.0", "0" * 64, tmp_path / "packages")
    assert list((tmp_path / "packages").iterdir()) == []


def test_a_package_damaged_on_disk_is_fetched_again(index: Path, tmp_path: Path) -> None:
    sha256 = sha256_of(make_wheel(index, "py3-none-any"))
    fetched = fetch_package("parcel", "1.0", sha256, tmp_path / "packages")
    fetched.write_bytes(fetched.read_bytes()[:100])
    assert sha256_of(fetch_package("parcel", "1.0", sha256, tmp_path / "packages")) == sha256
