"""A collection's declaration, checked and made ready for adapters: its fields, its indexes, its records."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Generic, TypeVar

from pydantic import ValidationError

from infra.documents.fields import TIME, Field, field_of
from infra.documents.port import Collection, DocumentsError, Index
from schemas.records import Record

R = TypeVar("R", bound=Record)

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True)
class DeclaredIndex:
    """A declared index: `fields` without company and id; `members` is its list-valued field."""

    name: str
    fields: tuple[str, ...]
    unique: bool
    members: str | None


PRIMARY: Final = DeclaredIndex("primary", (), unique=False, members=None)
"""The records of a company by their ids: every collection has it."""


class Layout(Generic[R]):
    """A collection as it was declared. Raises DocumentsError for a declaration that no adapter can keep."""

    def __init__(self, collection: Collection[R]) -> None:
        self.collection = collection
        self.name = _checked(collection.name)
        self.model = collection.model
        self._fields: dict[str, Field] = {}
        self.indexes = tuple(self._index(index) for index in collection.indexes)
        expires = self.expires
        if expires is not None and (expires.kind is not TIME or expires.many):
            raise DocumentsError(f"{collection.name}: {expires.name} can't be the time of expiry")

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
    def expires(self) -> Field | None:
        """The field that says when a record is gone."""
        name = self.collection.expires_field
        return None if name is None else self.field(name)

    def parse(self, body: str | bytes) -> R:
        """A stored record. The error for one that does not fit its model names no value of it."""
        try:
            return self.model.model_validate_json(body)
        except ValidationError:
            raise DocumentsError(f"{self.collection.name}: a stored record does not fit its model") from None

    def _index(self, index: Index) -> DeclaredIndex:
        fields = index.fields[:-1] if index.fields[-1:] == ("id",) else index.fields
        if not fields or "id" in fields or len(set(fields)) != len(fields):
            raise DocumentsError(f"{self.collection.name}: an index needs different fields other than the id")
        lists = [name for name in fields if self.field(_checked(name)).many]
        if len(lists) > 1:
            raise DocumentsError(f"{self.collection.name}: an index can have one list-valued field")
        name = f"{'u' if index.unique else 'i'}_{'__'.join(fields)}"
        return DeclaredIndex(name, fields, index.unique, lists[0] if lists else None)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise DocumentsError(f"{name!r} can't be the name of a collection or an indexed field")
    return name
