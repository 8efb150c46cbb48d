"""Reading what PyTorch saved, without PyTorch: what it reads, and what it refuses to."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from workers.recognition.torch_file import NotAStateFile, read_state


def saved(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def test_tensors_come_as_they_were_saved() -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.rand(4, 3, 2, generator=generator)
    state = {"dense": dense, "turned": dense.permute(2, 0, 1), "part": dense[1:3], "one": torch.tensor(7.0)}
    read = read_state(saved(state))
    assert list(read) == list(state)
    for name, tensor in state.items():
        assert np.array_equal(read[name], tensor.numpy())


class Caller:
    """Unpickled, it calls something."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._target),)


@pytest.mark.parametrize("place", range(4))
def test_nothing_is_called(place: int, tmp_path: Path) -> None:
    target = tmp_path / "made"
    parts: list[object] = [0x1950A86A20F9469CFC6C, 1001, {}, {}, []]
    parts[place] = Caller(target)
    with pytest.raises(NotAStateFile, match="mkdir"):
        read_state(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    assert not target.exists()


def test_tensors_beyond_their_storage_are_refused() -> None:
    data = saved({"a": torch.zeros(4)})
    assert data.count(b"K\x04\x85") == 1  # the shape, (4,)
    with pytest.raises(NotAStateFile, match="beyond"):
        read_state(data.replace(b"K\x04\x85", b"K\x05\x85"))


def test_other_bytes_are_refused() -> None:
    whole = saved({"a": torch.zeros(4)})
    others = [b"", b"photo", whole[:-8], whole[:40], saved({"a": torch.zeros(4, dtype=torch.int64)})]
    for data in others:
        with pytest.raises(NotAStateFile):
            read_state(data)
