"""One request's way through all the workers is one trace."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from infra.clock import SystemClock, system_entropy
from infra.keys.company import CompanyKeys
from infra.keys.from_url import open_key_store
from infra.keys.master import MasterKey
from infra.opening import open_services
from infra.services import Services
from infra.settings import Settings
from infra.vectors.port import Vectors
from tests.calibration import CALIBRATION
from tests.infra.test_tracing import Collector, collector
from tests.workers.conftest import MODEL
from tests.workers.test_host import ended, enroll, search, working

__all__ = ["collector"]

pytestmark = pytest.mark.system  # Real processes.


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
async def services(tmp_path: Path, clock: SystemClock, collector: Collector) -> AsyncIterator[Services]:
    settings = Settings(
        data_dir=tmp_path / "data",
        master_key_file=tmp_path / "keys" / "master.key",
        key_store=f"file:{tmp_path / 'keys' / 'companies'}",
        traces_endpoint=collector.endpoint,
    )
    (tmp_path / "keys").mkdir(mode=0o700)
    master = MasterKey.create(settings.master_key_file)
    await CompanyKeys(master, open_key_store(settings.key_store), clock).initialise()
    async with open_services(settings, MODEL, CALIBRATION, clock, system_entropy) as opened:
        yield opened


async def test_a_jobs_stages_are_under_the_request_that_made_it(
    services: Services, vectors: Vectors, collector: Collector
) -> None:
    company, _ = await services.accounts.register(
        company_name="Example Ltd", email="admin@example.com", password_hash="", model=MODEL
    )
    company_id = UUID(company.id)
    async with working(services, vectors):
        with services.tracing.span("enrolment"):
            enrolment = await enroll(services, company_id, "u-1", "face 1 0")
        await ended(services, company_id, enrolment)
        with services.tracing.span("search"):
            job = await search(services, company_id, "face 1 1")
        await ended(services, company_id, job)
    await services.tracing.close()

    def stages(root: str) -> list[str]:
        trace_id = collector.one(root).trace_id
        return sorted(
            span.name for spans in collector.spans.values() for span in spans if span.trace_id == trace_id
        )

    assert stages("search") == sorted(["search", "queue", "open", "analyse", "conclude", "index", "end"])
    assert stages("enrolment") == sorted(
        ["enrolment", "queue", "open", "analyse", "conclude", "queue", "decide", "end"]
    )
    told = b"".join(span.SerializeToString() for spans in collector.spans.values() for span in spans)
    for personal in ("u-1", "correlation", "member:test", "face 1", str(company_id)):
        assert personal.encode() not in told
