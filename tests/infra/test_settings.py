"""Settings that can't be meant are refused before anything starts."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from infra.clock import SystemClock
from infra.objects.filesystem import FilesystemObjects
from infra.objects.s3 import S3Objects
from infra.settings import Settings
from infra.store_adapters import kafka_broker, make_objects


@pytest.mark.parametrize(
    "listen", ["8443", ":8443", "localhost", "localhost:", "localhost:x", "localhost:65536"]
)
def test_a_listener_is_an_address_and_a_port(listen: str) -> None:
    with pytest.raises(ValidationError, match="an address and a port"):
        Settings(listen=listen)


@pytest.mark.parametrize(
    ("listen", "host", "port"), [("127.0.0.1:8443", "127.0.0.1", 8443), ("[::1]:0", "::1", 0)]
)
def test_a_listener_is_taken_apart(listen: str, host: str, port: int) -> None:
    settings = Settings(listen=listen)
    assert (settings.listen_host, settings.listen_port) == (host, port)


def test_half_a_certificate_is_refused_rather_than_replaced_by_our_own() -> None:
    with pytest.raises(ValidationError, match="go together"):
        Settings(tls_cert_file=Path("server.pem"))


def test_records_in_mongodb_need_its_address() -> None:
    with pytest.raises(ValidationError, match="FACEID_MONGODB_URL"):
        Settings(documents="mongodb")


@pytest.mark.parametrize("url", ["mongodb://u:p@db/faceid", "mongodb+srv://db/faceid?tls=true"])
def test_keys_never_lie_with_the_records(url: str) -> None:
    address = SecretStr("mongodb://db/")
    with pytest.raises(ValidationError, match="FACEID_KEY_STORE"):
        Settings(documents="mongodb", mongodb_url=address, key_store=url)
    kept = Settings(documents="mongodb", mongodb_url=address, key_store=url.replace("/faceid", "/keys"))
    assert "p@db" not in repr(kept)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEID_PUBLIC_HOSTS", "faces.example.com, 10.0.0.7")
    monkeypatch.setenv("FACEID_SEARCH_TTL_S", "5")
    settings = Settings()
    assert settings.public_hosts == ("faces.example.com", "10.0.0.7")
    assert settings.search_ttl_s == 5


def test_a_bucket_is_named_where_objects_are_kept_in_one() -> None:
    with pytest.raises(ValidationError, match="FACEID_S3_BUCKET"):
        Settings(objects="s3")


@pytest.mark.parametrize(
    "half", [{"s3_access_key": "somebody"}, {"s3_secret_key": SecretStr("hunter2")}], ids=["access", "secret"]
)
def test_half_a_credential_is_refused_rather_than_replaced_by_what_else_is_found(half: Any) -> None:
    with pytest.raises(ValidationError, match="go together") as raised:
        Settings(**half)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "endpoint", ["s3.example.com", "ftp://s3.example.com", "https://user:hunter2@s3", "https://s3/faces?x=1"]
)
def test_an_endpoint_is_a_host_without_credentials_or_path(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="https:// or http://"):
        Settings(s3_endpoint=endpoint)


def test_the_objects_adapter_is_chosen_by_settings_alone() -> None:
    clock = SystemClock()
    assert isinstance(make_objects(Settings(), clock), FilesystemObjects)
    settings = Settings(objects="s3", s3_bucket="faces", s3_endpoint="https://s3.example.com:9000")
    chosen = make_objects(settings, clock)
    assert isinstance(chosen, S3Objects)
    assert str(chosen.place) == "bucket faces at https://s3.example.com:9000"


def test_what_the_environment_does_not_say_is_read_from_the_folder_of_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "FACEID_KEY_STORE").write_text("mongodb://faceid:secret@mongodb/faceid_keys\n")
    (tmp_path / "faceid_public_hosts").write_text("faces.example.com,10.0.0.7\n")
    (tmp_path / "FACEID_SEARCH_TTL_S").write_text("7")
    (tmp_path / "of-somebody-else").write_text("x")
    monkeypatch.setenv("FACEID_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("FACEID_SEARCH_TTL_S", "5")
    settings = Settings()
    assert settings.key_store == "mongodb://faceid:secret@mongodb/faceid_keys"
    assert settings.public_hosts == ("faces.example.com", "10.0.0.7")
    assert settings.search_ttl_s == 5
    assert Settings(search_ttl_s=9).search_ttl_s == 9


def test_a_folder_of_secrets_that_is_not_there_is_refused_when_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACEID_SECRETS_DIR", str(tmp_path / "not mounted"))
    with pytest.raises(ValidationError, match="should be a folder"):
        Settings()


def test_a_cluster_has_servers() -> None:
    with pytest.raises(ValidationError, match="FACEID_KAFKA_SERVERS"):
        Settings(broker="kafka")


@pytest.mark.parametrize("servers", ["kafka", "kafka:", ":9092", "kafka:x", "user:hunter2@kafka:9092"])
def test_a_server_of_a_cluster_is_a_host_and_a_port(monkeypatch: pytest.MonkeyPatch, servers: str) -> None:
    monkeypatch.setenv("FACEID_KAFKA_SERVERS", f"kafka-1:9092, {servers}")
    with pytest.raises(ValidationError, match="hosts and ports"):
        Settings()


@pytest.mark.parametrize(
    "half",
    [
        {"kafka_user": "somebody"},
        {"kafka_password": SecretStr("hunter2")},
        {"kafka_tls": True, "kafka_cert_file": Path("ours.pem")},
        {"kafka_tls": True, "kafka_key_file": Path("ours.key")},
    ],
    ids=["user", "password", "certificate", "key"],
)
def test_half_a_proof_of_who_we_are_is_refused(half: Any) -> None:
    with pytest.raises(ValidationError, match="go together") as raised:
        Settings(**half)
    assert "hunter2" not in str(raised.value)


def test_a_certificate_for_kafka_needs_tls() -> None:
    with pytest.raises(ValidationError, match="FACEID_KAFKA_TLS"):
        Settings(kafka_cert_file=Path("ours.pem"), kafka_key_file=Path("ours.key"))


def test_the_broker_is_chosen_by_settings_alone() -> None:
    settings = Settings(
        broker="kafka",
        kafka_servers=("kafka-1:9092", "[::1]:9093"),
        kafka_user="somebody",
        kafka_password=SecretStr("hunter2"),
        max_inline_bytes=1000,
    )
    options = kafka_broker(settings).options
    assert options.address.text == "kafka-1:9092,[::1]:9093"
    assert options.max_message_bytes == 1000 + 256 * 1024
    assert (options.prefix, options.replicas) == ("faceid.", 3)
    assert "hunter2" not in repr(options)


@pytest.mark.parametrize(
    "url",
    [
        "qdrant.example.com:6334",
        "grpc://qdrant.example.com",
        "https://key@qdrant.example.com",
        "https://h/p",
        "https://h?x=1",
    ],
)
def test_an_address_of_qdrant_is_scheme_host_and_port(url: str) -> None:
    with pytest.raises(ValidationError, match="the key apart from it"):
        Settings(qdrant_url=url)


@pytest.mark.parametrize(("replicas", "writes"), [(3, 1), (2, 1), (3, 4)])
def test_writes_that_a_majority_of_replicas_may_not_have_are_refused(replicas: int, writes: int) -> None:
    with pytest.raises(ValidationError, match="a majority"):
        Settings(qdrant_replicas=replicas, qdrant_write_replicas=writes)


def test_metrics_are_off_unless_an_address_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, meant in {"": None, "127.0.0.1:9464": "127.0.0.1:9464"}.items():
        monkeypatch.setenv("FACEID_METRICS_LISTEN", given)
        assert Settings().metrics_listen == meant
    with pytest.raises(ValidationError):
        Settings(metrics_listen="9464")


@pytest.mark.parametrize("device", ["auto", "cpu", "torch-cpu", "cuda", "cuda:0", "cuda:15"])
def test_a_device_is_a_processor_or_a_gpu(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEID_DEVICE", device)
    assert Settings().device == device


@pytest.mark.parametrize("device", ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:0,1", "cpu "])
def test_another_device_is_refused_with_those_there_are(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEID_DEVICE", device)
    with pytest.raises(ValidationError, match="should be auto, cpu, cuda, cuda:0"):
        Settings()


def test_roles_are_known_ones_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().roles == ("face", "registrar", "relay", "retention")
    monkeypatch.setenv("FACEID_ROLES", " retention, face,face")
    assert Settings().roles == ("retention", "face")
    monkeypatch.setenv("FACEID_ROLES", "face,webhooks")
    with pytest.raises(ValidationError, match="no role webhooks; the roles are face, registrar, relay, ret"):
        Settings()
    monkeypatch.setenv("FACEID_ROLES", " ")
    with pytest.raises(ValidationError, match="one role at least"):
        Settings()
