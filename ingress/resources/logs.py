"""The access log: GET /logs."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from itertools import islice
from typing import Final

from aiohttp import hdrs, web

from infra.repositories.access_log import LogFilter
from ingress.calls import Call
from ingress.listing import page_response, position_of
from ingress.log_formats import FORMATS, LogFormat, log_items, log_lines
from ingress.negotiation import accepted
from ingress.streaming import streamed
from ingress.validation import invalid_fields
from schemas.api.logs import LogLine, LogPage, LogQuery
from schemas.jobs import JobRecord
from schemas.paging import encode_cursor
from schemas.problems import FieldError

_LISTING: Final = "logs"
_MAX_ITEMS: Final = 500
_PAGE: Final = 100
# Entries that are written at once: some tenths of a millisecond.
_WRITTEN_AT_ONCE: Final = 8
_CONFIRMED_EVERY_S: Final = 1.0
_JSON: Final = "application/json"


async def index(call: Call, query: LogQuery) -> web.StreamResponse:
    """Attempts at recognition, newest first: of everybody or of one user, of a device, of a period, of one
    outcome. JSON in pages; CSV and NDJSON, for who accepts one of them more gladly, with all that there are.
    """
    format_ = FORMATS.get(accepted(call.request, [_JSON, *FORMATS]))
    if format_ is None:
        return await _page(call, query)
    with call.parts.exports.place(call.company_id):
        return await streamed(
            call,
            _pieces(call, query, format_),
            content_type=format_.content_type,
            filename=f"access-log.{format_.extension}",
        )


async def _page(call: Call, query: LogQuery) -> web.Response:
    if query.limit > _MAX_ITEMS:
        raise invalid_fields([FieldError(field="limit", message=f"must be at most {_MAX_ITEMS} for JSON")])
    services = call.services
    page = await services.access_log.find(
        call.company_id, _filter(call, query), after=position_of(query, _LISTING), limit=query.limit
    )
    key = await services.keys.get(call.company_id)

    def written(cursor: str | None) -> LogPage:
        items = list(log_items(page.items, key, with_nearest=_with_nearest(call, query)))
        return LogPage(items=items, next_cursor=cursor)

    response = await asyncio.to_thread(page_response, call.request, query, _LISTING, page.next_key, written)
    response.headers[hdrs.VARY] = hdrs.ACCEPT
    return response


async def _pieces(call: Call, query: LogQuery, format_: LogFormat) -> AsyncGenerator[bytes]:
    """What was in the log at the start, each entry once; what ends meanwhile may be in it or not.

    One page is in memory at a time. The company's key is asked for with each, so that nothing is told of a
    company that is gone, and every second whether the caller may still read the log.
    """
    services, filters = call.services, query.filters()
    left = query.limit if "limit" in query.model_fields_set else None
    position = position_of(query, _LISTING)
    with_nearest = _with_nearest(call, query)
    confirmed_s = services.clock.monotonic_s()

    def cursor_of(job: JobRecord) -> str:
        return encode_cursor((job.created_at, job.id), _LISTING, filters)

    head = format_.head
    while True:
        async with call.parts.exports.turn:
            if services.clock.monotonic_s() - confirmed_s >= _CONFIRMED_EVERY_S:
                await call.confirm_caller()
                confirmed_s = services.clock.monotonic_s()
            page = await services.access_log.find(
                call.company_id,
                _filter(call, query),
                after=position,
                limit=_PAGE if left is None else min(_PAGE, left),
            )
            key = await services.keys.get(call.company_id)
            lines = log_lines(page.items, key, cursor_of, with_nearest=with_nearest)
            piece = head + await _written(format_, lines)
        yield piece
        head = b""
        left = None if left is None else left - len(page.items)
        if page.next_key is None or left == 0:
            return
        position = page.next_key


async def _written(format_: LogFormat, lines: Iterator[LogLine]) -> bytes:
    """The lines, a few at a time and whatever else is due in between.

    Not in a thread: that would hold the interpreter for milliseconds whenever the loop wants it back.
    """
    pieces: list[bytes] = []
    while piece := format_.page(islice(lines, _WRITTEN_AT_ONCE)):
        pieces.append(piece)
        await asyncio.sleep(0)
    return b"".join(pieces)


def _filter(call: Call, query: LogQuery) -> LogFilter:
    """A key that is bound to groups sees the attempts that it sent itself: whose the others were about, of
    strangers above all, no group tells."""
    bound = call.identity.groups is not None
    return LogFilter(
        user_id=query.user_id,
        device_id=query.device_id,
        submitted_by=call.identity.credential if bound else None,
        outcome=query.outcome,
        start=query.from_,
        end=query.to,
    )


def _with_nearest(call: Call, query: LogQuery) -> bool:
    return query.user_id is None and call.identity.groups is None
