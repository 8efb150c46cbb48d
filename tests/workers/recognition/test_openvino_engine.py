"""How networks are compiled for the processor."""

import numpy as np
import openvino
import pytest

from workers.recognition.openvino_engine import Precision, best_precision, built, compiled, operations


def doubled() -> openvino.Model:
    """A network that adds its input [n, 3] to itself."""
    given = operations.parameter([-1, 3], np.float32)
    return built([operations.add(given, given)], [given], "doubled")


def test_the_precision_is_one_that_the_processor_computes_in() -> None:
    known = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert best_precision() == ("bf16" if "BF16" in known else "f32")


@pytest.mark.parametrize("precision", ["f32", best_precision()])
def test_a_network_is_compiled_as_was_said(precision: Precision) -> None:
    network = compiled(doubled(), precision=precision, threads=1)
    said = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16}
    assert network.get_property("INFERENCE_PRECISION_HINT") == said[precision]
    assert network.get_property("INFERENCE_NUM_THREADS") == 1
    assert network.get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize("rows", [1, 5])
def test_a_network_takes_as_many_as_there_are(rows: int) -> None:
    network = compiled(doubled(), precision="f32", threads=1)
    given = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    np.testing.assert_array_equal(network(given)[0], given * 2)
