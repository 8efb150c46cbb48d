"""Who is an admin, so that a company is never without one, although no two records change at once.

The company's record alone decides: `admin_ids` holds members who really are admins and can log in, and is
never empty. A member is taken out of it before they lose role, password or record, and comes into it after
they have role and password. While they are on their way out (`stepping_down`) nobody counts them again; and
whoever counts them has read the company's record before the member's, and writes it only if it has not moved
since. So what was true of the member then still is.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from infra.clock import Clock
from infra.documents.port import Documents
from infra.keys.errors import CompanyKeyGone
from infra.repositories.changing import replaced_record
from infra.repositories.collections import COMPANIES, MEMBERS
from schemas.access import Role
from schemas.records import Company, CompanyState, StepDown

STEP_DOWN_LASTS: Final = timedelta(minutes=5)
"""What was begun longer ago was cut off: no request takes so long."""


class LastAdmin(Exception):
    """The company would be left without an admin who can log in."""


@dataclass(frozen=True)
class Admins:
    """Keeps `Company.admin_ids`."""

    documents: Documents
    clock: Clock

    @asynccontextmanager
    async def stepping_down(self, company_id: UUID, member_id: str) -> AsyncGenerator[None]:
        """Take a member out of the admins for as long as the block takes what makes them one: role, password
        or record. Who still is an admin afterwards is counted again.

        Raises LastAdmin, before the block, if nobody else is one.
        """
        begun = StepDown(member_id=member_id, begun_at=self.clock.now())

        def out(company: Company) -> Company:
            others = tuple(other for other in company.admin_ids if other != member_id)
            if not others:
                raise LastAdmin
            down = (*self._under_way(company), begun)
            return company.model_copy(update={"admin_ids": others, "stepping_down": down})

        def done(company: Company) -> Company:
            down = list(self._under_way(company))
            if begun in down:
                down.remove(begun)
            return company.model_copy(update={"stepping_down": tuple(down)})

        await changed_company(self.documents, company_id, out)
        try:
            yield
        finally:
            await changed_company(self.documents, company_id, done)
            await self.count(company_id, member_id)

    async def count(self, company_id: UUID, member_id: str) -> None:
        """Count a member among the admins if they are one and can log in."""
        while True:
            company = await open_company(self.documents, company_id)
            down = {step.member_id for step in self._under_way(company)}
            if member_id in company.admin_ids or member_id in down:
                return
            member = await self.documents.get(MEMBERS, company_id, member_id)
            if member is None or member.role is not Role.ADMIN or member.password_hash is None:
                return
            counted = company.model_copy(update={"admin_ids": (*company.admin_ids, member_id)})
            if await replaced_record(self.documents, COMPANIES, company_id, company, counted) is not None:
                return

    def _under_way(self, company: Company) -> tuple[StepDown, ...]:
        since = self.clock.now() - STEP_DOWN_LASTS
        return tuple(step for step in company.stepping_down if step.begun_at > since)


async def open_company(documents: Documents, company_id: UUID) -> Company:
    """The company's record. Raises CompanyKeyGone for one that is closed, as everything else of it does."""
    company = await documents.get(COMPANIES, company_id, str(company_id))
    if company is None or company.state is not CompanyState.ACTIVE:
        raise CompanyKeyGone(company_id)
    return company


async def changed_company(
    documents: Documents, company_id: UUID, change: Callable[[Company], Company]
) -> Company:
    """Change an open company's record; `change` is asked again when somebody else was faster. Answers it as
    it was."""
    while True:
        company = await open_company(documents, company_id)
        if await replaced_record(documents, COMPANIES, company_id, company, change(company)) is not None:
            return company
