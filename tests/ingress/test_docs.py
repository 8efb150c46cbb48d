"""The pages for people: whole, safe to show, and with nothing from elsewhere."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from ingress.openapi.docs_page import operations
from ingress.openapi.html import inline
from ingress.openapi.pages import api_document
from schemas.problem_types import PROBLEM_TYPES
from tests.ingress.conftest import Client

PAGES = ("/docs", "/problems", "/problems/duplicate_face")
VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Reads a page: its elements, its links, what can be linked to, and whether it is well formed."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.places: list[str] = []
        self.attributes: set[str] = set()
        self.style = ""
        self._open: list[str] = []
        self.feed(page.decode())
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "action"}]
        self.places += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_nothing_and_runs_nothing(stranger: Client, path: str) -> None:
    answer = await stranger.call("GET", path)
    page = Reader(answer.content)
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form"})
    assert not any(name.startswith("on") or name == "style" for name in page.attributes)
    assert all(link.startswith(("/", "#")) for link in page.links)
    assert "url(" not in page.style
    assert "@import" not in page.style
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


async def test_the_page_has_each_operation_and_each_link_leads_somewhere(stranger: Client) -> None:
    page = Reader((await stranger.call("GET", "/docs")).content)
    assert len(page.places) == len(set(page.places))
    assert {operation["operationId"] for _, _, operation in operations(api_document())} <= set(page.places)
    for link in sorted(set(page.links)):
        if link.startswith("#"):
            assert link[1:] in page.places, link
        else:
            assert (await stranger.call("GET", link)).status == 200, link


async def test_the_page_shows_a_call_of_each_operation(stranger: Client) -> None:
    text = (await stranger.call("GET", "/docs")).content.decode()
    assert text.count("curl --cacert ca.pem") == len(list(operations(api_document())))
    assert "-F image=@photo.jpg" in text
    assert "$URL/logs?user_id=u-1&amp;from=2026-03-01" in text


async def test_each_problem_has_a_page(stranger: Client) -> None:
    for code, kind in PROBLEM_TYPES.items():
        page = await stranger.call("GET", f"/problems/{code}")
        assert page.status == 200
        assert page.headers["Content-Type"].startswith("text/html")
        assert page.headers["Vary"] == "Accept"
        text = page.content.decode()
        assert all(part in text for part in (code, inline(kind.title), inline(kind.remedy), str(kind.status)))
        answer = await stranger.call("GET", f"/problems/{code}", headers={"Accept": "application/json"})
        assert answer.body.items() >= {"code": code, "status": kind.status, "title": kind.title}.items()


async def test_a_problem_says_what_answers_it(stranger: Client) -> None:
    path = "/problems/registration_closed"
    answer = await stranger.call("GET", path, headers={"Accept": "application/json"})
    assert answer.body["operations"] == [
        {"method": "POST", "path": "/register", "operation_id": "accounts_register"}
    ]
    page = (await stranger.call("GET", path)).content.decode()
    assert re.search(r'href="/docs#accounts_register"><code>POST /register<', page)


async def test_the_list_of_problems_has_all(stranger: Client) -> None:
    page = Reader((await stranger.call("GET", "/problems")).content)
    assert {f"/problems/{code}" for code in PROBLEM_TYPES} <= set(page.links)
    answer = await stranger.call("GET", "/problems", headers={"Accept": "application/json"})
    assert [item["code"] for item in answer.body["items"]] == list(PROBLEM_TYPES)


async def test_a_problem_that_there_is_not(stranger: Client) -> None:
    assert (await stranger.call("GET", "/problems/boredom")).code == "not_found"
