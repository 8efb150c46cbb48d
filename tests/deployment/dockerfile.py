"""A Dockerfile as its stages."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One `FROM`: what it stands on, and its instructions in their order."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def all(self, instruction: str) -> list[str]:
        """The arguments of each instruction of that kind."""
        return [words for kind, words in self.instructions if kind == instruction]


def read(path: Path) -> tuple[dict[str, str], dict[str, Stage]]:
    """The arguments before the first stage, and the stages by name."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        instruction, _, words = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = words.partition(" AS ")
            stage = stages[name] = Stage(name, base)
        elif stage is None and instruction:
            assert instruction == "ARG", f"{instruction} before the first FROM"
            name, _, value = words.partition("=")
            arguments[name] = value
        elif stage is not None and instruction:
            stage.instructions.append((instruction, words))
    return arguments, stages


def whole(stages: dict[str, Stage], name: str) -> Stage:
    """A stage with what it has of those it stands on."""
    stage = stages[name]
    if stage.base not in stages:
        return stage
    below = whole(stages, stage.base)
    return Stage(name, below.base, below.instructions + stage.instructions)


def environment(stage: Stage) -> dict[str, str]:
    """What its `ENV`s set."""
    pairs = [word.partition("=") for words in stage.all("ENV") for word in shlex.split(words)]
    return {name: value for name, _, value in pairs}
