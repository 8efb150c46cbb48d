import re

import pytest

from schemas.problem_types import PROBLEM_TYPES, ProblemType
from schemas.problems import FieldError, ProblemError


@pytest.mark.parametrize("kind", PROBLEM_TYPES.values(), ids=lambda kind: kind.code)
def test_each_problem_says_what_it_is_and_what_to_do(kind: ProblemType) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    assert 400 <= kind.status < 600
    assert kind.title
    assert not kind.title.endswith(".")
    assert kind.remedy.endswith(".")


def test_codes_are_unique() -> None:
    assert all(code == kind.code for code, kind in PROBLEM_TYPES.items())


def test_a_problem_is_what_rfc_9457_asks_for() -> None:
    body = ProblemError("no_face").problem("abc").model_dump(exclude_none=True)
    assert body == {
        "type": "/problems/no_face",
        "title": "No face was found",
        "status": 422,
        "detail": PROBLEM_TYPES["no_face"].remedy,
        "code": "no_face",
        "correlation_id": "abc",
    }


def test_a_problem_carries_fields_and_job() -> None:
    errors = [FieldError(field="limit", message="must be at most 50")]
    problem = ProblemError("invalid_request", "Wrong: limit.", errors=errors, job_id="1").problem()
    assert problem.errors == errors
    assert problem.job_id == "1"
    assert problem.detail == "Wrong: limit."


def test_an_unknown_code_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        ProblemError("no_such_code")
