"""Which stores the tests of the HTTPS API run on: embedded, or servers that live as long as the session."""

import asyncio
import secrets
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infra.clock import SystemClock
from infra.settings import Settings
from scripts.setup import set_up_bucket
from tests.servers import kafka, qdrant, secantus, versitygw
from tests.servers.engine import or_skip
from tests.servers.kafka import KafkaServer
from tests.servers.qdrant import QdrantServer
from tests.servers.secantus import MongoServer
from tests.servers.versitygw import S3Server


@dataclass(frozen=True)
class Servers:
    """Real servers. Topics, database and bucket are found by `name`."""

    kafka: KafkaServer
    mongo: MongoServer
    s3: S3Server
    qdrant: QdrantServer
    name: str

    def apart(self) -> "Servers":
        """The same servers, with nothing on them yet."""
        return replace(self, name=_new_name())

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be told of them."""
        return {
            "FACEID_BROKER": "kafka",
            "FACEID_KAFKA_SERVERS": self.kafka.plain,
            "FACEID_KAFKA_TOPIC_PREFIX": f"{self.name}.",
            "FACEID_KAFKA_REPLICAS": "1",
            "FACEID_DOCUMENTS": "mongodb",
            "FACEID_MONGODB_URL": self.mongo.url,
            "FACEID_MONGODB_DATABASE": self.name,
            **self.s3.settings(self.name),
            "FACEID_VECTORS": "qdrant",
            "FACEID_QDRANT_URL": self.qdrant.address.url,
        }

    @property
    def settings(self) -> Mapping[str, Any]:
        """The same, as fields of `Settings`."""
        return {name.removeprefix("FACEID_").lower(): value for name, value in self.environment.items()}

    def forget(self) -> None:
        """Remove every record. Topics and indexes stay, for they take long to make; a message whose job is
        gone is nobody's."""
        with self.mongo.client() as client:
            database = client[self.name]
            for collection in database.list_collection_names():
                database[collection].delete_many({})


@contextmanager
def running_servers(folder: Path) -> Generator[Servers]:
    """All of them; the test is skipped where one can't be had."""
    for server in (kafka, versitygw):
        or_skip(server.fetch)
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        servers = Servers(
            stack.enter_context(kafka.running(folder / "kafka")),
            stack.enter_context(secantus.running(folder / "mongo")),
            stack.enter_context(versitygw.given_or_running(folder / "s3")),
            stack.enter_context(qdrant.preferred(folder / "qdrant")),
            _new_name(),
        )
        # Topics and collections come into being at the start of a process, a bucket by set-up alone.
        asyncio.run(set_up_bucket(Settings(**servers.settings), print, SystemClock()))
        yield servers


def _new_name() -> str:
    return f"tests-{secrets.token_hex(6)}"
