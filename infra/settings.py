"""Configuration: every `FACEID_*` variable, read once, in one class.

Paths default to folders of the checkout, so that the service finds its data wherever it is started from.
What must not stand in an environment (a password, an address with one in it) may lie in a file instead, in
`FACEID_SECRETS_DIR`: containers are given secrets so.
"""

# long because: it is the one place that says what can be set, a field or two of each thing that is set

import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

PROJECT_ROOT = Path(__file__).resolve().parent.parent

_HOME = PROJECT_ROOT / ".faceid"

_LAST_PORT: Final = 65_535

_SECRETS_DIR: Final = Path("/run/secrets")
"""Where container engines put them."""

_DEVICE: Final = re.compile(r"auto|cpu|torch-cpu|cuda(:\d{1,2})?")


WorkerRole = Literal["face", "registrar", "relay", "retention"]
WORKER_ROLES: Final[tuple[WorkerRole, ...]] = get_args(WorkerRole)


class Settings(BaseSettings):
    """The whole configuration. Each field is the variable `FACEID_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="FACEID_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    secrets_dir: Path = Field(
        default=_SECRETS_DIR,
        description="A folder with a file for each setting that is not in the environment, named like its "
        "variable.",
    )
    data_dir: Path = Field(
        default=_HOME / "data", description="Records, log, index and blobs of the embedded adapters."
    )
    cache_dir: Path = Field(
        default=PROJECT_ROOT / ".cache", description="Downloaded packages and converted weights, by version."
    )
    master_key_file: Path = Field(
        default=_HOME / "keys" / "master.key",
        description="The key that wraps all others; outside the data folder.",
    )
    key_store: str = Field(
        default=f"file:{_HOME / 'keys' / 'companies'}",
        repr=False,
        description="Where wrapped company keys are kept: `file:FOLDER` or `mongodb://…/DATABASE`.",
    )

    documents: Literal["sqlite", "mongodb"] = Field(
        default="sqlite", description="Where records are kept: in the data folder, or in MongoDB."
    )
    mongodb_url: SecretStr | None = Field(
        default=None,
        description="MongoDB's address, like `mongodb://USER:PASSWORD@HOST,HOST/?replicaSet=NAME`.",
    )
    mongodb_database: str = Field(
        default="faceid",
        pattern=r"^[A-Za-z0-9_-]{1,63}$",
        description="The database of the records; the key store has another.",
    )
    mongodb_ca_file: Path | None = Field(
        default=None, description="The authority that vouches for MongoDB; empty: the usual ones."
    )
    mongodb_cert_file: Path | None = Field(
        default=None,
        description="Our certificate and its key in one file, where MongoDB asks for it.",
    )

    broker: Literal["sqlite", "kafka"] = Field(
        default="sqlite", description="Where jobs wait: in the data folder, or on a Kafka cluster."
    )
    kafka_servers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Servers of the Kafka cluster, `host:port` by comma; a few of them will do."
    )
    kafka_tls: bool = Field(default=False, description="Whether Kafka is spoken to over TLS.")
    kafka_ca_file: Path | None = Field(
        default=None, description="The authority that vouches for Kafka's servers; empty: the usual ones."
    )
    kafka_cert_file: Path | None = Field(
        default=None, description="Our certificate, for servers that ask for one."
    )
    kafka_key_file: Path | None = Field(
        default=None, description="The private key of `FACEID_KAFKA_CERT_FILE`."
    )
    kafka_user: str | None = Field(
        default=None, description="Who logs in to Kafka (SCRAM-SHA-512); empty: nobody does."
    )
    kafka_password: SecretStr | None = Field(default=None, description="The password of `FACEID_KAFKA_USER`.")
    kafka_topic_prefix: str = Field(
        default="faceid.",
        pattern=r"^[A-Za-z0-9._-]{0,100}$",
        description="What the names of our topics and groups begin with; another for each installation.",
    )
    kafka_replicas: int = Field(
        default=3, ge=1, le=32_767, description="On how many of Kafka's servers a new topic is kept."
    )
    kafka_instance: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="A name of this process alone, under which it keeps its partitions over a restart.",
    )

    objects: Literal["filesystem", "s3"] = Field(
        default="filesystem", description="Where sealed photos are kept: in the data folder, or in a bucket."
    )
    s3_endpoint: str | None = Field(
        default=None,
        description="Address of the S3 server, like `https://s3.example.com`; empty: Amazon's own.",
    )
    s3_bucket: str | None = Field(
        default=None, description="The bucket, of this service alone; `faceid setup` makes it."
    )
    s3_region: str = Field(default="us-east-1", description="The region of the bucket.")
    s3_access_key: str | None = Field(
        default=None,
        description="Who asks; empty: the role of the machine, or what else Amazon's library finds.",
    )
    s3_secret_key: SecretStr | None = Field(default=None, description="The secret of `FACEID_S3_ACCESS_KEY`.")
    s3_ca_file: Path | None = Field(
        default=None, description="The authority that vouches for the S3 server; empty: the usual ones."
    )
    s3_path_style: bool = Field(
        default=True, description="Whether the bucket is named in the path, rather than before the host."
    )
    s3_encryption: Literal["none", "AES256", "aws:kms"] = Field(
        default="none", description="Encryption to ask of the S3 server, besides our own."
    )

    vectors: Literal["edge", "qdrant"] = Field(
        default="edge", description="The search index: of this machine, or on Qdrant servers."
    )
    qdrant_url: str = Field(
        default="http://127.0.0.1:6334",
        description="Qdrant's gRPC address, `http(s)://HOST:PORT`.",
    )
    qdrant_api_key: SecretStr | None = Field(default=None, description="The key that Qdrant wants, if any.")
    qdrant_ca_file: Path | None = Field(
        default=None, description="The authority of Qdrant's certificate, if it is your own."
    )
    qdrant_shards: int = Field(
        default=1, ge=1, description="Shards of the index. To change it, make the index anew."
    )
    qdrant_replicas: int = Field(
        default=1,
        ge=1,
        description="Servers that hold each shard; with 3, one may fail. To change it, make the index anew.",
    )
    qdrant_write_replicas: int | None = Field(
        default=None, ge=1, description="Of these, how many must have a write; the majority unless told."
    )
    qdrant_graph: bool = Field(
        default=False,
        description="A graph of each company's faces, for companies of more than about a million.",
    )

    listen: str = Field(default="127.0.0.1:8443", description="Address and port of the HTTPS listener.")
    public_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names and addresses, by comma, that clients reach the service under, besides loopback.",
    )
    tls_dir: Path = Field(
        default=_HOME / "tls", description="The local certificate authority and its certificates."
    )
    tls_cert_file: Path | None = Field(
        default=None, description="Your own certificate chain instead of the local one."
    )
    tls_key_file: Path | None = Field(default=None, description="The private key of `FACEID_TLS_CERT_FILE`.")

    registration: Literal["open", "closed"] = Field(
        default="open", description="Whether anyone may register a company."
    )
    access_token_s: int = Field(
        default=900, ge=60, le=86_400, description="Life of an access token, in seconds."
    )
    refresh_token_s: int = Field(
        default=30 * 86_400, ge=600, description="Life of a refresh token, in seconds, from its last use."
    )
    set_password_token_s: int = Field(
        default=7 * 86_400,
        ge=300,
        description="Life of the token with which a new member sets a password, in seconds.",
    )

    model: Literal["casia-webface", "vggface2"] = Field(
        default="casia-webface", description="Which FaceNet weights."
    )
    model_file: Path | None = Field(
        default=None, description="A weights file for a model that no package carries."
    )
    model_url: str | None = Field(
        default=None, description="Where `faceid setup` may download such a file from."
    )
    device: str = Field(
        default="auto",
        description="Where the model runs: `cpu` (OpenVINO), `cuda`, `cuda:1` (PyTorch on an NVIDIA GPU), "
        "`torch-cpu` (the reference, slow), `auto` (a GPU if there is one).",
    )
    compute_threads: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 8),
        ge=1,
        description="Processor threads of the model.",
    )

    max_photo_bytes: int = Field(default=10 * 2**20, ge=1024, description="The largest photo that is taken.")
    max_photo_pixels: int = Field(
        default=50_000_000, ge=10_000, description="The most pixels a photo may have."
    )
    open_timeout_s: float = Field(
        default=15, ge=1, description="A photo that takes longer to open is refused."
    )
    open_cpu_s: int = Field(
        default=5, ge=1, description="Processor time that opening a photo may take, in seconds."
    )
    open_memory_bytes: int = Field(
        default=2 * 2**30, ge=2**28, description="Memory that the process that opens photos may take."
    )
    max_inline_bytes: int = Field(
        default=2**20,
        ge=0,
        description="Photos up to this size travel in the message, larger ones as a blob.",
    )

    search_ttl_s: int = Field(
        default=60, ge=1, description="How long a search may wait before it is dropped."
    )
    wait_s: float = Field(
        default=10, gt=0, le=60, description="How long a call waits for its job unless told."
    )
    max_wait_s: float = Field(default=60, gt=0, description="The longest `Prefer: wait` that is honoured.")
    compute_timeout_s: float = Field(
        default=30, gt=0, description="A batch in the model for longer is taken as hung."
    )
    index_timeout_s: float = Field(
        default=10, gt=0, description="A call to the index for longer is taken as hung."
    )
    drain_s: float = Field(default=20, gt=0, description="How long SIGTERM waits for work in flight.")
    max_jobs_in_flight: int = Field(
        default=64, ge=1, description="Jobs a worker holds at once, of each kind."
    )

    metrics_listen: str | None = Field(
        default=None,
        description="Address and port that metrics are served on, in plain HTTP; off by default.",
    )
    traces_endpoint: str | None = Field(
        default=None,
        description="Where traces go, by OTLP over HTTP, like `http://127.0.0.1:4318`; off by default.",
    )

    roles: Annotated[tuple[WorkerRole, ...], NoDecode] = Field(
        default=WORKER_ROLES,
        description="What a `faceid worker` does, by comma: `face`, `registrar`, `relay`, `retention`.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level logged."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before files, and what a caller gives before both."""
        folder = Path(os.environ.get("FACEID_SECRETS_DIR") or _SECRETS_DIR)
        if not folder.is_dir():  # The validator below refuses one that was asked for.
            return init_settings, env_settings
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=folder)

    @field_validator("secrets_dir")
    @classmethod
    def _is_there_if_asked_for(cls, value: Path) -> Path:
        if value != _SECRETS_DIR and not value.is_dir():
            raise ValueError("should be a folder, and there is none")
        return value

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, value: str) -> str:
        if not _DEVICE.fullmatch(value):
            raise ValueError("should be auto, cpu, cuda, cuda:0 (or another number) or torch-cpu")
        return value

    @field_validator("roles", mode="before")
    @classmethod
    def _are_roles(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        roles = tuple(dict.fromkeys(role.strip() for role in value.split(",") if role.strip()))
        unknown = [role for role in roles if role not in WORKER_ROLES]
        if unknown or not roles:
            wrong = f"there is no role {unknown[0]}" if unknown else "a worker needs one role at least"
            raise ValueError(f"{wrong}; the roles are {', '.join(WORKER_ROLES)}")
        return roles

    @field_validator("public_hosts", "kafka_servers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(host.strip() for host in value.split(",") if host.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("metrics_listen", "traces_endpoint", mode="before")
    @classmethod
    def _off_if_empty(cls, value: object) -> object:
        return value or None

    @field_validator("traces_endpoint")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("should be an address that begins with http:// or https://")
        return value

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _is_address_and_port(cls, value: str | None) -> str | None:
        if value is None:
            return None
        host, _, port = value.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > _LAST_PORT:
            raise ValueError("should be an address and a port, like 127.0.0.1:8443 or [::1]:8443")
        return value

    @field_validator("qdrant_url")
    @classmethod
    def _is_qdrant_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or "@" in parts.netloc
            or value != f"{parts.scheme}://{parts.netloc}"
        ):
            raise ValueError("should be like https://qdrant.example.com:6334, the key apart from it")
        return value

    @model_validator(mode="after")
    def _reads_see_writes(self) -> Self:
        needed = self.qdrant_write_replicas
        if needed is not None and not self.qdrant_replicas // 2 < needed <= self.qdrant_replicas:
            raise ValueError("FACEID_QDRANT_WRITE_REPLICAS should be a majority of FACEID_QDRANT_REPLICAS")
        return self

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("FACEID_TLS_CERT_FILE and FACEID_TLS_KEY_FILE go together: set both or neither")
        return self

    @field_validator("kafka_servers")
    @classmethod
    def _are_servers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            host, _, port = server.rpartition(":")
            if not host or "@" in server or not port.isascii() or not port.isdigit():
                raise ValueError("should be hosts and ports by comma, like kafka-1:9092,kafka-2:9092")
        return value

    @model_validator(mode="after")
    def _cluster_is_whole(self) -> Self:
        if self.broker == "kafka" and not self.kafka_servers:
            raise ValueError("FACEID_BROKER=kafka needs FACEID_KAFKA_SERVERS")
        if (self.kafka_user is None) != (self.kafka_password is None):
            raise ValueError("FACEID_KAFKA_USER and FACEID_KAFKA_PASSWORD go together: set both or neither")
        if (self.kafka_cert_file is None) != (self.kafka_key_file is None):
            raise ValueError(
                "FACEID_KAFKA_CERT_FILE and FACEID_KAFKA_KEY_FILE go together: set both or neither"
            )
        if self.kafka_cert_file and not self.kafka_tls:
            raise ValueError("FACEID_KAFKA_CERT_FILE needs FACEID_KAFKA_TLS")
        return self

    @field_validator("s3_endpoint")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if value is None or re.fullmatch(r"https?://[^/?#@\s]+/?", value):
            return value
        raise ValueError(
            "should be https:// or http://, a host and perhaps a port; credentials have their own"
        )

    @model_validator(mode="after")
    def _bucket_is_whole(self) -> Self:
        if self.objects == "s3" and not self.s3_bucket:
            raise ValueError("FACEID_OBJECTS=s3 needs FACEID_S3_BUCKET")
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("FACEID_S3_ACCESS_KEY and FACEID_S3_SECRET_KEY go together: set both or neither")
        return self

    @model_validator(mode="after")
    def _records_have_a_place_apart_from_keys(self) -> Self:
        if self.documents == "mongodb":
            if self.mongodb_url is None:
                raise ValueError("FACEID_DOCUMENTS=mongodb needs FACEID_MONGODB_URL")
            database = re.escape(self.mongodb_database)
            if re.fullmatch(rf"mongodb(\+srv)?://[^/]+/{database}(\?.*)?", self.key_store, re.IGNORECASE):
                raise ValueError("FACEID_KEY_STORE needs a database other than FACEID_MONGODB_DATABASE")
        return self

    @property
    def listen_host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def listen_port(self) -> int:
        return int(self.listen.rpartition(":")[2])
