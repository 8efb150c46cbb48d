"""Where the embedded index lies: a folder a generation, and a manifest that names the one that counts.

    manifest.json    {"format": 1, "collection": "…", "dimensions": 128, "generation": 7}
    generation-7/    the shard in use
    generation-8/    a copy that is being built: nothing, until the manifest names it

The manifest is replaced by a rename, so at any moment it names one whole generation, and whatever else a
crash leaves is rubbish. Everything here blocks.
"""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.durable_files import make_private_folders, replace_file
from infra.vectors.port import VectorsError

_FORMAT = 1
_PREFIX = "generation-"


class Generations:
    """The folder of one collection."""

    def __init__(self, directory: Path, collection: str, dimensions: int) -> None:
        self._directory = directory
        self._manifest = directory / "manifest.json"
        self._stamp: dict[str, Any] = {"format": _FORMAT, "collection": collection, "dimensions": dimensions}

    def current(self) -> int | None:
        """The generation that counts; None in a new folder. Raises VectorsError if this is another index."""
        try:
            manifest: dict[str, Any] = json.loads(self._manifest.read_bytes())
            generation = int(manifest.pop("generation"))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError) as error:
            raise VectorsError(f"{self._manifest} is damaged: remove its folder and reindex") from error
        if manifest != self._stamp:
            raise VectorsError(f"{self._manifest} is not of an index {self._stamp}")
        return generation

    def folder(self, generation: int) -> Path:
        return self._directory / f"{_PREFIX}{generation}"

    def make(self, generation: int) -> Path:
        """An empty folder for a generation; what is there of that number doesn't count."""
        folder = self.folder(generation)
        shutil.rmtree(folder, ignore_errors=True)
        make_private_folders(folder)
        return folder

    def switch_to(self, generation: int) -> None:
        """Make a generation the one that counts; what it holds must be on disk."""
        manifest = self._stamp | {"generation": generation}
        replace_file(self._manifest, json.dumps(manifest).encode(), self._manifest.with_suffix(".new"))

    def sweep(self) -> None:
        """Remove, as far as it goes, generations that don't count and a half-written manifest."""
        current = self.current()
        with suppress(OSError):
            self._manifest.with_suffix(".new").unlink()
        for path in self._directory.glob(f"{_PREFIX}*"):
            if current is None or path != self.folder(current):
                shutil.rmtree(path, ignore_errors=True)
