"""How a command reaches a service that has this machine's stores to itself: a socket in the data folder, so
that whoever may read that folder, and nobody else, is heard."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from infra.broker.delivery import STORE_DOWN
from infra.durable_files import PRIVATE_FILE
from infra.services import Services
from infra.settings import Settings
from infra.telemetry import get_logger
from scripts.operations import OPERATIONS, OperationRefused, Row

_TIMEOUT_S: Final = 600.0
_STOP_S: Final = 5.0

_log = get_logger(__name__)


def socket_path(settings: Settings) -> Path:
    return settings.data_dir / "control"


@asynccontextmanager
async def taking_operations(services: Services) -> AsyncGenerator[None]:
    """Do what commands on this machine ask, until the block ends."""

    one_by_one = asyncio.Lock()

    async def endpoint(request: web.Request) -> web.Response:
        operation = OPERATIONS.get(request.match_info["name"])
        if operation is None:
            return web.json_response({"refused": "This service does not know that; is it older?"})
        try:
            asked = await request.json()
            async with one_by_one:
                rows = await operation(services, asked)
        except OperationRefused as refusal:
            return web.json_response({"refused": str(refusal)})
        except STORE_DOWN:
            _log.warning("operation_put_off", operation=request.match_info["name"], exc_info=True)
            return web.json_response({"refused": "A store does not answer now: try again."})
        return web.json_response({"rows": rows})

    app = web.Application()
    app.router.add_post("/{name}", endpoint)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S)
    path = socket_path(services.settings)
    try:
        await runner.setup()
        try:
            await web.UnixSite(runner, path).start()
            await asyncio.to_thread(path.chmod, PRIVATE_FILE)
        except OSError as error:
            # A path that is too long for a socket: the service serves, commands ask for it to be stopped.
            _log.warning("operations_not_taken", exc_info=error)
        yield
    finally:
        await runner.cleanup()


async def ask_running(settings: Settings, name: str, asked: Mapping[str, Any]) -> Sequence[Row] | None:
    """Have the running service do it; None if it can't be reached. Raises OperationRefused."""
    connector = aiohttp.UnixConnector(str(socket_path(settings)))
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            http.post(f"http://service/{name}", json=dict(asked)) as response,
        ):
            answer: dict[str, Any] = await response.json()
    except aiohttp.ClientConnectorError:
        return None
    if "refused" in answer:
        raise OperationRefused(answer["refused"])
    return answer["rows"]
