"""Workers as they are, but for the model: with a compute process that makes faces up."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.child import ChildProcess
from infra.clock import SystemClock
from infra.opening import TEMPLATE_DIMENSIONS, open_services
from infra.services import Services
from infra.settings import Settings
from infra.vectors.edge import EdgeVectors
from schemas.recognition import ModelStamp
from tests.calibration import CALIBRATION
from workers.host import WorkerHost
from workers.recognition.compute import Compute
from workers.roles import Index

_COLLECTION = "test-1"


@asynccontextmanager
async def real_workers(settings: Settings, model: ModelStamp, index: Path) -> AsyncGenerator[Services]:
    """All roles, on stores of their own connections, until the end of the block."""
    child = ChildProcess("compute", "tests.workers.compute_stand_in", arguments={}, start_timeout_s=30)
    vectors = EdgeVectors(index, TEMPLATE_DIMENSIONS, _COLLECTION)
    async with open_services(settings, model, CALIBRATION, SystemClock()) as services:
        try:
            await child.start()
            await vectors.start()
            host = WorkerHost(
                services, index=Index(vectors, _COLLECTION), compute=Compute(child, open_timeout_s=1)
            )
            await host.prepare()
            running = asyncio.create_task(host.run())
            try:
                yield services
            finally:
                await host.drain(20)
                await running
        finally:
            await vectors.close()
            await child.close()
