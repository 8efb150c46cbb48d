"""Reads the tensors of a file that PyTorch saved in its older format, without PyTorch.

Such a file is five pickles and then, storage by storage, numbers. A pickle can name any function to be
called: only the three names that a dictionary of float tensors needs are let through."""

import io
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
_COUNT_BYTES: Final = 8


class NotAStateFile(ValueError):
    """The bytes are no saved dictionary of float32 tensors."""


def read_state(data: bytes) -> dict[str, NDArray[np.float32]]:
    """The tensors by name. Raises `NotAStateFile`."""
    stream = io.BytesIO(data)
    try:
        _pass_head(stream)
        state = _State(stream).load()
        storages = {key: _numbers(stream) for key in _Plain(stream).load()}
        return {name: tensor.of(storages) for name, tensor in state.items()}
    except NotAStateFile:
        raise
    except Exception as error:
        # Unpickling a damaged file raises whatever its bytes lead to; each means the same.
        raise NotAStateFile("damaged, or something else than tensors") from error


def _pass_head(stream: io.BytesIO) -> None:
    if _Plain(stream).load() != _MAGIC or _Plain(stream).load() != _PROTOCOL:
        raise NotAStateFile("not PyTorch's older format")
    _Plain(stream).load()  # Of the machine that wrote it.


class _Tensor:
    """Where in which storage a tensor lies."""

    def __init__(
        self,
        storage: str,
        offset: int,
        shape: Sequence[int],
        strides: Sequence[int],
        _requires_grad: object,
        _hooks: object,
    ) -> None:
        self._storage, self._offset, self._shape, self._strides = storage, offset, shape, strides

    def of(self, storages: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        numbers = storages[self._storage][self._offset :]
        steps = [step * numbers.itemsize for step in self._strides]
        last = sum((side - 1) * step for side, step in zip(self._shape, self._strides, strict=True))
        if min([self._offset, *self._strides, *(side - 1 for side in self._shape)]) < 0 or last >= len(
            numbers
        ):
            raise NotAStateFile("a tensor reaches beyond its storage")
        return np.lib.stride_tricks.as_strided(numbers, self._shape, steps).copy()


class _Plain(pickle.Unpickler):
    """Numbers, strings, lists and dictionaries; nothing that is called."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise NotAStateFile(f"it names {module_name}.{global_name}")


class _State(pickle.Unpickler):
    """A dictionary of float32 tensors."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        allowed: dict[tuple[str, str], object] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
            ("torch", "FloatStorage"): np.float32,
        }
        if (module_name, global_name) not in allowed:
            raise NotAStateFile(f"it names {module_name}.{global_name}")
        return allowed[module_name, global_name]

    def persistent_load(self, pid: Any, /) -> str:
        kind, _, key, _, _, view = pid
        if kind != "storage" or view is not None:
            raise NotAStateFile("a storage of another kind")
        return cast("str", key)


def _numbers(stream: io.BytesIO) -> NDArray[np.float32]:
    count = int.from_bytes(stream.read(_COUNT_BYTES), "little")
    data = stream.read(count * 4)
    return np.frombuffer(data, "<f4", count).astype(np.float32)
