"""What goes along with a company is declared, whole, and copied by ids."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

from infra.objects.port import ObjectInfo
from infra.repositories import collections
from schemas.records import Record
from workers.migrating.blobs import Keys
from workers.migrating.carried import LAST, OF_A_COMPANY, STAYS, of_platform
from workers.migrating.comparing import Fold
from workers.migrating.records import joined


def test_every_collection_is_said_to_go_along_or_to_stay() -> None:
    goes = {*OF_A_COMPANY, LAST, *(stretch.collection for stretch in of_platform([]))}
    assert goes.isdisjoint(STAYS)
    assert {*goes, *STAYS} == set(collections.ALL)


async def walk(ids: str) -> AsyncIterator[Record]:
    for one in ids:
        yield Record(id=one)


async def test_two_walks_are_met_record_by_record() -> None:
    for left, right in (("", ""), ("abc", ""), ("", "abc"), ("acd", "bce"), ("abc", "abc"), ("z", "ab")):
        met = [(a and a.id, b and b.id) async for a, b in joined(walk(left), walk(right))]
        expected = [(x if x in left else None, x if x in right else None) for x in sorted({*left, *right})]
        assert met == expected


def test_objects_are_known_by_key_and_size() -> None:
    def info(key: str, size_bytes: int) -> ObjectInfo:
        return ObjectInfo(UUID(int=1), key, size_bytes, datetime(2026, 1, 1, tzinfo=UTC))

    keys = Keys()
    assert info("a", 1) not in keys
    known = [info(f"photos/{number}", number) for number in range(500)]
    for one in known:
        keys.add(one)
    assert all(one in keys for one in known)
    assert info("photos/7", 8) not in keys
    assert info("photos/500", 500) not in keys
    keys.add(info("photos/500", 500))
    assert info("photos/500", 500) in keys


def test_a_fold_tells_what_was_added_in_whatever_order() -> None:
    def folded(*items: Sequence[str]) -> str:
        fold = Fold()
        for item in items:
            fold.add(*item)
        return fold.sha256

    assert folded(("a",), ("b",)) == folded(("b",), ("a",))
    assert folded(("a",), ("b",)) != folded(("a",), ("c",))
    assert folded(("a",)) != folded(("a",), ("a",))
    assert folded() != folded(("",))
