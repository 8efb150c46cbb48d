"""What `faceid login` keeps, and who may read it."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from infra.clock import ManualClock
from scripts.profiles import NotLoggedIn, Profile, ProfileClient
from tests.ingress.conftest import Client as Ingress
from tests.ingress.conftest import jpeg
from tests.ingress.worker import Worker

PAST_THE_TOKENS_LIFE_S = 1000
"""Of the access token; the refresh token lives on."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.mark.system
async def test_clients_of_one_profile_share_its_tokens(
    logged_in: Ingress, worker: Worker, clock: ManualClock, config_home: Path
) -> None:
    async with ProfileClient(Profile.find()) as first, ProfileClient(Profile.find()) as second:
        for _ in range(2):
            clock.advance(PAST_THE_TOKENS_LIFE_S)
            await asyncio.gather(first.search(jpeg()), second.search(jpeg()))
        kept = Profile.find()
        assert kept.access_token == first.token == second.token != logged_in.token
    assert stat.S_IMODE((config_home / "default.json").stat().st_mode) == 0o600


def test_a_profile_is_for_its_owner_and_its_server_only(
    config_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotLoggedIn):
        Profile.find()
    path = Profile(url="https://a.example", api_key="fid_1").save()
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent)] == [0o600, 0o700]
    assert [one.name for one in config_home.iterdir()] == ["default.json"]
    assert Profile.find().api_key == "fid_1"
    monkeypatch.setenv("FACEID_URL", "https://b.example")
    with pytest.raises(NotLoggedIn):
        Profile.find()
    monkeypatch.setenv("FACEID_API_KEY", "fid_2")
    assert (Profile.find().url, Profile.find().api_key) == ("https://b.example", "fid_2")
    path.chmod(0o640)
    with pytest.raises(NotLoggedIn, match="Others can read"):
        Profile.load("default")


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"url": 1, "surprise": 2})])
def test_a_damaged_profile_is_told(config_home: Path, text: str) -> None:
    Profile(url="https://a.example", api_key="fid_1").save().write_text(text)
    with pytest.raises(NotLoggedIn, match="damaged"):
        Profile.find()


def test_a_profile_cannot_be_named_out_of_its_folder(config_home: Path) -> None:
    with pytest.raises(NotLoggedIn, match="name"):
        Profile.find("../../etc/passwd")
