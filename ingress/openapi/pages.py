"""All pages, made once a process."""

import json
from functools import cache

from ingress.openapi.docs_page import docs_page
from ingress.openapi.document import Document, build_document
from ingress.openapi.problem_pages import problem_pages
from ingress.pages import Page, Pages
from ingress.routes import ROUTES


@cache
def api_document() -> Document:
    """The document of the API as it is; not to be changed by whoever reads it."""
    return build_document(ROUTES)


@cache
def api_pages() -> Pages:
    """What the API says of itself, ready to be served."""
    document = api_document()
    problems, problem_by_code = problem_pages(document)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Pages(
        openapi=Page(text.encode(), "application/json"),
        docs=docs_page(document),
        problems=problems,
        problem_by_code=problem_by_code,
    )
