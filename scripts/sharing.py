"""Whether stores can be shared: those that are embedded belong to the one process of `faceid serve`."""

from infra.settings import Settings


class NotShared(Exception):
    """The settings choose stores that only one process can have; the message names what to set instead."""

    def __init__(self, command: str, wanted: list[str]) -> None:
        super().__init__(
            f"faceid {command} shares its stores with other processes: set {' and '.join(wanted)}. "
            "With embedded stores one process does it all: faceid serve"
        )


def shared_stores(settings: Settings, command: str) -> None:
    """Raises NotShared for embedded documents or an embedded broker.

    Objects may be in a folder that all processes reach. The embedded index has one owner, which its folder
    knows (`infra.opening.open_vectors`).
    """
    wanted = [
        instead
        for embedded, instead in (
            (settings.broker == "sqlite", "FACEID_BROKER=kafka"),
            (settings.documents == "sqlite", "FACEID_DOCUMENTS=mongodb"),
        )
        if embedded
    ]
    if wanted:
        raise NotShared(command, wanted)
