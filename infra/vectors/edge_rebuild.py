"""Building an optimised copy of the index beside it, while it goes on answering.

Optimising stalls its process for seconds, so another one does it: `building` has the index process read its
points out, a slice at a time between the searches, and a process of low priority write them into a new folder
and optimise them there. The copy is then opened by a fresh process, which has only the memory that it needs.
What is written meanwhile is carried over by `carry_over`, again and again, the last time while writes are
held.
"""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from infra.child import ChildProcess
from infra.vectors.edge_wire import Record
from infra.vectors.templates import SLICE, slices

CALL_TIMEOUT_S = 60.0
OPTIMISE_TIMEOUT_S = 3600.0
"""A million points take 15 s; far more, and the disk is the limit."""

MakeChild = Callable[[bool], ChildProcess]
"""Makes the process of the new folder; true: of low priority."""


@asynccontextmanager
async def building(source: ChildProcess, make_child: MakeChild) -> AsyncGenerator[ChildProcess, None]:
    """An optimised copy of what `source` held, in a process that an error in the block closes."""
    builder = make_child(True)
    try:
        await builder.start()
        await _copy_all(source, builder)
        await builder.call("optimise", timeout_s=OPTIMISE_TIMEOUT_S)
    finally:
        await builder.close(timeout_s=CALL_TIMEOUT_S)
    copy = make_child(False)
    try:
        await copy.start()
        yield copy
    except BaseException:
        await copy.close()
        raise


async def carry_over(face_ids: Collection[bytes], source: ChildProcess, copy: ChildProcess) -> None:
    """Make the copy hold of these points what the source holds, which may be nothing."""
    for ids in slices(face_ids):
        answer = await _call(source, "retrieve", {"company": None, "ids": ids})
        records = [Record._make(record) for record in answer]
        gone = set(ids).difference(record.face_id for record in records)
        if records:
            await _call(copy, "upsert", records)
        if gone:
            await _call(copy, "delete", {"company": None, "ids": list(gone)})


async def _copy_all(source: ChildProcess, copy: ChildProcess) -> None:
    start: bytes | None = bytes(16)
    while start is not None:
        request = {"company": None, "start": start, "limit": SLICE}
        page = await _call(source, "scroll", request)
        if page["records"]:
            await _call(copy, "upsert", page["records"])
        start = page["next"]


async def _call(child: ChildProcess, method: str, payload: Any) -> Any:
    return await child.call(method, payload, timeout_s=CALL_TIMEOUT_S)
