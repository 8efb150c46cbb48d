"""Answers that are sent while they are made, however long they are: in pieces, each made when the last is on
its way."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import hdrs, web

from infra.telemetry import get_logger
from ingress.calls import Call
from ingress.observing import add_common_headers
from schemas.problems import ProblemError

_log = get_logger(__name__)

_STALLED_S: Final = 60
"""How long a client may take nothing. The connection's own buffer is all that is kept for it meanwhile."""


async def streamed(
    call: Call, pieces: AsyncGenerator[bytes], *, content_type: str, filename: str
) -> web.StreamResponse:
    """Send the pieces one after another, as fast as the client takes them.

    An error in the first piece is answered like any other. Later nothing can be answered any more: then the
    connection is cut, without the end that chunked encoding has, so that no client takes the part for the
    whole. A client that goes away, takes nothing for a minute, or may not have it any more (a `ProblemError`
    of the pieces) ends the work.
    """
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: content_type,
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{filename}"',
            hdrs.VARY: hdrs.ACCEPT,
        }
    )
    add_common_headers(response, call.correlation_id)
    async with aclosing(pieces):
        first = await anext(pieces, b"")
        await response.prepare(call.request)
        if call.request.method != hdrs.METH_HEAD:
            await _send(call, response, first, pieces)
    return response


async def _send(
    call: Call, response: web.StreamResponse, first: bytes, pieces: AsyncGenerator[bytes]
) -> None:
    whole = False
    try:
        await _write(response, first)
        async for piece in pieces:
            await _write(response, piece)
        whole = True
    except (ConnectionError, TimeoutError) as error:
        _log.info("stream_not_taken", error=error)
    except ProblemError as problem:
        _log.info("stream_refused", code=problem.code)
    except Exception as error:  # noqa: BLE001 - whatever it was, the client sees the cut, the log the rest
        _log.error("stream_failed", exc_info=error)
    finally:
        if not whole and call.request.transport is not None:
            call.request.transport.abort()


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    async with asyncio.timeout(_STALLED_S):
        await response.write(piece)
