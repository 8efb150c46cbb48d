"""The table of problems against the source: no code that the table lacks, none that nothing gives."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.settings import PROJECT_ROOT
from schemas.problem_types import PROBLEM_TYPES

GIVEN_WITH: Final = {"ProblemError", "PhotoRefused", "Refusal", "TokenInvalid"}
"""What carries a code to the client, by its first argument."""

TABLE: Final = Path("schemas/problem_types.py")
LISTED: Final = {Path("ingress/routes.py"), Path("ingress/openapi/codes.py")}
"""They say what may come, which is no use of a code."""

SOURCES: Final = [
    path.relative_to(PROJECT_ROOT)
    for folder in ("schemas", "infra", "workers", "ingress")
    for path in sorted((PROJECT_ROOT / folder).rglob("*.py"))
]


def test_no_code_is_given_that_the_table_lacks() -> None:
    unknown = [
        f"{path}:{line}: {code}"
        for path in SOURCES
        for code, line in given(path)
        if code not in PROBLEM_TYPES
    ]
    assert unknown == []
    found = {code for path in SOURCES for code, _ in given(path)}
    assert {"not_found", "corrupt_image", "token_expired"} <= found  # The scan sees each kind.


def test_no_code_of_the_table_is_unused() -> None:
    used = {text for path in SOURCES if path != TABLE and path not in LISTED for text in texts(parse(path))}
    assert sorted(PROBLEM_TYPES.keys() - used) == []


def given(path: Path) -> Iterator[tuple[str, int]]:
    """Each code that a file gives as it is written, and in which line."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call) and name_of(node.func) in GIVEN_WITH and node.args:
            yield from written(node.args[0])


def written(code: ast.expr) -> Iterator[tuple[str, int]]:
    """The codes that an expression may come to, as far as they stand in it."""
    match code:
        case ast.Constant(value=str(text)):
            yield text, code.lineno
        case ast.IfExp(body=first, orelse=second):
            yield from written(first)
            yield from written(second)
        case _:
            return  # A name or a look-up: where its value comes from is a text elsewhere.


def texts(node: ast.AST) -> Iterator[str]:
    """Every text in a file but those of `…_CODES`, which say what may come."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Assign(targets=[ast.Name(id=name)]) if name.endswith("_CODES"):
            return
        case ast.AnnAssign(target=ast.Name(id=name)) if name.endswith("_CODES"):
            return
        case _:
            for child in ast.iter_child_nodes(node):
                yield from texts(child)


def name_of(function: ast.expr) -> str:
    """The last part of what is called."""
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def parse(path: Path) -> ast.Module:
    return ast.parse((PROJECT_ROOT / path).read_text(encoding="utf-8"), str(path))
