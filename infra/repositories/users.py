"""Users: the people a company may recognise, sealed at rest and found by keyed hashes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents, Page, Scalar
from infra.keys.company import CompanyKey, CompanyKeys
from infra.repositories.changing import replaced_record
from infra.repositories.collections import USERS
from infra.repositories.person import Person, full_name_hash, opened, reference_hash, sealed
from infra.repositories.scanning import sifted
from schemas.messages import EnrolmentFields
from schemas.records import User, UserState

# An erased user's epoch must outlive every message that could still enrol them: longer than any topic's
# retention.
SHELL_KEPT_FOR: Final = timedelta(days=60)

_GIVEN_AT_ENROLMENT: Final = (
    *("full_name", "reference_id", "metadata", "tags", "groups"),
    *("valid_until", "consent"),
)


class EpochMoved(Exception):
    """The person was erased since this work was begun: it is void."""


class OutOfReach(Exception):
    """The person is in none of the groups that the sender has to do with."""


@dataclass(frozen=True)
class UserFilter:
    """Which users; every part that is given must be so. `any_group`: one of these groups."""

    group: str | None = None
    tag: str | None = None
    reference_id: str | None = None
    full_name: str | None = None
    any_group: frozenset[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether everybody passes."""
        return self == UserFilter()


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

    async def page(
        self, company_id: UUID, wanted: UserFilter, *, after: tuple[Scalar, ...] | None, limit: int
    ) -> Page[User]:
        """Active users who pass the filter, newest first; a page as `sifted` has it."""
        key = await self.keys.get(company_id)
        where = _narrowest(key, wanted)

        async def find(position: tuple[Scalar, ...] | None, number: int) -> Page[User]:
            return await self.documents.find(
                USERS,
                company_id,
                where=where,
                order_by=("created_at",),
                descending=True,
                after=position,
                limit=number,
            )

        async def sift(users: Sequence[User]) -> list[User]:
            return [user for user in users if passes(key, wanted, user)]

        def position_of(user: User) -> tuple[Scalar, ...]:
            return (user.created_at, user.id)

        return await sifted(find, sift, position_of, after=after, limit=limit)

    async def passing(self, company_id: UUID, wanted: UserFilter, users: Sequence[User]) -> set[str]:
        """The hashes of those users who pass the filter."""
        key = await self.keys.get(company_id)
        return {user.id for user in users if passes(key, wanted, user)}

    async def save_enrolment(
        self, company_id: UUID, user_hash: str, epoch: int, fields: EnrolmentFields
    ) -> tuple[User, bool]:
        """Make the user, or update what the enrolment gives. Answers the user and whether its groups changed.

        Raises EpochMoved when the user was erased since `epoch`, OutOfReach for somebody whom the sender has
        nothing to do with (any more). Not synced: the job's terminal write follows.
        """
        key = await self.keys.get(company_id)
        while True:
            user = await self.get(company_id, user_hash)
            if (user.epoch if user else 0) != epoch:
                raise EpochMoved
            if not within_reach(user, fields):
                raise OutOfReach
            updated = self._enrolled(key, user, user_hash, epoch, fields)
            if user == updated:
                return updated, False
            written = await self._put(company_id, user, updated, synced=False)
            if written is not None:
                return written, user is not None and set(user.groups) != set(written.groups)

    async def change(self, company_id: UUID, user: User, given: Mapping[str, Any]) -> User | None:
        """Change what is given of a person, by the names that `Person` has; None clears. Answers the user as
        it now is, or None when the record is not as it was read: read it again."""
        if not given:
            return user
        fields = sealed(await self.keys.get(company_id), user.id, given)
        changed = user.model_copy(update={**fields, "updated_at": self.clock.now()})
        return await replaced_record(self.documents, USERS, company_id, user, changed)

    async def erase(self, company_id: UUID, user_hash: str, epoch: int) -> bool:
        """Raise the user's epoch above `epoch` and leave an empty shell; False if it is above it already.

        From when this returns, none of the user's faces counts in a search, and no enrolment begun before can
        finish: that of somebody who is not known yet neither, so the shell is made where there is no user.
        """
        while True:
            user = await self.get(company_id, user_hash)
            if (user.epoch if user else 0) != epoch:
                return False
            now = self.clock.now()
            shell = User(
                id=user_hash,
                state=UserState.ERASED,
                epoch=epoch + 1,
                user_id_sealed=None,
                created_at=user.created_at if user else now,
                updated_at=now,
                expires_at=now + SHELL_KEPT_FOR,
            )
            if await self._put(company_id, user, shell) is not None:
                return True

    async def _put(
        self, company_id: UUID, user: User | None, new: User, *, synced: bool = True
    ) -> User | None:
        """Write `new` where `user` was found, or nobody (None); None if it is not as it was read."""
        if user is not None:
            return await replaced_record(self.documents, USERS, company_id, user, new, synced=synced)
        try:
            await self.documents.insert(USERS, company_id, new, synced=synced)
        except AlreadyExists:
            return None
        return new

    async def open(self, company_id: UUID, user: User) -> Person:
        """The person behind an active user record."""
        return opened(await self.keys.get(company_id), user)

    def _enrolled(
        self, key: CompanyKey, user: User | None, user_hash: str, epoch: int, fields: EnrolmentFields
    ) -> User:
        now = self.clock.now()
        known = user if user and user.state is UserState.ACTIVE else None
        base = known or User(
            id=user_hash,
            state=UserState.ACTIVE,
            epoch=epoch,
            user_id_sealed=key.seal_text("user.id", user_hash, fields.user_id),
            groups=fields.within_groups or (),
            created_at=now,
            updated_at=now,
        )
        given = {name: value for name in _GIVEN_AT_ENROLMENT if (value := getattr(fields, name)) is not None}
        if fields.groups is not None:
            given["groups"] = regrouped(base.groups, fields.groups, within=fields.within_groups)
        if known is not None and not given:
            return known
        return base.model_copy(update={**sealed(key, user_hash, given), "updated_at": now})


def regrouped(
    present: Sequence[str], given: Sequence[str], *, within: Sequence[str] | frozenset[str] | None
) -> tuple[str, ...]:
    """The groups of a user to whom these are given by somebody who has to do with the groups `within` only:
    the others stay."""
    others = () if within is None else tuple(group for group in present if group not in within)
    return (*others, *given)


def within_reach(user: User | None, fields: EnrolmentFields) -> bool:
    """Whether the sender of an enrolment has to do with this user; with somebody new, yes."""
    within = fields.within_groups
    if user is None or user.state is not UserState.ACTIVE or within is None:
        return True
    return not set(within).isdisjoint(user.groups)


def passes(key: CompanyKey, wanted: UserFilter, user: User) -> bool:
    """Whether an active user is one of those wanted."""
    return (
        user.state is UserState.ACTIVE
        and (wanted.group is None or wanted.group in user.groups)
        and (wanted.tag is None or wanted.tag in user.tags)
        and (wanted.any_group is None or not wanted.any_group.isdisjoint(user.groups))
        and (wanted.reference_id is None or user.reference_hash == reference_hash(key, wanted.reference_id))
        and (wanted.full_name is None or user.full_name_hash == full_name_hash(key, wanted.full_name))
    )


def _narrowest(key: CompanyKey, wanted: UserFilter) -> dict[str, Scalar | Sequence[Scalar]]:
    """What an index answers of the filter, leaving as little as possible to be sifted."""
    if wanted.reference_id is not None:
        return {"reference_hash": reference_hash(key, wanted.reference_id)}
    if wanted.full_name is not None:
        return {"full_name_hash": full_name_hash(key, wanted.full_name)}
    if wanted.group is not None:
        return {"state": UserState.ACTIVE, "groups": wanted.group}
    if wanted.tag is not None:
        return {"state": UserState.ACTIVE, "tags": wanted.tag}
    if wanted.any_group is not None:
        return {"state": UserState.ACTIVE, "groups": sorted(wanted.any_group)}
    return {"state": UserState.ACTIVE}
