"""How a collection lies in tables: JSON bodies, a column for an indexed field, a side table for a list.

    d_faces                             key, company_id, id, body, f_change, f_state, …
    d_users__i_state__groups__members   company_id, id, f_state, f_groups: a row a member, for (state, groups)

Every SQL index begins with the company, so that no query can walk through somebody else's records, and ends
with the id, so that a listing goes on from any row without sorting.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError

from infra.documents.port import Collection, DocumentsError, Index
from infra.sqlite.values import TIME, Field, SqlValue, field_of
from schemas.records import Record

R = TypeVar("R", bound=Record)

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def column(field: str) -> str:
    """The column of a field: prefixed, so that no field's name meets a column of ours or a word of SQL."""
    return "id" if field == "id" else f"f_{field}"


@dataclass(frozen=True)
class TableIndex:
    """A declared index as it is kept: `fields` without company and id; `members` is its list-valued field."""

    name: str
    table: str
    fields: tuple[str, ...]
    unique: bool
    members: str | None

    @property
    def columns(self) -> str:
        """The SQL index's columns. A unique one leaves the id out: it would make everything unique."""
        names = ["company_id", *map(column, self.fields)]
        return ", ".join(names if self.unique else [*names, "id"])


class Table(Generic[R]):
    """A collection's layout, and the way of a record into it and out of it."""

    def __init__(self, collection: Collection[R]) -> None:
        self.collection = collection
        self.name = f"d_{_checked(collection.name)}"
        self.model = collection.model
        self._fields: dict[str, Field] = {}
        self.primary = TableIndex(f"{self.name}__primary", self.name, (), unique=False, members=None)
        self.indexes = tuple(self._index(index) for index in collection.indexes)
        self.main_indexes = tuple(index for index in self.indexes if index.members is None)
        self.list_indexes = tuple(index for index in self.indexes if index.members is not None)
        expires = collection.expires_field
        if expires is not None and (self.field(expires).kind is not TIME or self.field(expires).many):
            raise DocumentsError(f"{collection.name}: {expires} can't be the time of expiry")

    def field(self, name: str) -> Field:
        """A top-level field of the model. Raises DocumentsError unless it holds scalars."""
        known = self._fields.get(name)
        if known is None:
            declared = self.model.model_fields.get(name)
            if declared is None:
                raise DocumentsError(f"{self.collection.name} has no field {name}")
            known = self._fields[name] = field_of(name, declared.annotation)
        return known

    @cached_property
    def columns(self) -> tuple[Field, ...]:
        """The fields that have a column in the main table."""
        names = dict.fromkeys(name for index in self.main_indexes for name in index.fields)
        if self.collection.expires_field is not None:
            names[self.collection.expires_field] = None
        return tuple(self.field(name) for name in names)

    @property
    def expiry_index(self) -> str:
        return f"{self.name}__expiry"

    def values(self, record: R) -> list[SqlValue]:
        """The record's values for `columns`."""
        return [field.encode(getattr(record, field.name)) for field in self.columns]

    def rows(self, index: TableIndex, record: R) -> list[list[SqlValue]]:
        """The record's values for an index's fields: one row, or one for each member of its list."""
        fields = [self.field(name) for name in index.fields]
        members: Sequence[Any] = getattr(record, index.members) or () if index.members else (None,)
        return [
            [
                field.encode(member if field.name == index.members else getattr(record, field.name))
                for field in fields
            ]
            for member in dict.fromkeys(members)
        ]

    def parse(self, body: str) -> R:
        """A stored record. The error for one that does not fit its model names no value of it."""
        try:
            return self.model.model_validate_json(body)
        except ValidationError:
            raise DocumentsError(f"{self.collection.name}: a stored record does not fit its model") from None

    def _index(self, index: Index) -> TableIndex:
        fields = index.fields[:-1] if index.fields[-1:] == ("id",) else index.fields
        if not fields or "id" in fields or len(set(fields)) != len(fields):
            raise DocumentsError(f"{self.collection.name}: an index needs different fields other than the id")
        lists = [name for name in fields if self.field(_checked(name)).many]
        if len(lists) > 1:
            raise DocumentsError(f"{self.collection.name}: an index can have one list-valued field")
        members = lists[0] if lists else None
        name = f"{self.name}__{'u' if index.unique else 'i'}_{'__'.join(fields)}"
        return TableIndex(name, f"{name}__members" if members else self.name, fields, index.unique, members)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise DocumentsError(f"{name!r} can't be the name of a collection or an indexed field")
    return name
