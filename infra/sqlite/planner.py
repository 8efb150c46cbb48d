"""From a question to SQL that walks one declared index, or to a refusal.

An index answers a question when it begins with the fields of `where` (in any order) and goes on with

- to find: exactly the fields of `order_by`; a range lies on the first of these;
- to count: the range's field, if there is one; a field whose values are told apart stands anywhere in it.

Then a listing reads the rows that it returns, and a count those that it counts, whatever else is stored. A
list-valued field of an index must be in `where`, or be the one that is told apart. The index is named in the
SQL, so that SQLite uses it or says that it can't.

A question is split into branches, each one stretch of the index: one for each combination of the "one of"
values, times one for each way to lie after the keyset position. So None has its place, too: before all else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

from infra.documents.port import DocumentsError, Range, Scalar, UnfitPosition
from infra.sqlite.table import Table, TableIndex, column
from infra.sqlite.values import Field, SqlValue

# SQLite takes 500 selects in one statement.
_BRANCHES_MAX: Final = 400

# The lowest value of each type, in SQLite's order.
_LOWEST: Final = {"INTEGER": "-9e999", "REAL": "-9e999", "TEXT": "''", "BLOB": "x''"}

Where = Mapping[str, Scalar | Sequence[Scalar]]


@dataclass(frozen=True)
class Statement:
    """SQL and the values for its question marks."""

    sql: str
    values: tuple[SqlValue, ...]


@dataclass(frozen=True)
class Conditions:
    """What a row must fulfil: SQL conditions, joined by "and"."""

    parts: tuple[str, ...] = ()
    values: tuple[SqlValue, ...] = ()

    def __add__(self, other: "Conditions") -> "Conditions":
        return Conditions(self.parts + other.parts, self.values + other.values)


@dataclass(frozen=True)
class Listing:
    """What `find` is asked for, `order_by` being total (`total_order`)."""

    order_by: tuple[str, ...]
    descending: bool
    after: tuple[Scalar, ...] | None
    limit: int


def total_order(order_by: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of an order that leaves no ties: the id comes last."""
    return order_by if order_by[-1:] == ("id",) else (*order_by, "id")


def find(
    table: Table[Any], company_id: bytes, where: Where, within: Range | None, listing: Listing
) -> Statement | None:
    """Bodies in order. None, here and below, where a field is to be one of no values."""
    index = _choose(table, where, within, order=listing.order_by)
    direction = " DESC" if listing.descending else ""
    columns = [column(name) for name in listing.order_by]
    ordering = ", ".join(name + direction for name in columns)
    page = f"ORDER BY {ordering} LIMIT {int(listing.limit)}"
    branches = [
        _select(index, company_id, columns, fixed + beyond, page)
        for fixed in _fixed(table, where)
        for beyond in _beyond(table, listing, within)
    ]
    if not branches:
        return None
    keys = _union(branches, distinct=True)
    again = page if len(branches) > 1 else ""
    outer = ", ".join(f"k.{name}{direction}" for name in columns)
    return Statement(
        f"SELECT t.body FROM ({keys.sql} {again}) AS k CROSS JOIN {table.name} AS t "
        f"ON t.company_id = ? AND t.id = k.id ORDER BY {outer}",
        (*keys.values, company_id),
    )


def count(
    table: Table[Any], company_id: bytes, where: Where, within: Range | None, distinct: str | None
) -> Statement | None:
    """One number."""
    rows = _rows(table, company_id, where, within, distinct)
    if rows is None:
        return None
    what = "*" if distinct is None else f"DISTINCT {column(distinct)}"
    return Statement(f"SELECT COUNT({what}) FROM ({rows.sql})", rows.values)


def group_count(table: Table[Any], company_id: bytes, where: Where, by: str) -> Statement | None:
    """The values of `by`, each with the number of records that have it."""
    rows = _rows(table, company_id, where, None, by)
    if rows is None:
        return None
    return Statement(f"SELECT {column(by)}, COUNT(*) FROM ({rows.sql}) GROUP BY {column(by)}", rows.values)


def companies(table: Table[Any], where: Where, limit: int) -> Statement:
    """Company ids. Jumps from company to company in the index and looks for one match in each."""
    index = _choose(table, where, None)
    branches = _fixed(table, where)
    if len(branches) != 1:
        raise DocumentsError(f"{table.collection.name}: companies are found by one value a field")
    matching = " AND ".join(("company_id = company", *branches[0].parts))
    source = f"{table.name} INDEXED BY {table.primary.name}"
    return Statement(
        f"WITH RECURSIVE known (company) AS (SELECT MIN(company_id) FROM {source} UNION ALL "
        f"SELECT (SELECT MIN(company_id) FROM {source} WHERE company_id > company) FROM known "
        "WHERE company IS NOT NULL) SELECT company FROM known WHERE company IS NOT NULL AND EXISTS "
        f"(SELECT 1 FROM {index.table} INDEXED BY {index.name} WHERE {matching}) LIMIT {int(limit)}",
        branches[0].values,
    )


def _choose(
    table: Table[Any],
    where: Where,
    within: Range | None,
    *,
    order: tuple[str, ...] | None = None,
    told_apart: str | None = None,
) -> TableIndex:
    """The shortest index that answers; `order` only to find, `told_apart` only to count."""
    for index in (table.primary, *sorted(table.indexes, key=lambda index: len(index.fields))):
        following = (*index.fields, "id")[len(where) :]
        if (
            {*index.fields[: len(where)]} == {*where}
            and order in {None, following}
            and (within is None or within.field == following[0])
            and told_apart in {None, *index.fields}
            and index.members in {None, *where, told_apart}
        ):
            return index
    raise DocumentsError(f"{table.collection.name}: no declared index answers this for ({', '.join(where)})")


def _rows(
    table: Table[Any], company_id: bytes, where: Where, within: Range | None, told_apart: str | None
) -> Statement | None:
    """The ids of matching records, each with a value of `told_apart`."""
    index = _choose(table, where, within, told_apart=told_apart)
    columns = ["id"] if told_apart is None else ["id", column(told_apart)]
    range_ = _range(table, within)
    branches = [_select(index, company_id, columns, fixed + range_) for fixed in _fixed(table, where)]
    # Only a record that holds a list can lie in two branches.
    return _union(branches, distinct=index.members is not None) if branches else None


def _select(
    index: TableIndex, company_id: bytes, columns: Sequence[str], conditions: Conditions, page: str = ""
) -> Statement:
    matching = " AND ".join(("company_id = ?", *conditions.parts))
    return Statement(
        f"SELECT {', '.join(columns)} FROM {index.table} INDEXED BY {index.name} WHERE {matching} {page}",
        (company_id, *conditions.values),
    )


def _union(branches: Sequence[Statement], *, distinct: bool) -> Statement:
    if len(branches) == 1:
        return branches[0]
    if len(branches) > _BRANCHES_MAX:
        raise DocumentsError(f"a question of {len(branches)} combinations is too wide")
    return Statement(
        f" UNION {'' if distinct else 'ALL '}".join(f"SELECT * FROM ({branch.sql})" for branch in branches),
        tuple(value for branch in branches for value in branch.values),
    )


def _fixed(table: Table[Any], where: Where) -> list[Conditions]:
    """A branch for each combination of values; none where a field is to be one of nothing."""
    alternatives = [
        [_equals(table.field(name), value) for value in dict.fromkeys(_values(value))]
        for name, value in where.items()
    ]
    return [sum(combination, Conditions()) for combination in product(*alternatives)]


def _values(value: Scalar | Sequence[Scalar]) -> Sequence[Scalar]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    return [value]


def _equals(field: Field, value: Scalar) -> Conditions:
    if value is None:
        return Conditions((f"{column(field.name)} IS NULL",))
    return Conditions((f"{column(field.name)} = ?",), (field.encode(value),))


def _range(table: Table[Any], within: Range | None) -> Conditions:
    conditions = Conditions()
    if within is None:
        return conditions
    field = table.field(within.field)
    for operator, bound in ((">=", within.start), ("<", within.end)):
        if bound is not None:
            conditions += Conditions((f"{column(field.name)} {operator} ?",), (field.encode(bound),))
    return conditions


def _beyond(table: Table[Any], listing: Listing, within: Range | None) -> list[Conditions]:
    """The ways to lie in the range and after the keyset position: equal in the first fields, beyond it in the
    next."""
    if listing.after is None:
        return [_range(table, within)]
    fields = [table.field(name) for name in listing.order_by]
    try:
        for field, value in zip(fields, listing.after, strict=True):
            field.encode(value)
    except (DocumentsError, ValueError):
        raise UnfitPosition("the position to go on from does not fit the order") from None
    branches: list[Conditions] = []
    equal = Conditions()
    for field, value in zip(fields, listing.after, strict=True):
        branches.extend(equal + past for past in _past(field, value, descending=listing.descending))
        equal += _equals(field, value)
    if within is None or (within.start is None and within.end is None):
        return branches  # Without bounds nothing is left out, not even what has no value.
    return _bounded(table, within, listing, branches)


def _bounded(
    table: Table[Any], within: Range, listing: Listing, branches: Sequence[Conditions]
) -> list[Conditions]:
    """The ways beyond a position, in a range, too. A side has one bound: of two, SQLite looks up one and
    walks from there to the other, through all that lies between."""
    position = (listing.after or (None,))[0]
    if position is None:
        return [branch + _range(table, within) for branch in branches]
    field = table.field(within.field)
    at, start, end = (_comparable(field, value) for value in (position, within.start, within.end))
    begun, ended = start is None or at >= start, end is not None and at >= end
    equals = _equals(field, position).parts
    same = [branch for branch in branches if branch.parts[:1] == equals] if begun and not ended else []
    if listing.descending:
        return [_range(table, within if ended else replace(within, end=position)), *same]
    if not begun:
        return [_range(table, within)]
    ahead = Conditions((f"{column(field.name)} > ?",), (at,))
    return [ahead + _range(table, replace(within, start=None)), *same]


def _comparable(field: Field, value: Scalar) -> Any:
    """A value as SQLite compares it with others of its field."""
    return field.encode(value)


def _past(field: Field, value: Scalar, *, descending: bool) -> list[Conditions]:
    name = column(field.name)
    if value is None:
        # None comes first, so it comes last in descending order: nothing lies beyond it there.
        return [] if descending else [Conditions((f"{name} >= {_LOWEST[field.kind.sql]}",))]
    past = [Conditions((f"{name} {'<' if descending else '>'} ?",), (field.encode(value),))]
    if descending and field.name != "id":
        past.append(Conditions((f"{name} IS NULL",)))
    return past
