"""Reading constants out of a frozen graph, here of graphs of a few bytes."""

import numpy as np
import pytest

from workers.recognition.graphdef import GraphDefError, read_float_constants


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(shape: tuple[int, ...], values: list[float], *, dtype: int = 1, content: int = 4) -> bytes:
    dims = b"".join(field(2, field(1, size)) for size in shape)
    return field(1, dtype) + field(2, dims) + field(content, np.array(values, "<f4").tobytes())


def node(name: str, op: str, value: bytes) -> bytes:
    other = field(5, field(1, b"dtype") + field(2, field(6, 1)))
    attribute = field(5, field(1, b"value") + field(2, field(8, value)))
    return field(1, field(1, name.encode()) + field(2, op.encode()) + other + attribute)


GRAPH = (
    node("a/weights", "Const", tensor((2, 3), [1, 2, 3, 4, 5, 6]))
    + node("b/scalar", "Const", tensor((), [0.5], content=5))
    + node("c/filled", "Const", tensor((4,), [7, 8]))
    + node("d/integers", "Const", tensor((1,), [1], dtype=3))
    + node("e/relu", "Relu", tensor((1,), [1]))
    + field(2, b"versions")
)


def test_float_constants_are_found_by_name() -> None:
    constants = read_float_constants(GRAPH)
    assert set(constants) == {"a/weights", "b/scalar", "c/filled"}
    assert constants["a/weights"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert constants["b/scalar"].shape == ()
    assert constants["b/scalar"].item() == 0.5


def test_a_tail_of_equal_values_is_stored_once() -> None:
    assert read_float_constants(GRAPH)["c/filled"].tolist() == [7, 8, 8, 8]


def test_fields_that_nobody_needs_are_skipped() -> None:
    fixed = varint(9 << 3 | 5) + b"\0" * 4 + varint(10 << 3 | 1) + b"\0" * 8
    assert set(read_float_constants(fixed + GRAPH)) == {"a/weights", "b/scalar", "c/filled"}


@pytest.mark.parametrize("missing", [1, 9, 20])
def test_a_graph_that_is_cut_off_is_refused(missing: int) -> None:
    with pytest.raises(GraphDefError):
        read_float_constants(GRAPH[:-missing])


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",
        b"\x80" * 11,
        varint(1 << 3 | 3),
        varint(1 << 3 | 5) + b"\0",
        field(1, 5),
        node("a", "Const", tensor((2,), [])),
        node("a", "Const", tensor((1,), [1, 2])),
        field(1, field(2, b"Const") + field(5, field(1, b"value") + field(2, field(8, tensor((1,), [1]))))),
    ],
    ids=[
        "half a number",
        "endless number",
        "wire type",
        "short field",
        "number as node",
        "no values",
        "too many",
        "no name",
    ],
)
def test_what_is_no_graph_is_refused(data: bytes) -> None:
    with pytest.raises(GraphDefError):
        read_float_constants(data)
