"""Child processes: what would hold up the event loop or may crash, called like a function across a socket.

The host owns a `ChildProcess`; the module that runs in the child calls `child_main`. Between them go
length-prefixed msgpack frames (never pickle), numbered requests one way and their answers the other; a child
does one thing at a time, in the order of the requests.
"""

from infra.child.blocking import BlockingChild
from infra.child.errors import (
    CallRefused,
    ChildAbsent,
    ChildBusy,
    ChildClosed,
    ChildDied,
    ChildFailed,
    ChildStartFailed,
    ChildTimedOut,
)
from infra.child.frames import MAX_FRAME_BYTES, FrameTooLarge
from infra.child.process import ChildProcess, ChildState
from infra.child.serving import Handler, Handlers, child_main, limit_resources

__all__ = [
    "MAX_FRAME_BYTES",
    "BlockingChild",
    "CallRefused",
    "ChildAbsent",
    "ChildBusy",
    "ChildClosed",
    "ChildDied",
    "ChildFailed",
    "ChildProcess",
    "ChildStartFailed",
    "ChildState",
    "ChildTimedOut",
    "FrameTooLarge",
    "Handler",
    "Handlers",
    "child_main",
    "limit_resources",
]
