"""Which of the formats that a resource has a client gets (RFC 9110 §12.5.1)."""

from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import hdrs, web

from schemas.problems import ProblemError

_MAX_RANGES: Final = 50


def accepted(request: web.Request, offered: Sequence[str]) -> str:
    """The media type that the client likes best; among equals, and when it does not say, the first offered.

    Raises `ProblemError("not_acceptable")` when none will do. Parameters of a range other than its weight are
    ignored.
    """
    given = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    if not given.strip():
        return offered[0]
    weights = dict(_ranges(given))
    best = max(offered, key=lambda media_type: _weight(media_type, weights))
    if _weight(best, weights) <= 0:
        raise ProblemError("not_acceptable", f"Accept one of {', '.join(offered)}.")
    return best


def _ranges(given: str) -> Iterator[tuple[str, float]]:
    """Each range with its weight; one that can't be read is as good as not there."""
    for entry in given.split(",")[:_MAX_RANGES]:
        media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = "1"
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                weight = value.strip()
        try:
            quality = float(weight)
        except ValueError:
            continue
        if 0 <= quality <= 1:
            yield media_range, quality


def _weight(media_type: str, weights: dict[str, float]) -> float:
    """The weight of the most specific range that the type falls in."""
    family = media_type.partition("/")[0]
    for media_range in (media_type, f"{family}/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0
