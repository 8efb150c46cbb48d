"""Which fields can be searched by, and how their values are kept: as texts, numbers and bytes, which a store
orders and compares as Python does the values themselves.

Times are whole microseconds: BSON's have milliseconds, and SQLite has none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum
from math import isnan
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin
from uuid import UUID

from infra.documents.port import DocumentsError, Scalar

Stored = str | int | float | bytes | None
"""A value as a store keeps it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LISTS: Final = (list, tuple, set, frozenset)


@dataclass(frozen=True)
class Kind:
    """A kind of value: the Python type it has in a record, and the way to what is stored and back."""

    name: str
    python: type
    encode: Callable[[Any], Stored]
    decode: Callable[[Any], Scalar]


@dataclass(frozen=True)
class Field:
    """A top-level field of a model. `many`: it holds a list of such values; `optional`: it may be None."""

    name: str
    kind: Kind
    many: bool
    optional: bool

    def encode(self, value: Scalar | Enum) -> Stored:
        """Raises DocumentsError for a value that the field can't have: it would silently match nothing."""
        if isinstance(value, Enum):
            value = value.value
        if value is None:
            return None
        accepted = (int, float) if self.kind is REAL else self.kind.python
        # A bool is an int to Python, and a different value to JSON.
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.kind is not BOOLEAN):
            raise DocumentsError(f"field {self.name} holds {self.kind.name} values")
        return self.kind.encode(value)

    def decode(self, value: Stored) -> Scalar:
        return None if value is None else self.kind.decode(value)


def to_microseconds(value: datetime) -> int:
    """A time as microseconds since 1970. Raises DocumentsError for a time without a zone."""
    if value.tzinfo is None:
        raise DocumentsError("a time without a zone can't be stored")
    return (value - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def _integer(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise DocumentsError("an indexed integer has at most 64 bits")
    return value


def _real(value: float) -> float:
    if isnan(value):
        raise DocumentsError("an indexed number can't be NaN")
    return float(value)


TEXT: Final = Kind("text", str, str, str)
INTEGER: Final = Kind("integer", int, _integer, int)
REAL: Final = Kind("real", float, _real, float)
BOOLEAN: Final = Kind("boolean", bool, int, bool)
BYTES: Final = Kind("bytes", bytes, bytes, bytes)
IDENTIFIER: Final = Kind("uuid", UUID, lambda value: value.bytes, lambda value: UUID(bytes=value))
TIME: Final = Kind("datetime", datetime, to_microseconds, from_microseconds)

# The order matters: a bool is an int, a StrEnum a str.
_KINDS: Final = (BOOLEAN, INTEGER, REAL, TEXT, BYTES, IDENTIFIER, TIME)


def field_of(name: str, annotation: Any) -> Field:
    """What a model's annotation says about a field. Raises DocumentsError for what is neither a scalar nor a
    list of them."""
    whole, annotation = annotation, _without_none(annotation)
    optional = annotation is not whole
    origin = get_origin(annotation)
    if origin in _LISTS:
        members = {argument for argument in get_args(annotation) if argument is not Ellipsis}
        if len(members) == 1:
            return Field(name, _kind_of(name, members.pop()), many=True, optional=optional)
    return Field(name, _kind_of(name, annotation), many=False, optional=optional)


def _kind_of(name: str, annotation: Any) -> Kind:
    if isinstance(annotation, type):
        if issubclass(annotation, Enum) and not issubclass(annotation, str | IntEnum):
            raise DocumentsError(f"field {name}: only text and integer enums can be indexed")
        for kind in _KINDS:
            if issubclass(annotation, kind.python):
                return kind
    raise DocumentsError(f"field {name} can't be indexed or compared")


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, UnionType}:
        arguments = [argument for argument in get_args(annotation) if argument is not NoneType]
        if len(arguments) == 1:
            return arguments[0]
    return annotation
