"""Members: invited, changed, removed, and how a password comes to be theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents, Page, Scalar
from infra.keys.company import CompanyKeys
from infra.keys.platform import PlatformKey
from infra.repositories.accounts import EmailTaken
from infra.repositories.admins import Admins, open_company
from infra.repositories.changing import changed_record
from infra.repositories.collections import LOGINS, MEMBERS
from schemas.access import Role
from schemas.ids import PLATFORM
from schemas.records import Login, Member


@dataclass(frozen=True)
class SetPassword:
    """The right to set a password once: the token's digest, and until when it is good."""

    digest: bytes
    until: datetime


@dataclass(frozen=True)
class MemberDetails:
    """The personal part of a member, with the seals opened."""

    email: str
    name: str | None


@dataclass(frozen=True)
class Members:
    """Reads and writes the members of a company."""

    documents: Documents
    keys: CompanyKeys
    platform: PlatformKey
    admins: Admins
    clock: Clock

    async def get(self, company_id: UUID, member_id: str) -> Member | None:
        return await self.documents.get(MEMBERS, company_id, member_id)

    async def list(
        self, company_id: UUID, *, after: tuple[Scalar, ...] | None = None, limit: int
    ) -> Page[Member]:
        """Newest first."""
        order = ("created_at",)
        return await self.documents.find(
            MEMBERS, company_id, order_by=order, descending=True, after=after, limit=limit
        )

    async def open(self, company_id: UUID, member: Member) -> MemberDetails:
        key = await self.keys.get(company_id)
        sealed = member.name_sealed
        return MemberDetails(
            email=key.open_text("member.email", member.id, member.email_sealed),
            name=None if sealed is None else key.open_text("member.name", member.id, sealed),
        )

    async def invite(
        self,
        company_id: UUID,
        member_id: UUID,
        details: MemberDetails,
        role: Role,
        right: SetPassword,
        *,
        invited_by: str,
    ) -> Member:
        """A member who can log in once they have set a password. Raises EmailTaken and then leaves nothing
        behind.

        The log-in is written last: what a crash leaves is a member whom nobody can become, and who can be
        removed. An earlier run of the same request is finished, with the new right in place of the one that
        nobody has been told of.
        """
        await open_company(self.documents, company_id)
        key = await self.keys.get(company_id)
        email_hash = self.platform.email_lookup(details.email)
        login = Login(id=email_hash, company_id=company_id, member_id=str(member_id))
        if not await self._is_free(login):
            raise EmailTaken
        name = details.name
        member = Member(
            id=str(member_id),
            email_sealed=key.seal_text("member.email", member_id, details.email),
            email_hash=email_hash,
            name_sealed=None if name is None else key.seal_text("member.name", member_id, name),
            password_hash=None,
            role=role,
            set_password_hash=right.digest,
            set_password_until=right.until,
            created_at=self.clock.now(),
            created_by=invited_by,
        )
        try:
            await self.documents.insert(MEMBERS, company_id, member, synced=False)
        except AlreadyExists:
            anew = {"set_password_hash": right.digest, "set_password_until": right.until}
            await self._change(company_id, member.id, lambda known: known.model_copy(update=anew))
        try:
            await self.documents.insert(LOGINS, PLATFORM, login)
        except AlreadyExists as collision:
            if not await self._is_free(login):
                await self.documents.delete(MEMBERS, company_id, member.id)
                raise EmailTaken from collision
        return member

    async def _is_free(self, login: Login) -> bool:
        """Whether the e-mail address is nobody's, or this very member's."""
        known = await self.documents.get(LOGINS, PLATFORM, login.id)
        return known is None or (known.company_id, known.member_id) == (login.company_id, login.member_id)

    async def change(
        self, company_id: UUID, member_id: str, *, role: Role | None, reset: SetPassword | None
    ) -> tuple[Member, Member] | None:
        """Give a member another role, void their password, or both; answers the member before and after, None
        if there is none. A reset ends all of the member's sessions in the same write.

        Raises LastAdmin if the company would be left without an admin who can log in.
        """

        def changed(member: Member) -> Member:
            given: dict[str, object] = {} if role is None else {"role": role}
            if reset is not None:
                given |= {
                    "password_hash": None,
                    "epoch": member.epoch + 1,
                    "set_password_hash": reset.digest,
                    "set_password_until": reset.until,
                }
            return member.model_copy(update=given)

        if await self.get(company_id, member_id) is None:
            return None
        if reset is not None or role not in {None, Role.ADMIN}:
            async with self.admins.stepping_down(company_id, member_id):
                return await self._change(company_id, member_id, changed)
        written = await self._change(company_id, member_id, changed)
        await self.admins.count(company_id, member_id)
        return written

    async def grant(self, company_id: UUID, member_id: str, right: SetPassword) -> bool:
        """Let a member set a password, without voiding the present one: so the last admin stays one. For an
        operator at the machine; False if there is no such member."""

        def changed(member: Member) -> Member:
            given = {"set_password_hash": right.digest, "set_password_until": right.until}
            return member.model_copy(update=given)

        return await self._change(company_id, member_id, changed) is not None

    async def set_password(
        self, company_id: UUID, member_id: str, password_hash: str, *, still: Callable[[Member], bool]
    ) -> Member | None:
        """Set a password, if the member still is as who is asking has found them; answers the member as they
        are then, None if not.

        It ends all of the member's sessions, and uses up the right to set a password.
        """

        def changed(member: Member) -> Member | None:
            given = {
                "password_hash": password_hash,
                "epoch": member.epoch + 1,
                "set_password_hash": None,
                "set_password_until": None,
            }
            return member.model_copy(update=given) if still(member) else None

        await open_company(self.documents, company_id)
        written = await self._change(company_id, member_id, changed)
        if written is None:
            return None
        await self.admins.count(company_id, member_id)
        return written[1]

    async def remove(self, company_id: UUID, member_id: str) -> Member | None:
        """Remove a member; their sessions end with them, and their e-mail address is free again. Answers who
        that was, None if there was nobody. Raises LastAdmin."""
        member = await self.get(company_id, member_id)
        if member is None:
            return None
        async with self.admins.stepping_down(company_id, member_id):
            await self.drop_login(company_id, member)
            removed = await self.documents.delete(MEMBERS, company_id, member_id)
        return member if removed else None

    async def drop_login(self, company_id: UUID, member: Member) -> None:
        """Free a member's e-mail address, which somebody else may have by now."""
        login = await self.documents.get(LOGINS, PLATFORM, member.email_hash)
        if login is not None and (login.company_id, login.member_id) == (company_id, member.id):
            await self.documents.delete(LOGINS, PLATFORM, login.id)

    async def _change(
        self, company_id: UUID, member_id: str, change: Callable[[Member], Member | None]
    ) -> tuple[Member, Member] | None:
        return await changed_record(self.documents, MEMBERS, company_id, member_id, change)
