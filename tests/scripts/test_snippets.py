"""The Python and the shell of the README are run as they stand, against a real ingress."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest

from infra.settings import PROJECT_ROOT
from tests.ingress.conftest import Client as Ingress
from tests.ingress.conftest import jpeg
from tests.ingress.worker import Worker

README = (PROJECT_ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PRINTED = (r"ada\n\S+Z ada \S+\n", r"True 85\.0?\nTrue 85\.0?\n")
CURL = next(block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "curl" in block)
ADDRESS = "CA=.faceid/tls/ca.pem URL=https://127.0.0.1:8443\n"


def test_there_is_a_snippet_for_each_kind_of_client() -> None:
    assert len(PYTHON) == len(PRINTED)


@pytest.mark.parametrize(("snippet", "printed"), list(zip(PYTHON, PRINTED, strict=True)))
async def test_the_python_does_what_it_says(
    client: Ingress,
    worker: Worker,
    tls_folder: Path,
    tmp_path: Path,
    snippet: str,
    printed: str,
) -> None:
    worker.recognise = "ada"
    _lay_photos(tmp_path)
    environment = {
        "FACEID_URL": client.base_url,
        "FACEID_CA_FILE": str(tls_folder / "ca.pem"),
        "FACEID_API_KEY": await _key(client),
        "PYTHONPATH": str(PROJECT_ROOT / "scripts" / "client"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        snippet.replace('["best"]["full_name"]', '["best"]["user_id"]'),  # the worker knows no names
        cwd=tmp_path,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert re.fullmatch(printed, out.decode()), out


async def test_the_shell_goes_from_registration_to_deletion(
    client: Ingress, worker: Worker, tls_folder: Path, tmp_path: Path
) -> None:
    worker.recognise = "u-1"
    _lay_photos(tmp_path)
    assert ADDRESS in CURL
    here = f"CA={tls_folder / 'ca.pem'} URL={client.base_url}\n"
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        CURL.replace(ADDRESS, here),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    assert process.returncode == 0, (out, said)
    registered, found, logged, face = (json.loads(line) for line in out.splitlines() if line)
    assert registered["member_id"]
    assert found["best"]["user_id"] == "u-1"
    assert [entry["user_id"] for entry in logged["items"]] == ["u-1"]
    assert face["user_id"] == "u-1"


async def _key(client: Ingress) -> str:
    """As the README has it made."""
    scopes = re.findall(r"--scope (\S+)", README)
    reply = await client.call("POST", "/api-keys", json={"name": "my script", "scopes": scopes})
    return reply.body["api_key"]


def _lay_photos(folder: Path) -> None:
    for name in ("photo1.jpg", "photo2.jpg"):
        (folder / name).write_bytes(jpeg())
