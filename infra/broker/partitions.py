"""Which partition a key belongs to: the same for every broker, process and version."""

from zlib import crc32


def partition_of(key: bytes, partitions: int) -> int:
    """The number of a key's partition. Stable for ever: a key's messages stay in one partition."""
    return crc32(key) % partitions
