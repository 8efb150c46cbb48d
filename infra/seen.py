"""What a process sees of the parts that no other process can ask: the model and the index."""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.recognition import Engine


@dataclass(frozen=True)
class Seen:
    """Of each part `ready`, or what it is instead in a word or two of our own; and what makes templates."""

    parts: Mapping[str, str]
    engines: tuple[Engine, ...] = ()
