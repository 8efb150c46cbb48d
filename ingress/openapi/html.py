"""What the pages share: the frame, the style, and small pieces of HTML. Everything else is escaped."""

import base64
import hashlib
import re
from html import escape
from typing import Any, Final

from ingress.openapi.style import STYLE
from ingress.pages import Page

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_FRAME: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(title: str, body: str) -> Page:
    """A whole page: it loads nothing and runs nothing."""
    text = _FRAME.format(title=escape(title), style=STYLE, body=body)
    return Page(text.encode(), "text/html", _POLICY)


def words(text: str) -> str:
    """Running text in which `backticks` are code, as paragraphs."""
    return "".join(f"<p>{inline(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


def inline(text: str) -> str:
    """One paragraph's inside."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of cells that are HTML already; nothing for no rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def type_of(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#model-{escape(name)}">{escape(name)}</a>'
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return " · ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(type_of(option) for option in schema[several])
    match schema.get("type"):
        case "array":
            return f"list of {type_of(schema.get('items', {}))}{_limits(schema)}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {type_of(schema['additionalProperties'])}"
        case str(kind):
            form = schema.get("format") or schema.get("contentEncoding")
            return escape(f"{kind}, {form}" if form else kind) + _limits(schema)
        case _:
            return escape(schema.get("contentMediaType", "any"))


def _limits(schema: dict[str, Any]) -> str:
    least = next((schema[key] for key in ("minimum", "minLength", "minItems") if key in schema), None)
    most = next((schema[key] for key in ("maximum", "maxLength", "maxItems") if key in schema), None)
    if least is None and most is None:
        return ""
    if least is None:
        return f", at most {most}"
    return f", at least {least}" if most is None else f", {least} to {most}"
