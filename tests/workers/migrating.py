"""For tests of migrations: a company that has some of everything, and a target that is cut off."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from infra.broker.dead_letters import BrokerDeadLetters, stored_letters
from infra.broker.topics import DEAD_LETTERS as LETTER_TOPIC
from infra.broker.topics import ENROLL, SEARCH, TEMPLATES
from infra.clock import Clock
from infra.keys.company import CompanyKeys
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.opening import open_services
from infra.repositories.claims import Claimant, KeptAnswer
from infra.repositories.collections import CLAIMS, COMPANIES, DEAD_LETTERS, LOGINS, SESSIONS
from infra.repositories.members import MemberDetails, SetPassword
from infra.services import Services
from infra.settings import Settings
from infra.vectors.edge import EdgeVectors
from infra.vectors.port import Vectors
from schemas.access import Role
from schemas.ids import PLATFORM, derived_id
from schemas.records import Session
from tests.calibration import CALIBRATION
from tests.workers.conftest import COLLECTION, DIMENSIONS, MODEL, Workshop, person
from workers.dead_letters import JobDeadLetters
from workers.migrating.carried import OF_A_COMPANY
from workers.migrating.migrator import Migrator
from workers.migrating.watching import Unwatched
from workers.removal import photo_key_of, reference_key_of
from workers.sweeping import GROUP

ORIGIN = "a source"


class Cut(Exception):
    """The migration ends here, as if the power had failed."""


async def furnish(workshop: Workshop, name: str = "u") -> None:
    """Faces, a tombstone, kept photos, ended jobs, sessions, an idempotency key, members, a dead letter with
    its photo; and what is not to go along: something past its time, and a photo in flight of nobody."""
    services, company_id = workshop.services, workshop.company_id
    now = services.clock.now()
    face_id = UUID(int=0)
    for number in range(4):
        job, delivery = await workshop.enrolment(
            f"{name}-{number}", person(number), groups=("hq",), photo_is_kept=True
        )
        await workshop.registrar.handle(company_id, [delivery])
        face_id = derived_id(UUID(job.id), "face")
        for key in (photo_key_of(face_id), reference_key_of(face_id)):
            await services.objects.put(company_id, key, f"sealed {key}".encode())
    await services.faces.delete(company_id, face_id)
    await services.objects.delete_many(company_id, [photo_key_of(face_id), reference_key_of(face_id)])
    await workshop.indexer.catch_up(company_id)
    await give_up(workshop, f"{name}-dead")
    await services.objects.put(company_id, f"inflight/{UUID(int=7)}", b"of nobody")
    await services.members.invite(
        company_id,
        UUID(int=company_id.int + 1),
        MemberDetails(email=f"{company_id}@example.com", name="Ada"),
        Role.STAFF,
        SetPassword(b"digest", now),
        invited_by="member:test",
    )
    for number, life in enumerate((timedelta(days=1), timedelta(days=-1))):
        session = Session(
            id=str(UUID(int=number)),
            member_id="m",
            epoch=1,
            refresh_hash=b"hash",
            created_at=now,
            expires_at=now + life,
        )
        await services.documents.insert(SESSIONS, company_id, session)
    for scope, made_id in ((company_id, UUID(int=1)), (PLATFORM, company_id)):
        by = Claimant(scope, f"{name}-owner")
        claim, _ = await services.claims.make(
            by, await services.claims.id_of(by, f"{name}-key"), fingerprint="", made_id=made_id
        )
        await services.claims.keep(by, claim, KeptAnswer(status=201, content_type="", location=None, body=""))
    await consume(services)
    await services.audit.record(
        company_id, "company.changed", actor="member:test", correlation_id="c", data={"field": "name"}
    )


async def consume(services: Services) -> None:
    """Let nothing wait any more."""
    for topic in (SEARCH, ENROLL, TEMPLATES):
        subscription = await services.broker.subscribe(topic, GROUP)
        while (await services.broker.lag(topic, GROUP)).messages:
            await subscription.done(await subscription.fetch(max_messages=100, max_bytes=2**24, wait_s=5))
        await subscription.close()


async def give_up(workshop: Workshop, user_id: str) -> None:
    """A job whose message was given up, with a photo that its letter keeps."""
    services = workshop.services
    job, delivery = await workshop.enrolment(user_id, person(8), photo=bytes(2 * 2**20))
    assert job.blob_key is not None
    topic = BrokerDeadLetters(services.broker, LETTER_TOPIC, services.clock)
    await JobDeadLetters(services, workshop.finisher, topic).put(delivery, "poison", 3)
    await consume(services)


async def contents(services: Services, company_id: UUID) -> dict[str, list[str]]:
    """All that should go along with a company, read without the code that is tested."""
    documents, now = services.documents, services.clock.now()
    found: dict[str, list[str]] = {}
    for collection in (*OF_A_COMPANY, COMPANIES):
        records = (await documents.find(collection, company_id, limit=500)).items
        expires = collection.expires_field or "id"
        found[collection.name] = [
            record.model_dump_json()
            for record in records
            if expires == "id" or getattr(record, expires) is None or getattr(record, expires) > now
        ]
    logins = (await documents.find(LOGINS, PLATFORM, limit=500)).items
    found["logins"] = [one.model_dump_json() for one in logins if one.company_id == company_id]
    claims = (await documents.find(CLAIMS, PLATFORM, limit=500)).items
    found["registrations"] = [one.model_dump_json() for one in claims if one.made_id == company_id]
    letters = (await documents.find(DEAD_LETTERS, company_id, limit=500)).items
    kept = {letter.blob_key for letter in letters}
    found["objects"] = sorted(
        [
            f"{info.key} {sha256(await services.objects.get(company_id, info.key)).hexdigest()}"
            async for info in services.objects.list(company_id, "")
            if info.key in kept or info.key.startswith("photos/")
        ]
    )
    found["letters"] = sorted(
        {sha256(one.value).hexdigest() async for one in stored_letters(services.broker, LETTER_TOPIC)}
    )
    key = await services.keys.get(company_id)
    found["key"] = [key.lookup("test", "the same key")]
    return found


async def points_of(vectors: Vectors, company_id: UUID) -> set[tuple[object, ...]]:
    points, _ = await vectors.scroll(company_id, after=None, limit=500)
    return {(p.face_id, p.user_hash, p.change, *p.groups) for p in points}


@dataclass
class Target:
    """An installation beside the tests' own, under the same master key."""

    services: Services
    vectors: Vectors

    def migrator(self, source: Services) -> Migrator:
        return Migrator(
            source,
            self.services,
            self.vectors,
            COLLECTION,
            origin=ORIGIN,
            objects_are_shared=False,
            watcher=Unwatched(),
        )

    def cut(self, writes: int, end: Callable[[], None]) -> "Target":
        """The same, but `end` is called in the place of the write after so many."""
        count = Countdown(writes, end)
        services = replace(
            self.services,
            documents=count.over(self.services.documents, "insert", "delete", "compare_and_set"),
            objects=count.over(self.services.objects, "put", "delete_many"),
            broker=count.over(self.services.broker, "publish"),
            keys=count.over(self.services.keys, "adopt"),
        )
        return Target(services, count.over(self.vectors, "upsert", "delete", "flush"))


class Countdown:
    """Lets so many calls through."""

    def __init__(self, calls: int, end: Callable[[], None]) -> None:
        self._left = calls
        self._end = end

    def over(self, part: Any, *names: str) -> Any:
        counts = self

        class Counted:
            def __getattr__(self, name: str) -> Any:
                return counts.counted(getattr(part, name)) if name in names else getattr(part, name)

        return cast(Any, Counted())

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def counting(*args: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                self._end()
            return await call(*args, **options)

        return counting


def power_failure() -> None:
    raise Cut


def beside(settings: Settings, folder: Path) -> Settings:
    """Settings of another installation under the same master key."""
    places = {"data_dir": folder / "data", "key_store": f"file:{folder / 'keys'}"}
    return settings.model_copy(update=places)


@asynccontextmanager
async def opened_beside(settings: Settings, clock: Clock) -> AsyncGenerator[Target]:
    master = MasterKey.load(settings.master_key_file)
    await CompanyKeys(master, open_key_store(settings.key_store), clock).initialise()
    vectors = EdgeVectors(settings.data_dir.parent / "index", DIMENSIONS, COLLECTION)
    async with open_services(settings, MODEL, CALIBRATION, clock) as services:
        await vectors.start()
        try:
            yield Target(services, vectors)
        finally:
            await vectors.close()
