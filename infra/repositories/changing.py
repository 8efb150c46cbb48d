"""How a record is changed: it is written only if nobody has changed it since it was read."""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from infra.documents.port import Collection, Documents
from schemas.records import Record

R = TypeVar("R", bound=Record)


async def replaced_record(
    documents: Documents,
    collection: Collection[R],
    company_id: UUID,
    record: R,
    new: R,
    *,
    synced: bool = True,
) -> R | None:
    """Write `new`, as the next version, in place of `record`; answers it as written, None if the record is
    not as it was read: read it again.

    Raises AlreadyExists when it collides with another record in a unique index.
    """
    new = new.model_copy(update={"version": record.version + 1})
    expected = {"version": record.version}
    done = await documents.compare_and_set(collection, company_id, new, expected=expected, synced=synced)
    return new if done else None


async def changed_record(
    documents: Documents,
    collection: Collection[R],
    company_id: UUID,
    record_id: str,
    change: Callable[[R], R | None],
) -> tuple[R, R] | None:
    """Change a record; `change` is asked again when somebody else was faster. Answers the record before and
    after, None if there is none or `change` leaves it as it is (None)."""
    while True:
        record = await documents.get(collection, company_id, record_id)
        new = change(record) if record is not None else None
        if record is None or new is None:
            return None
        written = await replaced_record(documents, collection, company_id, record, new)
        if written is not None:
            return record, written
