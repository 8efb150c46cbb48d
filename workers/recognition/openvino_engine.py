"""OpenVINO, which computes networks on processors: how any of them is compiled here."""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final, Literal

import openvino
from openvino import CompiledModel, Core, Model

Precision = Literal["f32", "bf16"]
"""What a network computes in. What goes in and comes out is as the network has it."""

OPENVINO_VERSION: Final = openvino.get_version().partition("-")[0]
operations: Final[Any] = import_module("openvino.opset13")
"""What networks are built of. OpenVINO has no types for it."""
_CPU: Final = "CPU"


def built(outcomes: Sequence[Any], parameters: Sequence[Any], name: str) -> Model:
    """The network that computes these outcomes from these parameters."""
    make: Any = Model  # Its own stub knows of no way to make one.
    return make(list(outcomes), list(parameters), name)


@cache
def best_precision() -> Precision:
    """bf16 where the processor computes in it; f32 where it does not."""
    return "bf16" if "BF16" in _core().get_property(_CPU, "OPTIMIZATION_CAPABILITIES") else "f32"


def compiled(model: Model, *, precision: Precision, threads: int) -> CompiledModel:
    """A network that is ready for one request at a time, on so many threads.

    OpenVINO's cache of compiled networks is left alone: FaceNet compiles in 0.12 s and loads from there in
    0.07 s, and a file in it that has been damaged is taken as it is, and gives wrong templates."""
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        # A second worker on the machine would pin its threads to the same cores.
        "ENABLE_CPU_PINNING": False,
        # Said, since left to itself OpenVINO chooses one.
        "INFERENCE_PRECISION_HINT": precision,
        # Else what is made for a size of picture is kept, for thousands of sizes: 2 MB for each, and to make
        # it anew takes a fiftieth of the time of one look.
        "CPU_RUNTIME_CACHE_CAPACITY": "0",
    }
    return _core().compile_model(model, _CPU, options)


@cache
def _core() -> Core:
    return Core()
