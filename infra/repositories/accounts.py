"""Accounts: companies, the members who log in to them, and their sessions."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeGuard
from uuid import UUID

from infra.clock import Clock
from infra.documents.port import AlreadyExists, Documents
from infra.keys.company import CompanyKey, CompanyKeyExists, CompanyKeys
from infra.keys.platform import PlatformKey
from infra.repositories.changing import changed_record, replaced_record
from infra.repositories.collections import COMPANIES, LOGINS, MEMBERS, SESSIONS
from schemas.access import Role
from schemas.ids import PLATFORM, Entropy, companion_id, new_id
from schemas.recognition import ModelStamp
from schemas.records import Company, CompanyState, Login, Member, Session


class EmailTaken(Exception):
    """Another account has this e-mail address."""


def is_open(company: Company | None) -> TypeGuard[Company]:
    """Whether the company is there and not closed: whether its credentials count, and its work is done."""
    return company is not None and company.state is CompanyState.ACTIVE


@dataclass(frozen=True)
class Accounts:
    """Reads and writes companies, members and sessions."""

    documents: Documents
    keys: CompanyKeys
    platform: PlatformKey
    clock: Clock
    entropy: Entropy

    async def register(
        self,
        *,
        company_name: str,
        email: str,
        password_hash: str,
        model: ModelStamp,
        company_id: UUID | None = None,
    ) -> tuple[Company, Member]:
        """Make a company and its first admin. Raises EmailTaken and then leaves nothing behind.

        The log-in is written last: until it is there, nobody can reach what a crash may leave half made.
        With a `company_id` that was promised before, what an earlier run made of it is found and finished.
        """
        email_hash = self.platform.email_lookup(email)
        now = self.clock.now()
        company_id = company_id or new_id(now, self.entropy)
        if await self.documents.get(LOGINS, PLATFORM, email_hash) is not None:
            return await self._registered(email_hash, company_id)
        member_id = str(companion_id(company_id, "first admin"))
        key = await self._key(company_id)
        company = Company(
            id=str(company_id),
            name_sealed=key.seal_text("company.name", str(company_id), company_name),
            created_at=now,
            model=model,
            admin_ids=(member_id,),
        )
        member = Member(
            id=member_id,
            email_sealed=key.seal_text("member.email", member_id, email),
            email_hash=email_hash,
            password_hash=password_hash,
            role=Role.ADMIN,
            created_at=now,
        )
        with suppress(AlreadyExists):  # An earlier run of the same request wrote the same.
            await self.documents.insert(COMPANIES, company_id, company, synced=False)
        with suppress(AlreadyExists):
            await self.documents.insert(MEMBERS, company_id, member, synced=False)
        login = Login(id=email_hash, company_id=company_id, member_id=member_id)
        try:
            await self.documents.insert(LOGINS, PLATFORM, login)
        except AlreadyExists as collision:
            with suppress(EmailTaken):
                return await self._registered(email_hash, company_id)
            await self.documents.delete(MEMBERS, company_id, member.id)
            await self.documents.delete(COMPANIES, company_id, company.id)
            await self.keys.destroy(company_id)
            raise EmailTaken from collision
        return company, member

    async def _registered(self, email_hash: str, company_id: UUID) -> tuple[Company, Member]:
        """What an earlier run made. Raises EmailTaken if the log-in is another company's."""
        login = await self.documents.get(LOGINS, PLATFORM, email_hash)
        if login is not None and login.company_id == company_id:
            company = await self.company(company_id)
            member = await self.member(company_id, login.member_id)
            if company is not None and member is not None:
                return company, member
        raise EmailTaken

    async def _key(self, company_id: UUID) -> CompanyKey:
        try:
            return await self.keys.create(company_id)
        except CompanyKeyExists:
            return await self.keys.get(company_id)

    async def find_login(self, email: str) -> tuple[UUID, Member] | None:
        """The company and member of an e-mail address (letter case does not matter); None in a closed
        company."""
        login = await self.documents.get(LOGINS, PLATFORM, self.platform.email_lookup(email))
        if login is None:
            return None
        company, member = await asyncio.gather(
            self.company(login.company_id), self.member(login.company_id, login.member_id)
        )
        return (login.company_id, member) if member and is_open(company) else None

    async def company(self, company_id: UUID) -> Company | None:
        return await self.documents.get(COMPANIES, company_id, str(company_id))

    async def member(self, company_id: UUID, member_id: str) -> Member | None:
        return await self.documents.get(MEMBERS, company_id, member_id)

    async def open_session(
        self, company_id: UUID, session_id: UUID, member: Member, *, refresh_hash: bytes, life_s: int
    ) -> Session:
        now = self.clock.now()
        session = Session(
            id=str(session_id),
            member_id=member.id,
            epoch=member.epoch,
            refresh_hash=refresh_hash,
            created_at=now,
            expires_at=now + timedelta(seconds=life_s),
        )
        await self.documents.insert(SESSIONS, company_id, session)
        return session

    async def session(self, company_id: UUID, session_id: str) -> Session | None:
        """A session that is open: not ended, not past its time."""
        session = await self.documents.get(SESSIONS, company_id, session_id)
        return session if session is not None and self._lasts(session) else None

    def _lasts(self, session: Session) -> bool:
        return session.ended_at is None and session.expires_at > self.clock.now()

    async def signed_in(
        self, company_id: UUID, session_id: str, member_id: str
    ) -> tuple[Company, Member] | None:
        """The company and the member whose session this is, if it counts: open, begun under the password that
        the member now has, and in a company that is not closed."""
        company, member, session = await asyncio.gather(
            self.company(company_id),
            self.member(company_id, member_id),
            self.session(company_id, session_id),
        )
        if member is None or session is None or not is_open(company):
            return None
        counts = session.member_id == member.id and session.epoch == member.epoch
        return (company, member) if counts else None

    async def rotate_session(
        self, company_id: UUID, session: Session, *, refresh_hash: bytes, life_s: int
    ) -> bool:
        """Replace the refresh token's hash; False if somebody else did so first."""
        expires_at = self.clock.now() + timedelta(seconds=life_s)
        rotated = session.model_copy(update={"refresh_hash": refresh_hash, "expires_at": expires_at})
        return await replaced_record(self.documents, SESSIONS, company_id, session, rotated) is not None

    async def carry_session(self, company_id: UUID, session_id: str, epoch: int) -> None:
        """Let the session in which a password was changed outlive the change."""

        def carried(session: Session) -> Session | None:
            return session.model_copy(update={"epoch": epoch}) if self._lasts(session) else None

        await changed_record(self.documents, SESSIONS, company_id, session_id, carried)

    async def end_session(self, company_id: UUID, session_id: str) -> None:
        """End a session: its access and refresh tokens stop working at once."""

        def ended(session: Session) -> Session | None:
            now = self.clock.now()
            return session.model_copy(update={"ended_at": now}) if session.ended_at is None else None

        await changed_record(self.documents, SESSIONS, company_id, session_id, ended)
