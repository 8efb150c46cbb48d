from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas.api.accounts import RegisterRequest
from schemas.api.jobs import JobsQuery
from schemas.api.logs import LogQuery
from schemas.api.photos import EnrolRequest, SearchRequest, VerifyRequest
from schemas.fields import instant_text
from schemas.messages import EnrolmentFields, SearchFields, VerifyFields
from schemas.problems import ProblemError

REGISTRATION = {"company_name": "Acme", "email": "ada@example.org", "password": "correct horse battery"}


def wrong_fields(model: type[BaseModel], given: dict[str, Any]) -> set[str]:
    try:
        model.model_validate(given)
    except ValidationError as error:
        return {".".join(str(part) for part in entry["loc"]) for entry in error.errors()}
    return set()


def test_times_are_told_in_utc_to_the_millisecond() -> None:
    cest = timezone(timedelta(hours=2))
    assert instant_text(datetime(2026, 3, 1, 11, 30, 0, 123456, tzinfo=cest)) == "2026-03-01T09:30:00.123Z"
    assert instant_text(datetime(2026, 3, 1, tzinfo=UTC)) == "2026-03-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T09:30:00Z", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-01T09:30:00.5+02:00", datetime(2026, 3, 1, 7, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T09:30", datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
    ],
)
def test_a_period_is_told_by_dates_or_times(text: str, moment: datetime) -> None:
    assert LogQuery.model_validate({"from": text, "to": text}).from_ == moment


@pytest.mark.parametrize(
    "text",
    ["yesterday", "1740787200", "2026-13-01", "2026-03-01T25:00Z", "", "0001-01-01T00:00+10:00", "2026-W09"],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    assert wrong_fields(LogQuery, {"from": text}) == {"from"}


def test_filters_are_what_a_cursor_is_tied_to() -> None:
    one = LogQuery.model_validate({"user_id": "ada", "limit": "10", "cursor": "x"})
    other = LogQuery.model_validate({"user_id": "ada", "limit": "20"})
    assert one.filters() == other.filters()
    assert one.filters()["user_id"] == "ada"
    assert "wait" not in JobsQuery(correlation_id="a", wait=3).filters()


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"password": "short one!!"}, "password"),
        ({"password": "x" * 257}, "password"),
        ({"password": "aaaaaaaabbbb"}, "password"),
        ({"password": "ADA@example.org"}, "password"),
        ({"email": "ada"}, "email"),
        ({"email": "ada@"}, "email"),
        ({"email": "a da@example.org"}, "email"),
        ({"email": "ada@example.org\r\nBcc: x@y"}, "email"),
        ({"company_name": ""}, "company_name"),
        ({"company_name": "   "}, "company_name"),
        ({"company_name": "a\x00b"}, "company_name"),
        ({"role": "admin"}, "role"),
    ],
)
def test_a_registration_is_refused_for(given: dict[str, str], wrong: str) -> None:
    assert wrong_fields(RegisterRequest, REGISTRATION | given) == {wrong}


@pytest.mark.parametrize(
    "password", ["correct horse battery", "пароль длинный", "🔑🗝️🔐🔓🔏🔒🚪🏠🪪👤👥🧑", "a1b2c3d4e5f6"]
)
def test_length_counts_in_a_password_and_composition_does_not(password: str) -> None:
    assert wrong_fields(RegisterRequest, REGISTRATION | {"password": password}) == set()


def test_a_password_does_not_show() -> None:
    request = RegisterRequest.model_validate(REGISTRATION)
    assert "horse" not in repr(request)
    assert "horse" not in request.model_dump_json()
    with pytest.raises(ValidationError) as refusal:
        RegisterRequest.model_validate(REGISTRATION | {"email": "secret-value"})
    assert "secret-value" not in str(refusal.value)


def test_an_enrolment_needs_a_user_id_alone() -> None:
    assert EnrolRequest(user_id="ada").fields() == EnrolmentFields(user_id="ada")


def test_texts_are_kept_in_normal_form_c() -> None:
    request = EnrolRequest(user_id="Jose\u0301", full_name="Bjo\u0308rk", tags=("cafe\u0301",))
    assert (request.user_id, request.full_name, request.tags) == ("José", "Björk", ("café",))


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"user_id": ""}, "user_id"),
        ({"user_id": "x" * 129}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"user_id": ".."}, "user_id"),
        ({"full_name": "x" * 201}, "full_name"),
        ({"tags": ["x" * 65]}, "tags.0"),
        ({"tags": ["x"] * 51}, "tags"),
        ({"groups": ["", "a"]}, "groups.0"),
        ({"reference_id": "x" * 129}, "reference_id"),
        ({"metadata": {"x": "y" * 4096}}, "metadata"),
        ({"metadata": ["x"]}, "metadata"),
        ({"threshold": 85}, "threshold"),
    ],
)
def test_an_enrolment_is_refused_for(given: dict[str, Any], wrong: str) -> None:
    assert wrong_fields(EnrolRequest, {"user_id": "ada"} | given) == {wrong}


@pytest.mark.parametrize("threshold", [90, "90", "90%", 0.9, "0.9"])
def test_a_threshold_is_a_percentage_however_written(threshold: object) -> None:
    assert SearchRequest.model_validate({"threshold": threshold}).threshold == 90


@pytest.mark.parametrize("threshold", [1, "1", -3, "high", "", 101, True])
def test_a_doubtful_threshold_is_refused_with_its_own_code(threshold: object) -> None:
    with pytest.raises(ProblemError) as refusal:
        SearchRequest.model_validate({"threshold": threshold})
    assert refusal.value.code == "invalid_threshold"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 51}, "limit"),
        ({"face": "smallest"}, "face"),
        ({"investigate": "perhaps"}, "investigate"),
        ({"groups": []}, "groups"),
        ({"treshold": 90}, "treshold"),
        ({"location": {"latitude": 91}}, "location.latitude"),
        ({"location": {"latitude": float("nan")}}, "location.latitude"),
        ({"location": {"place": "here"}}, "location.place"),
        ({"location": "here"}, "location"),
    ],
)
def test_a_search_is_refused_for(given: dict[str, Any], wrong: str) -> None:
    assert wrong_fields(SearchRequest, given) == {wrong}


def test_a_search_needs_nothing_but_its_photo() -> None:
    assert SearchRequest().fields(groups=None, may_loosen=False) == SearchFields()
    assert VerifyRequest().fields(groups=None, may_loosen=False) == VerifyFields()
