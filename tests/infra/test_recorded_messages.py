"""Programs of two versions read each other's messages: every one that was ever written is kept, and read."""

import pytest

from infra.broker.dead_letters import DeadLetter
from infra.broker.kafka import replies
from infra.messaging import open_body
from schemas.jobs import JobKind
from schemas.messages import SCHEMA_VERSION, Body, MessageUnreadable, Photos, decode_message
from tests.infra.message_examples import (
    BLOB,
    BODIES,
    COMPANY,
    JOB,
    KEY,
    LETTER,
    header_of,
    message,
    recorded,
    written_today,
)

RECORDED = recorded()
MESSAGES = [name for name in RECORDED if name.rpartition("-")[0] in BODIES]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_of_any_version_is_read(name: str) -> None:
    kind, body = BODIES[name.rpartition("-")[0]]
    version = int(name.rpartition("-")[2])
    header, _, _ = decode_message(RECORDED[name])
    assert header == header_of(kind, version)
    assert open_body(RECORDED[name], KEY, type(body)) == body


def test_what_travels_without_a_version_is_read() -> None:
    others = {name.rpartition("-")[0]: value for name, value in RECORDED.items() if name not in MESSAGES}
    assert Photos.unpack(others.pop("blob")) == BLOB
    assert DeadLetter.unpack(others.pop("dead_letter")) == LETTER
    assert others.pop("hint") == replies.pack(COMPANY, JOB)
    assert not others, "recorded, and there is no example of it any more"


def test_what_is_written_today_is_recorded() -> None:
    for name, value in written_today().items():
        assert name in RECORDED, f"{name}: python -m tests.infra.message_examples"
        assert value == RECORDED[name], (
            f"{name} is written otherwise than it was, and programs of before can't read it: raise "
            "SCHEMA_VERSION, go on reading the version of before, and record"
        )


def test_every_body_and_kind_has_an_example() -> None:
    assert {type(body) for _, body in BODIES.values()} | {Photos} == set(Body.__subclasses__())
    assert {kind for kind, _ in BODIES.values()} == set(JobKind)


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1])
def test_an_unknown_version_is_unreadable(version: int) -> None:
    with pytest.raises(MessageUnreadable, match=f"version {version} is not known"):
        decode_message(message(*BODIES["search"], version))
