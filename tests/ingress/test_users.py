import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from infra.clock import Clock, ManualClock
from infra.documents.port import Documents
from infra.repositories.collections import AUDIT_EVENTS, USERS
from schemas.access import Role
from schemas.jobs import JobKind
from schemas.messages import EnrolmentFields, PhotoBody, RegroupingBody
from schemas.records import User, UserState
from tests.clocks import manual
from tests.ingress.conftest import Client, form, user_ids
from tests.ingress.worker import Worker, regrouped

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STRANGE_IDS = ["ada/7 ü", "a/../b", "50%", "a+b", "a?b#c", "{ada}", "%41", "a;b=c", "~ada", "👩‍🚀", "..."]


@pytest.fixture
def clock() -> Clock:
    return ManualClock()


def path(user_id: str) -> str:
    return f"/users/{quote(user_id, safe='')}"


async def enrol(client: Client, user_id: str, **fields: str) -> Any:
    """Enrol, and let a second pass, so that every user has a time of their own."""
    answer = await client.call("POST", "/face/enroll", data=form(None, user_id=user_id, **fields))
    assert answer.status in {200, 201}, answer.body
    manual(client.services.clock).advance(1)
    return answer.body


async def patch(client: Client, person: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Any:
    return await client.call("PATCH", path(person), json=fields, headers=headers)


async def listed(client: Client, query: str = "") -> list[str]:
    """All pages' user ids."""
    return await user_ids(client, f"/users?{query}")


@asynccontextmanager
async def raced(monkeypatch: pytest.MonkeyPatch, client: Client, **change: Any) -> AsyncGenerator[None]:
    """The next change of a user's record meets one that somebody else made just before."""
    store = type(client.services.documents)
    compare_and_set = store.compare_and_set
    pending = True

    async def overtaken(self: Documents, *args: Any, **options: Any) -> bool:
        nonlocal pending
        if pending and args[0] is USERS:
            pending = False
            user = await client.services.users.get(client.company_id, args[2].id)
            assert user is not None
            assert await client.services.users.change(client.company_id, user, change)
        return await compare_and_set(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(store, "compare_and_set", overtaken)
        yield
    assert not pending


async def test_a_person_is_shown(client: Client) -> None:
    name = "Ada 👩‍🚀 Lovelace" + "é" * 184
    assert len(name) == 200
    await enrol(
        client,
        "ada",
        full_name=name,
        tags='["staff", "staff", "floor 2"]',
        groups='["hq", "hq"]',
        reference_id="P-17",
        metadata='{"badge": 17}',
        valid_until="2026-06-01T12:00:00+02:00",
        consent='{"text_version": "2026-01", "given_at": "2025-12-31"}',
    )
    await enrol(client, "ada")
    answer = await client.call("GET", "/users/ada")
    assert answer.status == 200
    recorded_by = answer.body["consent"].pop("recorded_by")
    assert recorded_by.startswith("member:")
    assert answer.body == {
        "user_id": "ada",
        "full_name": name,
        "tags": ["staff", "floor 2"],
        "groups": ["hq"],
        "reference_id": "P-17",
        "metadata": {"badge": 17},
        "consent": {"text_version": "2026-01", "given_at": "2025-12-31T00:00:00.000Z"},
        "valid_until": "2026-06-01T10:00:00.000Z",
        "expired": False,
        "faces": 2,
        "created_at": "2026-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:00.000Z",
    }


@pytest.mark.parametrize("user_id", STRANGE_IDS)
async def test_a_user_id_may_hold_anything_percent_encoded(client: Client, user_id: str) -> None:
    await enrol(client, user_id)
    url = URL(client.base_url + path(user_id), encoded=True)
    headers = {"Authorization": f"Bearer {client.token}"}
    async with client.http.get(url, headers=headers) as answer:
        assert (answer.status, (await answer.json())["user_id"]) == (200, user_id)
    async with client.http.patch(url, json={"tags": ["x"]}, headers=headers) as answer:
        assert (await answer.json())["tags"] == ["x"]
    async with client.http.delete(url, headers=headers) as answer:
        assert answer.status == 204
    async with client.http.get(url, headers=headers) as answer:
        assert answer.status == 404


async def test_a_user_id_is_found_in_whatever_normal_form_it_is_written(client: Client) -> None:
    await enrol(client, "Jos\u00e9")
    assert (await client.call("GET", path("Jose\u0301"))).body["user_id"] == "Jos\u00e9"


async def test_users_are_listed_newest_first_page_by_page(client: Client) -> None:
    for number in range(7):
        await enrol(client, f"u-{number}")
    expected = [f"u-{number}" for number in reversed(range(7))]
    assert await listed(client) == expected
    assert await listed(client, "limit=3") == expected
    first = await client.call("GET", "/users?limit=3")
    await enrol(client, "later")
    cursor = first.body["next_cursor"]
    second = await client.call("GET", f"/users?limit=3&cursor={cursor}")
    assert [item["user_id"] for item in second.body["items"]] == ["u-3", "u-2", "u-1"]
    for query in (f"limit=3&group=hq&cursor={cursor}", "cursor=nonsense"):
        assert (await client.call("GET", f"/users?{query}")).code == "invalid_cursor"


async def test_users_are_found_by_what_is_said_of_them(client: Client) -> None:
    await enrol(client, "a", groups="hq", tags="staff", full_name="Ada Lovelace", reference_id="P-1")
    await enrol(client, "b", groups='["hq", "lab"]', tags="guest", full_name="ADA LOVELACE")
    await enrol(client, "c", groups="lab", tags='["staff", "guest"]', full_name="Ada", reference_id="P-1")
    for query, expected in {
        "group=hq": ["b", "a"],
        "group=HQ": [],
        "tag=staff": ["c", "a"],
        "reference_id=P-1": ["c", "a"],
        "reference_id=p-1": [],
        "full_name=ada%20lovelace": ["b", "a"],
        "full_name=ada": ["c"],
        "group=lab&tag=guest": ["c", "b"],
        "group=lab&tag=guest&reference_id=P-1": ["c"],
        "full_name=Ada%20Lovelace&tag=staff": ["a"],
        "group=lab&full_name=nobody": [],
    }.items():
        assert (query, await listed(client, query)) == (query, expected)
        assert (query, await listed(client, f"{query}&limit=1")) == (query, expected)
    for query in ("group=", "tag=a&tag=b", "limit=501", "name=ada", "full_name=%00"):
        assert (query, (await client.call("GET", f"/users?{query}")).code) == (query, "invalid_request")


async def test_a_listing_for_what_is_rare_stops_at_its_budget_and_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.repositories.scanning._READ_AT_MOST", 50)
    users, company_id = client.services.users, client.company_id
    for number in range(120):
        manual(client.services.clock).advance(1)
        fields = EnrolmentFields(user_id=f"u-{number}", groups=("hq",), tags=("first",) * (number == 0))
        await users.save_enrolment(company_id, await users.hash_of(company_id, fields.user_id), 0, fields)
    answer = await client.call("GET", "/users?group=hq&tag=first&limit=10")
    assert (answer.body["items"], answer.body["next_cursor"] is None) == ([], False)
    assert await listed(client, "group=hq&tag=first&limit=10") == ["u-0"]


async def test_a_patch_changes_what_it_names_and_leaves_the_rest(client: Client) -> None:
    await enrol(client, "ada", full_name="Ada", tags="staff", groups="hq", reference_id="P-1")
    before = (await client.call("GET", "/users/ada")).body
    answer = await patch(
        client, "ada", full_name="Ada Lovelace", tags=["b", "a", "b"], valid_until="2027-01-01"
    )
    assert answer.status == 200
    assert answer.body == before | {
        "full_name": "Ada Lovelace",
        "tags": ["b", "a"],
        "valid_until": "2027-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:01.000Z",
    }
    assert (await client.call("GET", "/users/ada")).body == answer.body
    assert await listed(client, "full_name=ADA%20LOVELACE") == ["ada"]
    assert await listed(client, "full_name=Ada") == []
    assert (await patch(client, "ada")).body == answer.body


async def test_null_clears(client: Client) -> None:
    await enrol(
        client,
        "ada",
        full_name="Ada",
        tags="staff",
        groups="hq",
        reference_id="P-1",
        metadata='{"a": 1}',
        valid_until="2027-01-01",
        consent='{"text_version": "1"}',
    )
    names = ("full_name", "tags", "groups", "reference_id", "metadata", "valid_until", "consent")
    answer = await patch(client, "ada", **dict.fromkeys(names))
    assert {name: answer.body[name] for name in names} == {
        **dict.fromkeys(names),
        "tags": [],
        "groups": [],
        "metadata": {},
    }
    for query in ("full_name=Ada", "tag=staff", "group=hq", "reference_id=P-1"):
        assert await listed(client, query) == []


async def test_metadata_is_merged_as_rfc_7396_has_it(client: Client) -> None:
    await enrol(client, "ada", metadata='{"a": {"b": 1, "c": 2}, "d": [1], "e": 1}')
    answer = await client.call(
        "PATCH",
        "/users/ada",
        data=json.dumps({"metadata": {"a": {"b": None, "x": {"y": None, "z": 3}}, "d": {"f": 1}, "e": None}}),
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.body["metadata"] == {"a": {"c": 2, "x": {"z": 3}}, "d": {"f": 1}}


async def test_metadata_has_its_limit_when_merged_too(client: Client) -> None:
    await enrol(client, "ada", metadata=json.dumps({"a": "x" * 3000}))
    answer = await patch(client, "ada", metadata={"b": "x" * 3000})
    assert answer.body["errors"] == [{"field": "metadata", "message": "is longer than 4096 bytes as JSON"}]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"user_id": "bob"}, "user_id"),
        ({"full_name": ""}, "full_name"),
        ({"full_name": "x" * 201}, "full_name"),
        ({"tags": ["x"] * 51}, "tags"),
        ({"groups": ["x" * 65]}, "groups.0"),
        ({"metadata": [1]}, "metadata"),
        ({"valid_until": "soon"}, "valid_until"),
        ({"valid_until": 5}, "valid_until"),
        ({"consent": {}}, "consent.text_version"),
        ({"consent": {"text_version": "1", "recorded_by": "me"}}, "consent.recorded_by"),
        ({"consent": {"text_version": "1", "given_at": "2026-01-01T00:06:00Z"}}, "consent.given_at"),
        ({"consent": True}, "consent"),
    ],
)
async def test_a_patch_is_refused_for(client: Client, given: dict[str, Any], field: str) -> None:
    await enrol(client, "ada")
    answer = await patch(client, "ada", **given)
    assert (answer.code, [error["field"] for error in answer.body["errors"]]) == ("invalid_request", [field])


async def test_a_patch_is_json(client: Client) -> None:
    await enrol(client, "ada")
    for body, content_type, code in (
        ("{}", "text/plain", "unsupported_content_type"),
        ("[]", "application/json", "malformed_body"),
        ("{", "application/merge-patch+json", "malformed_body"),
    ):
        answer = await client.call("PATCH", "/users/ada", data=body, headers={"Content-Type": content_type})
        assert answer.code == code


async def test_who_is_not_there_is_not_changed_or_shown(client: Client, stranger: Client) -> None:
    await enrol(client, "ada")
    other = await stranger.register("bob@example.org")
    for user_id in ("ada", "nobody", "x" * 500):
        assert (await other.call("GET", f"/users/{user_id}")).code == "not_found"
        assert (await patch(other, user_id, tags=["x"])).code == "not_found"
    assert await listed(other) == []


async def test_two_changes_at_once_both_happen(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await enrol(client, "ada", metadata='{"a": 1}')
    async with raced(monkeypatch, client, tags=["theirs"], metadata={"a": 1, "b": 2}):
        answer = await patch(client, "ada", full_name="Ada", metadata={"c": 3})
    assert (answer.body["full_name"], answer.body["tags"]) == ("Ada", ["theirs"])
    assert answer.body["metadata"] == {"a": 1, "b": 2, "c": 3}


async def test_many_changes_at_once_all_happen(client: Client) -> None:
    await enrol(client, "ada")
    answers = await asyncio.gather(*(patch(client, "ada", metadata={str(n): n}) for n in range(10)))
    assert {answer.status for answer in answers} == {200}
    shown = (await client.call("GET", "/users/ada")).body["metadata"]
    assert shown == {str(number): number for number in range(10)}


async def test_a_change_of_groups_waits_until_the_index_follows(client: Client, worker: Worker) -> None:
    await enrol(client, "ada", groups="hq")
    worker.hold = True
    began = len(worker.jobs)
    change = asyncio.create_task(patch(client, "ada", groups=["lab"], headers={"Prefer": "wait=20"}))
    job = await worker.job(began + 1)
    assert job.kind is JobKind.REGROUP_USER
    user_hash = await client.services.users.hash_of(client.company_id, "ada")
    assert worker.bodies[-1] == RegroupingBody(user_hash=user_hash)
    assert not change.done()
    # The record says so already: where the user is no more, no search finds them.
    assert (await client.call("GET", "/users/ada")).body["groups"] == ["lab"]
    await worker.finish(client.company_id, job, regrouped(job))
    answer = await change
    assert (answer.status, answer.body["groups"]) == (200, ["lab"])
    assert answer.headers["Preference-Applied"] == "wait=20"


async def test_who_does_not_wait_for_a_change_of_groups_is_told_where_to_ask(
    client: Client, worker: Worker
) -> None:
    await enrol(client, "ada", groups="hq")
    worker.hold = True
    answer = await patch(client, "ada", groups=["lab"], headers={"Prefer": "respond-async"})
    assert (answer.status, answer.body["kind"]) == (202, "regroup_user")
    assert answer.headers["Location"] == f"/jobs/{answer.body['job_id']}"


async def test_only_a_change_of_groups_makes_a_job(client: Client, worker: Worker) -> None:
    await enrol(client, "ada", groups='["hq", "lab"]')
    began = len(worker.jobs)
    await patch(client, "ada", groups=["lab", "hq", "lab"], tags=["x"], full_name="Ada")
    assert len(worker.jobs) == began


async def test_expiry_is_told_as_the_clock_goes(client: Client) -> None:
    await enrol(client, "ada", valid_until="2026-01-01T00:01:00Z")
    clock = manual(client.services.clock)
    assert (await client.call("GET", "/users/ada")).body["expired"] is False
    clock.advance(59)
    assert (await client.call("GET", "/users")).body["items"][0]["expired"] is True
    assert (await patch(client, "ada", valid_until=None)).body["expired"] is False
    assert (await patch(client, "ada", valid_until="2025-01-01")).body["expired"] is True


async def test_an_enrolment_says_until_when_and_never_until_before_now(
    client: Client, worker: Worker
) -> None:
    answer = await client.call(
        "POST", "/face/enroll", data=form(user_id="ada", valid_until="2026-01-01T00:00:00Z")
    )
    assert answer.code == "invalid_request"
    assert answer.body["errors"] == [{"field": "valid_until", "message": "is past"}]
    assert worker.jobs == []
    await enrol(client, "ada", valid_until="2026-01-02")
    (body,) = worker.bodies
    assert isinstance(body, PhotoBody)
    assert body.enrolment is not None
    assert body.enrolment.valid_until == NOW + timedelta(days=1)


async def test_consent_is_recorded_with_who_recorded_it(client: Client) -> None:
    await enrol(client, "ada", consent='{"text_version": "1"}')
    first = (await client.call("GET", "/users/ada")).body["consent"]
    assert first["given_at"] == "2026-01-01T00:00:00.000Z"
    await enrol(client, "ada")
    renewed = (await patch(client, "ada", consent={"text_version": "2"})).body["consent"]
    assert renewed == first | {"text_version": "2", "given_at": "2026-01-01T00:00:02.000Z"}
    assert (await patch(client, "ada", consent=None)).body["consent"] is None
    audited = (await client.services.documents.find(AUDIT_EVENTS, client.company_id)).items
    consents = {event.type: event.actor for event in audited if event.type.startswith("user.consent")}
    assert consents == dict.fromkeys(
        ("user.consent_recorded", "user.consent_withdrawn"), renewed["recorded_by"]
    )
    for consent in ('{"text_version": "1", "recorded_by": "somebody"}', '"yes"', "yes", "{}"):
        answer = await client.call("POST", "/face/enroll", data=form(user_id="ada", consent=consent))
        assert answer.code == "invalid_request"


async def test_an_erased_person_leaves_nothing_but_a_number(client: Client) -> None:
    face_id = (
        await enrol(
            client,
            "ada",
            full_name="Ada",
            groups="hq",
            tags="staff",
            reference_id="P-1",
            metadata='{"a": 1}',
            valid_until="2027-01-01",
            consent='{"text_version": "1"}',
        )
    )["face_id"]
    assert (await client.call("DELETE", "/users/ada")).status == 204
    for gone in ("/users/ada", f"/faces/{face_id}", f"/faces/{face_id}/image"):
        assert (await client.call("GET", gone)).code == "not_found"
    for query in ("", "full_name=Ada", "group=hq", "tag=staff", "reference_id=P-1"):
        assert await listed(client, query) == []
        assert (await client.call("GET", f"/faces?{query}")).body.get("items", []) == []
    assert (await client.call("GET", "/faces?user_id=ada")).body["items"] == []
    user_hash = await client.services.users.hash_of(client.company_id, "ada")
    shell = await client.services.users.get(client.company_id, user_hash)
    assert shell is not None
    kept = shell.model_dump(exclude={"id", "version", "epoch", "created_at", "updated_at", "expires_at"})
    empty = User(id="", state=UserState.ERASED, epoch=0, user_id_sealed=None, created_at=NOW, updated_at=NOW)
    assert kept == empty.model_dump(include=set(kept))

    await enrol(client, "ada", tags="again")
    again = (await client.call("GET", "/users/ada")).body
    assert (again["tags"], again["full_name"], again["consent"], again["valid_until"], again["groups"]) == (
        ["again"],
        None,
        None,
        None,
        [],
    )
    assert again["created_at"] == "2026-01-01T00:00:01.000Z"


class TestBoundKey:
    """A credential that has to do with some groups only."""

    @pytest.fixture
    async def bound(self, client: Client, calls_as: Callable[..., None]) -> Client:
        await enrol(client, "in", groups='["hq", "lab"]', tags="t")
        await enrol(client, "out", groups="lab", tags="t")
        await enrol(client, "none", tags="t")
        calls_as(groups=frozenset({"hq", "annex"}))
        return client

    async def test_sees_only_whom_it_has_to_do_with(self, bound: Client) -> None:
        assert await listed(bound) == ["in"]
        assert await listed(bound, "tag=t") == ["in"]
        assert await listed(bound, "group=hq") == ["in"]
        assert (await bound.call("GET", "/users/in")).status == 200
        for user_id in ("out", "none"):
            assert (await patch(bound, user_id, tags=["x"])).code == "not_found"
            for method in ("GET", "DELETE"):
                assert (await bound.call(method, f"/users/{user_id}")).code == "not_found"
        assert (await bound.call("GET", "/users?group=lab")).code == "forbidden"

    async def test_gives_and_takes_its_own_groups_only(
        self, bound: Client, calls_as: Callable[..., None]
    ) -> None:
        assert (await patch(bound, "in", groups=["annex"])).body["groups"] == ["lab", "annex"]
        for groups in (["lab"], ["hq", "lab"], [], None):
            assert (await patch(bound, "in", groups=groups)).code == "forbidden"
        calls_as()
        assert (await bound.call("GET", "/users/in")).body["groups"] == ["lab", "annex"]

    async def test_enrols_into_its_groups(self, bound: Client) -> None:
        await enrol(bound, "new")
        assert (await bound.call("GET", "/users/new")).body["groups"] == ["annex", "hq"]
        await enrol(bound, "newer", groups="hq")
        assert (await bound.call("GET", "/users/newer")).body["groups"] == ["hq"]
        await enrol(bound, "in", groups="annex")
        assert (await bound.call("GET", "/users/in")).body["groups"] == ["lab", "annex"]
        await enrol(bound, "in")
        assert (await bound.call("GET", "/users/in")).body["groups"] == ["lab", "annex"]
        assert (await bound.enrol("out")).code == "not_found"
        answer = await bound.call("POST", "/face/enroll", data=form(user_id="in", groups="lab"))
        assert answer.code == "forbidden"


async def test_an_auditor_reads_and_changes_nothing(client: Client) -> None:
    await enrol(client, "ada", full_name="Ada")
    await client.become(Role.AUDITOR)
    assert (await client.call("GET", "/users/ada")).body["full_name"] == "Ada"
    assert await listed(client) == ["ada"]
    assert (await patch(client, "ada", tags=["x"])).code == "forbidden"


async def test_names_are_found_by_hashes_and_nothing_of_a_person_is_stored_readable(client: Client) -> None:
    await enrol(client, "ada", full_name="Planted Name", reference_id="planted-reference")
    (user,) = (await client.services.documents.find(USERS, client.company_id)).items
    text = user.model_dump_json()
    assert "lanted" not in text
    assert user.full_name_hash is not None
