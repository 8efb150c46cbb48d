"""One unambiguous byte string from several parts."""

from uuid import UUID

Part = str | bytes | UUID


def frame(*parts: Part) -> bytes:
    """Join the parts, each behind its length (4 bytes, big-endian).

    Two different lists of parts never give the same bytes, so nobody can move a border between them
    (`"ab", "c"` and `"a", "bc"` differ). Used wherever several facts are bound into one key or one seal.
    A UUID counts as its canonical text.
    """
    return b"".join(len(encoded).to_bytes(4, "big") + encoded for encoded in map(_encode, parts))


def _encode(part: Part) -> bytes:
    if isinstance(part, bytes):
        return part
    # surrogatepass: JSON can carry a lone surrogate, and a name must not be able to raise here.
    return str(part).encode("utf-8", "surrogatepass")
