"""What all listings share: the cursor, in and out."""

from collections.abc import Callable

from aiohttp import hdrs, web
from pydantic import BaseModel

from ingress.answers import json_response
from schemas.api.base import PageQuery
from schemas.paging import Position, decode_cursor, encode_cursor


def position_of(query: PageQuery, listing: str) -> Position | None:
    """Where the page asked for begins. Raises `ProblemError("invalid_cursor")`."""
    return decode_cursor(query.cursor, listing, query.filters()) if query.cursor is not None else None


def page_response(
    request: web.Request,
    query: PageQuery,
    listing: str,
    position: Position | None,
    answer: Callable[[str | None], BaseModel],
) -> web.Response:
    """A page. `answer` makes it with the cursor of the next one, to which a header links, too (RFC 8288);
    there is neither at the end."""
    cursor = encode_cursor(position, listing, query.filters()) if position is not None else None
    response = json_response(answer(cursor))
    if cursor is not None:
        response.headers[hdrs.LINK] = f'<{request.rel_url.update_query(cursor=cursor)}>; rel="next"'
    return response
