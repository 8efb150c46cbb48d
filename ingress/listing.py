"""What all listings share: the cursor, in and out."""

from collections.abc import Mapping

from aiohttp import hdrs, web

from schemas.api.base import PageQuery
from schemas.paging import Position, decode_cursor, encode_cursor


def position_of(query: PageQuery, listing: str) -> Position | None:
    """Where the page asked for begins. Raises `ProblemError("invalid_cursor")`."""
    return decode_cursor(query.cursor, listing, query.filters()) if query.cursor is not None else None


def next_page(
    request: web.Request, query: PageQuery, listing: str, position: Position | None
) -> tuple[str | None, Mapping[str, str]]:
    """The cursor of the next page and the header that links to it (RFC 8288); neither at the end."""
    if position is None:
        return None, {}
    cursor = encode_cursor(position, listing, query.filters())
    return cursor, {hdrs.LINK: f'<{request.rel_url.update_query(cursor=cursor)}>; rel="next"'}
