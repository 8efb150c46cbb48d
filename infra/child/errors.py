"""What a call of a child process can end in, besides its result."""


class ChildFailed(Exception):
    """A call had no result. Whether the child carried it out is unknown unless a subclass says so."""


class CallRefused(ChildFailed):
    """The child answered with an error: a handler's own, or code `internal` for anything else it raised."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class ChildDied(ChildFailed):
    """The process ended while it had the call; `signal` is the number of the one that killed it, if one
    did."""

    def __init__(self, message: str, signal: int | None = None) -> None:
        super().__init__(message)
        self.signal = signal


class ChildAbsent(ChildFailed):
    """The process ended before it came to the call, or was not there in time to take it: it has not begun
    with it."""


class ChildTimedOut(ChildFailed):
    """The child worked on this very call for all of its time: it was killed and is being restarted."""


class ChildBusy(ChildFailed):
    """The call's time ran out while the child, healthy as far as is known, was at it or at earlier calls."""


class ChildStartFailed(ChildFailed):
    """The process did not get ready."""


class ChildClosed(ChildFailed):
    """The host has closed this child; the call was not carried out."""
