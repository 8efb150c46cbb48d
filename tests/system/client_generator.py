"""openapi-python-client in an environment of its own: made once from a hashed lock, kept below the cache."""

import asyncio
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.settings import PROJECT_ROOT

_LOCK: Final = PROJECT_ROOT / "requirements" / "client.lock"
_TIMEOUT_S: Final = 240

# It has no photos of its own accord: they are bytes like any.
_CONFIG: Final = {
    "content_type_overrides": dict.fromkeys(("image/jpeg", "image/png"), "application/octet-stream")
}


@dataclass(frozen=True)
class Generator:
    """The generator, and the Python that runs what it generates."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    async def generate(self, document: Mapping[str, Any], folder: Path, name: str) -> Path:
        """A client package of the document's API; whatever the generator does not understand is an error."""
        description = folder / "openapi.json"
        description.write_text(json.dumps(document), encoding="utf-8")
        config = folder / "generator.json"
        config.write_text(json.dumps(_CONFIG), encoding="utf-8")
        await run(
            str(self.folder / "bin" / "openapi-python-client"),
            *("generate", "--path", str(description), "--output-path", str(folder / name)),
            *("--config", str(config), "--meta", "none", "--fail-on-warning"),
            path=self.folder / "bin",  # It tidies with its own ruff.
        )
        return folder / name


async def prepare_generator(cache_dir: Path) -> Generator:
    """Make the environment if it is not there; another lock or Python gets another one."""
    stamp = hashlib.sha256(_LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = cache_dir / "client-generator" / stamp
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv = (sys.executable, "-m", "uv")
        await run(*uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        await run(
            *(*uv, "pip", "sync", "--quiet", "--python", str(folder / "bin" / "python")),
            *("--require-hashes", "--no-build", str(_LOCK)),
        )
        (folder / "complete").touch()
    return Generator(folder)


async def run(*command: str, path: Path | None = None, **variables: str) -> str:
    """Run a program to its end; its output. What fails says so with all it said."""
    before = f"{path}{os.pathsep}" if path is not None else ""
    environment = {**os.environ, **variables, "PATH": f"{before}{os.environ.get('PATH', '')}"}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    text = output.decode()
    assert process.returncode == 0, f"{command[0]}: {text}"
    return text
