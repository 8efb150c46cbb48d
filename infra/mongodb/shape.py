"""How a record lies in a document: a field for each scalar and each list of them, all else as JSON.

_id        company and id as text, `company:id`, so that a company's records lie together, by their ids
_company   the company, with which every other index begins; `id` ends them
_write     a number of the write, drawn by its writer
_expires   the time of expiry once more, as a date, rounded up: that is what a TTL index reads
_nested    what is no scalar, as one JSON text: any key and any number come back as they went
…          the fields, kept as `infra.documents.fields` says
"""

import json
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic_core import to_json

from infra.documents.fields import Field, from_microseconds
from infra.documents.layout import Layout
from infra.documents.port import DocumentsError
from schemas.records import Record

R = TypeVar("R", bound=Record)

Document = dict[str, Any]

_MILLISECOND: Final = timedelta(milliseconds=1)


def key_of(company_id: UUID, record_id: str) -> str:
    """The `_id` of a record."""
    return f"{company_id.hex}:{record_id}"


def company_keys(company_id: UUID) -> tuple[str, str]:
    """From where, inclusive, to where, exclusive, the `_id`s of a company lie."""
    return f"{company_id.hex}:", f"{company_id.hex};"


def as_date(microseconds: int) -> datetime:
    """A stored time as a date of BSON, which has milliseconds: never earlier."""
    time = from_microseconds(microseconds)
    return time + (-timedelta(microseconds=time.microsecond)) % _MILLISECOND


class Shape(Generic[R]):
    """The way of a collection's records into documents and out of them."""

    def __init__(self, layout: Layout[R]) -> None:
        self._layout = layout
        self.scalars = tuple(_scalars(layout))
        self._nested = frozenset(layout.model.model_fields) - {field.name for field in self.scalars}

    def document(self, company_id: UUID, record: R, write: bytes) -> Document:
        """Raises DocumentsError for a value that can't be kept exactly."""
        document: Document = {
            "_id": key_of(company_id, record.id),
            "_company": company_id,
            "_write": write,
            **{field.name: _encoded(field, getattr(record, field.name)) for field in self.scalars},
        }
        expires = self._layout.expires
        if expires is not None and document[expires.name] is not None:
            document["_expires"] = as_date(document[expires.name])
        if self._nested:
            document["_nested"] = record.model_dump_json(include=set(self._nested))
        return document

    def record(self, document: Document) -> R:
        """Raises DocumentsError for what does not fit the model, fields that it does not know included."""
        nested: Document = json.loads(document.get("_nested", "{}"))
        fields = {field.name: field for field in self.scalars}
        values = {
            name: _decoded(fields.get(name), value)
            for name, value in document.items()
            if not name.startswith("_")
        }
        return self._layout.parse(to_json({**nested, **values}, bytes_mode="base64"))

    def defaults(self) -> Document:
        """What a document that was written before a field was declared is to be taken to hold in it."""
        declared = self._layout.model.model_fields
        return {
            field.name: _encoded(field, declared[field.name].get_default(call_default_factory=True))
            for field in self.scalars
            if not declared[field.name].is_required()
        }


def _scalars(layout: Layout[Any]) -> list[Field]:
    found: list[Field] = []
    for name in layout.model.model_fields:
        try:
            found.append(layout.field(name))
        except DocumentsError:
            continue  # It holds something else, and nobody can search by it.
    return found


def _encoded(field: Field, value: Any) -> Any:
    if field.many and value is not None:
        return [field.encode(member) for member in value]
    return field.encode(value)


def _decoded(field: Field | None, value: Any) -> Any:
    if field is None:
        return value
    if field.many and value is not None:
        return [field.decode(member) for member in value]
    return field.decode(value)
