"""Which engine, and on which device, `FACEID_DEVICE` comes to on this machine."""

import ctypes
from importlib.util import find_spec
from typing import Final

from workers.recognition.encoder import DeviceUnavailable, Encoder
from workers.recognition.facenet_weights import FaceNetWeights
from workers.recognition.openvino_encoder import OpenVinoEncoder

_NVIDIA_DRIVER: Final = "libcuda.so.1"


def encoder_on(setting: str, weights: FaceNetWeights, *, threads: int) -> Encoder:
    """The encoder where a setting wants it: `auto`, `cpu`, `torch-cpu`, `cuda` or `cuda:1`.

    `threads` are those of the processor. Raises `DeviceUnavailable`."""
    if setting == "auto":
        setting = "cuda" if gpus() and _torch_is_there() else "cpu"
    if setting == "cpu":
        return OpenVinoEncoder(weights, threads=threads)
    if not _torch_is_there():
        raise DeviceUnavailable(
            f"FACEID_DEVICE={setting} needs PyTorch: install faceid-api[cuda], or set FACEID_DEVICE=cpu."
        )
    # A worker on a processor pays neither its two seconds nor its 0.6 GB.
    from workers.recognition.torch_encoder import torch_encoder  # noqa: PLC0415

    return torch_encoder(setting, weights, threads=threads)


def gpus() -> int:
    """How many NVIDIA GPUs the driver shows to this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL(_NVIDIA_DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _torch_is_there() -> bool:
    return find_spec("torch") is not None
