"""What set-up makes on servers."""

import pytest

from infra.clock import SystemClock
from infra.opening import make_objects
from infra.refused import StoreRefused
from infra.settings import Settings
from scripts.setup import set_up_bucket
from tests.servers.versitygw import S3Server


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
    assert said == [f"objects: made the bucket {bucket}"]
