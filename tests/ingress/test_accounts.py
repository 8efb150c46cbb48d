import asyncio
from typing import Any

import pytest

from infra.clock import Clock, ManualClock
from infra.repositories.collections import CLAIMS, LOGINS, MEMBERS, SESSIONS
from schemas.access import Role
from schemas.ids import PLATFORM
from tests.ingress.conftest import PASSWORD, Client

REGISTRATION = {"company_name": "Acme", "email": "ada@example.org", "password": PASSWORD}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_a_company_registers_and_logs_in(stranger: Client) -> None:
    registered = await stranger.call("POST", "/register", json=REGISTRATION)
    assert registered.status == 201
    assert set(registered.body) == {"company_id", "member_id"}
    answer = await stranger.call("POST", "/login", json={"email": "ADA@example.org ", "password": PASSWORD})
    assert answer.status == 200
    assert set(answer.body) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (answer.body["token_type"], answer.body["expires_in"]) == ("Bearer", 900)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"


async def test_an_address_registers_once(stranger: Client) -> None:
    await stranger.register()
    again = await stranger.call("POST", "/register", json=REGISTRATION | {"email": "Ada@Example.org"})
    assert (again.status, again.code) == (409, "email_taken")


async def test_neither_password_nor_token_is_stored(stranger: Client) -> None:
    client = await stranger.register()
    documents = client.services.documents
    records = [
        *(await documents.find(LOGINS, PLATFORM)).items,
        *(await documents.find(MEMBERS, client.company_id)).items,
        *(await documents.find(SESSIONS, client.company_id)).items,
    ]
    assert len(records) == 3
    stored = "".join(record.model_dump_json() for record in records)
    for secret in (PASSWORD, "ada@example.org", client.token, client.refresh_token):
        assert secret
        assert secret not in stored


@pytest.mark.parametrize(
    ("email", "password"), [("bob@example.org", PASSWORD), ("ada@example.org", "another password")]
)
async def test_a_wrong_log_in_does_not_say_what_was_wrong(
    stranger: Client, email: str, password: str
) -> None:
    await stranger.register()
    headers = {"X-Correlation-ID": "same"}
    answer = await stranger.call(
        "POST", "/login", json={"email": email, "password": password}, headers=headers
    )
    assert (answer.status, answer.code) == (401, "invalid_credentials")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    other = await stranger.call(
        "POST", "/login", json={"email": "eve@example.org", "password": "x"}, headers=headers
    )
    assert other.content == answer.content


async def test_what_is_wrong_with_a_registration_is_told_by_field(stranger: Client) -> None:
    wrong = {"company_name": "", "email": "ada", "password": "hunter2", "role": "admin"}
    answer = await stranger.call("POST", "/register", json=wrong)
    assert (answer.status, answer.code) == (422, "invalid_request")
    assert {error["field"]: error["message"] for error in answer.body["errors"]} == {
        "company_name": "is too short: at least 1",
        "email": "is not an e-mail address",
        "password": "is too short: at least 12",
        "role": "is not known here",
    }
    assert b"hunter2" not in answer.content


UNREADABLE: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"{", {}, 400, "malformed_body"),
    (b"[]", {}, 400, "malformed_body"),
    (b'{"email": "\xff"}', {}, 400, "malformed_body"),
    (b"[" * 10_000, {}, 400, "malformed_body"),
    (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_content_type"),
    (b"{}", {"Content-Encoding": "gzip"}, 415, "unsupported_content_type"),
    (b"{}" + b" " * 70_000, {}, 413, "body_too_large"),
]


async def test_a_body_that_cannot_be_read(stranger: Client) -> None:
    for body, headers, status, code in UNREADABLE:
        given = {"Content-Type": "application/json", **headers}
        answer = await stranger.call("POST", "/login", data=body, headers=given)
        assert (body[:20], answer.status, answer.code) == (body[:20], status, code)


class TestClosedRegistration:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"registration": "closed"}

    async def test_nobody_registers(self, stranger: Client) -> None:
        answer = await stranger.call("POST", "/register", json=REGISTRATION)
        assert (answer.status, answer.code) == (403, "registration_closed")

    async def test_who_is_turned_away_leaves_nothing(self, stranger: Client) -> None:
        key = {"Idempotency-Key": "a"}
        answer = await stranger.call("POST", "/register", json=REGISTRATION, headers=key)
        assert answer.code == "registration_closed"
        assert await stranger.services.documents.count(CLAIMS, PLATFORM) == 0


async def test_a_call_without_a_credential_is_told_so(stranger: Client) -> None:
    answer = await stranger.call("GET", "/logs")
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_wrong_credential_is_refused(stranger: Client) -> None:
    for authorization, code in {
        "Bearer nonsense": "invalid_token",
        "bearer nonsense": "invalid_token",
        "Bearer ": "invalid_token",
        "Bearer": "invalid_token",
        "Basic YTpi": "unauthenticated",
    }.items():
        answer = await stranger.call("GET", "/logs", headers={"Authorization": authorization})
        assert (authorization, answer.status, answer.code) == (authorization, 401, code)


async def test_an_access_token_expires(stranger: Client, clock: Clock) -> None:
    client = await stranger.register()
    assert isinstance(clock, ManualClock)
    clock.advance(900 + 31)
    answer = await client.call("GET", "/logs")
    assert (answer.status, answer.code) == (401, "token_expired")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_a_refresh_token_is_exchanged_for_a_new_pair(stranger: Client, clock: Clock) -> None:
    client = await stranger.register()
    assert isinstance(clock, ManualClock)
    clock.advance(1000)
    answer = await client.call("POST", "/token/refresh", json={"refresh_token": client.refresh_token})
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.body["refresh_token"] != client.refresh_token
    client.token = answer.body["access_token"]
    assert (await client.call("GET", "/logs")).status == 200


async def test_a_refresh_token_that_is_used_again_ends_the_session(stranger: Client) -> None:
    client = await stranger.register()
    first = client.refresh_token
    rotated = await client.call("POST", "/token/refresh", json={"refresh_token": first})
    again = await client.call("POST", "/token/refresh", json={"refresh_token": first})
    assert (again.status, again.code) == (401, "invalid_token")
    newest = await client.call(
        "POST", "/token/refresh", json={"refresh_token": rotated.body["refresh_token"]}
    )
    assert (newest.status, newest.code) == (401, "invalid_token")
    client.token = rotated.body["access_token"]
    assert (await client.call("GET", "/logs")).code == "invalid_token"


async def test_of_two_exchanges_at_once_one_succeeds_at_most(stranger: Client) -> None:
    client = await stranger.register()
    body = {"refresh_token": client.refresh_token}
    answers = await asyncio.gather(*(client.call("POST", "/token/refresh", json=body) for _ in range(5)))
    assert sum(answer.status == 200 for answer in answers) <= 1
    assert (await client.call("GET", "/logs")).code == "invalid_token"


async def test_a_refresh_token_expires_with_its_session(stranger: Client, clock: Clock) -> None:
    client = await stranger.register()
    assert isinstance(clock, ManualClock)
    clock.advance(30 * 86_400 + 1)
    answer = await client.call("POST", "/token/refresh", json={"refresh_token": client.refresh_token})
    assert (answer.status, answer.code) == (401, "invalid_token")


async def test_what_is_no_refresh_token(stranger: Client) -> None:
    for token in ("", "frt_nonsense", "x" * 97, "x" * 513):
        answer = await stranger.call("POST", "/token/refresh", json={"refresh_token": token})
        assert answer.code == ("invalid_request" if len(token) > 512 else "invalid_token")


async def test_logging_out_ends_both_tokens_at_once(stranger: Client) -> None:
    client = await stranger.register()
    other = await Client(client.http, client.base_url, client.port, client.services).login()
    assert (await client.call("POST", "/logout")).status == 204
    assert (await client.call("GET", "/logs")).code == "invalid_token"
    refreshed = await client.call("POST", "/token/refresh", json={"refresh_token": client.refresh_token})
    assert refreshed.code == "invalid_token"
    assert (await other.call("GET", "/logs")).status == 200, "another session goes on"


async def test_a_role_counts_from_the_moment_it_changes(stranger: Client) -> None:
    client = await stranger.register()
    await client.become(Role.STAFF)
    answer = await client.call("GET", "/logs")
    assert (answer.status, answer.code) == (403, "forbidden")
    assert answer.body["detail"] == "This takes the role admin or auditor, or a key with the scope logs:read."


async def test_a_deleted_company_cannot_be_used(stranger: Client) -> None:
    client = await stranger.register()
    await client.services.keys.destroy(client.company_id)
    answer = await client.call("GET", "/logs")
    assert (answer.status, answer.code) == (401, "invalid_token")


@pytest.mark.parametrize("unseen", ["\x00", "\u200b", "\u202e", "\u00ad", "\ufeff"])
async def test_an_address_may_not_hold_what_is_not_seen(stranger: Client, unseen: str) -> None:
    """Or it would look like somebody else's."""
    body = {"company_name": "Acme", "email": f"a{unseen}da@example.org", "password": PASSWORD}
    answer = await stranger.call("POST", "/register", json=body)
    assert (answer.code, answer.body["errors"][0]["field"]) == ("invalid_request", "email")
