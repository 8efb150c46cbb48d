"""The child of `test_child.py`: `python -m tests.infra.child_examples`."""

import os
import resource
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.child import CallRefused, Handlers, child_main


def refuse(detail: str) -> None:
    raise CallRefused("not_today", detail)


def fail(secret: str) -> None:
    raise ValueError(secret)


def kill_self(signal_number: int) -> None:
    os.kill(os.getpid(), signal_number)
    hang(None)


def hang(_: Any) -> None:
    while True:
        time.sleep(60)


def write_to_socket(garbage: bytes) -> None:
    os.write(int(sys.argv[1]), garbage)
    hang(None)


def close_socket(_: Any) -> None:
    os.close(int(sys.argv[1]))
    hang(None)


@contextmanager
def examples(arguments: Mapping[str, Any]) -> Generator[Handlers, None, None]:
    match arguments.get("start"):
        case "refuse":
            raise CallRefused("no_model", "the weights are not there")
        case "fail":
            raise ValueError("a secret")
        case "hang":
            hang(None)
        case "read":
            Path(arguments["gate"]).read_text()
        case _:
            pass
    yield {
        "echo": lambda payload: payload,
        "pid": lambda _: os.getpid(),
        "environment": os.environ.get,
        "core_limit": lambda _: list(resource.getrlimit(resource.RLIMIT_CORE)),
        "read": lambda path: Path(path).read_text(),
        "zeros": bytes,
        "unknown_type": lambda _: object(),
        "refuse": refuse,
        "fail": fail,
        "kill_self": kill_self,
        "hang": hang,
        "write_to_socket": write_to_socket,
        "close_socket": close_socket,
    }
    if "left" in arguments:
        Path(arguments["left"]).write_text("in good order")


if __name__ == "__main__":
    child_main(examples)
