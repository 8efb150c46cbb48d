import asyncio
from typing import Any
from uuid import UUID

import pytest

from infra.keys.errors import CompanyKeyGone
from infra.repositories.collections import AUDIT_EVENTS, COMPANIES, LOGINS
from ingress.merge_patch import merged
from schemas.access import Role, Scope
from schemas.ids import PLATFORM
from schemas.policies import CompanyPolicies
from schemas.records import CompanyState
from tests.calibration import CALIBRATION
from tests.ingress.conftest import MODEL, Answer, Client


async def patched(admin: Client, patch: dict[str, Any], **options: Any) -> Answer:
    return await admin.call("PATCH", "/company", json=patch, **options)


async def test_a_company_shows_its_policies_and_what_they_come_to(client: Client) -> None:
    await client.enrol("ada")
    await client.enrol("bob")
    answer = await client.call("GET", "/company")
    assert answer.status == 200
    body = answer.body
    assert (body["company_id"], body["company_name"]) == (str(client.company_id), "Acme")
    assert (body["model"], body["users"], body["faces"]) == (MODEL.model_dump(), 2, 2)
    assert body["policies"] == CompanyPolicies().model_dump(mode="json")
    point = body["operating_point"]
    score = CALIBRATION.score_at_confidence(85, 2)
    assert score is not None
    assert (point["faces"], point["users"]) == (2, 2)
    assert (point["threshold"], point["threshold_source"]) == (85, "company")
    assert point["score"] == pytest.approx(score)
    assert point["fpir"] == pytest.approx(CALIBRATION.fpir(score, 2).value)
    assert point["fpir"] < 0.003
    assert point["expected_miss_rate"] == pytest.approx(score)
    assert point["duplicate_score"] == pytest.approx(CALIBRATION.score_at_fpir(0.01, 2))
    assert point["same_user_score"] == pytest.approx(CALIBRATION.score_at_fmr(0.05))


async def test_the_operating_point_says_which_bound_decides(client: Client) -> None:
    answer = await patched(client, {"policies": {"match": {"threshold_percent": 2, "max_fpir": 0.0001}}})
    point = answer.body["operating_point"]
    assert (answer.status, point["threshold_source"]) == (200, "max_fpir")
    assert point["fpir"] == pytest.approx(0.0001)
    answer = await patched(client, {"policies": {"match": {"threshold_percent": 100}}})
    point = answer.body["operating_point"]
    assert (point["score"], point["fpir"], point["expected_miss_rate"]) == (None, 0, 1)


async def test_a_patch_changes_what_it_names_and_null_gives_the_default_back(client: Client) -> None:
    first = await patched(
        client,
        {
            "company_name": "Acme Ltd",
            "policies": {"match": {"max_fpir": 0.001, "threshold_percent": 90}, "max_faces_per_user": 3},
        },
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert (first.status, first.body["company_name"]) == (200, "Acme Ltd")
    second = await patched(client, {"policies": {"match": {"max_fpir": None}}})
    policies = second.body["policies"]
    assert policies["match"] == {"threshold_percent": 90, "max_fpir": 0.003}
    assert policies["max_faces_per_user"] == 3
    third = await patched(client, {"policies": None})
    assert third.body["policies"] == CompanyPolicies().model_dump(mode="json")
    assert third.body["company_name"] == "Acme Ltd"


WRONG: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"name": "Acme"}, {"name": "is not known here"}),
    ({"company_name": None}, {"company_name": "is required"}),
    ({"company_name": ""}, {"company_name": "is too short: at least 1"}),
    ({"policies": {"match": {"fpir": 1}}}, {"policies.match.fpir": "is not known here"}),
    (
        {"policies": {"match": {"threshold_percent": 0.85}}},
        {"policies.match.threshold_percent": "must be more than 1.0"},
    ),
    (
        {"policies": {"match": {"threshold_percent": "85"}}},
        {"policies.match.threshold_percent": "must be a number"},
    ),
    (
        {"policies": {"match": {"threshold_percent": True}}},
        {"policies.match.threshold_percent": "must be a number"},
    ),
    (
        {"policies": {"match": {"max_fpir": 1}, "retention": {"access_log_days": 0}}},
        {
            "policies.match.max_fpir": "must be less than 1.0",
            "policies.retention.access_log_days": "must be at least 1",
        },
    ),
    (
        {"policies": {"duplicate": {"on_duplicate": "ignore"}}},
        {"policies.duplicate.on_duplicate": "must be one of 'reject', 'flag' or 'allow'"},
    ),
    (
        {"policies": {"retention": {"keep_photos": 1}}},
        {"policies.retention.keep_photos": "must be true or false"},
    ),
    ({"policies": {"quality": 5}}, {"policies.quality": "must be a JSON object"}),
    ({"policies": []}, {"policies": "must be a JSON object"}),
]


@pytest.mark.parametrize(("patch", "errors"), WRONG)
async def test_what_is_wrong_with_a_patch_is_told_by_path(
    client: Client, patch: dict[str, Any], errors: dict[str, str]
) -> None:
    answer = await patched(client, {"company_name": "Changed", **patch})
    assert (answer.status, answer.code) == (422, "invalid_request")
    assert {error["field"]: error["message"] for error in answer.body["errors"]} == errors
    assert (await client.call("GET", "/company")).body["company_name"] == "Acme"


async def test_a_patch_is_an_object_of_json(client: Client) -> None:
    for data, content_type, code in (
        (b"[]", "application/merge-patch+json", "malformed_body"),
        (b"{", "application/json", "malformed_body"),
        (b"{}", "application/json-patch+json", "unsupported_content_type"),
    ):
        answer = await client.call("PATCH", "/company", data=data, headers={"Content-Type": content_type})
        assert answer.code == code


async def test_admins_who_change_different_things_at_once_do_not_undo_each_other(client: Client) -> None:
    patches: list[dict[str, Any]] = [
        {"match": {"threshold_percent": 91}},
        {"match": {"max_fpir": 0.001}},
        {"duplicate": {"on_duplicate": "flag"}},
        {"quality": {"min_sharpness": 2}},
        {"retention": {"access_log_days": 30}},
        {"max_faces_per_user": 7},
    ]
    answers = await asyncio.gather(*(patched(client, {"policies": patch}) for patch in patches))
    assert {answer.status for answer in answers} == {200}
    policies = (await client.call("GET", "/company")).body["policies"]
    assert (policies["match"], policies["max_faces_per_user"]) == (
        {"threshold_percent": 91, "max_fpir": 0.001},
        7,
    )
    assert policies["duplicate"]["on_duplicate"] == "flag"
    assert policies["quality"]["min_sharpness"] == 2
    assert policies["retention"]["access_log_days"] == 30


async def test_what_changes_of_the_policies_is_audited_with_its_values_and_a_name_without(
    client: Client,
) -> None:
    await patched(client, {"policies": {"duplicate": {"on_duplicate": "allow"}}})
    await patched(client, {"company_name": "Secret Name", "policies": {"max_faces_per_user": 20}})
    events = (await client.services.documents.find(AUDIT_EVENTS, client.company_id)).items
    assert {event.type: event.data for event in events} == {
        "company.policies_changed": {
            "changes": {"duplicate.on_duplicate": {"before": "reject", "after": "allow"}}
        },
        "company.renamed": {},
    }


def test_a_merge_patch_is_merged_as_rfc_7396_has_it() -> None:
    """The examples of its appendix A."""
    examples: list[tuple[Any, Any, Any]] = [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]
    for target, patch, result in examples:
        assert merged(target, patch) == result


async def test_closing_takes_the_companys_own_id(client: Client) -> None:
    for path in ("/company", "/company?confirm=yes", f"/company?confirm={UUID(int=7)}"):
        answer = await client.call("DELETE", path)
        assert (answer.status, answer.code) == (422, "invalid_request")
        assert [error["field"] for error in answer.body["errors"]] == ["confirm"]
    assert (await client.call("GET", "/company")).status == 200


async def test_from_a_companys_closing_on_none_of_its_credentials_works_and_its_addresses_are_free(
    client: Client,
) -> None:
    bob = await client.add_member("bob@example.org", Role.STAFF)
    invited = await client.call("POST", "/members", json={"email": "eve@example.org", "role": "admin"})
    key = await client.add_key(Scope.SEARCH)
    other = await client.fresh().register("carol@example.org")
    rung = client.services.closings.listen()
    assert (await client.call("DELETE", f"/company?confirm={client.company_id}")).status == 204
    assert rung.is_set()
    for member in (client, bob):
        answer = await member.call("GET", "/jobs?correlation_id=x")
        assert (answer.status, answer.code) == (401, "invalid_token")
        refreshed = await member.fresh().call(
            "POST", "/token/refresh", json={"refresh_token": member.refresh_token}
        )
        assert refreshed.code == "invalid_token"
    assert (await key.search()).code == "invalid_api_key"
    token = {"token": invited.body["set_password_token"], "new_password": "a battery of horses"}
    answer = await client.fresh().call("POST", "/me/password", json=token)
    assert answer.code == "invalid_set_password_token"
    with pytest.raises(CompanyKeyGone):
        await client.services.keys.get(client.company_id)
    for email in ("ada@example.org", "bob@example.org", "eve@example.org"):
        await client.fresh().register(email)
    assert (await other.call("GET", "/company")).status == 200
    (event,) = (await client.services.documents.find(AUDIT_EVENTS, PLATFORM)).items
    assert (event.type, event.data) == ("company.deleted", {"company_id": str(client.company_id)})


async def test_a_closing_that_was_cut_off_before_the_key_was_destroyed_holds_all_the_same(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await client.add_key(Scope.SEARCH)
    with monkeypatch.context() as patch:

        async def cut_off(*_: object) -> None:
            raise CompanyKeyGone(client.company_id)

        patch.setattr("infra.repositories.companies.Companies.shred", cut_off)
        await client.call("DELETE", f"/company?confirm={client.company_id}")
    company = await client.services.documents.get(COMPANIES, client.company_id, str(client.company_id))
    assert company is not None
    assert company.state is CompanyState.CLOSED
    await client.services.keys.get(client.company_id)
    assert len((await client.services.documents.find(LOGINS, PLATFORM)).items) == 1
    assert (await client.call("GET", "/company")).code == "invalid_token"
    assert (await key.search()).code == "invalid_api_key"
    body = {"email": "ada@example.org", "password": "correct horse battery"}
    assert (await client.fresh().call("POST", "/login", json=body)).code == "invalid_credentials"
