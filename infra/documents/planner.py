"""From a question to the stretches of one declared index that answer it, or to a refusal: the same for every
adapter.

An index answers a question when it begins with the fields of `where` (in any order) and goes on with

- to find: exactly the fields of `order_by`; a range lies on the first of these;
- to count: the range's field, if there is one; a field whose values are told apart stands anywhere in it.

Then a listing reads the rows that it returns, and a count those that it counts, whatever else is stored. A
list-valued field of an index must be in `where`, or be the one that is told apart. Bytes are found by, never
ordered by: stores differ about their order.

What lies after a keyset position is told in stretches, each contiguous in the index, in the order in which a
listing meets them. So None has its place, too: before all else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final, Literal, TypeVar

from infra.documents.fields import BYTES, Field, Stored
from infra.documents.layout import PRIMARY, DeclaredIndex, Layout
from infra.documents.port import DocumentsError, Page, Range, Scalar, UnfitPosition
from schemas.records import Record

R = TypeVar("R", bound=Record)

_WIDTH_MAX: Final = 400
"""Combinations of "one of" values times stretches: SQLite takes 500 selects in one statement."""

Where = Mapping[str, Scalar | Sequence[Scalar]]


@dataclass(frozen=True)
class Condition:
    """What a field must fulfil. "=" knows None; "any" is every value but None."""

    field: Field
    operator: Literal["=", "<", ">=", ">", "any"]
    value: Stored = None


Stretch = tuple[Condition, ...]
"""Conditions, all of which must hold."""


@dataclass(frozen=True)
class Alternatives:
    """The values that a field of `where` may have."""

    field: Field
    values: tuple[Stored, ...]


@dataclass(frozen=True)
class Listing:
    """What `find` is asked for, `order_by` being total (`total_order`)."""

    order_by: tuple[str, ...]
    descending: bool
    after: tuple[Scalar, ...] | None
    limit: int


@dataclass(frozen=True)
class Plan:
    """The index, what is fixed in it, and the stretches that are left of it, in the listing's order."""

    index: DeclaredIndex
    fixed: tuple[Alternatives, ...]
    stretches: tuple[Stretch, ...]


def total_order(order_by: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of an order that leaves no ties: the id comes last."""
    return order_by if order_by[-1:] == ("id",) else (*order_by, "id")


def page_of(found: Sequence[R], listing: Listing) -> Page[R]:
    """The page that a listing's records make: it was asked for one more than the page has, which tells
    whether there are more."""
    items = tuple(found[: listing.limit - 1])
    more = len(found) > len(items)
    return Page(
        items, tuple(getattr(items[-1], name) for name in listing.order_by) if more and items else None
    )


def find(layout: Layout[Any], where: Where, within: Range | None, listing: Listing) -> Plan | None:
    """None, here and below, where a field is to be one of no values."""
    index = _choose(layout, where, within, order=listing.order_by)
    return _plan(index, _fixed(layout, where), _beyond(layout, listing, within))


def count(layout: Layout[Any], where: Where, within: Range | None, told_apart: str | None) -> Plan | None:
    """What is to be counted, by the values of `told_apart` where that is set."""
    index = _choose(layout, where, within, told_apart=told_apart)
    return _plan(index, _fixed(layout, where), [_range(layout, within)])


def companies(layout: Layout[Any], where: Mapping[str, Scalar]) -> Plan:
    """What a company must have to be named."""
    plan = count(layout, where, None, None)
    if plan is None or any(len(one.values) != 1 for one in plan.fixed):
        raise DocumentsError(f"{layout.collection.name}: companies are found by one value a field")
    return plan


def _plan(index: DeclaredIndex, fixed: tuple[Alternatives, ...], stretches: Sequence[Stretch]) -> Plan | None:
    width = prod(len(one.values) for one in fixed) * len(stretches)
    if width > _WIDTH_MAX:
        raise DocumentsError(f"a question of {width} combinations is too wide")
    return Plan(index, fixed, tuple(stretches)) if width else None


def _choose(
    layout: Layout[Any],
    where: Where,
    within: Range | None,
    *,
    order: tuple[str, ...] | None = None,
    told_apart: str | None = None,
) -> DeclaredIndex:
    """The shortest index that answers; `order` only to find, `told_apart` only to count."""
    for name in {*(order or ()), *([within.field] if within else ())}:
        if layout.field(name).kind is BYTES:
            raise DocumentsError(f"{layout.collection.name}: {name} holds bytes, which are not ordered by")
    for index in (PRIMARY, *sorted(layout.indexes, key=lambda index: len(index.fields))):
        following = (*index.fields, "id")[len(where) :]
        if (
            {*index.fields[: len(where)]} == {*where}
            and order in {None, following}
            and (within is None or within.field == following[0])
            and told_apart in {None, *index.fields}
            and index.members in {None, *where, told_apart}
        ):
            return index
    raise DocumentsError(f"{layout.collection.name}: no declared index answers this for ({', '.join(where)})")


def _fixed(layout: Layout[Any], where: Where) -> tuple[Alternatives, ...]:
    return tuple(
        Alternatives(field, tuple(dict.fromkeys(field.encode(one) for one in _values(value))))
        for field, value in ((layout.field(name), value) for name, value in where.items())
    )


def _values(value: Scalar | Sequence[Scalar]) -> Sequence[Scalar]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    return [value]


def _range(layout: Layout[Any], within: Range | None) -> Stretch:
    if within is None:
        return ()
    field = layout.field(within.field)
    start, end = field.encode(within.start), field.encode(within.end)
    return (
        *(() if start is None else (Condition(field, ">=", start),)),
        *(() if end is None else (Condition(field, "<", end),)),
    )


def _beyond(layout: Layout[Any], listing: Listing, within: Range | None) -> list[Stretch]:
    """The ways to lie in the range and after the keyset position: equal in the first fields, beyond it in the
    next. Those that are equal in more fields come first."""
    if listing.after is None:
        return [_range(layout, within)]
    fields = [layout.field(name) for name in listing.order_by]
    try:
        position = [field.encode(value) for field, value in zip(fields, listing.after, strict=True)]
    except (DocumentsError, ValueError):
        raise UnfitPosition("the position to go on from does not fit the order") from None
    stretches: list[Stretch] = []
    equal: Stretch = ()
    for field, value in zip(fields, position, strict=True):
        past = _past(field, value, descending=listing.descending)
        stretches = [*((*equal, condition) for condition in past), *stretches]
        equal = (*equal, Condition(field, "=", value))
    if within is None or (within.start is None and within.end is None):
        return stretches  # Without bounds nothing is left out, not even what has no value.
    return _bounded(layout, within, listing, stretches, position[0])


def _bounded(
    layout: Layout[Any], within: Range, listing: Listing, stretches: Sequence[Stretch], at: Any
) -> list[Stretch]:
    """The ways beyond a position, in a range, too. A side has one bound: of two, SQLite looks up one and
    walks from there to the other, through all that lies between."""
    if at is None:
        return [(*stretch, *_range(layout, within)) for stretch in stretches]
    field = layout.field(within.field)
    start: Any = field.encode(within.start)
    end: Any = field.encode(within.end)
    begun, ended = start is None or at >= start, end is not None and at >= end
    equal = (Condition(field, "=", at),)
    same = [stretch for stretch in stretches if stretch[:1] == equal] if begun and not ended else []
    if listing.descending:
        before = within if ended else replace(within, end=(listing.after or (None,))[0])
        return [*same, _range(layout, before)]
    if not begun:
        return [_range(layout, within)]
    ahead = Condition(field, ">", at)
    return [*same, (ahead, *_range(layout, replace(within, start=None)))]


def _past(field: Field, value: Stored, *, descending: bool) -> list[Condition]:
    if value is None:
        # None comes first, so it comes last in descending order: nothing lies beyond it there.
        return [] if descending else [Condition(field, "any")]
    if not descending:
        return [Condition(field, ">", value)]
    last = [] if field.name == "id" else [Condition(field, "=")]
    return [Condition(field, "<", value), *last]
