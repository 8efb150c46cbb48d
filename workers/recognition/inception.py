"""The network that says who a face is, InceptionResnetV1, written once: over operations that an engine
brings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

T = TypeVar("T")
Pair = tuple[int, int]

BATCH_NORM_EPSILON: Final = 1e-3
EMBEDDING_DIMENSIONS: Final = 512
LAST_CHANNELS: Final = 1792


@dataclass(frozen=True)
class Layer:
    """A convolution: its name, which is facenet-pytorch's, and what it does besides its numbers."""

    name: str
    inputs: int
    outputs: int
    size: Pair = (1, 1)
    stride: int = 1
    padding: Pair = (0, 0)
    mixed_by: float | None = None
    """Of the last layer of a residual block: by how much its outcome counts. It has a bias instead of a batch
    norm, and no rectifier of its own."""


class Operations(Protocol[T]):
    """What an engine can do with pictures [n, channels, height, width]."""

    def convolved(self, x: T, layer: Layer) -> T:
        """With a layer's numbers, and rectified unless it is mixed by something."""
        ...

    def pooled(self, x: T) -> T:
        """The largest of each 3 x 3, at every second place."""
        ...

    def joined(self, parts: Sequence[T]) -> T:
        """Channels of one part after those of another."""
        ...

    def added(self, x: T, y: T, *, rectified: bool) -> T:
        """The sum, below 0 cut off if `rectified`."""
        ...

    def embedded(self, x: T) -> T:
        """The mean over the picture, through the last layer and its batch norm: [n, 512]."""
        ...


def embedding(do: Operations[T], crops: T) -> T:
    """Embeddings [n, 512], not normalised, of standardised crops [n, 3, 160, 160].

    Layers come in the order of facenet-pytorch's, which is that of the published graph's scopes."""
    x = _through(do, crops, Layer("conv2d_1a", 3, 32, (3, 3), 2), Layer("conv2d_2a", 32, 32, (3, 3)))
    x = do.pooled(do.convolved(x, Layer("conv2d_2b", 32, 64, (3, 3), padding=(1, 1))))
    x = _through(do, x, Layer("conv2d_3b", 64, 80), Layer("conv2d_4a", 80, 192, (3, 3)))
    x = do.convolved(x, Layer("conv2d_4b", 192, 256, (3, 3), 2))
    for i in range(5):
        x = _block35(do, x, f"repeat_1.{i}")
    x = _mixed_6a(do, x)
    for i in range(10):
        x = _block17(do, x, f"repeat_2.{i}")
    x = _mixed_7a(do, x)
    for i in range(5):
        x = _block8(do, x, f"repeat_3.{i}", mixed_by=0.2)
    x = _block8(do, x, "block8", mixed_by=1, rectified=False)
    return do.embedded(x)


def _through(do: Operations[T], x: T, *layers: Layer) -> T:
    for layer in layers:
        x = do.convolved(x, layer)
    return x


def _block35(do: Operations[T], x: T, name: str) -> T:
    branches = [
        do.convolved(x, Layer(f"{name}.branch0", 256, 32)),
        _through(
            do,
            x,
            Layer(f"{name}.branch1.0", 256, 32),
            Layer(f"{name}.branch1.1", 32, 32, (3, 3), padding=(1, 1)),
        ),
        _through(
            do,
            x,
            Layer(f"{name}.branch2.0", 256, 32),
            Layer(f"{name}.branch2.1", 32, 32, (3, 3), padding=(1, 1)),
            Layer(f"{name}.branch2.2", 32, 32, (3, 3), padding=(1, 1)),
        ),
    ]
    return _added(do, x, branches, Layer(f"{name}.conv2d", 96, 256, mixed_by=0.17))


def _mixed_6a(do: Operations[T], x: T) -> T:
    name = "mixed_6a"
    return do.joined(
        [
            do.convolved(x, Layer(f"{name}.branch0", 256, 384, (3, 3), 2)),
            _through(
                do,
                x,
                Layer(f"{name}.branch1.0", 256, 192),
                Layer(f"{name}.branch1.1", 192, 192, (3, 3), padding=(1, 1)),
                Layer(f"{name}.branch1.2", 192, 256, (3, 3), 2),
            ),
            do.pooled(x),
        ]
    )


def _block17(do: Operations[T], x: T, name: str) -> T:
    branches = [
        do.convolved(x, Layer(f"{name}.branch0", 896, 128)),
        _through(
            do,
            x,
            Layer(f"{name}.branch1.0", 896, 128),
            Layer(f"{name}.branch1.1", 128, 128, (1, 7), padding=(0, 3)),
            Layer(f"{name}.branch1.2", 128, 128, (7, 1), padding=(3, 0)),
        ),
    ]
    return _added(do, x, branches, Layer(f"{name}.conv2d", 256, 896, mixed_by=0.1))


def _mixed_7a(do: Operations[T], x: T) -> T:
    name = "mixed_7a"
    return do.joined(
        [
            _through(
                do,
                x,
                Layer(f"{name}.branch0.0", 896, 256),
                Layer(f"{name}.branch0.1", 256, 384, (3, 3), 2),
            ),
            _through(
                do,
                x,
                Layer(f"{name}.branch1.0", 896, 256),
                Layer(f"{name}.branch1.1", 256, 256, (3, 3), 2),
            ),
            _through(
                do,
                x,
                Layer(f"{name}.branch2.0", 896, 256),
                Layer(f"{name}.branch2.1", 256, 256, (3, 3), padding=(1, 1)),
                Layer(f"{name}.branch2.2", 256, 256, (3, 3), 2),
            ),
            do.pooled(x),
        ]
    )


def _block8(do: Operations[T], x: T, name: str, *, mixed_by: float, rectified: bool = True) -> T:
    branches = [
        do.convolved(x, Layer(f"{name}.branch0", LAST_CHANNELS, 192)),
        _through(
            do,
            x,
            Layer(f"{name}.branch1.0", LAST_CHANNELS, 192),
            Layer(f"{name}.branch1.1", 192, 192, (1, 3), padding=(0, 1)),
            Layer(f"{name}.branch1.2", 192, 192, (3, 1), padding=(1, 0)),
        ),
    ]
    mixing = Layer(f"{name}.conv2d", 384, LAST_CHANNELS, mixed_by=mixed_by)
    return _added(do, x, branches, mixing, rectified=rectified)


def _added(do: Operations[T], x: T, branches: Sequence[T], mixing: Layer, *, rectified: bool = True) -> T:
    return do.added(do.convolved(do.joined(branches), mixing), x, rectified=rectified)
