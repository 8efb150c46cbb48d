"""A real Kafka broker for tests: one node, with a listener each for plain text, SCRAM over TLS, and
certificates of clients.

Its jars come by Maven. What takes time is done once and kept with them: a formatted folder, which
is copied for each server, and an archive of the classes that the broker loads.
"""

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.servers.certificates import Certificates, make_certificates
from tests.servers.engine import (
    Container,
    Process,
    Running,
    Server,
    fetched,
    free_port,
    has_container_engine,
    required,
)

VERSION: Final = "4.4.0"
USER: Final = "faceid"
PASSWORD: Final = "a password for tests"

_IMAGE: Final = f"apache/kafka:{VERSION}"
_CLUSTER_ID: Final = "dGVzdHMtb2YtZmFjZWlkLQ"
_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_JAVA: Final = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_POM: Final = f"""<project><modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
</dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
<version>2.25.5</version></dependency>
</dependencies></project>
"""
_PROPERTIES: Final = """process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:{plain},SCRAM://127.0.0.1:{scram},MUTUAL://127.0.0.1:{mutual},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},SCRAM://127.0.0.1:{scram},MUTUAL://127.0.0.1:{mutual}
listener.security.protocol.map=PLAIN:PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/server.chain.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/ca.pem
listener.name.mutual.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
log.cleaner.dedupe.buffer.size=20971520
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.retention.check.interval.ms=500
log.initial.task.delay.ms=500
"""


@dataclass
class KafkaServer(Server):
    """A broker in a folder of its own."""

    folder: Path
    ports: dict[str, int]
    certificates: Certificates
    port: int = field(init=False)
    by: Running | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.port = self.ports["plain"]

    @property
    def plain(self) -> str:
        """Host and port of the listener without TLS."""
        return f"127.0.0.1:{self.ports['plain']}"

    @property
    def scram(self) -> str:
        """That of the listener with TLS, user and password."""
        return f"127.0.0.1:{self.ports['scram']}"

    @property
    def mutual(self) -> str:
        """That of the listener with TLS that asks for a client's certificate."""
        return f"127.0.0.1:{self.ports['mutual']}"


def fetch() -> Path:
    """The folder with the jars, a formatted folder and the archive of classes. Raises ServerMissing."""
    required("java", "Java")
    home = fetched(f"kafka-{VERSION}", _build)
    if not _archive(home).exists():
        _make_archive(home)
    return home


@contextmanager
def running(folder: Path, *, up: bool = True) -> Generator[KafkaServer]:
    """A broker that lies in an empty folder. With `up=False` it comes up only when it is restarted."""
    home = fetch()
    server = _lay_out(folder, home)
    try:
        if up:
            server.restart()
        yield server
    finally:
        server.stop()


def _lay_out(folder: Path, home: Path) -> KafkaServer:
    server = _configure(folder)
    shutil.copytree(home / "formatted", folder / "data")
    properties = str(folder / "server.properties")
    if has_container_engine():
        server.by = Container(_IMAGE, ("/opt/kafka/bin/kafka-server-start.sh", properties), [folder])
    else:
        archive = (f"-XX:SharedArchiveFile={_archive(home)}", "-Xshare:auto")
        command = ("java", *_JAVA, *archive, "-cp", _jars(home), "kafka.Kafka", properties)
        server.by = Process(command, folder / "server.log")
    return server


def _configure(folder: Path) -> KafkaServer:
    ports = {name: free_port() for name in ("plain", "scram", "mutual", "controller")}
    certificates = make_certificates(folder / "certificates")
    settings = _PROPERTIES.format(**ports, certificates=certificates.folder, data=folder / "data")
    (folder / "server.properties").write_text(settings)
    return KafkaServer(folder, ports, certificates)


def _build(home: Path) -> None:
    maven = required("mvn", "Maven")
    pom = home / "pom.xml"
    pom.write_text(_POM)
    where = ("-DincludeScope=runtime", f"-DoutputDirectory={home / 'lib'}")
    _run(maven, "-B", "-ntp", "-q", "-f", str(pom), _PLUGIN, *where)
    with TemporaryDirectory(dir=home) as trial:
        _configure(Path(trial))
        _run(
            *("java", *_JAVA, "-cp", _jars(home), "kafka.tools.StorageTool", "format", "--standalone"),
            *("-t", _CLUSTER_ID, "-c", f"{trial}/server.properties"),
            *("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"),
        )
        shutil.copytree(Path(trial) / "data", home / "formatted")


def _make_archive(home: Path) -> None:
    """Let a broker run once and keep the classes that it loaded; good for the jars where they lie now."""
    with TemporaryDirectory(dir=home) as trial:
        folder = Path(trial)
        server = _configure(folder)
        shutil.copytree(home / "formatted", folder / "data")
        keep = f"-XX:ArchiveClassesAtExit={folder / 'classes'}"
        command = ("java", *_JAVA, keep, "-cp", _jars(home), "kafka.Kafka", str(folder / "server.properties"))
        server.by = Process(command, folder / "server.log")
        server.restart()
        server.stop()
        (folder / "classes").rename(_archive(home))


def _archive(home: Path) -> Path:
    return home / "kafka.jsa"


def _jars(home: Path) -> str:
    # The archive is good for one order only.
    return ":".join(map(str, sorted((home / "lib").iterdir())))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")
