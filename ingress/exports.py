"""How many exports are at work: each costs processor time for as long as it lasts, and others are waiting."""

import asyncio
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from schemas.problems import ProblemError

_PER_COMPANY: Final = 2


class Exports:
    """Places for the exports of each company, and turns among all of them.

    `turn` is held while a page is made, and not while its client takes it: in all, exports hold up no more
    than one would, and a client that takes its time holds none of the others up.
    """

    def __init__(self) -> None:
        self.turn: Final = asyncio.Lock()
        self._at_once: Counter[UUID] = Counter()

    @contextmanager
    def place(self, company_id: UUID) -> Generator[None]:
        """One of the company's places, for the block. Raises `ProblemError("too_many_exports")`."""
        if self._at_once[company_id] >= _PER_COMPANY:
            raise ProblemError("too_many_exports")
        self._at_once[company_id] += 1
        try:
            yield
        finally:
            self._at_once[company_id] -= 1
            self._at_once += Counter()  # Forgets those who have none.
