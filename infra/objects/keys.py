"""What keys and prefixes are, for every adapter."""

import re
from typing import Final

_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_MAX_KEY_BYTES: Final = 512


def key_parts(key: str) -> list[str]:
    """The folders of a key, then its name. Raises ValueError for what is none."""
    parts = key.split("/")
    if len(key) > _MAX_KEY_BYTES or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError("not a key: parts of A-Z a-z 0-9 . _ - that don't begin with a dot, separated by /")
    return parts


def prefix_parts(prefix: str) -> list[str]:
    """The folders of a prefix. Raises ValueError for what is none."""
    if prefix and not prefix.endswith("/"):
        raise ValueError("not a prefix: it is empty or ends in /")
    return key_parts(prefix[:-1]) if prefix else []
