"""The gallery as a search sees it: index hits, judged by the records that are the truth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from infra.repositories.collections import USERS
from infra.services import Services
from infra.vectors.port import Hit, Template, Vectors
from schemas.policies import CompanyPolicies
from schemas.records import FaceRecord, FaceState, User, UserState

# A user may have several faces among the nearest points, and some points may not count any more.
_POINTS_PER_USER = 8
_SIZE_KEPT_S = 30.0


@dataclass(frozen=True)
class NearestUser:
    """A user whom a probe resembles, by the most similar of the user's faces."""

    user: User
    face: FaceRecord
    similarity: float


@dataclass(frozen=True)
class GallerySize:
    """How much a search goes over. Rates are reckoned over `faces`: each is a chance of a false match."""

    users: int
    faces: int


class Gallery:
    """Answers who is near, and how many there are."""

    def __init__(self, services: Services, vectors: Vectors, *, timeout_s: float) -> None:
        self._services = services
        self._vectors = vectors
        self._timeout_s = timeout_s
        self._sizes: dict[tuple[UUID, frozenset[str] | None], tuple[float, GallerySize]] = {}

    async def nearest(
        self,
        company_id: UUID,
        probes: Sequence[Template],
        *,
        users: int,
        groups: frozenset[str] | None = None,
        matched_under: CompanyPolicies | None = None,
    ) -> list[list[NearestUser]]:
        """For each probe the users nearest to it, at most so many, the most similar first.

        With `matched_under` only those whom these policies let be matched now; without, everybody enrolled:
        who is not valid any more must not be enrolled as somebody else either.
        """
        if not probes:
            return []
        found = await self._vectors.query(
            company_id, probes, limit=users * _POINTS_PER_USER, groups=groups, timeout_s=self._timeout_s
        )
        records = await self._services.faces.get_many(
            company_id, list(dict.fromkeys(hit.face_id for hits in found for hit in hits))
        )
        hashes = list(dict.fromkeys(r.user_hash for r in records.values() if r.user_hash))
        people = await self._services.users.get_many(company_id, hashes)
        now = self._services.clock.now()
        if matched_under is not None:
            people = {user.id: user for user in people.values() if user.may_be_matched(now, matched_under)}
        return [_best_of_each(hits, records, people, groups)[:users] for hits in found]

    async def size(self, company_id: UUID, groups: frozenset[str] | None = None) -> GallerySize:
        """How many users and faces a search goes over; up to 30 s old. Who may not be matched is counted,
        too, which errs on the side of caution."""
        now_s = self._services.clock.monotonic_s()
        kept = self._sizes.get((company_id, groups))
        if kept is not None and now_s - kept[0] < _SIZE_KEPT_S:
            return kept[1]
        faces = await self._services.faces.enrolled(company_id)
        users = await self._services.faces.users_enrolled(company_id)
        if groups is not None and users:
            where = {"state": UserState.ACTIVE, "groups": sorted(groups)}
            # A user without faces (all deleted) is counted here: it errs on the side of caution.
            members = min(users, await self._services.documents.count(USERS, company_id, where=where))
            users, faces = members, math.ceil(faces * members / users)
        size = GallerySize(users, faces)
        if len(self._sizes) > 10_000:
            self._sizes.clear()
        self._sizes[company_id, groups] = (now_s, size)
        return size

    def forget_size(self, company_id: UUID) -> None:
        """Forget the sizes of a company whose gallery has just changed here."""
        for known in [key for key in self._sizes if key[0] == company_id]:
            del self._sizes[known]


def _best_of_each(
    hits: Sequence[Hit],
    records: dict[str, FaceRecord],
    people: dict[str, User],
    groups: frozenset[str] | None,
) -> list[NearestUser]:
    best: dict[str, NearestUser] = {}
    for hit in hits:
        record = records.get(str(hit.face_id))
        user = people.get(record.user_hash or "") if record else None
        if record is None or user is None or not counts(record, user, groups):
            continue
        known = best.get(user.id)
        if known is None or hit.similarity > known.similarity:
            best[user.id] = NearestUser(user, record, hit.similarity)
    return sorted(best.values(), key=lambda near: near.similarity, reverse=True)


def counts(record: FaceRecord, user: User, groups: frozenset[str] | None) -> bool:
    """Whether a face may be somebody's match: it and its user are there, and the user is in one of the
    groups."""
    return (
        record.state is FaceState.ACTIVE
        and user.state is UserState.ACTIVE
        and record.epoch == user.epoch
        and (groups is None or not groups.isdisjoint(user.groups))
    )
