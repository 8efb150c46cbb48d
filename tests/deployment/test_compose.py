"""docker-compose.yml, held against the program and against what a container may be allowed.

No package carries the schema of Compose files: what is not a rule here, an engine would have to say.
"""

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from scripts.compose_passwords import make_passwords
from tests.deployment import dockerfile
from tests.deployment.declared import (
    FIELDS,
    GRACE_S,
    USER,
    check_command,
    check_image,
    check_settings,
    port_of,
)

OURS: Final = ("passwords", "setup", "ingress", "worker")
SERVERS: Final = ("kafka", "mongodb", "qdrant", "s3")
ONCE: Final = ("passwords", "setup")
SECRET: Final = re.compile(r"password|secret|api_key|access_key|token", re.IGNORECASE)
# Where each server listens for the program.
PORTS: Final = {"kafka": 9092, "mongodb": 27017, "qdrant": 6334, "s3": 7070}

every_service = pytest.mark.parametrize("name", OURS + SERVERS)


@pytest.fixture(scope="module")
def compose(project_root: Path) -> dict[str, Any]:
    return yaml.safe_load((project_root / "docker-compose.yml").read_text(encoding="utf-8"))


def mounted(service: dict[str, Any]) -> dict[str, str]:
    """Where each volume of a service is mounted."""
    return {path: volume for volume, path, *_ in (line.split(":") for line in service.get("volumes", ()))}


def test_there_are_these_services_and_no_others(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == set(OURS + SERVERS)


@every_service
def test_a_service_is_pinned_confined_and_limited(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    check_image(service["image"], name)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["logging"]["driver"] == "local", "a log that grows without end fills the disk"
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    # The image of Kafka says itself that it is not root.
    assert service.get("user", "appuser").partition(":")[0] not in {"0", "root"}
    if name in OURS:
        assert service["user"] == USER
        assert service["stop_grace_period"] == "30s"
        assert GRACE_S <= 30


@every_service
def test_what_runs_says_when_it_is_ill_and_what_runs_once_does_not(
    compose: dict[str, Any], name: str
) -> None:
    check = compose["services"][name].get("healthcheck", {})
    if name in ONCE:
        assert check == {"disable": True}
    elif name in SERVERS:
        assert check.keys() == {"test", "interval", "timeout", "retries", "start_period"}
        assert check["test"][0] == "CMD"
    else:
        assert check == {}, "the image has one"


def test_commands_and_settings_are_the_programs(compose: dict[str, Any], project_root: Path) -> None:
    stages = dockerfile.read(project_root / "Dockerfile")[1]
    for name in OURS:
        service = compose["services"][name]
        check_settings(service["environment"], name)
        image, _, _ = service["image"].removeprefix("faceid-").partition(":")
        assert service["build"] == {"context": ".", "target": image}
        assert image in stages
        if name != "passwords":
            check_command(service["command"], name)


def test_everything_starts_after_what_it_needs(compose: dict[str, Any]) -> None:
    ready = {server: {"condition": "service_healthy"} for server in SERVERS}
    done = {"condition": "service_completed_successfully"}
    for server in SERVERS:
        assert compose["services"][server]["depends_on"] == {"passwords": done}
    assert compose["services"]["setup"]["depends_on"] == ready
    for name in ("ingress", "worker"):
        assert compose["services"][name]["depends_on"] == ready | {"setup": done}


def test_addresses_are_those_of_the_servers(compose: dict[str, Any], tmp_path: Path) -> None:
    given = passwords(tmp_path)
    settings = compose["services"]["worker"]["environment"]
    told = {
        "kafka": settings["FACEID_KAFKA_SERVERS"],
        "mongodb": given["faceid/FACEID_MONGODB_URL"],
        "qdrant": settings["FACEID_QDRANT_URL"],
        "s3": settings["FACEID_S3_ENDPOINT"],
    }
    assert {name for name, address in told.items() if f"{name}:{PORTS[name]}" not in address} == set()
    for name in (*SERVERS, "setup", "ingress", "worker"):
        assert "servers" in compose["services"][name]["networks"]
    assert compose["networks"]["servers"] == {"internal": True}


def test_only_ingress_is_reached_from_outside_and_only_from_this_machine(
    compose: dict[str, Any], project_root: Path
) -> None:
    published = {
        name: service["ports"] for name, service in compose["services"].items() if "ports" in service
    }
    image = dockerfile.whole(dockerfile.read(project_root / "Dockerfile")[1], "ingress")
    port = port_of("listen", dockerfile.environment(image).items())
    assert published == {"ingress": [f"127.0.0.1:{port}:{port}"]}
    outside = {
        name for name, service in compose["services"].items() if "outside" in service.get("networks", ())
    }
    assert outside == {"ingress"}
    assert compose["services"]["passwords"]["network_mode"] == "none"


def test_every_volume_is_declared_and_used(compose: dict[str, Any]) -> None:
    used = Counter(volume for service in compose["services"].values() for volume in mounted(service).values())
    assert used.keys() == compose["volumes"].keys()
    for name, service in compose["services"].items():
        assert not [path for path in mounted(service).values() if path.startswith((".", "/", "~"))], name


def test_what_an_image_writes_is_mounted(compose: dict[str, Any], project_root: Path) -> None:
    stages = dockerfile.read(project_root / "Dockerfile")[1]
    for name in ("setup", "ingress", "worker"):
        service = compose["services"][name]
        paths = mounted(service)
        settings = dockerfile.environment(dockerfile.whole(stages, "worker"))
        assert paths[str(Path(settings["FACEID_MASTER_KEY_FILE"]).parent)] == "keys"
        assert paths[str(FIELDS["secrets_dir"].default)] == "passwords-faceid"
        if name != "worker":
            assert paths[settings["FACEID_TLS_DIR"]] == "tls"
        assert any(line.startswith(f"{settings['TMPDIR']}:") for line in service["tmpfs"])


def test_files_that_are_mounted_exist_and_are_all_used(compose: dict[str, Any], project_root: Path) -> None:
    files = {name: project_root / config["file"] for name, config in compose["configs"].items()}
    assert set(files.values()) == set((project_root / "infra" / "compose").iterdir())
    used = [
        config["source"] for service in compose["services"].values() for config in service.get("configs", ())
    ]
    assert sorted(used) == sorted(files)
    for service in compose["services"].values():
        targets = {config["target"] for config in service.get("configs", ())}
        words = [*service.get("entrypoint", ()), *service.get("healthcheck", {}).get("test", ())]
        assert {word for word in words if word.startswith("/etc/faceid/")} <= targets


def passwords(folder: Path) -> dict[str, str]:
    """What the first service makes, by place."""
    for name in ("faceid", *SERVERS):
        (folder / name).mkdir(exist_ok=True)
    make_passwords(folder)
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="ascii")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_no_password_is_in_a_file_or_an_environment(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            assert not SECRET.search(variable) or value.startswith("/run/secrets/"), f"{name}: {variable}"


def test_passwords_are_made_once_and_what_a_crash_left_out_is_added(tmp_path: Path) -> None:
    first = passwords(tmp_path)
    assert passwords(tmp_path) == first
    (tmp_path / "faceid" / "FACEID_KAFKA_PASSWORD").unlink()
    (tmp_path / "s3" / "secret_key").unlink()
    again = passwords(tmp_path)
    changed = {place for place in first if again[place] != first[place]}
    assert changed == {"s3/secret_key", "faceid/FACEID_S3_SECRET_KEY"}
    made = [
        first[place] for place in first if place.rpartition("/")[2] in {"password", "api_key", "secret_key"}
    ]
    assert len(set(made)) == len(made)


def test_who_needs_a_password_has_it_and_nobody_else(compose: dict[str, Any], tmp_path: Path) -> None:
    """Each server mounts its own folder, and reads in its start-up files what is in there."""
    given = passwords(tmp_path)
    told = {place.rpartition("/")[2]: text for place, text in given.items() if place.startswith("faceid/")}
    check_settings(told, "faceid")
    where = {server: f"passwords-{server}" for server in SERVERS} | {"setup": "passwords-faceid"}
    where |= {"ingress": "passwords-faceid", "worker": "passwords-faceid"}
    for name, volume in where.items():
        assert mounted(compose["services"][name])["/run/secrets"] == volume
        assert f"{volume}:/run/secrets:ro" in compose["services"][name]["volumes"]
    made = mounted(compose["services"]["passwords"])
    assert {made[f"/var/lib/faceid/passwords/{name}"] for name in ("faceid", *SERVERS)} == {
        f"passwords-{name}" for name in ("faceid", *SERVERS)
    }


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_reads_passwords_that_are_there(
    compose: dict[str, Any], project_root: Path, tmp_path: Path, server: str
) -> None:
    given = passwords(tmp_path)
    service = compose["services"][server]
    sources = [project_root / compose["configs"][one["source"]]["file"] for one in service.get("configs", ())]
    texts = [path.read_text(encoding="utf-8") for path in sources]
    texts += (
        [shlex.join(service.get("command", ())), *service["environment"].values()]
        if "environment" in service
        else []
    )
    read = set(re.findall(r"/run/secrets/([\w.]+)", "\n".join(texts)))
    assert read
    assert {f"{server}/{name}" for name in read} <= given.keys()
