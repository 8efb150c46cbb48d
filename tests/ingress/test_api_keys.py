import asyncio
from typing import Any

import pytest

from infra.clock import Clock, ManualClock
from infra.documents.port import DocumentsUnavailable
from infra.repositories.collections import API_KEYS, AUDIT_EVENTS
from schemas.access import Scope
from tests.ingress.conftest import Answer, Client

pytestmark = pytest.mark.system

PROBE = "/jobs?correlation_id=x"
NOBODY = "0198c0de-0000-7000-8000-000000000001"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def added(admin: Client, **fields: Any) -> Answer:
    answer = await admin.call("POST", "/api-keys", json={"name": "door", "scopes": ["search"], **fields})
    assert answer.status == 201, answer.body
    return answer


async def works(client: Client, secret: str) -> bool:
    answer = await client.fresh().call("GET", PROBE, headers={"X-API-Key": secret})
    assert (answer.status, answer.code) in {(200, None), (401, "invalid_api_key")}
    return answer.status == 200


async def rotated(admin: Client, key_id: str, **body: int) -> str:
    answer = await admin.call("POST", f"/api-keys/{key_id}/rotate", json=body)
    assert answer.status == 200, answer.body
    return answer.body["api_key"]


async def test_a_key_is_shown_once_and_signs_requests(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await added(admin, name="Front door", scopes=["search", "faces:read"], groups=["hq", "hq"])
    secret = answer.body["api_key"]
    assert secret.startswith("fid_")
    assert answer.headers["Location"] == f"/api-keys/{answer.body['key_id']}"
    assert await works(admin, secret)
    listed = await admin.call("GET", "/api-keys")
    (item,) = listed.body["items"]
    assert item == {name: value for name, value in answer.body.items() if name != "api_key"}
    assert (item["name"], item["scopes"], item["groups"]) == (
        "Front door",
        ["faces:read", "search"],
        ["hq"],
    )
    assert (item["last_four"], item["expires_at"]) == (secret[-4:], None)
    assert item["created_by"].startswith("member:")


async def test_neither_the_secret_nor_the_name_of_a_key_is_stored(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await added(admin, name="Front door")
    again = await rotated(admin, answer.body["key_id"])
    documents = admin.services.documents
    records = [
        *(await documents.find(API_KEYS, admin.company_id)).items,
        *(await documents.find(AUDIT_EVENTS, admin.company_id)).items,
    ]
    stored = "".join(record.model_dump_json() for record in records)
    for text in ("Front door", answer.body["api_key"], again, answer.body["api_key"][50:-6]):
        assert text not in stored


async def test_the_credential_of_a_call_is_its_key_with_its_scopes_and_groups(client: Client) -> None:
    key = await client.add_key(Scope.SEARCH, groups=["hq"])
    assert (await key.search()).status == 200
    (item,) = (await client.call("GET", "/api-keys")).body["items"]
    (entry,) = (await client.call("GET", "/logs")).body["items"]
    assert entry["credential"] == f"key:{item['key_id']}"
    assert (await key.call("GET", "/logs")).code == "forbidden"


async def test_what_is_no_key(stranger: Client) -> None:
    admin = await stranger.register()
    other = await stranger.register("eve@example.org")
    good = (await added(admin)).body["api_key"]
    theirs = (await added(other)).body["api_key"]
    for text in ("", "fid_", "nonsense", good[:-1], f"{good}x", admin.token or "", theirs[:48] + good[48:]):
        answer = await stranger.call("GET", PROBE, headers={"X-API-Key": text})
        assert (text, answer.status, answer.code) == (text, 401, "invalid_api_key")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert await works(admin, good)


async def test_a_key_of_the_right_form_is_refused_when_its_secret_is_another(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await added(admin)
    first, second = answer.body["api_key"], await rotated(admin, answer.body["key_id"], overlap_s=0)
    assert first[:48] == second[:48], "they name the same record"
    assert not await works(admin, first)
    assert await works(admin, second)


async def test_two_credentials_at_once_are_refused(stranger: Client) -> None:
    admin = await stranger.register()
    secret = (await added(admin)).body["api_key"]
    both = await admin.call("GET", PROBE, headers={"X-API-Key": secret})
    assert (both.status, both.code) == (400, "ambiguous_credentials")
    for name, value in (("X-API-Key", secret), ("Authorization", f"Bearer {admin.token}")):
        async with stranger.http.get(
            f"{stranger.base_url}{PROBE}", headers=[(name, value), (name, value)]
        ) as response:
            assert (response.status, (await response.json())["code"]) == (400, "ambiguous_credentials")


async def test_a_revoked_key_stops_at_once(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await added(admin)
    key_id = answer.body["key_id"]
    rotated_secret = await rotated(admin, key_id)
    assert (await admin.call("DELETE", f"/api-keys/{key_id}")).status == 204
    assert not await works(admin, answer.body["api_key"])
    assert not await works(admin, rotated_secret)
    assert (await admin.call("GET", "/api-keys")).body["items"] == []
    again = await admin.call("DELETE", f"/api-keys/{key_id}")
    assert (again.status, again.code) == (404, "not_found")


async def test_a_key_expires(stranger: Client, clock: Clock) -> None:
    admin = await stranger.register()
    assert isinstance(clock, ManualClock)
    answer = await added(admin, expires_at="2026-01-01T00:01:00Z")
    clock.advance(59)
    assert await works(admin, answer.body["api_key"])
    clock.advance(1)
    assert not await works(admin, answer.body["api_key"])
    late = await admin.call("POST", f"/api-keys/{answer.body['key_id']}/rotate", json={})
    assert (late.status, late.code) == (409, "api_key_expired")


async def test_a_rotated_key_works_on_for_the_overlap(stranger: Client, clock: Clock) -> None:
    admin = await stranger.register()
    assert isinstance(clock, ManualClock)
    answer = await added(admin)
    first, key_id = answer.body["api_key"], answer.body["key_id"]
    second = await rotated(admin, key_id, overlap_s=60)
    assert await works(admin, first)
    assert await works(admin, second)
    (item,) = (await admin.call("GET", "/api-keys")).body["items"]
    assert item["previous_works_until"] == "2026-01-01T00:01:00.000Z"
    assert item["last_four"] == second[-4:]
    clock.advance(60)
    assert not await works(admin, first)
    assert await works(admin, second)
    assert (await admin.call("GET", "/api-keys")).body["items"][0]["previous_works_until"] is None


async def test_an_overlap_lasts_a_day_unless_told(stranger: Client, clock: Clock) -> None:
    admin = await stranger.register()
    assert isinstance(clock, ManualClock)
    key_id = (await added(admin)).body["key_id"]
    answer = await admin.call("POST", f"/api-keys/{key_id}/rotate", json={})
    assert answer.body["previous_works_until"] == "2026-01-02T00:00:00.000Z"


async def test_a_second_rotation_ends_the_oldest_secret(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await added(admin)
    second = await rotated(admin, answer.body["key_id"], overlap_s=60)
    third = await rotated(admin, answer.body["key_id"], overlap_s=60)
    assert [await works(admin, secret) for secret in (answer.body["api_key"], second, third)] == [
        False,
        True,
        True,
    ]


async def test_of_rotations_at_once_the_two_last_secrets_work(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await added(admin)
    secrets = await asyncio.gather(*(rotated(admin, answer.body["key_id"], overlap_s=60) for _ in range(5)))
    assert not await works(admin, answer.body["api_key"])
    assert sum([await works(admin, secret) for secret in secrets]) == 2


async def test_what_a_key_cannot_be(stranger: Client) -> None:
    admin = await stranger.register()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes.0"),
        ({"scopes": ["search", "member"]}, "scopes.1"),
        ({"scopes": [["search"]]}, "scopes.0"),
        ({"scopes": ["everything"]}, "scopes.0"),
        ({"groups": []}, "groups"),
        ({"expires_at": "2025-12-31"}, "expires_at"),
        ({"name": ""}, "name"),
        ({"secret": "mine"}, "secret"),
    ]
    for fields, field in wrong:
        body = {"name": "door", "scopes": ["search"], **fields}
        answer = await admin.call("POST", "/api-keys", json=body)
        assert (answer.status, answer.code) == (422, "invalid_request"), fields
        assert [error["field"] for error in answer.body["errors"]] == [field]
    for overlap_s in (-1, 30 * 86_400 + 1, "soon"):
        answer = await admin.call("POST", f"/api-keys/{NOBODY}/rotate", json={"overlap_s": overlap_s})
        assert answer.code == "invalid_request"


async def test_somebody_elses_key_is_not_found(stranger: Client) -> None:
    admin, other = await stranger.register(), await stranger.register("eve@example.org")
    theirs = await added(other)
    for key_id in (theirs.body["key_id"], NOBODY, "no-id"):
        for method, path in (("POST", f"/api-keys/{key_id}/rotate"), ("DELETE", f"/api-keys/{key_id}")):
            answer = await admin.call(method, path, json={})
            assert (answer.status, answer.code) == (404, "not_found")
    assert await works(other, theirs.body["api_key"])


async def test_what_is_done_with_keys_is_audited(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await added(admin, groups=["hq"])
    key_id = answer.body["key_id"]
    await rotated(admin, key_id, overlap_s=5)
    await admin.call("DELETE", f"/api-keys/{key_id}", headers={"X-Correlation-ID": "mine"})
    events = (await admin.services.documents.find(AUDIT_EVENTS, admin.company_id)).items
    by_type = {event.type: event for event in events}
    assert {name: event.data for name, event in by_type.items()} == {
        "api_key.added": {
            "key_id": key_id,
            "scopes": ["search"],
            "bound_to_groups": True,
            "expires_at": None,
        },
        "api_key.rotated": {"key_id": key_id, "overlap_s": 5},
        "api_key.revoked": {"key_id": key_id},
    }
    assert by_type["api_key.revoked"].correlation_id == "mine"
    assert by_type["api_key.revoked"].actor.startswith("member:")


async def test_what_broke_off_with_a_key_is_finished_when_it_is_sent_again(
    stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secret that was made in vain gives way; the one that is in use is not pushed out by it."""
    admin = await stranger.register()
    body, headers = {"name": "door", "scopes": ["search"]}, {"Idempotency-Key": "mine"}

    async def break_off(*_: object) -> None:
        raise DocumentsUnavailable

    async def in_two_tries(path: str, json: dict[str, Any]) -> Answer:
        with monkeypatch.context() as patch:
            patch.setattr("infra.repositories.claims.Claims.keep", break_off)
            assert (await admin.call("POST", path, json=json, headers=headers)).status == 503
        return await admin.call("POST", path, json=json, headers=headers)

    made = await in_two_tries("/api-keys", body)
    assert made.status == 201
    assert len((await admin.call("GET", "/api-keys")).body["items"]) == 1
    assert await works(admin, made.body["api_key"])
    headers = {"Idempotency-Key": "another"}
    rotation = f"/api-keys/{made.body['key_id']}/rotate"
    renewed = await in_two_tries(rotation, {})
    assert renewed.status == 200
    assert await works(admin, renewed.body["api_key"])
    assert await works(admin, made.body["api_key"])
    again = await admin.call("POST", rotation, json={}, headers=headers)
    assert (again.code, again.body["id"]) == ("secret_already_shown", made.body["key_id"])
