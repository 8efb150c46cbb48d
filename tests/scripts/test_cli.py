"""The `faceid` command as a person and as a script meet it: a real process against a real service."""

import asyncio
import json
import os
import pty
import re
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from faceid_client import AsyncClient
from infra.objects.filesystem import FilesystemObjects
from infra.settings import PROJECT_ROOT, Settings
from scripts.photos import Photos
from scripts.service_process import ServiceProcess

pytestmark = pytest.mark.system

EMAIL, PASSWORD = "admin@example.com", "a long enough password"
COMMANDS = (
    (),
    *((name,) for name in ("register", "login", "logout", "password")),
    *((name,) for name in ("enroll", "search", "verify", "detect", "logs", "reindex")),
    *((name,) for name in ("lag", "pause", "resume")),
    *(("deadletters", name) for name in ("list", "show", "replay", "drop")),
    *(
        (name,)
        for name in (
            "reconcile",
            "migrate",
            "setup",
            "serve",
            "ingress",
            "worker",
            "config",
            "demo",
            "calibrate",
        )
    ),
    *(("users", name) for name in ("list", "show", "delete")),
    *(("faces", name) for name in ("list", "show", "delete")),
    *(("jobs", name) for name in ("list", "show")),
    *(("members", name) for name in ("list", "invite", "set-role", "remove", "reset-password")),
    *(("keys", name) for name in ("list", "create", "rotate", "revoke")),
    *(("company", name) for name in ("show", "set")),
    *(("bench", name) for name in ("accuracy", "speed", "scale", "load")),
)


@dataclass
class Ended:
    status: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> dict[str, Any]:
        (one,) = self.documents
        return one


@dataclass
class Shell:
    """Runs `faceid` with an environment of its own. Nobody's log-in is touched."""

    home: Path
    environment: dict[str, str]

    async def run(self, *words: str, given: str = "", **environment: str) -> Ended:
        """Piped: neither input nor output is a terminal."""
        process = await asyncio.create_subprocess_exec(
            *self.command(words),
            env={**self.environment, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(given.encode())
        return Ended(process.returncode or 0, out.decode(), err.decode())

    async def typed(self, *words: str, **environment: str) -> Ended:
        """With a terminal for its output."""
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *self.command(words),
            env={**self.environment, "TERM": "xterm", "COLUMNS": "160", **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = await asyncio.to_thread(_read_all, ours)
        return Ended(await process.wait(), shown, "")

    def command(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """The installed command: completion goes by its name."""
        return str(Path(sys.executable).with_name("faceid")), *words


def _read_all(descriptor: int) -> str:
    parts: list[bytes] = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:
        pass  # how Linux tells that the other end is closed
    os.close(descriptor)
    return b"".join(parts).decode()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FACEID_")}
    del_colour = {name: value for name, value in kept.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    path = os.pathsep.join([str(PROJECT_ROOT), str(PROJECT_ROOT / "scripts" / "client")])
    return Shell(home, {**del_colour, "XDG_CONFIG_HOME": str(home), "PYTHONPATH": path})


async def test_every_command_explains_itself(shell: Shell) -> None:
    """In one process: to start one a command would take longer than everything else here."""
    program = (
        "import json, sys\n"
        "from scripts.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['faceid', *words, '--help']\n"
        "    try: main()\n"
        "    except SystemExit as ended: print('ended', ended.code or 0)\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, json.dumps(COMMANDS)),
        env=shell.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    *explained, rest = out.decode().split("ended 0\n")
    assert not rest
    for words, said in zip(COMMANDS, explained, strict=True):
        assert f"Usage: {' '.join(('faceid', *words))}" in said


async def test_help_loads_neither_torch_nor_the_client(shell: Shell) -> None:
    program = "import sys; from scripts.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, "--help", env=shell.environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    loaded = set(out.decode().split())
    assert "scripts.commands.recognition" in loaded
    assert loaded.isdisjoint({"torch", "aiohttp", "numpy", "pydantic", "faceid_client", "PIL"})


async def test_completion_is_there(shell: Shell) -> None:
    for name, variable in (("bash", "_FACEID_COMPLETE"), ("zsh", "_FACEID_COMPLETE")):
        source = await shell.run(**{variable: f"source_{name}"})
        assert "complete" in source.out + source.err


async def test_its_version_is_that_of_the_package(shell: Shell) -> None:
    assert (await shell.run("--version")).out == f"faceid {version('faceid-api')}\n"


async def test_who_is_not_logged_in_is_told_what_to_do(shell: Shell, tmp_path: Path) -> None:
    ended = await shell.run("users", "list", XDG_CONFIG_HOME=str(tmp_path))
    assert ended.status == 5
    assert "faceid login" in ended.err
    assert "Traceback" not in ended.err


async def test_no_server_is_told(shell: Shell) -> None:
    nowhere = {"FACEID_URL": "https://127.0.0.1:9", "FACEID_API_KEY": "fid_x"}
    ended = await shell.run("users", "list", **nowhere)
    assert ended.status == 4
    assert "No server answers at https://127.0.0.1:9" in ended.err
    assert "faceid serve" in ended.err


async def test_a_wrong_command_line_is_status_2(shell: Shell) -> None:
    for words in (("search",), ("search", "no-such-file.jpg"), ("users", "delete", "ada"), ("nonsense",)):
        assert (await shell.run(*words)).status == 2, words


async def test_a_wrong_setting_is_told_without_a_traceback(shell: Shell) -> None:
    ended = await shell.run("config", FACEID_LISTEN="here")
    assert ended.status == 2
    assert "FACEID_LISTEN" in ended.err
    assert "Traceback" not in ended.err


async def test_settings_are_told_with_where_they_came_from_and_no_secret(
    shell: Shell, tmp_path: Path
) -> None:
    address = "https://reader:hunter2@weights.example/vggface2.pt?X-Signature=5ecret"
    records, keys = "mongodb://r0bot:sl/4sh@db1,db2/?appName=t0ken", "mongodb+srv://r0bot:sl%2F4sh@db/keys"
    secrets = {
        "FACEID_MODEL_URL": address,
        "FACEID_S3_ACCESS_KEY": "a",
        "FACEID_S3_SECRET_KEY": "s3cret",
        "FACEID_MONGODB_URL": records,
        "FACEID_KEY_STORE": keys,
        "FACEID_QDRANT_API_KEY": "1ndexkey",
    }
    ended = await shell.run("config", **secrets, FACEID_WAIT_S="5")
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert told["FACEID_WAIT_S"] == {"value": "5.0", "from": "environment"}
    assert told["FACEID_LISTEN"]["from"] == "default"
    assert told["FACEID_MODEL_URL"]["value"] == "https://********@weights.example/vggface2.pt?********"
    assert told["FACEID_MONGODB_URL"]["value"] == "mongodb://********@db1,db2/?********"
    assert told["FACEID_KEY_STORE"]["value"] == "mongodb+srv://********@db/keys"
    assert set(told) == {f"FACEID_{name.upper()}" for name in Settings.model_fields}
    for secret_setting in ("FACEID_S3_SECRET_KEY", "FACEID_QDRANT_API_KEY"):
        assert told[secret_setting] == {"value": "********", "from": "environment"}
    table = await shell.run("config", "--no-json", **secrets, COLUMNS="300")
    assert "environment" in table.out
    (tmp_path / "faceid_key_store").write_text("mongodb://faceid:hunter2@mongodb/keys")
    files = json.loads((await shell.run("config", FACEID_SECRETS_DIR=str(tmp_path))).out)
    assert files["FACEID_KEY_STORE"] == {"value": "mongodb://********@mongodb/keys", "from": "file"}
    for secret in ("hunter2", "5ecret", "s3cret", "1ndexkey", "r0bot", "4sh", "t0ken"):
        assert secret not in ended.out + table.out


@pytest.mark.system
async def test_an_image_is_given_weights_and_neither_keys_nor_a_certificate(
    shell: Shell, tmp_path: Path
) -> None:
    home = tmp_path / "image"
    places = {"FACEID_MASTER_KEY_FILE": str(home / "master.key"), "FACEID_TLS_DIR": str(home / "tls")}
    ended = await shell.run("setup", "--weights-only", FACEID_KEY_STORE=f"file:{home}/companies", **places)
    assert (ended.status, ended.out[:23]) == (0, "ready: model casia-webf"), ended.err
    assert not home.exists()


@pytest.fixture
async def service(shell: Shell, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    service = ServiceProcess(tmp_path / "service", tmp_path / "serve.log")
    await service.start()
    shell.environment |= {"FACEID_TLS_DIR": str(service.home / "tls")}
    yield service
    await service.stop()


@pytest.mark.system
@pytest.mark.timeout(600)  # some thirty commands, a second each; several under load
async def test_photos_are_asked_about_by_people_and_by_scripts(  # noqa: PLR0915 - one start for all steps
    shell: Shell, service: ServiceProcess, photos: Photos, tmp_path: Path
) -> None:
    obama, biden = photos.people["Barack Obama"], photos.people["Joe Biden"]

    # Register, then log in: what is wrong first.
    company = ("--company", "Example Ltd", "--email", EMAIL)
    registered = await shell.run("register", "--url", service.url, *company, given=PASSWORD)
    assert registered.status == 0, registered.err
    assert (await shell.run("users", "list")).status == 0
    twice = await shell.run("register", "--url", service.url, *company, given=PASSWORD)
    assert (twice.status, "email_taken" in twice.err) == (3, True)
    untrusted = await shell.run(
        "login", "--url", service.url, "--email", EMAIL, given=PASSWORD, FACEID_TLS_DIR=str(tmp_path)
    )
    assert (untrusted.status, "--ca FILE" in untrusted.err) == (4, True)
    wrong = await shell.run("login", "--url", service.url, "--email", EMAIL, given="not the password")
    assert (wrong.status, "invalid_credentials" in wrong.err) == (5, True)
    logged_in = await shell.run("login", "--url", service.url, "--email", EMAIL, given=PASSWORD)
    assert logged_in.status == 0, logged_in.err
    kept = Path(logged_in.document["file"])
    assert [stat.S_IMODE(one.stat().st_mode) for one in (kept, kept.parent)] == [0o600, 0o700]
    assert _holds_no(PASSWORD, kept)

    # Enrol: a line of JSON a photo.
    enrolled = await shell.run(
        "enroll", *map(str, obama[:2]), "--user-id", "u-1", "--name", "Barack Obama",
        "--tag", "visitor", "--group", "staff", "--metadata", "badge=7",
    )  # fmt: skip
    assert enrolled.status == 0, enrolled.err
    assert [line["photo"] for line in enrolled.documents] == [str(path) for path in obama[:2]]
    assert enrolled.documents[0]["metadata"] == {"badge": "7"}
    refused = await shell.run("enroll", str(obama[2]), "--user-id", "u-2")
    assert (refused.status, refused.document["error"]["code"]) == (3, "duplicate_face")

    # Search: the exit status is that of grep.
    picture = tmp_path / "found.png"
    found = await shell.run("search", str(obama[2]), "--device", "door-1", "--picture", str(picture))
    assert (found.status, found.document["best"]["user_id"]) == (0, "u-1")
    _box_is_drawn(picture, obama[2], found.document["face"]["box"])
    nowhere = str(tmp_path / "no such folder" / "found.png")
    assert (await shell.run("search", str(obama[2]), "--picture", nowhere)).status == 2
    nobody = await shell.run("search", str(photos.stranger), str(obama[2]))
    assert (nobody.status, [line["matched"] for line in nobody.documents]) == (1, [False, True])
    mixed = await shell.run("search", str(photos.no_face), str(obama[2]))
    assert mixed.status == 3
    assert [line.get("matched") for line in mixed.documents] == [None, True], "one refusal stops no other"
    assert "no_face" in mixed.err
    every = await shell.run("search", "--all", str(obama[2]))
    assert (every.status, len(every.document["results"])) == (0, 1)

    near = await shell.run("search", str(photos.stranger), "--investigate", "--limit", "3")
    assert (near.status, [one["accepted"] for one in near.document["candidates"]]) == (1, [False])

    # Verify and detect.
    assert (await shell.run("verify", str(obama[2]), "--user-id", "u-1", "--site", "hall")).status == 0
    other = await shell.run("verify", str(obama[2]), "--other", str(biden[0]))
    assert (other.status, other.document["matched"]) == (1, False)
    assert (await shell.run("verify", str(obama[2]))).status == 2
    seen = await shell.run("detect", str(obama[2]), str(photos.no_face))
    assert (seen.status, [len(line["faces"]) for line in seen.documents]) == (1, [1, 0])

    # A terminal gets a table, in colour unless that is not wanted.
    shown = await shell.typed("search", str(obama[2]))
    assert "Barack Obama" in shown.out
    assert "\x1b[" in shown.out
    plain = await shell.typed("search", str(obama[2]), NO_COLOR="1")
    assert re.search(r"\x1b\[[0-9;]*3[0-9]m", plain.out) is None
    bare = re.sub(r"\x1b\[[0-9;]*m", "", (await shell.typed("search", str(obama[2]), "--json")).out)
    assert json.loads(bare)["matched"]

    # The log, and what a script does with it.
    log = await shell.run("logs", "--outcome", "matched", "--limit", "2")
    assert [entry["user_id"] for entry in log.documents] == ["u-1", "u-1"]

    unwritable = await shell.run("logs", "--csv", str(tmp_path / "no such folder" / "log.csv"))
    assert (unwritable.status, "Traceback" in unwritable.err) == (3, False)
    assert "no such folder/log.csv: No such file or directory" in unwritable.err

    # Deleting asks, or must be told.
    face_id = enrolled.documents[0]["face_id"]
    assert (await shell.run("faces", "delete", face_id)).status == 2
    assert (await shell.run("faces", "delete", face_id, "--yes")).status == 0
    assert (await shell.run("faces", "show", face_id)).status == 3


@pytest.mark.system
@pytest.mark.timeout(600)  # some thirty commands, a second each; several under load
async def test_a_company_and_its_stores_are_looked_after(  # noqa: PLR0915 - one start for all steps
    shell: Shell, service: ServiceProcess, photos: Photos
) -> None:
    async with AsyncClient(service.url, ca_file=service.ca_file) as faceid:
        await faceid.register("Example Ltd", EMAIL, PASSWORD)
    obama = photos.people["Barack Obama"]
    logged_in = await shell.run("login", "--url", service.url, "--email", EMAIL, given=PASSWORD)
    kept = Path(logged_in.document["file"])
    enrolled = await shell.run("enroll", str(obama[0]), "--user-id", "u-1")
    assert enrolled.status == 0, enrolled.err

    # The company: a colleague with a password of their own, a key for a door, a stricter policy.
    invited = await shell.run("members", "invite", "eve@example.com", "--role", "staff")
    assert invited.status == 0, invited.err
    secret = f"{invited.document['set_password_token']}\nanother long password"
    assert (await shell.run("password", "--token", "--url", service.url, given=secret)).status == 0
    eve = ("--profile", "eve")
    as_eve = await shell.run(
        "login", "--url", service.url, "--email", "eve@example.com", *eve, given="another long password"
    )
    assert as_eve.status == 0, as_eve.err
    assert (await shell.run("members", "list", *eve)).status == 3
    assert (await shell.run("members", "set-role", "eve@example.com", "--role", "auditor")).status == 0
    listed = await shell.run("members", "list")
    assert {one["email"]: one["role"] for one in listed.documents} == {
        EMAIL: "admin",
        "eve@example.com": "auditor",
    }
    key = await shell.run("keys", "create", "door", "--scope", "search")
    door = ("--profile", "door")
    with_key = await shell.run(
        "login", "--url", service.url, "--api-key", *door, given=key.document["api_key"]
    )
    assert with_key.status == 0, with_key.err
    assert (await shell.run("search", str(obama[2]), *door)).status == 0
    rotated = await shell.run("keys", "rotate", key.document["key_id"], "--overlap-s", "0")
    assert rotated.document["api_key"] != key.document["api_key"]
    assert (await shell.run("search", str(obama[2]), *door)).status == 5
    renewed = {"FACEID_URL": service.url, "FACEID_API_KEY": rotated.document["api_key"]}
    assert (await shell.run("search", str(obama[2]), *door, **renewed)).status == 0
    assert (await shell.run("keys", "revoke", key.document["key_id"], "--yes")).status == 0
    assert (await shell.run("search", str(obama[2]), *door, **renewed)).status == 5
    changed = await shell.run("company", "set", "policies.max_faces_per_user=7")
    assert changed.status == 0, changed.err
    company = (await shell.run("company", "show")).document
    assert company["policies"]["max_faces_per_user"] == 7
    company_id = company["company_id"]
    shown = await shell.typed("company", "show")
    assert re.search(r"policies\.max_faces_per_user\S*\s+7", shown.out)

    # Upkeep: refused while the service runs, then done.
    stores = dict(service.settings)
    busy = await shell.run("reindex", **stores)
    assert (busy.status, "stop that one first" in busy.err) == (3, True)
    await service.stop()
    assert (await shell.run("reconcile", **stores)).status == 0
    objects = await _leave_a_photo_behind(
        service.home / "data" / "objects", company_id, enrolled.documents[0]["job_id"]
    )
    found = await shell.run("reconcile", **stores)
    assert (found.status, found.document["fault"]) == (1, "blob_without_owner")
    assert "--repair" in found.err
    assert (await shell.run("reconcile", "--repair", **stores)).status == 0
    assert [blob.key async for blob in objects.list(UUID(company_id), "")] == []
    await objects.close()
    remade = await shell.run("reindex", **stores)
    assert (remade.status, remade.document["points"]) == (0, 1), remade.err
    assert (await shell.run("reconcile", **stores)).documents == []

    # Who is locked out gets in again at the machine.
    lost = await shell.run("members", "reset-password", EMAIL, "--local", "--yes", **stores)
    assert lost.status == 0, lost.err
    await service.start()
    secret = f"{lost.document['set_password_token']}\na password to remember"
    assert (await shell.run("password", "--token", "--url", service.url, given=secret)).status == 0
    again = await shell.run("login", "--url", service.url, "--email", EMAIL, given="a password to remember")
    assert again.status == 0, again.err
    assert (await shell.run("search", str(obama[2]))).status == 0
    await service.stop()

    # Log out: what is here is forgotten, though the server cannot be told.
    logged_out = await shell.run("logout")
    assert (logged_out.status, "was not told" in logged_out.err) == (0, True)
    assert not await asyncio.to_thread(kept.exists)
    assert (await shell.run("search", str(obama[2]))).status == 5


def _holds_no(secret: str, file: Path) -> bool:
    return secret not in file.read_text(encoding="utf-8")


async def _leave_a_photo_behind(folder: Path, company_id: str, face_id: str) -> FilesystemObjects:
    """A blob that nothing speaks of, as a crash or a restored backup may leave it."""
    objects = FilesystemObjects(folder)
    await objects.start()
    await objects.put(UUID(company_id), f"photos/{face_id}", b"a sealed photo")
    return objects


def _box_is_drawn(picture: Path, photo: Path, box: dict[str, float]) -> None:
    with Image.open(photo) as original, Image.open(picture) as drawn:
        scale = drawn.height / original.height
        x, y = box["x"] * scale, (box["y"] + box["height"] / 2) * scale
        red, green, blue = drawn.convert("RGB").getpixel((round(x + 2), round(y)))  # pyright: ignore
    assert (red, green, blue) == (0x1A, 0x98, 0x50)
