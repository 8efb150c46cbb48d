"""How a collection lies in tables: JSON bodies, a column for an indexed field, a side table for a list.

    d_faces                             key, company_id, id, body, f_change, f_state, …
    d_users__i_state__groups__members   company_id, id, f_state, f_groups: a row a member, for (state, groups)

Every SQL index begins with the company, so that no query can walk through somebody else's records, and ends
with the id, so that a listing goes on from any row without sorting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

from infra.documents.fields import BOOLEAN, BYTES, IDENTIFIER, INTEGER, REAL, TEXT, TIME, Field, Kind, Stored
from infra.documents.layout import PRIMARY, DeclaredIndex, Layout
from infra.documents.port import Collection
from schemas.records import Record

R = TypeVar("R", bound=Record)

SQL_TYPES: Final[Mapping[Kind, str]] = {
    TEXT: "TEXT",
    INTEGER: "INTEGER",
    REAL: "REAL",
    BOOLEAN: "INTEGER",
    BYTES: "BLOB",
    IDENTIFIER: "BLOB",
    TIME: "INTEGER",
}


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


class Table(Layout[R]):
    """A collection's layout, and the way of a record into it and out of it."""

    def __init__(self, collection: Collection[R]) -> None:
        super().__init__(collection)
        self.name = f"d_{self.name}"
        self.primary = self.kept(PRIMARY)
        self.kept_indexes = tuple(self.kept(index) for index in self.indexes)
        self.main_indexes = tuple(index for index in self.kept_indexes if index.members is None)
        self.list_indexes = tuple(index for index in self.kept_indexes if index.members is not None)

    def kept(self, index: DeclaredIndex) -> TableIndex:
        """An index as it is kept here."""
        name = f"{self.name}__{index.name}"
        table = f"{name}__members" if index.members else self.name
        return TableIndex(name, table, index.fields, index.unique, index.members)

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

    def values(self, record: R) -> list[Stored]:
        """The record's values for `columns`."""
        return [field.encode(getattr(record, field.name)) for field in self.columns]

    def rows(self, index: TableIndex, record: R) -> list[list[Stored]]:
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
