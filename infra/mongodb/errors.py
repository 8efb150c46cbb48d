"""Telling a server that can't be used now from one that refuses us, and both from a statement that is wrong.

Errors are told apart by class and code, never by their text, which may hold values; TLS's own reasons are the
exception, since the driver keeps nothing else of them.
"""

import re
from collections.abc import Iterable
from typing import Final

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteError,
)

DRIVER_ERRORS: Final = (PyMongoError, BSONError, OverflowError)
"""What a call of the driver raises, for a document that BSON can't hold included."""

INDEX_NOT_FOUND: Final = 27
COLLECTION_EXISTS: Final = 48
INDEX_CONFLICTS: Final = frozenset({85, 86})

_DENIED: Final = frozenset({13, 18, 8000})
"""Unauthorized, AuthenticationFailed, and what a hosted MongoDB says for both."""

_NOT_NOW: Final = frozenset(
    {
        1,  # InternalError: the server has broken down, as on a full disk; it says nothing of the statement
        6,  # HostUnreachable
        7,  # HostNotFound
        46,  # LockBusy
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed (a majority did not confirm in time)
        79,  # UnknownReplWriteConcern
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        100,  # UnsatisfiableWriteConcern
        112,  # WriteConflict
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        262,  # ExceededTimeLimit
        290,  # TransactionExceededLifetimeLimitSeconds
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)

_TLS_REASON: Final = re.compile(r"\[SSL: ([A-Z0-9_]+)\]")
# What a server that is just going down makes of a handshake; it says nothing about certificates.
_TLS_PASSING: Final = frozenset({"UNEXPECTED_EOF_WHILE_READING"})


class MongoUnavailable(Exception):
    """No server that may be written to answers (down, electing, full disk, time-out): try again later.

    A write that met this may have happened all the same.
    """


class MongoDenied(Exception):
    """The server answers and does not let us in, or is not the one that we trust."""


class MongoFailed(Exception):
    """The server refused the statement; nothing was changed as far as is known."""


def translated(error: Exception) -> Exception:
    """The error to raise above this package for one of the driver's; it names class and code."""
    name = type(error).__name__
    if isinstance(error, ConfigurationError):
        return MongoDenied("it does not do what its URL asks for")
    if isinstance(error, ConnectionFailure | ExecutionTimeout):
        return MongoUnavailable(f"no answer ({name})")
    if isinstance(error, OperationFailure):
        code = error.code
        told = f"{name}, code {code}"
        if code in _DENIED:
            return MongoDenied(f"it does not let us in (code {code}): see user, password and roles")
        if code in _NOT_NOW or _is_passing(error):
            return MongoUnavailable(f"not now ({told})")
        return MongoFailed(f"the server refused ({told})")
    return MongoFailed(f"the driver refused ({name})")


def tls_fault(errors: Iterable[Exception | None]) -> str | None:
    """Why TLS with one of the servers failed in a way that no waiting mends."""
    for error in errors:
        found = _TLS_REASON.search(str(error))
        if found is not None and found[1] not in _TLS_PASSING:
            return found[1]
    return None


def _is_passing(error: OperationFailure) -> bool:
    """What the server itself calls worth another attempt. A write error is told of its document alone."""
    if isinstance(error, WriteError | BulkWriteError):
        return False
    return error.has_error_label("RetryableWriteError") or error.timeout
