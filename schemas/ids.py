"""Identifiers: time-sortable ones for what begins, derived ones for what a job makes."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid5

# Data that belongs to no company (log-in look-ups, for instance) is kept under this id, so that no port
# method has to exist in an unscoped variant.
PLATFORM = UUID(int=0)

Entropy = Callable[[int], bytes]

_VERSION_7 = 0x7
_VARIANT_RFC = 0b10


def new_id(at: datetime, entropy: Entropy) -> UUID:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    unix_ms = int(at.timestamp() * 1000)
    random = int.from_bytes(entropy(10), "big")
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80
    value |= _VERSION_7 << 76
    value |= ((random >> 62) & 0xFFF) << 64
    value |= _VARIANT_RFC << 62
    value |= random & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=value)


def derived_id(job_id: UUID, name: str) -> UUID:
    """The id of something that a job makes: a second run of the same job makes the same one."""
    return uuid5(job_id, name)


def companion_id(first: UUID, name: str) -> UUID:
    """The id of something that begins together with `first`, a UUIDv7: of the same time, so that it sorts
    with it, and the same whenever it is asked for."""
    rest_bits = 76
    rest = uuid5(first, name).int & ((1 << rest_bits) - 1)
    return UUID(int=first.int >> rest_bits << rest_bits | rest)
