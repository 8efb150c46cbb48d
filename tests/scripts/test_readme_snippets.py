"""The README's Python is run as it stands, against a real ingress."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from faceid_client import Profile
from infra.settings import PROJECT_ROOT
from tests.ingress.conftest import Client as Ingress
from tests.ingress.conftest import jpeg
from tests.ingress.worker import Worker

SNIPPETS = re.findall(r"```python\n(.*?)```", (PROJECT_ROOT / "README.md").read_text(), re.DOTALL)
PRINTED = (r"ada\n\S+ \S+ ada \S+\n", r"True 85\.0?\nTrue 85\.0?\n")


def test_there_is_a_snippet_for_each_kind_of_client() -> None:
    assert len(SNIPPETS) == len(PRINTED)


@pytest.mark.parametrize(("snippet", "printed"), list(zip(SNIPPETS, PRINTED, strict=True)))
async def test_it_does_what_it_says(
    client: Ingress,
    worker: Worker,
    tls_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    snippet: str,
    printed: str,
) -> None:
    worker.recognise = "ada"
    for name in ("photo1.jpg", "photo2.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    Profile(
        url=client.base_url,
        ca_file=str(tls_folder / "ca.pem"),
        access_token=client.token,
        refresh_token=client.refresh_token,
    ).save()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        snippet.replace("found.best.full_name", "found.best.user_id"),  # the worker knows no names
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "scripts" / "client")},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert re.fullmatch(printed, out.decode()), out
