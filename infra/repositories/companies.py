"""Companies: what an admin decides about theirs, and its end."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from infra.clock import Clock
from infra.documents.port import Documents
from infra.keys.company import CompanyKeys
from infra.repositories.admins import changed_company
from infra.repositories.collections import MEMBERS
from infra.repositories.members import Members
from infra.repositories.scanning import pages_of
from schemas.policies import CompanySettings
from schemas.records import Company, CompanyState

_PAGE = 200


@dataclass(frozen=True)
class Companies:
    """Changes and closes companies."""

    documents: Documents
    keys: CompanyKeys
    members: Members
    clock: Clock

    async def settings(self, company_id: UUID, company: Company) -> CompanySettings:
        key = await self.keys.get(company_id)
        name = key.open_text("company.name", company.id, company.name_sealed)
        return CompanySettings(company_name=name, policies=company.policies)

    async def configure(
        self, company_id: UUID, change: Callable[[CompanySettings], CompanySettings]
    ) -> tuple[CompanySettings, CompanySettings]:
        """Change what an admin may decide; answers it before and after. Of two who change at once, the later
        one's `change` is asked again about what the other has made of it."""
        key = await self.keys.get(company_id)
        after: CompanySettings | None = None

        def changed(company: Company) -> Company:
            nonlocal after
            name = key.open_text("company.name", company.id, company.name_sealed)
            before = CompanySettings(company_name=name, policies=company.policies)
            after = change(before)
            given: dict[str, object] = {"policies": after.policies}
            if after.policies.retention.keep_photos != company.policies.retention.keep_photos:
                given["drops_photos"] = not after.policies.retention.keep_photos
            if after.company_name != name:
                given["name_sealed"] = key.seal_text("company.name", company.id, after.company_name)
            return company.model_copy(update=given)

        company = await changed_company(self.documents, company_id, changed)
        before = await self.settings(company_id, company)
        return before, after or before

    async def pause(self, company_id: UUID, *, paused: bool) -> bool:
        """Let the company hand in no photos from its next request on, or let it again; False if it was so
        already. Raises CompanyKeyGone for one that is closed or was never there."""
        now = self.clock.now()

        def changed(company: Company) -> Company:
            return company.model_copy(update={"paused_at": (company.paused_at or now) if paused else None})

        before = await changed_company(self.documents, company_id, changed)
        return (before.paused_at is not None) is not paused

    async def close(self, company_id: UUID) -> None:
        """End a company for good. From the first write on none of its credentials counts; then what it has
        sealed can't be read by anybody any more, and its members' e-mail addresses are free.

        What is left of it is cleared away by `workers.closing`, which also finishes a closing that was cut
        off here. Raises CompanyKeyGone if it is closed already.
        """

        def closed(company: Company) -> Company:
            given = {"state": CompanyState.CLOSED, "closed_at": self.clock.now()}
            return company.model_copy(update=given)

        await changed_company(self.documents, company_id, closed)
        await self.shred(company_id)

    async def shred(self, company_id: UUID) -> None:
        """Destroy a closed company's key, and free its members' addresses; again, if need be."""
        await self.keys.destroy(company_id)
        async for members in pages_of(self.documents, MEMBERS, company_id, limit=_PAGE):
            for member in members:
                await self.members.drop_login(company_id, member)
