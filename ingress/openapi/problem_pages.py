"""`/problems` and `/problems/{code}`: what a code means, what to do, and what answers it."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from http import HTTPStatus
from typing import Any

from ingress.openapi.docs_page import operations
from ingress.openapi.document import Document
from ingress.openapi.html import inline, page, table
from ingress.pages import Choice, Page
from schemas.api.service import ProblemOperation, ProblemPage, ProblemPages
from schemas.problem_types import PROBLEM_TYPES, ProblemType


def problem_pages(document: Document) -> tuple[Choice, Mapping[str, Choice]]:
    """The list of all codes, and each code's page."""
    found = {kind.code: _described(kind, document) for kind in PROBLEM_TYPES.values()}
    pages = {code: Choice(_html(problem), _json(problem)) for code, problem in found.items()}
    return Choice(_index(list(found.values())), _json(ProblemPages(items=list(found.values())))), pages


def codes_of(operation: Mapping[str, Any]) -> Iterator[str]:
    """The codes that an operation may answer with."""
    for answer in operation["responses"].values():
        yield from answer.get("content", {}).get("application/problem+json", {}).get("examples", {})


def _described(kind: ProblemType, document: Document) -> ProblemPage:
    answering = [
        ProblemOperation(method=method.upper(), path=path, operation_id=operation["operationId"])
        for method, path, operation in operations(document)
        if kind.code in codes_of(operation)
    ]
    return ProblemPage(
        code=kind.code, status=kind.status, title=kind.title, remedy=kind.remedy, operations=answering
    )


def _json(answer: ProblemPage | ProblemPages) -> Page:
    return Page(answer.model_dump_json().encode(), "application/json")


def _html(problem: ProblemPage) -> Page:
    status = f"{problem.status} {HTTPStatus(problem.status).phrase}"
    answering = "".join(
        f'<li><a href="/docs#{escape(operation.operation_id)}"><code>{operation.method} '
        f"{escape(operation.path)}</code></a></li>"
        for operation in problem.operations
    )
    answered = f"<h4>Who answers it</h4><ul>{answering}</ul>" if answering else ""
    return page(
        f"{problem.title} ({problem.code})",
        f"""<main class="alone">
<p><a href="/problems">All problems</a> · <a href="/docs">The API</a></p>
<h1>{escape(problem.title)}</h1>
<p><code>{escape(problem.code)}</code>, HTTP status {escape(status)}</p>
<h4>What to do</h4><p>{inline(problem.remedy)}</p>
{answered}
</main>""",
    )


def _index(problems: Sequence[ProblemPage]) -> Page:
    rows = [
        (
            f'<a href="/problems/{escape(problem.code)}"><code>{escape(problem.code)}</code></a>',
            str(problem.status),
            escape(problem.title),
            inline(problem.remedy),
        )
        for problem in problems
    ]
    return page(
        "Problems",
        f"""<main class="alone">
<p><a href="/docs">The API</a></p>
<h1>Problems</h1>
<p>Every error is <code>application/problem+json</code> with one of these codes. Codes stay as they are.</p>
{table(("code", "status", "what it means", "what to do"), rows)}
</main>""",
    )
