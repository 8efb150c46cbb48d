"""Users: the people a company may recognise, sealed at rest and found by keyed hashes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents
from infra.keys.company import CompanyKey, CompanyKeys
from infra.repositories.collections import USERS
from schemas.messages import EnrolmentFields
from schemas.records import User, UserState

# An erased user's epoch must outlive every message that could still enrol them: longer than any topic's
# retention.
SHELL_KEPT_FOR: Final = timedelta(days=60)


class EpochMoved(Exception):
    """The person was erased since this work was begun: it is void."""


@dataclass(frozen=True)
class Person:
    """A user with the seals opened, for answers to those who may read them."""

    user_hash: str
    user_id: str
    full_name: str | None
    reference_id: str | None
    metadata: dict[str, JsonValue]
    tags: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Users:
    """Reads and writes users."""

    documents: Documents
    keys: CompanyKeys
    clock: Clock

    async def hash_of(self, company_id: UUID, user_id: str) -> str:
        """The keyed hash under which a user id is known in this company."""
        return (await self.keys.get(company_id)).lookup("user.id", user_id)

    async def get(self, company_id: UUID, user_hash: str) -> User | None:
        return await self.documents.get(USERS, company_id, user_hash)

    async def get_many(self, company_id: UUID, user_hashes: Sequence[str]) -> dict[str, User]:
        return await self.documents.get_many(USERS, company_id, user_hashes)

    async def epoch(self, company_id: UUID, user_hash: str) -> int:
        user = await self.get(company_id, user_hash)
        return user.epoch if user else 0

    async def save_enrolment(
        self, company_id: UUID, user_hash: str, epoch: int, fields: EnrolmentFields
    ) -> tuple[User, bool]:
        """Make the user, or update what the enrolment gives. Answers the user and whether its groups changed.

        Raises EpochMoved when the user was erased since `epoch`. Not synced: the job's terminal write
        follows.
        """
        key = await self.keys.get(company_id)
        while True:
            user = await self.get(company_id, user_hash)
            if (user.epoch if user else 0) != epoch:
                raise EpochMoved
            updated = self._updated(key, user, user_hash, epoch, fields)
            groups_changed = user is not None and set(user.groups) != set(updated.groups)
            if user == updated:
                return updated, False
            if user is None:
                try:
                    await self.documents.insert(USERS, company_id, updated, synced=False)
                except AlreadyExists:
                    continue
                return updated, False
            expected = {"version": user.version}
            if await self.documents.compare_and_set(
                USERS, company_id, updated, expected=expected, synced=False
            ):
                return updated, groups_changed

    async def erase(self, company_id: UUID, user_hash: str, epoch: int) -> bool:
        """Raise the user's epoch above `epoch` and leave an empty shell; False if it is above it already.

        From when this returns, none of the user's faces counts in a search, and no enrolment begun before can
        finish.
        """
        while True:
            user = await self.get(company_id, user_hash)
            if user is None or user.state is not UserState.ACTIVE or user.epoch != epoch:
                return False
            shell = User(
                id=user_hash,
                version=user.version + 1,
                state=UserState.ERASED,
                epoch=user.epoch + 1,
                user_id_sealed=None,
                created_at=user.created_at,
                updated_at=self.clock.now(),
                expires_at=self.clock.now() + SHELL_KEPT_FOR,
            )
            if await self.documents.compare_and_set(
                USERS, company_id, shell, expected={"version": user.version}
            ):
                return True

    async def open(self, company_id: UUID, user: User) -> Person:
        """The person behind an active user record."""
        key = await self.keys.get(company_id)

        def text(purpose: str, sealed: bytes | None) -> str | None:
            return None if sealed is None else key.open_text(purpose, user.id, sealed)

        metadata = text("user.metadata", user.metadata_sealed)
        return Person(
            user_hash=user.id,
            user_id=text("user.id", user.user_id_sealed) or "",
            full_name=text("user.full_name", user.full_name_sealed),
            reference_id=text("user.reference_id", user.reference_id_sealed),
            metadata=json.loads(metadata) if metadata else {},
            tags=user.tags,
            groups=user.groups,
        )

    def _updated(
        self, key: CompanyKey, user: User | None, user_hash: str, epoch: int, fields: EnrolmentFields
    ) -> User:
        now = self.clock.now()
        known = user if user and user.state is UserState.ACTIVE else None
        base = known or User(
            id=user_hash,
            version=user.version if user else 0,
            state=UserState.ACTIVE,
            epoch=epoch,
            user_id_sealed=key.seal_text("user.id", user_hash, fields.user_id),
            created_at=now,
            updated_at=now,
        )
        given: dict[str, object] = {}
        if fields.full_name is not None:
            given["full_name_sealed"] = key.seal_text("user.full_name", user_hash, fields.full_name)
        if fields.reference_id is not None:
            given["reference_id_sealed"] = key.seal_text("user.reference_id", user_hash, fields.reference_id)
            given["reference_hash"] = key.lookup("user.reference_id", fields.reference_id)
        if fields.metadata is not None:
            given["metadata_sealed"] = key.seal_text("user.metadata", user_hash, json.dumps(fields.metadata))
        if fields.tags is not None:
            given["tags"] = tuple(dict.fromkeys(fields.tags))
        if fields.groups is not None:
            given["groups"] = tuple(dict.fromkeys(fields.groups))
        if known is not None and not given:
            return known
        return base.model_copy(update={**given, "version": base.version + 1, "updated_at": now})
