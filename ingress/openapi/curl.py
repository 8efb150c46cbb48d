"""An operation's example as a command line."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode


def curl_line(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """One call with curl; what stands in capitals is the reader's."""
    lines = ["curl --cacert ca.pem"]
    if method != "get" and "requestBody" not in operation:
        lines[0] += f" -X {method.upper()}"
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    lines += _body(method, operation)
    lines.append(f'"$URL{path}{_query(operation)}"')
    return " \\\n  ".join(lines)


def _query(operation: Mapping[str, Any]) -> str:
    pairs = [
        (given["name"], given["examples"]["example_1"]["value"])
        for given in operation["parameters"]
        if given.get("in") == "query" and "example_1" in given.get("examples", {})
    ]
    return f"?{urlencode(pairs)}" if pairs else ""


def _body(method: str, operation: Mapping[str, Any]) -> list[str]:
    content: Mapping[str, Any] = operation.get("requestBody", {}).get("content", {})
    for media_type, body in content.items():
        example: dict[str, Any] = body.get("examples", {}).get("example_1", {}).get("value", {})
        if media_type == "multipart/form-data":
            return [f"-F {shlex.quote(field)}" for field in _fields(example)]
        verb = [f"-X {method.upper()}"] if method != "post" else []
        text = shlex.quote(json.dumps(example, ensure_ascii=False))
        if media_type == "application/json":
            return [*verb, f"--json {text}"]
        return [*verb, f"-H 'Content-Type: {media_type}'", f"-d {text}"]
    return []


def _fields(example: Mapping[str, Any]) -> list[str]:
    fields: list[str] = []
    for name, value in example.items():
        if isinstance(value, dict):
            fields.append(f"{name}={json.dumps(value, ensure_ascii=False)}")
        elif isinstance(value, list):
            fields += [f"{name}={item}" for item in cast(list[Any], value)]
        else:
            fields.append(f"{name}=@{value}" if name.endswith("image") else f"{name}={value}")
    return fields
