"""The frames between a host and its child: 4 bytes of length (big-endian), then that many bytes of msgpack.

A request is `{id, method, payload}`; its answer `{id, ok: true, result}` or `{id, ok: false, code, detail}`.
"""

from collections.abc import Mapping
from typing import Any, cast

import msgpack

HEADER_BYTES = 4

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""The default limit of a frame: room for a batch of photos, far below what would endanger either process."""


class FrameTooLarge(ValueError):
    """A message does not fit into a frame."""


class BrokenFrame(Exception):
    """What came over the socket is not a frame of ours: the other side is not to be trusted any further."""


def encode(message: Mapping[str, Any], max_bytes: int) -> bytes:
    body = msgpack.packb(message)
    if len(body) > max_bytes:
        raise FrameTooLarge(f"a message of {len(body)} bytes exceeds the frame limit of {max_bytes}")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def body_length(header: bytes | bytearray, max_bytes: int) -> int:
    length = int.from_bytes(header, "big")
    if length > max_bytes:
        raise BrokenFrame(f"a frame of {length} bytes exceeds the limit of {max_bytes}")
    return length


def decode(body: bytes | bytearray) -> dict[str, Any]:
    try:
        message: object = msgpack.unpackb(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise BrokenFrame(f"a frame is not msgpack ({type(error).__name__})") from None
    if not isinstance(message, dict) or not isinstance(cast(dict[str, Any], message).get("id"), int):
        raise BrokenFrame("a frame is not a numbered message")
    return cast(dict[str, Any], message)
