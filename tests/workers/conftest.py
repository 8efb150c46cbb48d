"""Workers over real embedded stores and a real index, with templates made up and no model."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from infra.broker.port import Delivery
from infra.broker.topics import TEMPLATES
from infra.clock import Clock, ManualClock, system_entropy
from infra.keys.company import CompanyKeys
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.messaging import sealed_message
from infra.opening import open_services
from infra.services import Services
from infra.settings import Settings
from infra.submission import Submitter
from infra.vectors.edge import EdgeVectors
from infra.vectors.port import Template, Vectors
from schemas.jobs import JobRecord
from schemas.messages import EnrolmentFields, MessageHeader, TemplateBody, decode_message
from schemas.recognition import Box, Engine, Face, Landmarks, ModelStamp, Point, Quality
from tests.calibration import CALIBRATION
from workers.ending import Finisher
from workers.gallery import Gallery
from workers.indexing import Indexer
from workers.registrar import Registrar, face_id_of
from workers.relay import Relay
from workers.removal import Remover, photo_key_of

DIMENSIONS = 128
COLLECTION = "test-1"
MODEL = ModelStamp(id="test", version="1")
ENGINE = Engine(name="made up 1", device="cpu", precision="f32")

FACE = Face(
    box=Box(x=1, y=2, width=3, height=4),
    landmarks=Landmarks(**{name: Point(x=1, y=1) for name in Landmarks.model_fields}),
    quality=Quality(
        sharpness=100, brightness=100, overexposed_share=0, yaw_degrees=0, roll_degrees=0, face_width_px=160
    ),
    detection_confidence=0.99,
)


def person(number: int, variation: int = 0) -> Template:
    """A template of a made-up person: photos of one are at a cosine of about 0.8, of two near 0."""
    base = np.random.default_rng(number).normal(size=DIMENSIONS)
    noise = np.random.default_rng((number, variation)).normal(size=DIMENSIONS)
    vector = base + (0.5 * noise if variation else 0)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class Workshop:
    """A company, and the parts that decide about its faces."""

    services: Services
    vectors: Vectors
    company_id: UUID
    indexer: Indexer
    registrar: Registrar
    finisher: Finisher
    gallery: Gallery

    @property
    def submitter(self) -> Submitter:
        return Submitter(self.company_id, "member:test", "correlation", reply_to=None)

    def another_registrar(self) -> Registrar:
        """As another process would have it, with nothing in memory yet."""
        return assembled(self.services, self.vectors, self.company_id).registrar

    async def enrolment(
        self,
        user_id: str,
        template: Template,
        *,
        photo: bytes | None = None,
        groups: tuple[str, ...] | None = None,
        photo_is_kept: bool = False,
        **given: Any,
    ) -> tuple[JobRecord, Delivery]:
        """A job that was accepted, and the message that the face worker sends of it."""
        photo = photo if photo is not None else template.tobytes()
        fields = EnrolmentFields(user_id=user_id, full_name=f"Name of {user_id}", groups=groups, **given)
        user_hash = await self.services.users.hash_of(self.company_id, user_id)
        job = await self.services.submission.enroll(
            self.submitter,
            photo,
            fields,
            user_hash=user_hash,
            user_epoch=await self.services.users.epoch(self.company_id, user_hash),
            synced=False,
        )
        key = await self.services.keys.get(self.company_id)
        assert job.wrapped_key is not None
        body = TemplateBody(
            template=template.astype("<f4").tobytes(),
            face=FACE,
            enrolment=fields,
            photo_hash=key.photo_hash(photo),
            photo_key=photo_key_of(face_id_of(job)) if photo_is_kept else None,
            timings_ms={},
        )
        header = MessageHeader(
            type=TEMPLATES.name,
            company_id=self.company_id,
            job_id=UUID(job.id),
            kind=job.kind,
            created_at=job.created_at,
            correlation_id=job.correlation_id,
            reply_to=None,
        )
        job_key = key.unwrap_job_key(job.id, job.wrapped_key)
        return job, self.delivery(sealed_message(header, body, job_key, key=self.company_id).value)

    def delivery(self, value: bytes) -> Delivery:
        return Delivery(
            topic=TEMPLATES.name,
            partition=0,
            offset=0,
            key=self.company_id.bytes,
            value=value,
            appended_at=self.services.clock.now(),
            redelivered=False,
        )

    async def removal(self, job: JobRecord) -> Delivery:
        """Publish a removal as the ingress does, and take its message from the topic."""
        await self.services.submission.publish_removal(self.company_id, job, synced=False)
        return await self.published(job)

    async def published(self, job: JobRecord) -> Delivery:
        """The job's message, from the topic."""
        subscription = await self.services.broker.subscribe(TEMPLATES, f"reader-{job.id}")
        try:
            while True:
                for delivery in await subscription.fetch(max_messages=100, max_bytes=2**20, wait_s=5):
                    header, _, _ = decode_message(delivery.value)
                    if str(header.job_id) == job.id:
                        return delivery
        finally:
            await subscription.close()

    async def ended(self, job: JobRecord) -> JobRecord:
        record = await self.services.jobs.get(self.company_id, UUID(job.id))
        assert record is not None
        return record

    async def points(self) -> set[str]:
        found, _ = await self.vectors.scroll(self.company_id, after=None, limit=1000)
        return {str(point.face_id) for point in found}


def assembled(services: Services, vectors: Vectors, company_id: UUID) -> Workshop:
    relay = Relay(services)
    finisher = Finisher(services, relay)
    indexer = Indexer(services, vectors, COLLECTION)
    gallery = Gallery(services, vectors, timeout_s=30)
    remover = Remover(services, indexer, finisher)
    registrar = Registrar(services, indexer, gallery, finisher, remover, CALIBRATION)
    return Workshop(services, vectors, company_id, indexer, registrar, finisher, gallery)


@pytest.fixture
def clock() -> Clock:
    return ManualClock()


@pytest.fixture
async def services(tmp_path: Path, clock: Clock) -> AsyncIterator[Services]:
    settings = Settings(
        data_dir=tmp_path / "data",
        master_key_file=tmp_path / "keys" / "master.key",
        key_store=f"file:{tmp_path / 'keys' / 'companies'}",
        compute_timeout_s=2,
    )
    (tmp_path / "keys").mkdir(mode=0o700)
    master = MasterKey.create(settings.master_key_file)
    await CompanyKeys(master, open_key_store(settings.key_store), clock).initialise()
    async with open_services(settings, MODEL, CALIBRATION, clock, system_entropy) as opened:
        yield opened


@pytest.fixture
async def vectors(tmp_path: Path) -> AsyncIterator[Vectors]:
    index = EdgeVectors(tmp_path / "index", DIMENSIONS, COLLECTION)
    await index.start()
    yield index
    await index.close()


@pytest.fixture
async def workshop(services: Services, vectors: Vectors) -> Workshop:
    company, _ = await services.accounts.register(
        company_name="Example Ltd", email="admin@example.com", password_hash="", model=MODEL
    )
    return assembled(services, vectors, UUID(company.id))
