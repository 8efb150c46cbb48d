"""Real photos of real people for the demonstration and the tests, fetched at set-up.

| photo | who | package | origin and licence |
|---|---|---|---|
| obama, obama2, obama3 | Barack Obama | face_recognition 1.3.0 | test images of an MIT-licensed package |
| biden | Joe Biden | face_recognition 1.3.0 | the same |
| obama_partial_face, …face2 | half of a face each, cut from obama | face_recognition 1.3.0 | the same |
| 32bit | obama2 as a PNG with an alpha channel | face_recognition 1.3.0 | the same |
| astronaut | Eileen Collins | scikit-image 0.26.0 | NASA, public domain |
| chelsea | a cat | scikit-image 0.26.0 | CC0, by its photographer |
| grace_hopper | Grace Hopper | matplotlib 3.11.2 | United States Navy, public domain |
| luispedro | the package's author, our stranger | mahotas 1.4.19 | MIT, published by himself |

The three wheels were built for Linux; only data files are read from them, so they serve on any system.
"""

import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.settings import Settings
from scripts.packages import PackageUnavailable, fetch_package, sha256_of


@dataclass(frozen=True)
class _Source:
    """A package, the folder in its archive that holds photos, and the SHA-256 of each photo wanted."""

    name: str
    version: str
    sha256: str
    folder: str
    photos: Mapping[str, str]
    platform: str | None = None

    @property
    def title(self) -> str:
        return f"{self.name}-{self.version}"


_PEOPLE = _Source(
    name="face_recognition",
    version="1.3.0",
    sha256="5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    folder="face_recognition-1.3.0/tests/test_images",
    photos={
        "32bit.png": "44dca895a7d635a4aedddd91a4f37af9a8a5b44e66154282a24645a757b5f627",
        "biden.jpg": "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
        "obama.jpg": "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
        "obama2.jpg": "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
        "obama3.jpg": "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
        "obama_partial_face.jpg": "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117",
        "obama_partial_face2.jpg": "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028",
    },
)
_ASTRONAUT = _Source(
    name="scikit-image",
    version="0.26.0",
    sha256="74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    folder="skimage/data",
    photos={
        "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    },
    platform="manylinux_2_28_x86_64",
)
_ADMIRAL = _Source(
    name="matplotlib",
    version="3.11.2",
    sha256="07d9b9fa60cd4c393692f50d0bb03123242ddf61c99bb0e95e75feb354e7c1a8",
    folder="matplotlib/mpl-data/sample_data",
    photos={"grace_hopper.jpg": "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130"},
    platform="manylinux2014_x86_64",
)
_STRANGER = _Source(
    name="mahotas",
    version="1.4.19",
    sha256="512f5c23a061ee37c05b65224cc9f99940b8413519c10ea148c7f785a31d0540",
    folder="mahotas/demos/data",
    photos={"luispedro.jpg": "27e7af47501a4e9a06e4d8bd8b834bd773fe7b187baef2f47e120c663524bed1"},
    platform="manylinux_2_28_x86_64",
)
_SOURCES = (_PEOPLE, _ASTRONAUT, _ADMIRAL, _STRANGER)


@dataclass(frozen=True)
class Photos:
    """Where the photos lie, by what they are good for."""

    people: dict[str, list[Path]]
    """Name to photos, different ones of the same person. With one photo only, that one is for enrolment."""
    stranger: Path
    """A person who is not among `people`."""
    half_faces: list[Path]
    """Of Barack Obama, cut through the middle of the face: too little to tell anybody by."""
    with_alpha: Path
    """The second photo of Barack Obama again, as a PNG with an alpha channel."""
    no_face: Path
    """A photo without a person."""

    def enrolment(self, name: str) -> list[Path]:
        """The photos to enrol `name` with: all but the last, or the only one."""
        return self.people[name][:-1] or self.people[name]

    def probes(self, name: str) -> list[Path]:
        """The photos to search for `name` with, none of them enrolled; empty for who has one photo only."""
        return self.people[name][len(self.enrolment(name)) :]


def prepare_photos(cache_dir: Path) -> Photos:
    """Return the photos below `cache_dir`, fetching those that are missing or damaged (29 MB at first).

    Raises `PackageUnavailable` when a package cannot be fetched.
    """
    folder = cache_dir / "photos"
    for source in _SOURCES:
        missing = _missing(source, folder / source.title)
        if missing:
            _extract(source, missing, folder / source.title)
    faces, space, navy = (folder / source.title for source in (_PEOPLE, _ASTRONAUT, _ADMIRAL))
    return Photos(
        people={
            "Barack Obama": [faces / "obama.jpg", faces / "obama2.jpg", faces / "obama3.jpg"],
            "Joe Biden": [faces / "biden.jpg"],
            "Eileen Collins": [space / "astronaut.png"],
            "Grace Hopper": [navy / "grace_hopper.jpg"],
        },
        stranger=folder / _STRANGER.title / "luispedro.jpg",
        half_faces=[faces / "obama_partial_face.jpg", faces / "obama_partial_face2.jpg"],
        with_alpha=faces / "32bit.png",
        no_face=space / "chelsea.png",
    )


def _missing(source: _Source, folder: Path) -> list[str]:
    """The photos of `source` that are not in `folder` as they should be."""
    return [
        photo
        for photo, sha256 in source.photos.items()
        if not (folder / photo).is_file() or sha256_of(folder / photo) != sha256
    ]


def _extract(source: _Source, photos: list[str], folder: Path) -> None:
    """Put these photos of a package into `folder`, each whole or not at all; do not keep the package."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        archive = fetch_package(
            source.name, source.version, source.sha256, Path(scratch), platform=source.platform
        )
        for photo in photos:
            content = _read_member(archive, f"{source.folder}/{photo}")
            partial = Path(scratch) / photo
            partial.write_bytes(content)
            partial.replace(folder / photo)


def _read_member(archive: Path, member: str) -> bytes:
    """One file's bytes from a wheel or a source archive; its name is used for nothing else."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as tar:
        file = tar.extractfile(member)
        if file is None:
            raise PackageUnavailable(f"{archive.name} holds no file {member}.")
        return file.read()


def main() -> None:
    """Fetch the photos into the cache, as `make test` does before the tests."""
    try:
        prepare_photos(Settings().cache_dir)
    except PackageUnavailable as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
