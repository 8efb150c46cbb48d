"""What is killed, seen from outside."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from infra.settings import Settings


class Cluster(ABC):
    """A running service whose parts may be killed and are then started again, as a supervisor does."""

    ca_file: Path

    @property
    @abstractmethod
    def victims(self) -> Sequence[str]:
        """The parts that can be killed, by names that are the same in every run."""

    @abstractmethod
    def urls(self) -> Sequence[str]:
        """The ingresses that take calls now."""

    @abstractmethod
    async def kill(self, victim: str, chance: random.Random) -> None:
        """Kill -9 a part, and start it again; returns when it has been started."""

    @abstractmethod
    async def stop(self) -> Settings:
        """Stop the service in good order, its servers not; the settings that open its stores."""
