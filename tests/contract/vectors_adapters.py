"""The vectors adapters that the contract runs on: one entry an adapter."""

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from infra.vectors.edge import EdgeVectors
from infra.vectors.port import Vectors, VectorsUnavailable
from infra.vectors.qdrant import QdrantVectors
from tests.servers import qdrant
from tests.servers.qdrant import QdrantServer

DIMENSIONS = 32


class Adapter(ABC):
    """How the suite gets at an adapter and what it does to it."""

    @abstractmethod
    def make(self) -> Vectors:
        """The adapter, not started, on the same data each time."""

    @abstractmethod
    async def crash(self, vectors: Vectors) -> None:
        """Kill what answers; returns when the adapter has noticed. It must get over it by itself."""

    @abstractmethod
    async def optimise(self, vectors: Vectors) -> None:
        """Have done what is otherwise done in the background after many writes."""


class Edge(Adapter):
    def __init__(self, folder: Path) -> None:
        self._folder = folder / "index"

    def make(self) -> EdgeVectors:
        return EdgeVectors(self._folder, DIMENSIONS, "model-1")

    async def crash(self, vectors: Vectors) -> None:
        assert isinstance(vectors, EdgeVectors)
        await vectors.ping()  # it may be just getting over the crash before
        assert vectors.pid is not None
        os.kill(vectors.pid, signal.SIGKILL)
        with pytest.raises(VectorsUnavailable):
            await vectors.ping()

    async def optimise(self, vectors: Vectors) -> None:
        assert isinstance(vectors, EdgeVectors)
        await vectors.rebuild()


class Qdrant(Adapter):
    """Of a server that is not ours to kill, a crash is left out."""

    def __init__(self, server: QdrantServer) -> None:
        self._server = server
        self._collection = f"contract-{uuid4().hex}"

    def make(self) -> QdrantVectors:
        return QdrantVectors(self._server.address, DIMENSIONS, self._collection, flush_wait_s=0)

    async def crash(self, vectors: Vectors) -> None:
        if self._server.running is None:
            return
        self._server.kill()
        with pytest.raises(VectorsUnavailable):
            await vectors.ping()
        self._server.start()
        await until_answering(vectors)

    async def optimise(self, vectors: Vectors) -> None:
        """A server does that by itself."""


async def until_answering(vectors: Vectors) -> None:
    """Ask again until the server is back: the connection is made anew within a second."""
    while True:
        try:
            await vectors.ping()
        except VectorsUnavailable:
            continue
        return


MakeAdapter = Callable[[Path], Adapter]
"""Makes the adapter of one test, which may use the folder."""


@contextmanager
def _edge(_: Path) -> Generator[MakeAdapter]:
    yield Edge


@contextmanager
def _stand_in(folder: Path) -> Generator[MakeAdapter]:
    with qdrant.stand_in(folder) as server:
        yield lambda _: Qdrant(server)


@contextmanager
def _real(folder: Path) -> Generator[MakeAdapter]:
    with qdrant.real(folder) as server:
        yield lambda _: Qdrant(server)


ADAPTERS: dict[str, Callable[[Path], AbstractContextManager[MakeAdapter]]] = {
    "edge": _edge,
    "qdrant stand-in": _stand_in,
    "qdrant": _real,
}
"""Each with what all of its tests share: a server has its data in the folder."""
