"""Photos of a company that has decided to keep none any more."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog

from infra.keys.errors import CompanyKeyGone
from infra.repositories.accounts import is_open
from infra.repositories.admins import changed_company
from infra.repositories.collections import COMPANIES
from infra.services import Services
from schemas.records import Company
from workers.sweeping import SKEW

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PhotoSweeper:
    """Deletes what was kept before, in rounds that may be cut off anywhere. From the change of policy on none
    of it is shown (`ingress.resources.faces`)."""

    services: Services

    async def drop_unkept(self) -> int:
        """Delete the photos of companies that have ceased to keep them. Answers how many."""
        count = 0
        for company_id in await self.services.documents.companies(COMPANIES, where={"drops_photos": True}):
            company = await self.services.accounts.company(company_id)
            if is_open(company) and company.drops_photos:
                with suppress(CompanyKeyGone):  # Closed meanwhile: `workers.closing` clears it all away.
                    count += await self._drop(company_id, company)
        return count

    async def _drop(self, company_id: UUID, company: Company) -> int:
        services, count, left = self.services, 0, 0
        before = services.clock.now() - SKEW
        async for blob in services.objects.list(company_id, "photos/"):
            if blob.modified_at > before:
                left += 1  # Its face may be about to be recorded, with the photo: the next round has both.
                continue
            face_id = blob.key.removeprefix("photos/").partition(".")[0]
            # The record first: what is cut off here is found again by the photo.
            await services.faces.forget_photos(company_id, UUID(face_id))
            count += await services.objects.delete(company_id, blob.key)
        if not left:
            await changed_company(services.documents, company_id, partial(_done, company))
        if count:
            _log.info("unkept_photos_dropped", company_id=company_id, photos_count=count)
        return count


def _done(seen: Company, company: Company) -> Company:
    """Unless it was changed meanwhile: then there may be more, and the next round looks again."""
    return company if company.version != seen.version else company.model_copy(update={"drops_photos": False})
