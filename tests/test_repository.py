"""What the repository holds besides code: the lock, the set-up, and nothing that belongs to one machine."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

OWNERS_PACKAGES = {
    "aiohttp", "aiokafka", "facenet-pytorch", "torch", "qdrant-client", "motor", "pydantic", "aioboto3",
    "pyjwt", "structlog", "pytest", "pytest-asyncio", "testcontainers",
}  # fmt: skip
NOT_FOR_INGRESS = {
    "facenet-pytorch", "openvino", "pillow", "pip", "psutil", "qdrant-client", "qdrant-edge-py",
    "safetensors", "setuptools",
}  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w.~$})/*-])/(?:work|root|tmp|home|Users)(?![\w-])")
REGISTRY = re.compile(
    r"pypi\.org|python[h]osted|npm[j]s|crates\.io|maven\.org|maven\.apache|proxy\.golang|deb\.debian"
)
NEVER_KEPT = {
    ".jpg",
    ".jpeg",
    ".npy",
    ".npz",
    ".pb",
    ".pt",
    ".onnx",
    ".safetensors",
    ".sqlite",
    ".pem",
    ".key",
}


@pytest.fixture(scope="module")
def files(project_root: Path) -> list[Path]:
    """All files but those that git ignores."""
    ignored = [
        line.rstrip("/")
        for line in (project_root / ".gitignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]

    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path.name == ".git" or any(fnmatch(path.name, pattern) for pattern in ignored):
                continue
            if path.is_dir():
                yield from walk(path)
            else:
                yield path

    return list(walk(project_root))


def found_in(files: list[Path], pattern: re.Pattern[str]) -> list[str]:
    """Where a pattern occurs, as `file:line`; in text files only."""
    places: list[str] = []
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        places += [f"{path}:{number}" for number, line in enumerate(lines, 1) if pattern.search(line)]
    return places


def test_no_path_of_one_machine(files: list[Path]) -> None:
    assert found_in(files, MACHINE_PATH) == []


def test_no_host_name_of_a_registry(files: list[Path]) -> None:
    assert found_in(files, REGISTRY) == []


def test_no_photo_template_weight_or_key(files: list[Path]) -> None:
    assert [path for path in files if path.suffix in NEVER_KEPT] == []


def locked(path: Path) -> dict[str, set[str]]:
    """The versions of each package in a lock, after checking that every entry is pinned and hashed."""
    versions: dict[str, set[str]] = {}
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for entry in re.split(r"\n(?=\S)", text.strip()):
        head, *hashes = entry.replace("\\\n", "\n").split("\n")
        pin = re.fullmatch(r"([a-z0-9-]+)==([\w.+!]+)( ; .+)?", head.strip())
        assert pin, f"{path.name}: {head}"
        assert hashes, f"{path.name}: {head} has no hash"
        assert all(re.fullmatch(r"\s+--hash=sha256:[0-9a-f]{64}\s*", line) for line in hashes), head
        versions.setdefault(pin[1], set()).add(pin[2])
    return versions


def declared(project_root: Path) -> dict[str, str]:
    """The packages that pyproject.toml names, each with the one version that it must name."""
    document = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))
    project = document["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    lines = project["dependencies"] + extras + document["build-system"]["requires"]
    pins = [re.fullmatch(r"([a-z0-9-]+)(?:\[[a-z,]+\])?==([\w.]+)", line) for line in lines]
    return {
        pin[1]: pin[2]
        for line, pin in zip(lines, pins, strict=True)
        if pin or pytest.fail(f"{line} is not pinned")
    }


def test_the_lock_is_hashed_and_up_to_date(project_root: Path) -> None:
    versions = locked(project_root / "requirements.lock")
    pins = declared(project_root)
    assert {name: versions.get(name) for name in pins} == {name: {version} for name, version in pins.items()}


@pytest.mark.parametrize("image", ["ingress", "worker", "worker-cuda"])
def test_an_image_has_the_locked_versions_and_nothing_that_is_for_development(
    project_root: Path, image: str
) -> None:
    versions = locked(project_root / "requirements.lock")
    of_image = locked(project_root / "requirements" / f"{image}.lock")
    assert [name for name, has in of_image.items() if not has <= versions.get(name, set())] == []
    document = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))
    for_development = {
        re.split(r"[\[=]", line)[0] for line in document["project"]["optional-dependencies"]["dev"]
    }
    assert of_image.keys() & for_development == set()


def test_the_ingress_image_is_asked_for_packages_as_the_program_is(project_root: Path) -> None:
    document = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    program = {
        line.partition("==")[0]
        for line in document["dependencies"] + document["optional-dependencies"]["traces"]
    }
    lines = (project_root / "requirements" / "ingress.in").read_text(encoding="utf-8").splitlines()
    asked = {line for line in lines if not line.startswith("#")}
    assert asked <= program
    assert program - asked == NOT_FOR_INGRESS
    assert locked(project_root / "requirements" / "ingress.lock").keys() >= {
        name.partition("[")[0] for name in asked
    }


def test_the_ingress_runs_on_the_packages_of_its_image(project_root: Path) -> None:
    modules = [
        ".".join(path.relative_to(project_root).with_suffix("").parts).removesuffix(".__init__")
        for folder in ("schemas", "infra", "ingress")
        for path in sorted((project_root / folder).rglob("*.py"))
        if not path.is_relative_to(project_root / "infra" / "vectors")  # Ingress never touches vectors.
    ]
    program = """
import importlib, re, sys
from importlib.metadata import packages_distributions

installed = set(sys.argv[1].split())
here = packages_distributions()
of_image = {
    top
    for top, packages in here.items()
    if installed & {re.sub("[-_.]+", "-", package).lower() for package in packages}
}

class OfImage:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in here and top not in of_image and top not in OURS:
            raise ModuleNotFoundError(f"{name} is not in the image")

OURS = {"schemas", "infra", "ingress", "workers", "scripts", "faceid_client"}
sys.meta_path.insert(0, OfImage())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""
    packages = " ".join(locked(project_root / "requirements" / "ingress.lock"))
    command = [sys.executable, "-c", program, packages, *modules, "scripts.cli", "scripts.faults"]
    environment = os.environ | {"PYTHONPATH": str(project_root / "scripts" / "client")}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=project_root, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_the_installer_is_the_locked_one(project_root: Path) -> None:
    assert locked(project_root / "requirements" / "bootstrap.lock") == {"uv": {declared(project_root)["uv"]}}


@pytest.mark.parametrize("tool", ["client", "secantus"])
def test_tools_of_the_tests_are_locked_with_all_they_need(project_root: Path, tool: str) -> None:
    wanted = (project_root / "requirements" / f"{tool}.in").read_text(encoding="utf-8").splitlines()[-1]
    name, _, version = wanted.partition("==")
    assert locked(project_root / "requirements" / f"{tool}.lock")[name] == {version}


def test_the_packages_asked_for_are_there(project_root: Path) -> None:
    assert declared(project_root).keys() >= OWNERS_PACKAGES


def test_help_lists_every_target(project_root: Path) -> None:
    done = subprocess.run(["make"], check=True, capture_output=True, text=True, cwd=project_root)
    listed = set(re.findall(r"^  make (\S+) +\S", done.stdout, re.MULTILINE))
    assert listed >= {"help", "demo", "test", "serve", "check", "lint", "setup", "clean", "lock"}


def run_environment(project_root: Path, folder: Path, python3: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up in a bare copy of the project, on a machine whose only Python is this script."""
    commands = folder / "bin"
    commands.mkdir()
    for name in ("awk", "cat", "cksum", "cut", "df", "dirname", "rm", "sh", "uname"):
        (commands / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is not installed"))
    (commands / "python3").write_text(f"#!/bin/sh\n{python3}\n", encoding="utf-8")
    (commands / "python3").chmod(0o755)
    project = folder / "the project"
    for name in (
        "scripts/environment.sh",
        "requirements.lock",
        "requirements/bootstrap.lock",
        "pyproject.toml",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project_root / name, project / name)
    command = ["sh", str(project / "scripts" / "environment.sh")]
    return subprocess.run(command, check=False, capture_output=True, text=True, env={"PATH": str(commands)})


def test_without_a_fit_python_the_set_up_says_so(project_root: Path, tmp_path: Path) -> None:
    done = run_environment(project_root, tmp_path, "exit 1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr


def test_without_ensurepip_the_set_up_says_what_to_install(project_root: Path, tmp_path: Path) -> None:
    done = run_environment(project_root, tmp_path, 'case "$2" in *ensurepip*) exit 1 ;; esac')
    assert (done.returncode, done.stdout) == (1, "")
    assert "apt-get install python3-venv" in done.stderr
