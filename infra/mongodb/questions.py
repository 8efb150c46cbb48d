"""From a planned question (`infra.documents.planner`) to what MongoDB is asked for.

One query a stretch, each with its index named: what it fixes is equal or one of a few values, then comes one
range, then the order, so that the server reads the index from where the stretch begins and sorts nothing (it
merges where there are several values, up to 200 combinations).
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from bson.binary import Binary

from infra.documents.fields import BOOLEAN, BYTES, IDENTIFIER, INTEGER, REAL, TEXT, TIME, Kind, Stored
from infra.documents.layout import Layout
from infra.documents.planner import Alternatives, Condition, Plan
from infra.mongodb.indexes import is_whole, read_name
from infra.mongodb.shape import Document, company_keys, key_of

_FIRST: Final = UUID(int=0)

_OPERATORS: Final = {"<": "$lt", ">=": "$gte", ">": "$gt"}

# A comparison finds values of its own type alone, so this is every value but None.
_LOWEST: Final[dict[Kind, Any]] = {
    TEXT: "",
    INTEGER: float("-inf"),
    REAL: float("-inf"),
    BOOLEAN: float("-inf"),
    TIME: float("-inf"),
    BYTES: Binary(b""),
    IDENTIFIER: Binary(b""),
}


class Question:
    """A plan, asked about one company: `filters`, one a stretch, and the name of the index for all."""

    def __init__(self, layout: Layout[Any], plan: Plan, company_id: UUID) -> None:
        self._layout = layout
        self._plan = plan
        self._company_id = company_id
        self.hint = read_name(layout, plan.index)

    @property
    def filters(self) -> list[Document]:
        """In the order in which a listing meets them."""
        fixed = [*self._company(), *map(self._one_of, self._plan.fixed)]
        return [{"$and": [*fixed, *map(self._fulfils, stretch)]} for stretch in self._plan.stretches]

    def sort(self, order_by: Sequence[str], *, descending: bool) -> list[tuple[str, int]]:
        """The order of a listing. An index that is unique has no ties, and no id to break them by."""
        index = self._plan.index
        names = order_by[:-1] if index.fields and is_whole(self._layout, index) else order_by
        return [(self._key(name), -1 if descending else 1) for name in names]

    def values_of(self, name: str) -> list[Document]:
        """The steps of an aggregation that leave a document for each different value of a field in each
        record, as `value`: of a list, for each member that was asked for."""
        if not self._layout.field(name).many:
            return [{"$project": {"value": f"${name}"}}]
        asked = [list(one.values) for one in self._plan.fixed if one.field.name == name]
        return [
            {"$project": {"value": {"$setUnion": [f"${name}", []]}}},
            {"$unwind": "$value"},
            *({"$match": {"value": {"$in": values}}} for values in asked),
        ]

    def _company(self) -> list[Document]:
        if self._plan.index.fields:
            return [{"_company": self._company_id}]
        start, end = company_keys(self._company_id)
        return [{"_id": {"$gte": start}}, {"_id": {"$lt": end}}]

    def _one_of(self, one: Alternatives) -> Document:
        values = list(one.values)
        return {one.field.name: values[0] if len(values) == 1 else {"$in": values}}

    def _fulfils(self, condition: Condition) -> Document:
        name, value = condition.field.name, condition.value
        if condition.operator == "any":
            return {name: {"$gte": _LOWEST[condition.field.kind]}}
        if self._key(name) == "_id":
            value = key_of(self._company_id, str(value))
        return {self._key(name): _compared(condition.operator, value)}

    def _key(self, name: str) -> str:
        return "_id" if name == "id" and not self._plan.index.fields else name


def company_filter(plan: Plan, after: UUID | None) -> Document:
    """Matching records of the companies that come after one (`company_sort`)."""
    fixed = [{one.field.name: one.values[0]} for one in plan.fixed]
    if plan.index.fields:
        beyond: Document = {"_company": {"$gte": _FIRST} if after is None else {"$gt": after}}
    else:
        beyond = {"_id": {"$gte": "" if after is None else company_keys(after)[1]}}
    return {"$and": [beyond, *fixed]}


def company_sort(plan: Plan) -> list[tuple[str, int]]:
    """Companies in the order of the plan's index."""
    return [("_company" if plan.index.fields else "_id", 1)]


def _compared(operator: str, value: Stored) -> Any:
    return value if operator == "=" else {_OPERATORS[operator]: value}
