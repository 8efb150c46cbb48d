from uuid import UUID

import pytest

from ingress.auth import Identity
from schemas.access import Scope
from schemas.problems import ProblemError

COMPANY = UUID("0198c0de-0000-7000-8000-00000000000c")
FREE = Identity(COMPANY, "key:1", frozenset({Scope.SEARCH}))
BOUND = Identity(COMPANY, "key:2", frozenset({Scope.SEARCH}), groups=frozenset({"lab", "office"}))


def test_who_is_not_bound_to_groups_sees_everybody_and_asks_for_any() -> None:
    assert FREE.may_see(())
    assert FREE.may_see(["vault"])
    assert FREE.narrowed(None) is None
    assert FREE.narrowed(["vault"]) == {"vault"}


def test_who_is_bound_sees_only_members_of_one_of_its_groups() -> None:
    assert BOUND.may_see(["lab", "vault"])
    assert not BOUND.may_see(["vault"])
    assert not BOUND.may_see(())


def test_who_is_bound_gets_its_own_groups_and_may_ask_for_fewer_but_not_for_others() -> None:
    assert BOUND.narrowed(None) == {"lab", "office"}
    assert BOUND.narrowed(["lab"]) == {"lab"}
    for asked in (["vault"], ["lab", "vault"], []):
        with pytest.raises(ProblemError) as refusal:
            BOUND.narrowed(asked)
        assert refusal.value.code == "forbidden"
