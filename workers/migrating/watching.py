"""Seeing how far a migration is."""

from typing import Protocol


class Watcher(Protocol):
    """Is told what is being done, and how much of it is done."""

    def begin(self, doing: str, total: int | None) -> None: ...

    def advance(self, count: int) -> None: ...


class Unwatched:
    """Nobody looks."""

    def begin(self, doing: str, total: int | None) -> None:
        return

    def advance(self, count: int) -> None:
        return
