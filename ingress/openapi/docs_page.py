"""`/docs`: the document as a page to read, with nothing from elsewhere and without a script."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from ingress.openapi.curl import curl_line
from ingress.openapi.document import Document
from ingress.openapi.html import inline, page, table, type_of, words
from ingress.pages import Page

_METHODS: Final = ("get", "post", "put", "patch", "delete")


def operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation, in the document's order."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield method, path, operation


def docs_page(document: Document) -> Page:
    """All operations by what they are about, then the models."""
    info = document["info"]
    groups = "".join(_group(document, tag) for tag in document["tags"])
    models = "".join(_model(name, schema) for name, schema in document["components"]["schemas"].items())
    about = words(info["description"].replace("`/problems/{code}`", "`/problems`"))
    body = f"""<div class="sides">{_navigation(document)}<main>
<h1 id="top">{escape(info["title"])} <span class="soft">{escape(info["version"])}</span></h1>
{about}
<p>The same for programs: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1). Every error code:
<a href="/problems">/problems</a>.</p>
<h2 id="credentials">Credentials</h2>
{_credentials(document)}
{groups}
<h2 id="models">Models</h2>
{models}
</main></div>"""
    return page(f"{info['title']} {info['version']}", body)


def _navigation(document: Document) -> str:
    parts = ['<nav aria-label="Operations"><a href="#top"><strong>FaceID API</strong></a>']
    parts.append('<ul><li><a href="#credentials">Credentials</a></li><li><a href="#models">Models</a></li>')
    parts.append('<li><a href="/problems">Errors</a></li></ul>')
    for tag in document["tags"]:
        items = "".join(
            f'<li><a href="#{escape(operation["operationId"])}">{_method(method)} {escape(path)}</a></li>'
            for method, path, operation in operations(document)
            if tag["name"] in operation["tags"]
        )
        parts.append(f"<h2>{escape(tag['description'])}</h2><ul>{items}</ul>")
    return "".join(parts) + "</nav>"


def _credentials(document: Document) -> str:
    schemes = document["components"]["securitySchemes"].values()
    rows = [
        (f"<code>{escape(scheme.get('name', 'Authorization: Bearer'))}</code>", inline(scheme["description"]))
        for scheme in schemes
    ]
    return table(("header", "whose"), rows)


def _group(document: Document, tag: dict[str, str]) -> str:
    articles = "".join(
        _operation(document, method, path, operation)
        for method, path, operation in operations(document)
        if tag["name"] in operation["tags"]
    )
    return f'<h2 id="tag-{escape(tag["name"])}">{escape(tag["description"])}</h2>{articles}'


def _operation(document: Document, method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = [_resolved(document, parameter) for parameter in operation["parameters"]]
    return f"""<article id="{escape(operation["operationId"])}">
<h3>{_method(method)} <span class="path">{escape(path)}</span></h3>
{words(operation["description"])}
{_parameters(parameters)}
{_body(document, operation)}
<h4>Call</h4>
<pre><code>{escape(curl_line(method, path, operation))}</code></pre>
<h4>Answers</h4>
{_answers(operation)}
</article>"""


def _method(method: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span>'


def _resolved(document: Document, given: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in given:
        return given
    part: Any = document
    for name in given["$ref"].removeprefix("#/").split("/"):
        part = part[name]
    return part


def _parameters(parameters: list[dict[str, Any]]) -> str:
    rows = [
        (
            f"<code>{escape(given['name'])}</code>{_needed(given.get('required', False))}",
            escape(given["in"]),
            type_of(given["schema"]),
            inline(given.get("description", "")) + _default(given["schema"]),
        )
        for given in parameters
    ]
    return f"<h4>Parameters</h4>{table(('name', 'in', 'type', 'what it is'), rows)}"


def _needed(required: bool) -> str:
    return " <strong>required</strong>" if required else ""


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return (
        ""
        if default is None
        else f" <span class='soft'>Default <code>{escape(json.dumps(default))}</code>.</span>"
    )


def _body(document: Document, operation: dict[str, Any]) -> str:
    parts: list[str] = []
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = _resolved(document, content["schema"])
        parts.append(
            f"<h4>Body, {escape(media_type)}</h4>{words(schema.get('description', ''))}{_fields(schema)}"
        )
        for example in content.get("examples", {}).values():
            if media_type != "multipart/form-data":  # The call below is a form's example.
                text = json.dumps(example["value"], indent=2, ensure_ascii=False)
                parts.append(
                    f"<details><summary>Example</summary><pre><code>{escape(text)}</code></pre></details>"
                )
    return "".join(parts)


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (
            f"<code>{escape(name)}</code>{_needed(name in required)}",
            type_of(given),
            inline(given.get("description", "")) + _default(given),
        )
        for name, given in schema.get("properties", {}).items()
    ]
    return table(("field", "type", "what it is"), rows)


def _answers(operation: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = []
    for status, answer in operation["responses"].items():
        content: dict[str, Any] = answer.get("content", {})
        codes = content.get("application/problem+json", {}).get("examples", {})
        bodies = [
            f"{type_of(given['schema'])} <span class='soft'>{escape(media_type)}</span>"
            for media_type, given in content.items()
            if media_type != "application/problem+json"
        ]
        bodies += [f'<a href="/problems/{escape(code)}"><code>{escape(code)}</code></a>' for code in codes]
        said = "" if codes else f"<p>{inline(answer['description'])}</p>"
        headers = [name for name in answer.get("headers", {}) if name != "X-Correlation-ID"]
        shown = ", ".join(f"<code>{escape(name)}</code>" for name in headers)
        rows.append((f"<strong>{escape(status)}</strong>", said + " ".join(bodies), shown))
    return table(("status", "what comes", "headers"), rows)


def _model(name: str, schema: dict[str, Any]) -> str:
    inside = _fields(schema) or f"<p>{type_of(schema)}</p>"
    return (
        f'<article id="model-{escape(name)}"><h3>{escape(name)}</h3>{words(schema.get("description", ""))}'
        f"{inside}</article>"
    )
