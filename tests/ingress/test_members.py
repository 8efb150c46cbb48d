import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from infra.clock import Clock, ManualClock
from infra.crypto.passwords import Passwords
from infra.documents.port import DocumentsUnavailable
from infra.repositories.admins import STEP_DOWN_LASTS
from infra.repositories.collections import AUDIT_EVENTS, COMPANIES, LOGINS, MEMBERS
from schemas.access import Role
from schemas.ids import PLATFORM
from schemas.records import Member, StepDown
from tests.ingress.conftest import PASSWORD, Answer, Client

pytestmark = pytest.mark.system

BOB = "bob@example.org"
OTHER_PASSWORD = "a battery of horses"
NOBODY = "0198c0de-0000-7000-8000-000000000001"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def invited(admin: Client, email: str = BOB, **fields: Any) -> Answer:
    answer = await admin.call("POST", "/members", json={"email": email, "role": "staff", **fields})
    assert answer.status == 201, answer.body
    return answer


async def set_password(client: Client, token: str, password: str = PASSWORD) -> Answer:
    return await client.fresh().call("POST", "/me/password", json={"token": token, "new_password": password})


async def attempt_login(client: Client, email: str, password: str = PASSWORD) -> Answer:
    return await client.fresh().call("POST", "/login", json={"email": email, "password": password})


async def member_id(admin: Client, email: str) -> str:
    members = (await admin.call("GET", "/members")).body["items"]
    (found,) = [member["member_id"] for member in members if member["email"] == email]
    return found


async def admins_counted(client: Client) -> set[str]:
    """The admins that the company's record counts, each of whom must really be one."""
    documents = client.services.documents
    company = await documents.get(COMPANIES, client.company_id, str(client.company_id))
    assert company is not None
    assert company.admin_ids
    for counted in company.admin_ids:
        member = await documents.get(MEMBERS, client.company_id, counted)
        assert member is not None
        assert (member.role, member.password_hash is None) == (Role.ADMIN, False)
    return set(company.admin_ids)


async def audited(client: Client) -> list[str]:
    events = await client.services.documents.find(AUDIT_EVENTS, client.company_id, limit=500)
    return sorted(event.type for event in events.items)  # The clock stands, so their ids have no order.


async def test_who_is_invited_sets_a_password_and_logs_in(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await invited(admin, name="Bob", role="staff")
    assert answer.headers["Location"] == f"/members/{answer.body['member_id']}"
    assert answer.body["set_password_token"].startswith("spt_")
    assert answer.body["set_password_token_expires_at"] == "2026-01-08T00:00:00.000Z"
    assert (answer.body["state"], answer.body["name"], answer.body["role"]) == ("invited", "Bob", "staff")
    assert (await attempt_login(stranger, BOB)).code == "invalid_credentials"
    assert (await set_password(stranger, answer.body["set_password_token"])).status == 204
    bob = await admin.fresh().login("BOB@example.org")
    assert (await bob.call("GET", "/jobs?correlation_id=x")).status == 200
    assert (await bob.call("GET", "/members")).code == "forbidden"
    assert await audited(admin) == ["member.invited", "member.password_set"]


async def test_members_are_listed_newest_first_and_by_pages(stranger: Client, clock: Clock) -> None:
    admin = await stranger.register()
    assert isinstance(clock, ManualClock)
    for number in range(3):
        clock.advance(1)
        await invited(admin, f"member{number}@example.org")
    page = await admin.call("GET", "/members?limit=2")
    assert [member["email"] for member in page.body["items"]] == [
        "member2@example.org",
        "member1@example.org",
    ]
    rest = await admin.call("GET", f"/members?limit=2&cursor={page.body['next_cursor']}")
    assert [member["email"] for member in rest.body["items"]] == ["member0@example.org", "ada@example.org"]
    assert [member["state"] for member in rest.body["items"]] == ["invited", "active"]
    assert rest.body["next_cursor"] is None
    assert b"set_password" not in page.content + rest.content


async def test_neither_name_nor_address_nor_token_of_a_member_is_stored(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await invited(admin, name="Robert")
    documents = admin.services.documents
    records = [
        *(await documents.find(MEMBERS, admin.company_id)).items,
        *(await documents.find(LOGINS, PLATFORM)).items,
        *(await documents.find(AUDIT_EVENTS, admin.company_id)).items,
    ]
    stored = "".join(record.model_dump_json() for record in records)
    for secret in ("Robert", BOB, answer.body["set_password_token"]):
        assert secret not in stored


async def test_an_address_belongs_to_one_company_until_the_member_is_removed(stranger: Client) -> None:
    admin, other = await stranger.register(), await stranger.register("eve@example.org")
    bob = await invited(admin)
    for answer in (
        await other.call("POST", "/members", json={"email": "Bob@Example.org", "role": "admin"}),
        await admin.call("POST", "/members", json={"email": BOB, "role": "admin"}),
        await stranger.call(
            "POST", "/register", json={"company_name": "Bob", "email": BOB, "password": PASSWORD}
        ),
    ):
        assert (answer.status, answer.code) == (409, "email_taken")
    assert (await admin.call("DELETE", f"/members/{bob.body['member_id']}")).status == 204
    await invited(other)
    assert {m["email"] for m in (await admin.call("GET", "/members")).body["items"]} == {"ada@example.org"}


async def test_of_two_who_invite_the_same_address_at_once_one_succeeds(stranger: Client) -> None:
    companies = [await stranger.register(f"admin{number}@example.org") for number in range(4)]
    answers = await asyncio.gather(
        *(admin.call("POST", "/members", json={"email": BOB, "role": "staff"}) for admin in companies)
    )
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert [len((await admin.call("GET", "/members")).body["items"]) for admin in companies].count(2) == 1


async def test_removing_what_an_interrupted_invitation_left_frees_nobody_elses_address(
    stranger: Client,
) -> None:
    admin, other = await stranger.register(), await stranger.register("eve@example.org")
    left = (await invited(admin)).body["member_id"]
    record = await admin.services.documents.get(MEMBERS, admin.company_id, left)
    assert record is not None
    await admin.services.documents.delete(LOGINS, PLATFORM, record.email_hash)
    await other.add_member(BOB, Role.STAFF)
    assert (await admin.call("DELETE", f"/members/{left}")).status == 204
    assert (await attempt_login(stranger, BOB)).status == 200


async def test_a_set_password_token_works_once(stranger: Client) -> None:
    admin = await stranger.register()
    token = (await invited(admin)).body["set_password_token"]
    answers = await asyncio.gather(*(set_password(stranger, token) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [204, 400, 400, 400]
    again = await set_password(stranger, token, OTHER_PASSWORD)
    assert (again.status, again.code) == (400, "invalid_set_password_token")
    assert (await attempt_login(stranger, BOB)).status == 200


async def test_a_set_password_token_expires(stranger: Client, clock: Clock) -> None:
    admin = await stranger.register()
    token = (await invited(admin)).body["set_password_token"]
    assert isinstance(clock, ManualClock)
    clock.advance(7 * 86_400)
    assert (await set_password(stranger, token)).code == "invalid_set_password_token"


async def test_what_is_no_set_password_token(stranger: Client) -> None:
    admin = await stranger.register()
    for token in ("", "spt_nonsense", admin.refresh_token, admin.token or ""):
        answer = await set_password(stranger, token)
        assert (answer.status, answer.code) == (400, "invalid_set_password_token")


async def test_a_new_password_must_be_as_good_as_at_registration(stranger: Client) -> None:
    admin = await stranger.register()
    token = (await invited(admin, "robert@example.org")).body["set_password_token"]
    for password, message in {
        "hunter2": "is too short: at least 12",
        "Robert@example.org": "is too easily guessed",
        "aaaaaaaaaaaaaaaa": "is too easily guessed",
    }.items():
        answer = await set_password(stranger, token, password)
        assert (answer.status, answer.code) == (422, "invalid_request")
        assert answer.body["errors"] == [{"field": "new_password", "message": message}]
    assert (await set_password(stranger, token)).status == 204, "a refused password uses no token up"


async def test_a_password_is_changed_by_who_knows_it_and_ends_the_other_sessions(stranger: Client) -> None:
    ada = await stranger.register()
    elsewhere = await ada.fresh().login()
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    wrong = await ada.call("POST", "/me/password", json={**body, "current_password": "not this one"})
    assert (wrong.status, wrong.code) == (403, "wrong_password")
    assert (await stranger.call("POST", "/me/password", json=body)).code == "unauthenticated"
    assert (await ada.call("POST", "/me/password", json=body)).status == 204
    assert (await ada.call("GET", "/members")).status == 200
    refreshed = await ada.call("POST", "/token/refresh", json={"refresh_token": ada.refresh_token})
    assert refreshed.status == 200
    assert (await elsewhere.call("GET", "/members")).code == "invalid_token"
    refused = await stranger.call("POST", "/token/refresh", json={"refresh_token": elsewhere.refresh_token})
    assert refused.code == "invalid_token"
    assert (await attempt_login(stranger, "ada@example.org")).code == "invalid_credentials"
    await ada.fresh().login(password=OTHER_PASSWORD)


@pytest.mark.parametrize("proof", [{}, {"token": "spt_x", "current_password": PASSWORD}])
async def test_a_new_password_takes_one_proof(stranger: Client, proof: dict[str, str]) -> None:
    answer = await stranger.call("POST", "/me/password", json={"new_password": OTHER_PASSWORD, **proof})
    assert (answer.status, answer.code) == (422, "invalid_request")


async def test_a_reset_voids_the_password_and_ends_all_sessions_at_once(stranger: Client) -> None:
    admin = await stranger.register()
    bob = await admin.add_member(BOB, Role.STAFF)
    path = f"/members/{await member_id(admin, BOB)}"
    answer = await admin.call("PATCH", path, json={"reset_password": True})
    assert (answer.status, answer.body["state"]) == (200, "invited")
    assert (await bob.call("GET", "/jobs?correlation_id=x")).code == "invalid_token"
    refused = await bob.call("POST", "/token/refresh", json={"refresh_token": bob.refresh_token})
    assert refused.code == "invalid_token"
    assert (await attempt_login(stranger, BOB)).code == "invalid_credentials"
    again = await admin.call("PATCH", path, json={"reset_password": True})
    first, second = (reset.body["set_password_token"] for reset in (answer, again))
    assert (await set_password(stranger, first)).code == "invalid_set_password_token"
    assert (await set_password(stranger, second, OTHER_PASSWORD)).status == 204
    assert (await attempt_login(stranger, BOB, OTHER_PASSWORD)).status == 200
    assert (await audited(admin)).count("member.password_reset") == 2


async def test_who_was_logging_in_while_the_password_was_voided_is_not_logged_in(
    stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await stranger.register()
    await admin.add_member(BOB, Role.STAFF)
    path = f"/members/{await member_id(admin, BOB)}"
    verify = Passwords.verify

    async def verify_slowly(self: Passwords, stored: str | None, password: str) -> bool:
        right = await verify(self, stored, password)
        assert (await admin.call("PATCH", path, json={"reset_password": True})).status == 200
        return right

    monkeypatch.setattr(Passwords, "verify", verify_slowly)
    bob = await admin.fresh().login(BOB)
    assert (await bob.call("GET", "/jobs?correlation_id=x")).code == "invalid_token"


async def test_a_login_without_a_password_set_costs_what_a_wrong_password_does(
    stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await stranger.register()
    await invited(admin)
    verified: list[str | None] = []
    verify = Passwords.verify

    async def verify_watched(self: Passwords, stored: str | None, password: str) -> bool:
        verified.append(stored)
        return await verify(self, stored, password)

    monkeypatch.setattr(Passwords, "verify", verify_watched)
    assert (await attempt_login(stranger, BOB)).code == "invalid_credentials"
    assert verified == [None], "it was compared with the hash of nobody"


async def test_a_role_and_a_removal_hold_from_the_next_request_on(stranger: Client) -> None:
    admin = await stranger.register()
    bob = await admin.add_member(BOB, Role.STAFF)
    path = f"/members/{await member_id(admin, BOB)}"
    assert (await bob.call("GET", "/members")).code == "forbidden"
    changed = await admin.call("PATCH", path, json={"role": "admin"})
    assert (changed.status, changed.body["role"]) == (200, "admin")
    assert "set_password_token" in changed.body
    assert changed.body["set_password_token"] is None
    assert (await bob.call("GET", "/members")).status == 200
    assert (await admin.call("DELETE", path)).status == 204
    assert (await bob.call("GET", "/members")).code == "invalid_token"
    refused = await bob.call("POST", "/token/refresh", json={"refresh_token": bob.refresh_token})
    assert refused.code == "invalid_token"
    assert (await attempt_login(stranger, BOB)).code == "invalid_credentials"
    assert await audited(admin) == [
        "member.invited",
        "member.password_set",
        "member.removed",
        "member.role_changed",
    ]


async def test_somebody_elses_member_is_not_found(stranger: Client) -> None:
    admin, other = await stranger.register(), await stranger.register("eve@example.org")
    theirs = await member_id(other, "eve@example.org")
    for identifier in (theirs, NOBODY, "no-id"):
        for method in ("PATCH", "DELETE"):
            answer = await admin.call(method, f"/members/{identifier}", json={"role": "staff"})
            assert (answer.status, answer.code) == (404, "not_found")
    assert (await other.call("GET", "/members")).status == 200


async def test_a_change_says_something(stranger: Client) -> None:
    admin = await stranger.register()
    path = f"/members/{await member_id(admin, 'ada@example.org')}"
    for body in ({}, {"role": "owner"}, {"reset_password": False}, {"password": PASSWORD}):
        answer = await admin.call("PATCH", path, json=body)
        assert (answer.status, answer.code) == (422, "invalid_request")


@pytest.mark.parametrize("change", [{"role": "staff"}, {"role": "auditor"}, {"reset_password": True}, None])
async def test_the_last_admin_stays(stranger: Client, change: dict[str, object] | None) -> None:
    admin = await stranger.register()
    await admin.add_member(BOB, Role.STAFF)
    await invited(admin, "carol@example.org", role="admin")
    path = f"/members/{await member_id(admin, 'ada@example.org')}"
    answer = await admin.call("PATCH" if change else "DELETE", path, json=change)
    assert (answer.status, answer.code) == (409, "last_admin")
    assert (await admin.call("GET", "/members")).status == 200, "nothing has changed"
    await attempt_login(stranger, "ada@example.org")


async def test_an_admin_who_has_set_a_password_counts(stranger: Client) -> None:
    admin = await stranger.register()
    token = (await invited(admin, role="admin")).body["set_password_token"]
    ada = await member_id(admin, "ada@example.org")
    assert await admins_counted(admin) == {ada}
    await set_password(stranger, token)
    assert len(await admins_counted(admin)) == 2
    assert (await admin.call("DELETE", f"/members/{ada}")).status == 204
    bob = await admin.fresh().login(BOB)
    assert await admins_counted(bob) == {await member_id(bob, BOB)}


async def test_of_admins_who_take_each_other_down_at_once_one_stays(stranger: Client) -> None:
    """However they go about it: demoted, removed or reset, by the other or by themselves."""
    for attempt in range(20):
        first = await stranger.register(f"first{attempt}@example.org")
        second = await first.add_member(f"second{attempt}@example.org", Role.ADMIN)
        members = (await first.call("GET", "/members")).body["items"]
        other, own = (f"/members/{member['member_id']}" for member in members)
        if attempt % 2:
            other, own = own, other
        method, change = [
            ("PATCH", {"role": "staff"}),
            ("DELETE", None),
            ("PATCH", {"reset_password": True}),
        ][attempt % 3]
        answers = await asyncio.gather(
            first.call(method, other, json=change), second.call(method, own, json=change)
        )
        assert {answer.status for answer in answers} <= {200, 204, 401, 403, 409}
        assert sum(answer.status in {200, 204} for answer in answers) == 1, answers
        assert len(await admins_counted(first)) == 1


async def test_whatever_is_done_to_admins_at_once_one_who_can_log_in_is_left(stranger: Client) -> None:
    admin = await stranger.register()
    others = [await admin.add_member(f"admin{number}@example.org", Role.ADMIN) for number in range(3)]
    members = [member["member_id"] for member in (await admin.call("GET", "/members")).body["items"]]
    members_of = admin.services.members
    changes = [{"role": Role.STAFF}, {"role": Role.ADMIN}, {"role": Role.AUDITOR}, {"role": Role.ADMIN}]
    for _ in range(10):
        await asyncio.gather(
            *(
                members_of.change(admin.company_id, member, reset=None, **change)
                for member in members
                for change in changes
            ),
            return_exceptions=True,
        )
        await admins_counted(admin)
        for member in members:
            await members_of.change(admin.company_id, member, role=Role.ADMIN, reset=None)
        assert await admins_counted(admin) == set(members)
    assert others


async def test_who_is_on_the_way_out_is_not_counted_until_it_is_over_or_was_cut_off(
    stranger: Client, clock: Clock
) -> None:
    admin = await stranger.register()
    await admin.add_member(BOB, Role.ADMIN)
    services, company_id = admin.services, admin.company_id
    bob = await member_id(admin, BOB)
    async with services.members.admins.stepping_down(company_id, bob):
        await services.members.change(company_id, bob, role=Role.ADMIN, reset=None)
        assert bob not in await admins_counted(admin)
    assert bob in await admins_counted(admin), "the block took nothing from the member"

    company = await services.accounts.company(company_id)
    assert company is not None
    ada = await member_id(admin, "ada@example.org")
    cut_off = company.model_copy(
        update={
            "version": company.version + 1,
            "admin_ids": (ada,),
            "stepping_down": (StepDown(member_id=bob, begun_at=clock.now()),),
        }
    )
    await services.documents.compare_and_set(
        COMPANIES, company_id, cut_off, expected={"version": company.version}
    )
    await services.members.change(company_id, bob, role=Role.ADMIN, reset=None)
    assert bob not in await admins_counted(admin)
    assert isinstance(clock, ManualClock)
    clock.advance((STEP_DOWN_LASTS + timedelta(seconds=1)).total_seconds())
    await services.members.change(company_id, bob, role=Role.ADMIN, reset=None)
    assert bob in await admins_counted(admin)


async def test_nobody_is_left_counted_who_was_removed_while_made_an_admin(stranger: Client) -> None:
    admin = await stranger.register()
    for number in range(20):
        await admin.add_member(f"member{number}@example.org", Role.STAFF)
        path = f"/members/{await member_id(admin, f'member{number}@example.org')}"
        promoted, removed = await asyncio.gather(
            admin.call("PATCH", path, json={"role": "admin"}), admin.call("DELETE", path)
        )
        assert removed.status == 204
        assert promoted.status in {200, 404}
        assert len(await admins_counted(admin)) == 1


async def test_the_record_of_a_member_names_who_invited_them(stranger: Client) -> None:
    admin = await stranger.register()
    answer = await invited(admin)
    stored = await admin.services.documents.get(MEMBERS, admin.company_id, answer.body["member_id"])
    assert isinstance(stored, Member)
    assert stored.created_by == f"member:{await member_id(admin, 'ada@example.org')}"
    assert UUID(answer.body["member_id"]).version == 7


async def test_an_invitation_that_broke_off_is_finished_when_it_is_sent_again(
    stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await stranger.register()
    body, key = {"email": BOB, "role": "staff"}, {"Idempotency-Key": "invite-bob"}
    with monkeypatch.context() as patch:

        async def break_off(*_: object) -> None:
            raise DocumentsUnavailable

        patch.setattr("infra.repositories.claims.Claims.keep", break_off)
        assert (await admin.call("POST", "/members", json=body, headers=key)).status == 503
    answer = await admin.call("POST", "/members", json=body, headers=key)
    assert answer.status == 201
    assert len((await admin.call("GET", "/members")).body["items"]) == 2
    again = await admin.call("POST", "/members", json=body, headers=key)
    assert (again.status, again.code, again.body["id"]) == (
        409,
        "secret_already_shown",
        answer.body["member_id"],
    )
    assert (await set_password(stranger, answer.body["set_password_token"])).status == 204
