"""One example of every message there is, as today's code writes it with a fixed key, clock and nonce.

`python -m tests.infra.message_examples` records those that `recorded/` has no file of yet, each under its
name and schema version. What is recorded is never changed: it is what a program of that day has sent, and
what one of today must read while some are upgraded and some are not.
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from infra.broker.dead_letters import DeadLetter
from infra.broker.kafka import replies
from infra.keys.job import JobCipher
from schemas.jobs import JobKind
from schemas.messages import (
    SCHEMA_VERSION,
    Body,
    EnrolmentFields,
    MessageHeader,
    PhotoBody,
    Photos,
    RegroupingBody,
    RemovalBody,
    SearchFields,
    TemplateBody,
    VerifyFields,
    encode_message,
)
from schemas.recognition import Box, Face, Landmarks, Point, Quality
from schemas.records import Consent
from schemas.results import Comparison, Location

FOLDER: Final = Path(__file__).with_name("recorded")
KEY: Final = bytes(range(32))
COMPANY: Final = UUID(int=1)
JOB: Final = UUID(int=2)
_NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
_PHOTO: Final = bytes(range(256))

_FACE: Final = Face(
    box=Box(x=1.5, y=2.5, width=3.25, height=4.75),
    landmarks=Landmarks(**{name: Point(x=1.5, y=2.5) for name in Landmarks.model_fields}),
    quality=Quality(
        sharpness=50.5,
        brightness=120.25,
        overexposed_share=0.125,
        yaw_degrees=-3.5,
        roll_degrees=4.5,
        face_width_px=160,
        response_strength=1.125,
    ),
    detection_confidence=0.875,
)
_ENROLMENT: Final = EnrolmentFields(
    user_id="user-1",
    full_name="Nobody",
    tags=("tag",),
    groups=("group",),
    reference_id="reference-1",
    metadata={"text": "value", "number": 1.5, "flag": True, "nothing": None, "list": [1, "a"]},
    valid_until=_NOW + timedelta(days=1),
    consent=Consent(given_at=_NOW, text_version="1", recorded_by="member"),
    within_groups=("group",),
)
_LOCATION: Final = Location(device_id="door-1", site="site", latitude=1.5, longitude=2.5)
_SEARCH: Final = SearchFields(
    threshold_percent=90.5,
    groups=("group",),
    limit=3,
    location=_LOCATION,
    face="all",
    may_loosen=True,
    investigate=True,
)
_VERIFY: Final = VerifyFields(threshold_percent=90.5, groups=("group",), location=_LOCATION, may_loosen=True)
_COMPARISON: Final = Comparison(similarity=0.5, score=0.25, confidence=99.5, fmr=0.001, extrapolated=False)

BODIES: Final[dict[str, tuple[JobKind, Body]]] = {
    "search": (JobKind.SEARCH, PhotoBody(photo=_PHOTO, search=_SEARCH)),
    "search_of_blob": (JobKind.SEARCH, PhotoBody(photo=None, search=SearchFields())),
    "detect": (JobKind.DETECT, PhotoBody(photo=_PHOTO)),
    "verify": (JobKind.VERIFY, PhotoBody(photo=_PHOTO, second=_PHOTO[::-1], verify=_VERIFY)),
    "enroll": (JobKind.ENROLL, PhotoBody(photo=_PHOTO, second=_PHOTO[::-1], enrolment=_ENROLMENT)),
    "template": (
        JobKind.ENROLL,
        TemplateBody(
            template=_PHOTO * 2,
            face=_FACE,
            enrolment=_ENROLMENT,
            photo_hash="hash",
            photo_key="photos/1",
            timings_ms={"detect": 1.5},
            reference=_COMPARISON,
            reference_photo_key="photos/2",
        ),
    ),
    "remove_face": (JobKind.DELETE_FACE, RemovalBody(face_id="face")),
    "erase_user": (JobKind.ERASE_USER, RemovalBody(user_hash="hash")),
    "regroup_user": (JobKind.REGROUP_USER, RegroupingBody(user_hash="hash")),
}
BLOB: Final = Photos(photo=_PHOTO, second=_PHOTO[::-1])
LETTER: Final = DeadLetter("search", 1, 2, b"key", b"value", "poison", 3, _NOW)


def header_of(kind: JobKind, version: int = SCHEMA_VERSION) -> MessageHeader:
    return MessageHeader(
        schema_version=version,
        type="topic",
        company_id=COMPANY,
        job_id=JOB,
        kind=kind,
        created_at=_NOW,
        correlation_id="correlation",
        reply_to="7",
    )


def message(kind: JobKind, body: Body, version: int = SCHEMA_VERSION) -> bytes:
    """What is published, but for its nonce, which is always the same here."""
    return encode_message(
        header_of(kind, version),
        lambda header: JobCipher(KEY, header, entropy=bytes).seal(body.pack()),
    )


def written_today() -> dict[str, bytes]:
    """Everything that one program writes and another may read, by name and version."""
    written = {name: message(*example) for name, example in BODIES.items()}
    written["blob"] = BLOB.pack()
    written["dead_letter"] = LETTER.pack()
    written["hint"] = replies.pack(COMPANY, JOB)
    return {f"{name}-{SCHEMA_VERSION}": value for name, value in written.items()}


def recorded() -> dict[str, bytes]:
    """What was written at any time, by name and version."""
    return {
        path.stem: base64.b64decode(json.loads(path.read_text())["base64"])
        for path in sorted(FOLDER.glob("*.json"))
    }


if __name__ == "__main__":
    for name, value in written_today().items():
        path = FOLDER / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps({"base64": base64.b64encode(value).decode()}, indent=1) + "\n")
            print(path)
