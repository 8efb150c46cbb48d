"""What set-up makes on servers."""

import pytest

from infra.clock import SystemClock
from infra.opening import collection_name
from infra.refused import StoreRefused
from infra.repositories import collections
from infra.settings import Settings
from infra.store_adapters import make_objects
from schemas.recognition import ModelStamp
from scripts.setup import set_up_bucket, set_up_servers
from tests.servers.versitygw import S3Server
from tests.stores import Servers

MODEL = ModelStamp(id="test", version="1")


@pytest.mark.system
async def test_the_bucket_is_made_by_set_up_and_found_by_a_second_run(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3_server.place().bucket
    for name, value in s3_server.settings(bucket).items():
        monkeypatch.setenv(name, value)
    settings, clock, said = Settings(), SystemClock(), list[str]()
    objects = make_objects(settings, clock)
    with pytest.raises(StoreRefused, match="faceid setup"):
        await objects.start()
    for _ in range(2):
        await set_up_bucket(settings, said.append, clock)
    await objects.start()
    await objects.close()
    assert said == 2 * [f"objects: the bucket {bucket} is there, on S3"]


@pytest.mark.system
async def test_servers_have_all_before_the_first_process_starts(real_servers: Servers) -> None:
    servers, clock = real_servers.apart(), SystemClock()
    settings, said = Settings(**servers.settings), list[str]()
    for _ in range(2):
        await set_up_servers(settings, MODEL, said.append, clock)
    assert said == 2 * [
        f"broker: the topics search, enroll, templates, dead_letters are there, each named {servers.name}.… "
        "on Kafka",
        f"documents: {len(collections.ALL)} collections with their indexes are there, in the database "
        f"{servers.name} on MongoDB",
        f"objects: the bucket {servers.name} is there, on S3",
        f"index: the collection {collection_name(MODEL)} is there, on Qdrant",
    ]
    with servers.mongo.client() as client:
        database = client[servers.name]
        made = {name: len(database[name].index_information()) for name in database.list_collection_names()}
    for collection in collections.ALL:
        assert made[collection.name] > len(collection.indexes), "one for each, and that of the ids"


@pytest.mark.system
async def test_a_server_that_refuses_is_told_in_one_line(real_servers: Servers) -> None:
    servers, clock = real_servers.apart(), SystemClock()
    with servers.mongo.client() as client:
        client[servers.name]["jobs"].create_index(
            [("_company", 1), ("mentions", 1), ("id", 1)], name="theirs"
        )
    said: list[str] = []
    with pytest.raises(StoreRefused, match="jobs has an index of others over the same keys") as refused:
        await set_up_servers(Settings(**servers.settings), MODEL, said.append, clock)
    assert "\n" not in str(refused.value)
    assert [line.partition(":")[0] for line in said] == ["broker"], "what went well was said before"
