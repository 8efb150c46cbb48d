"""The Dockerfile, held against the program: no container engine is needed to see that they agree."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from tests.deployment import dockerfile
from tests.deployment.declared import USER, check_command, check_image, check_settings, port_of

IMAGES: Final = ("ingress", "worker", "worker-cuda")
WRITTEN: Final = "/var/lib/faceid/"
HASHED: Final = "--require-hashes"

every_image = pytest.mark.parametrize("name", IMAGES)


@pytest.fixture(scope="module")
def arguments(project_root: Path) -> dict[str, str]:
    return dockerfile.read(project_root / "Dockerfile")[0]


@pytest.fixture(scope="module")
def stages(project_root: Path) -> dict[str, dockerfile.Stage]:
    return dockerfile.read(project_root / "Dockerfile")[1]


def test_every_stage_stands_on_another_or_on_a_pinned_python(
    arguments: dict[str, str], stages: dict[str, dockerfile.Stage]
) -> None:
    assert stages.keys() >= set(IMAGES)
    earlier: set[str] = set()
    for stage in stages.values():
        assert stage.base in earlier | {"${PYTHON_IMAGE}"}, stage.name
        earlier.add(stage.name)
    check_image(arguments["PYTHON_IMAGE"], "Dockerfile")
    assert re.match(r"python:3\.1[123]\.", arguments["PYTHON_IMAGE"]), "a Python that the program supports"


@every_image
def test_an_image_runs_as_nobody_and_says_when_it_is_ill(
    stages: dict[str, dockerfile.Stage], name: str
) -> None:
    stage = dockerfile.whole(stages, name)
    assert stage.all("USER") == [USER]
    assert json.loads(stage.all("ENTRYPOINT")[-1]) == ["faceid"]
    check_command(json.loads(stage.all("CMD")[-1]), name)
    checks = [json.loads(words.partition("CMD ")[2]) for words in stage.all("HEALTHCHECK")]
    settings = dockerfile.environment(stage).items()
    asked = (
        f"https://127.0.0.1:{port_of('listen', settings)}/healthz"
        if name == "ingress"
        else f"http://127.0.0.1:{port_of('metrics_listen', settings)}/metrics"
    )
    assert checks == [["python", "-m", "scripts.alive", asked]]


@every_image
def test_an_image_sets_real_settings_and_writes_only_where_something_is_mounted(
    stages: dict[str, dockerfile.Stage], name: str
) -> None:
    stage = dockerfile.whole(stages, name)
    settings = dockerfile.environment(stage)
    check_settings(settings, name)
    for field in ("FACEID_DATA_DIR", "FACEID_MASTER_KEY_FILE", "FACEID_TLS_DIR"):
        assert settings[field].startswith(WRITTEN), field
    # The environment goes before files, so what may hold a password is not in it.
    assert "FACEID_KEY_STORE" not in settings
    volumes = json.loads(stage.all("VOLUME")[-1])
    assert all(volume.startswith(WRITTEN) for volume in volumes)
    ports = {int(port) for words in stage.all("EXPOSE") for port in words.split()}
    serves = {"listen", "metrics_listen"} if name == "ingress" else {"metrics_listen"}
    assert ports == {port_of(setting, settings.items()) for setting in serves}


def test_the_ingress_image_has_nothing_of_the_workers(stages: dict[str, dockerfile.Stage]) -> None:
    copied = " ".join(dockerfile.whole(stages, "ingress").all("COPY"))
    assert "ingress-packages /opt/venv" in copied
    assert "worker-packages" not in copied


def test_every_package_is_checked_by_its_hash(stages: dict[str, dockerfile.Stage]) -> None:
    commands = [
        command
        for stage in stages.values()
        for words in stage.all("RUN")
        for command in re.split(r"&&|;", words)
        if re.search(r"\bpip (install|sync)\b", command)
    ]
    assert len(commands) == 4
    assert [command for command in commands if HASHED not in command] == []


def test_the_image_for_processors_is_that_for_gpus_without_pytorch(project_root: Path) -> None:
    cpu, cuda = (
        set(re.findall(r"^([a-z0-9-]+)==", (project_root / "requirements" / lock).read_text(), re.MULTILINE))
        for lock in ("worker.lock", "worker-cuda.lock")
    )
    assert cpu < cuda
    assert {name.partition("-")[0] for name in cuda - cpu} == {
        "torch",
        "torchvision",
        "triton",
        "nvidia",
        "cuda",
    }


def test_what_is_copied_is_sent_to_the_builder_and_nothing_else(
    project_root: Path, stages: dict[str, dockerfile.Stage]
) -> None:
    copied = {
        source
        for stage in stages.values()
        for words in stage.all("COPY")
        if "--from=" not in words
        for source in words.split()[:-1]
    }
    lines = (project_root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied
    assert all((project_root / source).exists() for source in copied)
