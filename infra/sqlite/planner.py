"""From a planned question (`infra.documents.planner`) to SQL that walks one index.

The index is named in the SQL, so that SQLite uses it or says that it can't. A question is split into
branches, each one stretch of the index: one for each combination of the "one of" values, times one for each
way to lie after the keyset position.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from infra.documents import planner
from infra.documents.fields import Kind, Stored
from infra.documents.planner import Condition, Listing, Plan, Where
from infra.documents.port import Range, Scalar
from infra.sqlite.table import SQL_TYPES, Table, TableIndex, column

_LOWEST: Final = {"INTEGER": "-9e999", "REAL": "-9e999", "TEXT": "''", "BLOB": "x''"}
"""The lowest value of each type, in SQLite's order."""


@dataclass(frozen=True)
class Statement:
    """SQL and the values for its question marks."""

    sql: str
    values: tuple[Stored, ...]


@dataclass(frozen=True)
class Conditions:
    """What a row must fulfil: SQL conditions, joined by "and"."""

    parts: tuple[str, ...] = ()
    values: tuple[Stored, ...] = ()

    def __add__(self, other: "Conditions") -> "Conditions":
        return Conditions(self.parts + other.parts, self.values + other.values)


def find(
    table: Table[Any], company_id: bytes, where: Where, within: Range | None, listing: Listing
) -> Statement | None:
    """Bodies in order. None, here and below, where a field is to be one of no values."""
    plan = planner.find(table, where, within, listing)
    if plan is None:
        return None
    direction = " DESC" if listing.descending else ""
    columns = [column(name) for name in listing.order_by]
    ordering = ", ".join(name + direction for name in columns)
    page = f"ORDER BY {ordering} LIMIT {int(listing.limit)}"
    branches = _branches(table, company_id, plan, columns, page)
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


def companies(table: Table[Any], where: Mapping[str, Scalar], limit: int) -> Statement:
    """Company ids. Jumps from company to company in the index and looks for one match in each."""
    plan = planner.companies(table, where)
    index, matching = table.kept(plan.index), _matching(plan)[0]
    conditions = " AND ".join(("company_id = company", *matching.parts))
    source = f"{table.name} INDEXED BY {table.primary.name}"
    return Statement(
        f"WITH RECURSIVE known (company) AS (SELECT MIN(company_id) FROM {source} UNION ALL "
        f"SELECT (SELECT MIN(company_id) FROM {source} WHERE company_id > company) FROM known "
        "WHERE company IS NOT NULL) SELECT company FROM known WHERE company IS NOT NULL AND EXISTS "
        f"(SELECT 1 FROM {index.table} INDEXED BY {index.name} WHERE {conditions}) LIMIT {int(limit)}",
        matching.values,
    )


def _rows(
    table: Table[Any], company_id: bytes, where: Where, within: Range | None, told_apart: str | None
) -> Statement | None:
    """The ids of matching records, each with a value of `told_apart`."""
    plan = planner.count(table, where, within, told_apart)
    if plan is None:
        return None
    columns = ["id"] if told_apart is None else ["id", column(told_apart)]
    # Only a record that holds a list can lie in two branches.
    distinct = plan.index.members is not None
    return _union(_branches(table, company_id, plan, columns), distinct=distinct)


def _branches(
    table: Table[Any], company_id: bytes, plan: Plan, columns: Sequence[str], page: str = ""
) -> list[Statement]:
    index = table.kept(plan.index)
    return [_select(index, company_id, columns, conditions, page) for conditions in _matching(plan)]


def _select(
    index: TableIndex, company_id: bytes, columns: Sequence[str], conditions: Conditions, page: str
) -> Statement:
    matching = " AND ".join(("company_id = ?", *conditions.parts))
    return Statement(
        f"SELECT {', '.join(columns)} FROM {index.table} INDEXED BY {index.name} WHERE {matching} {page}",
        (company_id, *conditions.values),
    )


def _union(branches: Sequence[Statement], *, distinct: bool) -> Statement:
    if len(branches) == 1:
        return branches[0]
    return Statement(
        f" UNION {'' if distinct else 'ALL '}".join(f"SELECT * FROM ({branch.sql})" for branch in branches),
        tuple(value for branch in branches for value in branch.values),
    )


def _matching(plan: Plan) -> list[Conditions]:
    """A branch for each combination of values and each stretch."""
    fixed = ([Condition(one.field, "=", value) for value in one.values] for one in plan.fixed)
    return [
        sum(map(_sql, (*combination, *stretch)), Conditions())
        for combination in product(*fixed)
        for stretch in plan.stretches
    ]


def _sql(condition: Condition) -> Conditions:
    name = column(condition.field.name)
    if condition.operator == "any":
        return Conditions((f"{name} >= {_lowest(condition.field.kind)}",))
    if condition.value is None:
        return Conditions((f"{name} IS NULL",))
    return Conditions((f"{name} {condition.operator} ?",), (condition.value,))


def _lowest(kind: Kind) -> str:
    return _LOWEST[SQL_TYPES[kind]]
