"""What a demonstration prints: a line a step, and whether each answer was the right one."""

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from faceid_client import Reply
from scripts.drawing import Mark, Panel


@dataclass
class Show:
    """Prints each step and remembers whether its answer was the right one."""

    console: Console
    wrong: int = 0
    panels: list[Panel] = field(default_factory=list[Panel])

    def step(self, title: str, said: str, *, right: bool, started_s: float) -> None:
        elapsed_ms = (time.perf_counter() - started_s) * 1000
        mark = "[green]✓[/]" if right else "[bold red]✗[/]"
        line = f"{mark} {title:<46} {said}  [dim]{elapsed_ms:.0f} ms[/]"
        self.console.print(line, highlight=False, soft_wrap=True)
        self.wrong += not right


def label_of(best: dict[str, Any] | None) -> str:
    """Who a face was taken for."""
    return f"{best['full_name']} ({best['confidence']:.2f} %)" if best else "nobody we know"


def mark_of(face: dict[str, Any], label: str, matched: bool) -> Mark:
    """A face of an answer, to be drawn."""
    box = face["box"]
    return Mark((box["x"], box["y"], box["width"], box["height"]), label, matched)


def problem_of(reply: Reply) -> str:
    """What was refused, by code and title."""
    body: dict[str, Any] = reply.body or {}
    return f"refused: {body.get('code', reply.status)} ({body.get('title', 'no reason given')})"
