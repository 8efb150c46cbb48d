"""Records of synthetic faces, so that whatever a search reads is there: users, faces, sealed templates."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from infra.keys.company import CompanyKey
from infra.repositories.collections import FACES, USERS
from infra.repositories.person import sealed
from infra.services import Services
from schemas.ids import new_id
from schemas.recognition import Box, Landmarks, Point, Quality
from schemas.records import FaceRecord, FaceState, User, UserState
from scripts.bench.population import Population, Templates

_AT_ONCE: Final = 256

_BOX: Final = Box(x=201.5, y=118.25, width=160.5, height=204.75)
_LANDMARKS: Final = Landmarks(
    left_eye=Point(x=241.5, y=197.25),
    right_eye=Point(x=318.75, y=196.5),
    nose=Point(x=281.25, y=240.75),
    mouth_left=Point(x=247.5, y=282.25),
    mouth_right=Point(x=313.25, y=281.5),
)
_QUALITY: Final = Quality(
    sharpness=31.25,
    brightness=127.5,
    overexposed_share=0.0125,
    yaw_degrees=-3.5,
    roll_degrees=1.25,
    face_width_px=160.5,
    response_strength=0.97,
)


async def fill_records(
    services: Services,
    company_id: UUID,
    faces: int,
    population: Population,
    photos: int,
    progress: Callable[[int], None],
) -> None:
    """Give a company that is empty `faces` faces, `photos` of them a user. The index is left to `reindex`."""
    key = await services.keys.get(company_id)
    now = services.clock.now()
    for block, start in enumerate(range(0, faces, population.block)):
        templates = population.templates(block)[: faces - start]
        for offset in range(0, len(templates), _AT_ONCE):
            part = templates[offset : offset + _AT_ONCE]
            await _add(services, company_id, key, now, start + offset, part, photos)
            progress(len(part))
    await services.documents.sync()


async def _add(
    services: Services,
    company_id: UUID,
    key: CompanyKey,
    now: datetime,
    start: int,
    templates: Templates,
    photos: int,
) -> None:
    """Written together, so that the store makes few commits of them."""
    users = {number: _user(key, number, now) for number in _users_of(start, len(templates), photos)}
    async with asyncio.TaskGroup() as group:
        for number, user in users.items():
            if number * photos >= start:  # Else it was written with the faces before.
                group.create_task(services.documents.insert(USERS, company_id, user, synced=False))
        for number, template in enumerate(templates, start):
            user = users[number // photos]
            face = _face(services, key, number + 1, user.id, template.astype("<f4").tobytes(), now)
            group.create_task(services.documents.insert(FACES, company_id, face, synced=False))


def _users_of(start: int, faces: int, photos: int) -> range:
    return range(start // photos, (start + faces - 1) // photos + 1)


def _user(key: CompanyKey, number: int, now: datetime) -> User:
    user_id = f"synthetic-{number}"
    user_hash = key.lookup("user.id", user_id)
    return User(
        id=user_hash,
        state=UserState.ACTIVE,
        epoch=0,
        user_id_sealed=key.seal_text("user.id", user_hash, user_id),
        created_at=now,
        updated_at=now,
        **sealed(key, user_hash, {"full_name": f"Synthetic Person {number}"}),
    )


def _face(
    services: Services, key: CompanyKey, change: int, user_hash: str, template: bytes, now: datetime
) -> FaceRecord:
    face_id = str(new_id(now, services.entropy))
    return FaceRecord(
        id=face_id,
        change=change,
        state=FaceState.ACTIVE,
        job_id=face_id,
        user_hash=user_hash,
        epoch=0,
        model=services.model,
        template_sealed=key.seal_template(face_id, template),
        photo_hash=key.lookup("photo", face_id),
        box=_BOX,
        landmarks=_LANDMARKS,
        quality=_QUALITY,
        detection_confidence=0.9995,
        created_at=now,
        enrolled_by=None,
    )
