"""Reads the constants of a frozen TensorFlow graph without TensorFlow.

A GraphDef is plain protobuf
(tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape}.proto). Of it only this is needed:
GraphDef.node = 1; NodeDef.name = 1, .op = 2, .attr = 5 (a map: key = 1, value = 2); AttrValue.tensor = 8;
TensorProto.dtype = 1, .tensor_shape = 2, .tensor_content = 4, .float_val = 5; TensorShapeProto.dim = 2,
Dim.size = 1."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_DT_FLOAT = 1


class GraphDefError(ValueError):
    """The bytes are not a whole GraphDef."""


def read_float_constants(graph: bytes | memoryview) -> dict[str, NDArray[np.float32]]:
    """All float32 `Const` nodes of a GraphDef, by name. Raises `GraphDefError` when it is cut off or is
    something else."""
    constants: dict[str, NDArray[np.float32]] = {}
    for number, value in _fields(memoryview(graph)):
        if number != 1:
            continue
        node = _by_number(_message(value))
        if _text(node, 2) != "Const":
            continue
        tensor = _value_attribute(node)
        if tensor is not None and _last(tensor, 1) == _DT_FLOAT:
            constants[_text(node, 1)] = _tensor(tensor)
    return constants


_Value = int | memoryview
_Message = dict[int, list[_Value]]


def _value_attribute(node: _Message) -> _Message | None:
    for entry in node.get(5, []):
        pair = _by_number(_message(entry))
        if _text(pair, 1) == "value":
            tensor = _last(_by_number(_message(_last(pair, 2))), 8)
            return None if tensor is None else _by_number(_message(tensor))
    return None


def _tensor(tensor: _Message) -> NDArray[np.float32]:
    shape_message = _last(tensor, 2)
    dims = [] if shape_message is None else _by_number(_message(shape_message)).get(2, [])
    shape = [_size(_last(_by_number(_message(dim)), 1)) for dim in dims]
    parts = tensor.get(4) or tensor.get(5) or []
    content = b"".join(bytes(_message(part)) for part in parts)
    if len(content) % 4:
        raise GraphDefError("a tensor of 4-byte values ends inside one")
    stored = np.frombuffer(content, dtype="<f4").astype(np.float32)
    count = math.prod(shape)
    if not 0 < len(stored) <= count:
        raise GraphDefError(f"a tensor of {count} values holds {len(stored)}")
    # A tail of equal values is stored once.
    return np.concatenate([stored, np.full(count - len(stored), stored[-1], np.float32)]).reshape(shape)


def _size(value: _Value | None) -> int:
    if not isinstance(value, int):
        raise GraphDefError("a tensor has a dimension of unknown size")
    return value


def _message(value: _Value | None) -> memoryview:
    if not isinstance(value, memoryview):
        raise GraphDefError("a field has an unexpected type")
    return value


def _text(message: _Message, number: int) -> str:
    return bytes(_message(_last(message, number))).decode(errors="replace")


def _last(message: _Message, number: int) -> _Value | None:
    """A singular field: the last one counts, as protobuf has it."""
    return message[number][-1] if number in message else None


def _by_number(data: memoryview) -> _Message:
    message: _Message = {}
    for number, value in _fields(data):
        message.setdefault(number, []).append(value)
    return message


def _fields(data: memoryview) -> Iterator[tuple[int, _Value]]:
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            length, place = _varint(data, place)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise GraphDefError(f"wire type {wire} is not one of protobuf's")
        if place + length > len(data):
            raise GraphDefError("the data end inside a field")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise GraphDefError("the data end inside a number")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise GraphDefError("a number is longer than ten bytes")
