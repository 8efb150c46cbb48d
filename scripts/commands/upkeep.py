"""`faceid reindex` and `faceid reconcile`: the stores themselves. Those of this machine can be opened only
while the service is stopped; on servers a reindex needs no stop."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from scripts.commands.terminal import AsJson, Exit, Output, complain

if TYPE_CHECKING:
    from infra.services import Services
    from infra.settings import Settings
    from schemas.recognition import ModelStamp

Company = Annotated[UUID | None, typer.Option(help="Only of this company.")]


def reindex(company: Company = None, as_json: AsJson = None) -> None:
    """Make the search index again from the records.

    With stores on this machine the service must be stopped. On servers it may go on: searches find everybody
    all the while, but for a moment at the end in which they wait."""
    done = asyncio.run(_reindex(company))
    columns = ("company_id", "points", "strays_removed")
    rows = [
        {"company_id": str(one.company_id), "points": one.points, "strays_removed": one.strays_removed}
        for one in done
    ]
    Output(as_json).listing(rows, columns)


def reconcile(
    company: Company = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make index and photos follow the records.")
    ] = False,
    as_json: AsJson = None,
) -> None:
    """Find where records, search index and photos disagree, with the service stopped.

    That is: records without an entry in the index, entries without a record, photos that are nobody's.

    The exit status is 1 if something was found and not repaired."""
    found = asyncio.run(_reconcile(company, repair=repair))
    left = sum(not row["repaired"] for row in found)
    output = Output(as_json)
    if found or output.as_json:
        output.listing(found, ("company_id", "fault", "what", "repaired"))
    else:
        output.said("[green]Records, index and photos agree.[/]")
    if left and not repair:
        complain(f"{left} found. Repair them with: faceid reconcile --repair")
    raise typer.Exit(Exit.NO if left else Exit.OK)


@dataclass(frozen=True)
class _Stores:
    settings: "Settings"
    services: "Services"
    stamp: "ModelStamp"


@asynccontextmanager
async def opened() -> AsyncGenerator[_Stores]:
    """This machine's stores, which no other process may have open: FolderInUse says who has."""
    from infra.clock import SystemClock
    from infra.opening import open_services
    from infra.settings import Settings
    from infra.telemetry import configure_logging
    from workers.recognition.model import known_model

    settings = Settings()
    configure_logging("warning")
    model = known_model(settings.model)
    async with open_services(settings, model.stamp, model.calibration, SystemClock()) as services:
        yield _Stores(settings, services, model.stamp)


async def _reindex(company: UUID | None) -> Sequence[Any]:
    from infra.opening import collection_name, open_vectors, renew_vectors
    from workers.reindexing import companies_of, reindex, reindex_anew, take_back_marks

    async with opened() as stores:
        name = collection_name(stores.stamp)
        every = await companies_of(stores.services)
        companies = _chosen(every, company)
        if company is not None:
            async with open_vectors(stores.settings, stores.stamp, stores.services.clock) as vectors:
                return await reindex(stores.services, vectors, name, companies)
        # All of it: what is there may be damaged, and is not even opened.
        await take_back_marks(stores.services, name, every)
        async with renew_vectors(stores.settings, stores.stamp, stores.services.clock) as renewal:
            return await reindex_anew(stores.services, renewal, name, companies)


async def _reconcile(company: UUID | None, *, repair: bool) -> list[dict[str, Any]]:
    from infra.opening import collection_name, open_vectors
    from workers.reconciling import Finding, Reconciler
    from workers.reindexing import companies_of

    found: list[dict[str, Any]] = []

    def report(finding: Finding) -> None:
        found.append(
            {
                "company_id": str(finding.company_id),
                "fault": finding.fault.value,
                "what": finding.what,
                "repaired": finding.repaired,
            }
        )

    async with (
        opened() as stores,
        open_vectors(stores.settings, stores.stamp, stores.services.clock) as vectors,
    ):
        companies = _chosen(await companies_of(stores.services), company)
        reconciler = Reconciler(stores.services, vectors, collection_name(stores.stamp))
        await reconciler.check(companies, repair=repair, report=report)
    return found


def _chosen(every: Sequence[UUID], company: UUID | None) -> Sequence[UUID]:
    if company is not None and company not in every:
        complain(f"There is no company {company}.")
        raise typer.Exit(Exit.REFUSED)
    return every if company is None else [company]
