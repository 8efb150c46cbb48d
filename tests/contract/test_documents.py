"""What every documents adapter keeps."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pymongo
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.documents.port import (
    AlreadyExists,
    Collection,
    Documents,
    DocumentsError,
    Index,
    Page,
    Range,
    Scalar,
)
from schemas.ids import PLATFORM
from tests.contract.documents_adapters import (
    ITEMS,
    NOTES,
    Adapter,
    Colour,
    Item,
    database_of,
    in_mongodb,
    in_sqlite,
    open_documents,
)

HERE = UUID(int=1)
THERE = UUID(int=2)
# Far ahead: a server that removes what is past by its own clock has nothing to do here.
NOON = datetime(2126, 3, 1, 12, tzinfo=UTC)


SQLITE = "sqlite"
MONGODB = pytest.param("mongodb", marks=pytest.mark.system)


@pytest.fixture(params=[SQLITE, MONGODB])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Adapter]:
    if request.param == SQLITE:
        yield in_sqlite
    else:
        url: str = request.getfixturevalue("mongodb_url")
        yield partial(in_mongodb, url)
        with pymongo.MongoClient[dict[str, Any]](url) as client:
            client.drop_database(database_of(tmp_path))


@pytest.fixture
async def documents(adapter: Adapter, tmp_path: Path) -> AsyncIterator[Documents]:
    async with open_documents(adapter, tmp_path) as opened:
        yield opened


def item(name: str, *, colour: Colour = Colour.RED, size: int = 1, minutes: float = 0, **fields: Any) -> Item:
    made_at = NOON + timedelta(minutes=minutes)
    return Item.model_validate({"id": name, "colour": colour, "size": size, "made_at": made_at, **fields})


def ids(found: Page[Item] | Sequence[Item]) -> list[str]:
    return [record.id for record in (found.items if isinstance(found, Page) else found)]


async def insert(documents: Documents, *records: Item, company_id: UUID = HERE) -> None:
    for record in records:
        await documents.insert(ITEMS, company_id, record, synced=False)


# One record.


async def test_a_record_comes_back_as_it_went(documents: Documents) -> None:
    record = item(
        "a",
        weight=0.1,
        owner=uuid4(),
        digest=bytes(range(256)),
        serial="Ünïcode \N{GRINNING FACE} \x00 'quoted\"",
        number=-(2**63),
        hidden=True,
        tags=("x", "y"),
        expires_at=datetime(2126, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
    )
    await documents.insert(ITEMS, HERE, record)
    assert await documents.get(ITEMS, HERE, "a") == record
    assert await documents.get(ITEMS, HERE, "b") is None


async def test_an_id_is_taken_once(documents: Documents) -> None:
    await insert(documents, item("a", size=1, serial="s"))
    with pytest.raises(AlreadyExists) as refused:
        await documents.insert(ITEMS, HERE, item("a", size=2, serial="s"))
    assert refused.value.index == ("id",)
    assert refused.value.collection == "items"
    stored = await documents.get(ITEMS, HERE, "a")
    assert stored is not None
    assert stored.size == 1


@pytest.mark.parametrize(
    ("first", "second", "index"),
    [
        (item("a", serial="s"), item("b", serial="s"), ("serial",)),
        (item("a", number=7), item("b", number=7), ("colour", "number")),
        (item("a", codes=("x", "y")), item("b", codes=("y", "z")), ("codes",)),
    ],
)
async def test_unique_indexes_hold(
    documents: Documents, first: Item, second: Item, index: tuple[str, ...]
) -> None:
    await insert(documents, first)
    with pytest.raises(AlreadyExists) as refused:
        await documents.insert(ITEMS, HERE, second)
    assert refused.value.index == index
    # Nothing of it is left behind, whatever else of it could have been written.
    assert await documents.get(ITEMS, HERE, "b") is None
    assert await documents.count(ITEMS, HERE) == 1
    assert await documents.count(ITEMS, HERE, where={"codes": "z"}) == 0


async def test_none_is_not_unique(documents: Documents) -> None:
    await insert(documents, item("a"), item("b"), item("c", number=1), item("d", number=2))
    assert await documents.count(ITEMS, HERE) == 4


async def test_one_field_of_a_unique_index_may_repeat(documents: Documents) -> None:
    await insert(documents, item("a", number=1), item("b", number=1, colour=Colour.BLUE))
    assert await documents.count(ITEMS, HERE) == 2


async def test_one_of_many_inserts_wins(documents: Documents) -> None:
    async def attempt(number: int) -> bool:
        try:
            await documents.insert(ITEMS, HERE, item(f"i{number}", serial="wanted"))
        except AlreadyExists:
            return False
        return True

    outcomes = await asyncio.gather(*(attempt(number) for number in range(40)))
    assert sum(outcomes) == 1
    found = await documents.find(ITEMS, HERE, where={"serial": "wanted"})
    assert ids(found) == [f"i{outcomes.index(True)}"]


async def test_get_many_finds_those_that_exist(documents: Documents) -> None:
    await insert(documents, *(item(f"i{number}") for number in range(3)))
    wanted = ["i0", "i2", "i0", *(f"none{number}" for number in range(2000))]
    assert set(await documents.get_many(ITEMS, HERE, wanted)) == {"i0", "i2"}
    assert await documents.get_many(ITEMS, HERE, []) == {}


async def test_delete(documents: Documents) -> None:
    await insert(documents, item("a", serial="s", tags=("x",)))
    assert await documents.delete(ITEMS, HERE, "a")
    assert not await documents.delete(ITEMS, HERE, "a")
    assert await documents.get(ITEMS, HERE, "a") is None
    assert ids(await documents.find(ITEMS, HERE, where={"tags": "x"}, order_by=("made_at",))) == []
    await insert(documents, item("b", serial="s"))


# Compare and set.


async def test_compare_and_set_replaces_what_is_as_expected(documents: Documents) -> None:
    await insert(documents, item("a", size=1, tags=("x", "y")))
    new = item("a", size=2, tags=("y", "z"), version=2)
    expected = {"version": 1, "colour": Colour.RED, "made_at": NOON, "owner": None, "note": ""}
    assert await documents.compare_and_set(ITEMS, HERE, new, expected=expected)
    assert await documents.get(ITEMS, HERE, "a") == new
    for tag, matches in (("x", 0), ("y", 1), ("z", 1)):
        assert await documents.count(ITEMS, HERE, where={"tags": tag}) == matches
    assert ids(await documents.find(ITEMS, HERE, where={"size": 2})) == ["a"]
    assert ids(await documents.find(ITEMS, HERE, where={"size": 1})) == []


@pytest.mark.parametrize(
    "expected",
    [{"version": 2}, {"version": 1, "colour": Colour.BLUE}, {"owner": UUID(int=1)}, {"hidden": True}],
)
async def test_compare_and_set_leaves_what_is_not_as_expected(
    documents: Documents, expected: dict[str, Scalar]
) -> None:
    old = item("a")
    await insert(documents, old)
    assert not await documents.compare_and_set(ITEMS, HERE, item("a", size=9), expected=expected)
    assert await documents.get(ITEMS, HERE, "a") == old


async def test_compare_and_set_makes_no_record(documents: Documents) -> None:
    assert not await documents.compare_and_set(ITEMS, HERE, item("a"), expected={})
    assert await documents.get(ITEMS, HERE, "a") is None


@pytest.mark.parametrize(
    ("taken", "index"), [({"serial": "s"}, ("serial",)), ({"codes": ("x",)}, ("codes",))]
)
async def test_compare_and_set_keeps_unique_indexes(
    documents: Documents, taken: dict[str, Any], index: tuple[str, ...]
) -> None:
    old = item("b", size=2)
    await insert(documents, item("a", **taken), old)
    with pytest.raises(AlreadyExists) as refused:
        await documents.compare_and_set(ITEMS, HERE, item("b", size=3, **taken), expected={})
    assert refused.value.index == index
    assert await documents.get(ITEMS, HERE, "b") == old
    assert ids(await documents.find(ITEMS, HERE, where={"size": 3})) == []


async def test_a_record_does_not_collide_with_itself(documents: Documents) -> None:
    await insert(documents, item("a", serial="s", codes=("x",)))
    new = item("a", serial="s", codes=("x",), size=5)
    assert await documents.compare_and_set(ITEMS, HERE, new, expected={})
    assert await documents.get(ITEMS, HERE, "a") == new


async def test_one_of_many_compare_and_sets_wins(documents: Documents) -> None:
    await insert(documents, item("a"))
    attempts = (
        documents.compare_and_set(ITEMS, HERE, item("a", size=size, version=2), expected={"version": 1})
        for size in range(30)
    )
    outcomes = await asyncio.gather(*attempts)
    assert sum(outcomes) == 1
    stored = await documents.get(ITEMS, HERE, "a")
    assert stored is not None
    assert stored.size == outcomes.index(True)


async def test_many_compare_and_sets_are_independent(documents: Documents) -> None:
    await insert(documents, item("a", serial="taken"), item("b"), item("c"), item("d", codes=("x",)))
    answers = await documents.compare_and_set_many(
        ITEMS,
        HERE,
        [
            (item("a", size=2, serial="taken"), {"version": 1}),
            (item("b", size=2, serial="taken"), {"version": 1}),
            (item("c", size=2), {"version": 9}),
            (item("none", size=2), {}),
            (item("c", size=2, codes=("y", "x")), {}),
            (item("d", size=2, codes=("x",)), {}),
        ],
    )
    assert answers == [True, False, False, False, False, True]
    assert ids(await documents.find(ITEMS, HERE, where={"size": 2})) == ["a", "d"]
    assert ids(await documents.find(ITEMS, HERE, where={"size": 1})) == ["b", "c"]
    assert await documents.count(ITEMS, HERE, where={"codes": "y"}) == 0
    assert await documents.compare_and_set_many(ITEMS, HERE, []) == []


# Companies.


async def test_companies_never_mix(documents: Documents) -> None:
    here, there = item("same", serial="s", codes=("x",)), item("same", size=2, serial="s", codes=("x",))
    await insert(documents, here)
    await insert(documents, there, company_id=THERE)
    assert await documents.get(ITEMS, HERE, "same") == here
    assert await documents.get(ITEMS, THERE, "same") == there
    assert await documents.get(ITEMS, PLATFORM, "same") is None
    assert await documents.get_many(ITEMS, THERE, ["same"]) == {"same": there}
    assert (await documents.find(ITEMS, HERE, where={"codes": "x"})).items == (here,)
    assert (await documents.find(ITEMS, THERE, order_by=("size",))).items == (there,)
    assert await documents.count(ITEMS, THERE, within=Range("size", start=0), where={}) == 1
    assert await documents.group_count(ITEMS, HERE, "size") == {1: 1}
    assert await documents.compare_and_set(ITEMS, THERE, item("same", size=3), expected={"size": 2})
    assert await documents.delete(ITEMS, HERE, "same")
    assert await documents.get(ITEMS, THERE, "same") == item("same", size=3)
    assert await documents.get(NOTES, THERE, "same") is None


async def test_companies_with_matches(documents: Documents) -> None:
    companies = [UUID(int=number) for number in range(20)]
    for number, company_id in enumerate(companies):
        tags = ("even",) if number % 2 == 0 else ()
        await insert(documents, item("a", size=number % 3, tags=tags), item("b"), company_id=company_id)
    assert sorted(await documents.companies(ITEMS)) == companies
    assert sorted(await documents.companies(ITEMS, where={"size": 2})) == companies[2::3]
    assert sorted(await documents.companies(ITEMS, where={"tags": "even"})) == companies[::2]
    assert len(await documents.companies(ITEMS, where={"tags": "even"}, limit=3)) == 3
    assert await documents.companies(ITEMS, where={"size": 7}) == []
    assert await documents.companies(NOTES) == []


# Finding.


async def test_find_by_equality(documents: Documents) -> None:
    owner = uuid4()
    await insert(
        documents,
        item("a", owner=owner, digest=b"\x00\xff", weight=1.5),
        item("b", colour=Colour.BLUE, weight=2),
        item("c", hidden=True),
    )
    assert ids(await documents.find(ITEMS, HERE, where={"owner": owner})) == ["a"]
    assert ids(await documents.find(ITEMS, HERE, where={"owner": None})) == ["b", "c"]
    assert ids(await documents.find(ITEMS, HERE, where={"digest": b"\x00\xff"})) == ["a"]
    assert ids(await documents.find(ITEMS, HERE, where={"weight": 2})) == ["b"]
    found = await documents.find(ITEMS, HERE, where={"hidden": True, "weight": None}, order_by=("size",))
    assert ids(found) == ["c"]
    assert ids(await documents.find(ITEMS, HERE, where={"colour": "blue"}, order_by=("size",))) == ["b"]


async def test_find_one_of(documents: Documents) -> None:
    await insert(
        documents,
        item("a", minutes=3, colour=Colour.RED),
        item("b", minutes=2, colour=Colour.GREEN),
        item("c", minutes=1, colour=Colour.BLUE),
        item("d", minutes=0, colour=Colour.RED),
    )
    where = {"colour": [Colour.RED, Colour.BLUE, Colour.RED]}
    assert ids(await documents.find(ITEMS, HERE, where=where, order_by=("made_at",))) == ["d", "c", "a"]
    page = await documents.find(ITEMS, HERE, where=where, order_by=("made_at",), descending=True, limit=2)
    assert ids(page) == ["a", "c"]
    rest = await documents.find(
        ITEMS, HERE, where=where, order_by=("made_at",), descending=True, after=page.next_key
    )
    assert ids(rest) == ["d"]
    nothing = await documents.find(ITEMS, HERE, where={"colour": []}, order_by=("made_at",))
    assert nothing == Page((), None)


async def test_find_within_a_range(documents: Documents) -> None:
    await insert(documents, *(item(f"i{minute}", minutes=minute) for minute in range(6)))

    async def between(start: float | None, end: float | None) -> list[str]:
        bounds = [None if minute is None else NOON + timedelta(minutes=minute) for minute in (start, end)]
        within = Range("made_at", *bounds)
        return ids(await documents.find(ITEMS, HERE, within=within, order_by=("made_at",)))

    assert await between(1, 4) == ["i1", "i2", "i3"]
    assert await between(4, None) == ["i4", "i5"]
    assert await between(None, 1) == ["i0"]
    assert await between(None, None) == [f"i{minute}" for minute in range(6)]
    assert await between(4, 4) == []
    by_id = await documents.find(ITEMS, HERE, within=Range("id", start="i2", end="i4"))
    assert ids(by_id) == ["i2", "i3"]


async def test_a_range_without_bounds_leaves_out_nothing_on_any_page(documents: Documents) -> None:
    await insert(documents, item("a"), item("b", weight=-1.5), item("c"))
    for descending in (False, True):
        found: list[str] = []
        after: tuple[Scalar, ...] | None = None
        while len(found) < 3:
            page = await documents.find(
                ITEMS,
                HERE,
                within=Range("weight"),
                order_by=("weight",),
                descending=descending,
                after=after,
                limit=1,
            )
            found += ids(page.items)
            after = page.next_key
            assert page.items
        assert found == (["b", "c", "a"] if descending else ["a", "c", "b"])


async def test_a_range_leaves_out_none(documents: Documents) -> None:
    await insert(documents, item("a"), item("b", weight=1), item("c", weight=2))
    within = Range("weight", end=2)
    assert ids(await documents.find(ITEMS, HERE, within=within, order_by=("weight",))) == ["b"]


async def test_find_by_a_member_of_a_list(documents: Documents) -> None:
    await insert(
        documents,
        item("a", tags=("x", "y"), minutes=2),
        item("b", tags=("y", "y"), minutes=1),
        item("c", tags=(), minutes=0),
        item("d", tags=("xy",), colour=Colour.BLUE),
    )

    async def tagged(tags: str | list[str]) -> list[str]:
        return ids(await documents.find(ITEMS, HERE, where={"tags": tags}, order_by=("made_at",)))

    assert await tagged("x") == ["a"]
    assert await tagged("y") == ["b", "a"]
    assert await tagged(["x", "y", "xy"]) == ["d", "b", "a"]
    assert await tagged("z") == []
    red = {"colour": Colour.RED, "tags": "y"}
    assert ids(await documents.find(ITEMS, HERE, where=red)) == ["a", "b"]
    assert await documents.count(ITEMS, HERE, where={"tags": ["x", "y"]}) == 2
    assert await documents.group_count(ITEMS, HERE, "tags", where={"colour": Colour.RED}) == {"x": 1, "y": 2}
    assert await documents.count(ITEMS, HERE, where={"colour": Colour.RED}, distinct="tags") == 2


@pytest.mark.parametrize("descending", [False, True])
async def test_a_listing_is_stable_under_inserts(documents: Documents, descending: bool) -> None:
    old = [item(f"i{number:02}", size=number // 3) for number in range(30)]
    await insert(documents, *old)
    seen: list[str] = []
    after: tuple[Scalar, ...] | None = None
    fresh = 0
    while True:
        page = await documents.find(
            ITEMS, HERE, order_by=("size",), descending=descending, after=after, limit=4
        )
        seen += ids(page)
        after = page.next_key
        if after is None:
            break
        # Before, at and after the position.
        for size in (-1, page.items[-1].size, 99):
            await insert(documents, item(f"n{fresh:02}", size=size))
            fresh += 1
    listed = [name for name in seen if name.startswith("i")]
    assert listed == sorted(ids(old), reverse=descending)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("descending", [False, True])
async def test_a_listing_passes_records_without_a_value(documents: Documents, descending: bool) -> None:
    weights = [None, None, None, 0.5, 0.5, 1.5]
    await insert(documents, *(item(f"i{number}", weight=weight) for number, weight in enumerate(weights)))
    seen: list[str] = []
    after: tuple[Scalar, ...] | None = None
    for _ in weights:
        page = await documents.find(
            ITEMS, HERE, order_by=("weight",), descending=descending, after=after, limit=1
        )
        seen += ids(page)
        after = page.next_key
    assert after is None
    assert seen == sorted(seen, reverse=descending)
    assert len(seen) == len(weights)


async def test_the_end_of_a_listing_is_told(documents: Documents) -> None:
    await insert(documents, item("a"), item("b"))
    assert (await documents.find(ITEMS, HERE, limit=2)).next_key is None
    page = await documents.find(ITEMS, HERE, limit=1)
    assert page.next_key == ("a",)
    assert ids(await documents.find(ITEMS, HERE, after=("b",))) == []


async def test_an_undeclared_question_is_refused(documents: Documents) -> None:
    questions: list[dict[str, Any]] = [
        {"where": {"note": "x"}},
        {"where": {"size": 1}, "order_by": ("made_at",)},
        {"order_by": ("colour",)},
        {"order_by": ("colour", "size", "made_at")},
        {"within": Range("size", start=1)},
        {"where": {"colour": Colour.RED}, "within": Range("size", start=1), "order_by": ("made_at",)},
        {"where": {"missing": 1}},
        {"where": {"size": "1"}},
        {"where": {"made_at": datetime(2026, 1, 1)}},  # noqa: DTZ001 - the point: without a zone
        {"order_by": ("size",), "after": (1,)},
    ]
    for question in questions:
        with pytest.raises(DocumentsError):
            await documents.find(ITEMS, HERE, **question)
    with pytest.raises(DocumentsError):
        await documents.count(ITEMS, HERE, where={"note": "x"})
    with pytest.raises(DocumentsError):
        await documents.group_count(ITEMS, HERE, "note")
    with pytest.raises(DocumentsError):
        await documents.companies(ITEMS, where={"note": "x"})
    with pytest.raises(DocumentsError):
        await documents.get(Collection("unknown", Item), HERE, "a")


# Counting.


async def test_counts(documents: Documents) -> None:
    owners = [UUID(int=1), UUID(int=2), None]
    await insert(
        documents,
        *(
            item(f"i{number}", size=number % 4, colour=list(Colour)[number % 3], owner=owners[number % 3])
            for number in range(12)
        ),
    )
    assert await documents.count(ITEMS, HERE) == 12
    assert await documents.count(ITEMS, HERE, where={"colour": Colour.RED}) == 4
    assert await documents.count(ITEMS, HERE, where={"colour": [Colour.RED, Colour.BLUE]}) == 8
    assert await documents.count(ITEMS, HERE, where={"colour": []}) == 0
    assert await documents.count(ITEMS, HERE, where={"owner": [UUID(int=1), None]}) == 8
    assert await documents.count(ITEMS, HERE, within=Range("size", start=1, end=3)) == 6
    red = {"colour": Colour.RED}
    assert await documents.count(ITEMS, HERE, where=red, within=Range("size", start=1)) == 3
    assert await documents.count(ITEMS, HERE, distinct="colour") == 3
    assert await documents.count(ITEMS, HERE, where=red, distinct="size") == 4
    # None is no value.
    assert await documents.count(ITEMS, HERE, distinct="owner") == 2
    assert await documents.group_count(ITEMS, HERE, "owner") == {UUID(int=1): 4, UUID(int=2): 4, None: 4}
    assert await documents.group_count(ITEMS, HERE, "colour") == {"red": 4, "green": 4, "blue": 4}
    assert await documents.group_count(ITEMS, HERE, "size", where=red) == {0: 1, 1: 1, 2: 1, 3: 1}
    assert await documents.group_count(ITEMS, HERE, "made_at") == {NOON: 12}
    assert await documents.group_count(ITEMS, HERE, "size", where={"colour": []}) == {}


# Expiry, life cycle.


async def test_expired_records_go(documents: Documents) -> None:
    for number, company_id in enumerate((HERE, THERE, HERE)):
        record = item(
            f"i{number}", expires_at=NOON + timedelta(seconds=number), tags=("x",), serial=f"{number}"
        )
        await insert(documents, record, company_id=company_id)
    await insert(documents, item("stays"))
    assert await documents.delete_expired(ITEMS, NOON - timedelta(microseconds=1), limit=9) == 0
    assert await documents.delete_expired(ITEMS, NOON + timedelta(seconds=1), limit=1) == 1
    assert await documents.delete_expired(ITEMS, NOON + timedelta(seconds=1), limit=9) == 1
    assert ids(await documents.find(ITEMS, HERE)) == ["i2", "stays"]
    assert ids(await documents.find(ITEMS, THERE)) == []
    assert await documents.count(ITEMS, HERE, where={"tags": "x"}) == 1
    with pytest.raises(DocumentsError):
        await documents.delete_expired(NOTES, NOON, limit=1)


async def test_a_reader_sees_what_was_written_before(documents: Documents) -> None:
    async def write_and_read(number: int) -> None:
        record = item(f"i{number}", size=number)
        await documents.insert(ITEMS, HERE, record, synced=False)
        assert await documents.get(ITEMS, HERE, record.id) == record
        assert (await documents.find(ITEMS, HERE, where={"size": number})).items == (record,)

    await asyncio.gather(*(write_and_read(number) for number in range(100)))


async def test_everything_is_there_after_reopening(adapter: Adapter, tmp_path: Path) -> None:
    records = [item(f"i{number}", size=number, tags=("x",)) for number in range(50)]
    async with open_documents(adapter, tmp_path) as documents:
        await insert(documents, *records)
        await documents.sync()
        await documents.ping()
    async with open_documents(adapter, tmp_path) as documents:
        found = await documents.find(ITEMS, HERE, where={"tags": "x"}, order_by=("made_at",), limit=100)
        assert sorted(found.items, key=lambda record: record.size) == records
        with pytest.raises(AlreadyExists):
            await documents.insert(ITEMS, HERE, records[7])


async def test_a_changed_declaration_is_followed(adapter: Adapter, tmp_path: Path) -> None:
    plain = Collection("things", Item, (Index(("colour",)),))
    more = Collection(
        "things",
        Item,
        (Index(("size", "made_at")), Index(("tags",)), Index(("serial",), unique=True)),
        expires_field="expires_at",
    )
    records = [
        item(f"i{number}", size=number % 2, tags=(f"t{number % 3}",), serial=f"{number}", expires_at=NOON)
        for number in range(1200)
    ]
    async with open_documents(adapter, tmp_path, [plain]) as documents:
        await asyncio.gather(*(documents.insert(plain, HERE, record, synced=False) for record in records))
    async with open_documents(adapter, tmp_path, [more]) as documents:
        assert await documents.count(more, HERE, where={"size": 1}) == 600
        assert await documents.group_count(more, HERE, "tags") == {"t0": 400, "t1": 400, "t2": 400}
        with pytest.raises(AlreadyExists):
            await documents.insert(more, HERE, item("new", serial="3"))
        with pytest.raises(DocumentsError):
            await documents.find(more, HERE, where={"colour": Colour.RED})
        changed = records[0].model_copy(update={"colour": Colour.BLUE})
        assert await documents.compare_and_set(more, HERE, changed, expected={})
        assert await documents.delete_expired(more, NOON, limit=100) == 100
    async with open_documents(adapter, tmp_path, [plain]) as documents:
        # What changed while the index was not declared is in it again.
        assert await documents.count(plain, HERE, where={"colour": [Colour.RED, Colour.BLUE]}) == 1100
        assert sum((await documents.group_count(plain, HERE, "colour")).values()) == 1100


async def test_records_that_collide_stop_a_new_unique_index(adapter: Adapter, tmp_path: Path) -> None:
    plain = Collection("things", Item)
    unique = Collection("things", Item, (Index(("size",), unique=True),))
    async with open_documents(adapter, tmp_path, [plain]) as documents:
        await documents.insert(plain, HERE, item("a"))
        await documents.insert(plain, HERE, item("b"))
    with pytest.raises(DocumentsError, match="not unique by size"):
        async with open_documents(adapter, tmp_path, [unique]):
            pass
    async with open_documents(adapter, tmp_path, [plain]) as documents:
        assert await documents.count(plain, HERE) == 2


# Against a model in plain Python.

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "colour": st.sampled_from(list(Colour)),
    "size": st.integers(-2, 2),
    "minutes": st.integers(0, 3),
    "weight": st.none() | st.sampled_from([-1.5, 0.0, 2.0]),
    "hidden": st.booleans(),
    "tags": st.lists(st.sampled_from(["x", "y", "z"]), max_size=3).map(tuple),
}
SHAPES: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    ((), ()),
    ((), ("size",)),
    ((), ("weight",)),
    ((), ("made_at",)),
    ((), ("hidden", "weight", "size")),
    (("hidden",), ("weight", "size")),
    (("hidden", "weight"), ("size",)),
    (("weight", "hidden", "size"), ()),
    (("colour",), ("made_at",)),
    (("colour",), ("size",)),
    (("colour", "size"), ()),
    (("tags",), ("made_at",)),
    (("colour", "tags"), ()),
]


@st.composite
def galleries(draw: st.DrawFn) -> list[Item]:
    drawn = draw(st.lists(st.fixed_dictionaries(VALUES), min_size=3, max_size=15))
    return [item(f"i{number:02}", **fields) for number, fields in enumerate(drawn)]


@dataclass(frozen=True)
class Question:
    where: dict[str, list[Any]]
    within: Range | None
    order: tuple[str, ...]
    descending: bool
    limit: int

    def matches(self, record: Item) -> bool:
        for name, wanted in self.where.items():
            value = getattr(record, name)
            if not (set(value) & set(wanted) if name == "tags" else value in wanted):
                return False
        return self.within is None or self._within(getattr(record, self.within.field), self.within)

    def position(self, record: Item) -> list[tuple[bool, Any]]:
        """Sorts None before everything else."""
        return [(getattr(record, name) is not None, getattr(record, name)) for name in (*self.order, "id")]

    @staticmethod
    def _within(value: Any, within: Range) -> bool:
        start: Any = within.start
        end: Any = within.end
        if value is None:
            return start is None and end is None
        return (start is None or bool(value >= start)) and (end is None or bool(value < end))


@st.composite
def questions(draw: st.DrawFn) -> Question:
    fields, order = draw(st.sampled_from(SHAPES))
    members = VALUES | {"tags": st.sampled_from(["x", "y", "z"])}
    within = None
    if order[:1] in {("size",), ("weight",)} and draw(st.booleans()):
        bound = st.none() | st.integers(-3, 3)
        within = Range(order[0], draw(bound), draw(bound))
    return Question(
        where={name: draw(st.lists(members[name], min_size=1, max_size=3)) for name in fields},
        within=within,
        order=order,
        descending=draw(st.booleans()),
        limit=draw(st.integers(1, 4)),
    )


asked = given(records=galleries(), deleted=st.sets(st.integers(0, 14), max_size=3), question=questions())
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("adapter", [SQLITE], indirect=True)
@settings(unhurried, max_examples=150)
@asked
async def test_find_agrees_with_a_model(
    documents: Documents, records: list[Item], deleted: set[int], question: Question
) -> None:
    await agrees(documents, records, deleted, question)


@pytest.mark.parametrize("adapter", [MONGODB], indirect=True)
@settings(unhurried, max_examples=50)
@asked
async def test_find_agrees_with_a_model_on_a_server(
    documents: Documents, records: list[Item], deleted: set[int], question: Question
) -> None:
    await agrees(documents, records, deleted, question)


async def agrees(documents: Documents, records: list[Item], deleted: set[int], question: Question) -> None:
    company_id = uuid4()
    await asyncio.gather(*(documents.insert(ITEMS, company_id, record, synced=False) for record in records))
    for number in deleted:
        await documents.delete(ITEMS, company_id, f"i{number:02}", synced=False)
    left = [record for number, record in enumerate(records) if number not in deleted]
    expected = sorted(filter(question.matches, left), key=question.position, reverse=question.descending)
    where = {name: values[0] if len(values) == 1 else values for name, values in question.where.items()}
    found: list[Item] = []
    after: tuple[Scalar, ...] | None = None
    while True:
        page = await documents.find(
            ITEMS,
            company_id,
            where=where,
            within=question.within,
            order_by=question.order,
            descending=question.descending,
            after=after,
            limit=question.limit,
        )
        found += page.items
        after = page.next_key
        if after is None:
            break
    assert ids(found) == ids(expected)
    assert found == expected
    if question.within is None:
        assert await documents.count(ITEMS, company_id, where=where) == len(expected)
