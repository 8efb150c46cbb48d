"""What all listings promise, of each of them: newest first, in pages that new items do not move."""

from typing import Any

import pytest

from ingress.routes import ROUTES
from schemas.access import Scope
from tests.ingress.conftest import Client

LISTINGS = ("/members", "/api-keys", "/faces", "/users", "/jobs", "/logs")


def test_no_listing_is_left_out() -> None:
    """A listing is what answers with a cursor."""
    found: set[str] = set()
    for route in ROUTES:
        answer = route.answers.get(200)
        models: tuple[Any, ...] = answer if isinstance(answer, tuple) else (answer,)
        if any("next_cursor" in getattr(model, "model_fields", {}) for model in models):
            found.add(route.path)
    assert found == set(LISTINGS)


async def one_more(client: Client, path: str, number: int) -> None:
    match path:
        case "/members":
            invited = {"email": f"m{number}@example.org", "role": "staff"}
            assert (await client.call("POST", path, json=invited)).status == 201
        case "/api-keys":
            await client.add_key(Scope.SEARCH)
        case _:
            assert (await client.enrol(f"u-{number}")).status == 201


@pytest.mark.parametrize("path", LISTINGS)
async def test_a_listing_is_read_page_by_page(client: Client, path: str) -> None:
    for number in range(3):
        await one_more(client, path, number)
    whole = await client.call("GET", path)
    assert (whole.status, whole.body["next_cursor"], "Link" in whole.headers) == (200, None, False)
    items = whole.body["items"]
    times = [item.get("created_at", item.get("time")) for item in items]
    assert times == sorted(times, reverse=True)

    page = await client.call("GET", f"{path}?limit=2")
    await one_more(client, path, 9)  # Newer than all of it, so in none of its pages.
    read = page.body["items"]
    while page.body["next_cursor"] is not None:
        assert len(page.body["items"]) == 2
        by_link = page.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
        by_cursor = await client.call("GET", f"{path}?limit=2&cursor={page.body['next_cursor']}")
        page = await client.call("GET", by_link)
        assert page.body == by_cursor.body
        read += page.body["items"]
    assert read == items
    assert "Link" not in page.headers


@pytest.mark.parametrize("path", LISTINGS)
async def test_a_listing_has_its_bounds(client: Client, path: str) -> None:
    for limit, status in {"0": 422, "1": 200, "500": 200, "501": 422, "-1": 422, "many": 422}.items():
        answer = await client.call("GET", f"{path}?limit={limit}")
        assert (path, limit, answer.status) == (path, limit, status)
    foreign = "/members" if path != "/members" else "/api-keys"
    for number in range(2):
        await one_more(client, foreign, number)
    cursor = (await client.call("GET", f"{foreign}?limit=1")).body["next_cursor"]
    for made_up in (cursor, "W10", "%00", ""):
        answer = await client.call("GET", f"{path}?cursor={made_up}")
        assert (path, made_up, answer.status, answer.code) == (path, made_up, 400, "invalid_cursor")
