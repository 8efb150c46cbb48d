"""The house's rules about who may import whom, and about what a module may look like."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from infra.settings import PROJECT_ROOT

MAY_IMPORT = {
    "schemas": {"schemas"},
    "infra": {"schemas", "infra"},
    "workers": {"schemas", "infra", "workers"},
    "ingress": {"schemas", "infra", "ingress"},
    "scripts": {"schemas", "infra", "workers", "ingress", "scripts"},
}
NEVER_REACHED_FROM_INGRESS = {"openvino", "torch", "torchvision", "facenet_pytorch", "workers", "scripts"}
NEVER_LOADED_BY_INGRESS = NEVER_REACHED_FROM_INGRESS | {
    "qdrant_client",
    "qdrant_edge",
    "grpc",
    "cv2",
    "aioboto3",
}
MAX_LINES = 300
CLIENT = Path("scripts/client/faceid_client")
BROAD = {"Exception", "BaseException"}

SOURCES = [
    path.relative_to(PROJECT_ROOT)
    for folder in MAY_IMPORT
    for path in sorted((PROJECT_ROOT / folder).rglob("*.py"))
]


def test_imports_go_one_way() -> None:
    wrong = [
        f"{path} imports {module}"
        for path in SOURCES
        for module in imported_modules(path)
        if top(module) in {*MAY_IMPORT, "tests"} - MAY_IMPORT[path.parts[0]]
    ]
    assert wrong == []


def test_the_client_needs_nothing_else_of_the_house() -> None:
    """Users import it on its own: only what aiohttp and Python bring, and `faceid_client` itself."""
    ours = [path for path in SOURCES if path.is_relative_to(CLIENT)]
    allowed = {*sys.stdlib_module_names, "aiohttp", "faceid_client"}
    assert len(ours) > 1
    assert [m for path in ours for m in imported_modules(path) if top(m) not in allowed] == []
    users = {path.parts[0] for path in SOURCES if "faceid_client" in map(top, imported_modules(path))}
    assert users == {"scripts"}


def test_ingress_loads_nothing_of_the_pipeline() -> None:
    modules = [module_name(path) for path in SOURCES if path.parts[0] == "ingress"]
    program = "import importlib, sys; [importlib.import_module(m) for m in sys.argv[1:]]; print(*sys.modules)"
    command = [sys.executable, "-c", program, *modules]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PROJECT_ROOT)
    loaded = set(done.stdout.split())
    assert set(modules) <= loaded
    assert sorted(module for module in loaded if top(module) in NEVER_LOADED_BY_INGRESS) == []


def test_ingress_reaches_nothing_of_the_pipeline() -> None:
    """Imports inside functions count too: every import of ours is followed from ingress as far as it goes."""
    paths = {module_name(path): path for path in SOURCES}
    waiting = [module_name(path) for path in SOURCES if path.parts[0] == "ingress"]
    reached: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting.append(module.rpartition(".")[0])  # importing a.b runs a/__init__.py first
            waiting += imported_modules(paths[module]) if module in paths else ()
    assert sorted(module for module in reached if top(module) in NEVER_REACHED_FROM_INGRESS) == []


def test_the_library_of_s3_stays_behind_its_adapter() -> None:
    library = {"aioboto3", "aiobotocore", "boto3", "botocore"}
    users = {path for path in SOURCES if not library.isdisjoint(map(top, imported_modules(path)))}
    assert users
    assert all(path.match("infra/objects/s3*.py") for path in users), users


def test_aiokafka_has_one_module() -> None:
    users = [path for path in SOURCES if "aiokafka" in map(top, imported_modules(path))]
    assert list(map(str, users)) == ["infra/broker/kafka/client.py"]


def test_motor_has_one_module() -> None:
    users = {path for path in SOURCES if "motor" in map(top, imported_modules(path))}
    assert len(users) <= 1, f"motor is imported in {users}"


def test_long_modules_say_why() -> None:
    long = [
        f"{path}: {lines} lines"
        for path in SOURCES
        if (lines := read(path).count("\n")) > MAX_LINES
        and not re.search(r"^# long because: \S", read(path), re.MULTILINE)
    ]
    assert long == []


def test_broad_handlers_raise_or_say_why() -> None:
    silent = [
        f"{path}:{handler.lineno}"
        for path in SOURCES
        for handler in ast.walk(parse(path))
        if isinstance(handler, ast.ExceptHandler)
        and is_broad(handler)
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(handler))
        and not says_why(handler, read(path).splitlines())
    ]
    assert silent == []


def read(path: Path) -> str:
    return (PROJECT_ROOT / path).read_text(encoding="utf-8")


def parse(path: Path) -> ast.Module:
    return ast.parse(read(path), str(path))


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def top(module: str) -> str:
    """The package that a module is in."""
    return module.partition(".")[0]


def imported_modules(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, by its full name."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            module = node.module or ""
            yield module
            # What is imported from a package may be a module of its own.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether it catches everything: a bare except does too."""
    if handler.type is None:
        return True
    return any(isinstance(name, ast.Name) and name.id in BROAD for name in ast.walk(handler.type))


def says_why(handler: ast.ExceptHandler, lines: list[str]) -> bool:
    """Whether a comment with words stands by it; the code of a silenced lint rule alone is none."""
    start, end = handler.lineno - 1, handler.body[0].lineno
    comments = "".join(line.partition("#")[2] for line in lines[start:end])
    return re.search(r"\w{3}", re.sub(r"noqa:\s*[A-Z]+\d+", "", comments)) is not None
