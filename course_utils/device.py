"""Which device the models run on, and why, in words."""

import os
from typing import NamedTuple

import numpy as np
import torch

from course_utils.errors import CourseError

VARIABLE = "COURSE_DEVICE"


class DeviceChoice(NamedTuple):
    device: torch.device
    reason: str


def choose_device(wish: str | None = None) -> DeviceChoice:
    """The device to use and the reason in words.

    `wish`, else the environment variable COURSE_DEVICE ("cpu", "cuda", "cuda:1", "mps"), else CUDA if there is
    one, else the CPU. Apple's MPS only on request: it has no float64, which the exact identities need.

    Raises CourseError for a device that is not there.
    """
    source = "asked for by the caller" if wish else f"asked for by {VARIABLE}"
    wish = wish or os.environ.get(VARIABLE, "").strip()
    if wish:
        return DeviceChoice(_existing(wish), f"{wish}, {source}")
    if torch.cuda.is_available():
        return DeviceChoice(torch.device("cuda"), f"cuda, because a GPU was found: {torch.cuda.get_device_name()}")
    reason = "cpu, because PyTorch finds no CUDA GPU"
    if torch.backends.mps.is_available():
        reason += f" (Apple's GPU is there: set {VARIABLE}=mps to use it, in float32 only)"
    return DeviceChoice(torch.device("cpu"), reason)


def pick_device(wish: str | None = None) -> torch.device:
    """The device that `choose_device` chooses."""
    return choose_device(wish).device


def product_dtype(device: torch.device) -> torch.dtype:
    """The fastest type for matrix products in training: bfloat16 where the hardware has it, else float32.

    NVIDIA's cards before Ampere (a T4, say) and CPUs without AVX-512 only emulate it. Such a CPU takes 450 times as
    long for a bfloat16 product as for a float32 one (measured at 2048 × 2048 on an AVX2 machine, two cores: 0.3
    against 143 GFLOP/s).
    """
    native = False
    if device.type == "cpu":
        native = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    elif device.type == "cuda":
        with torch.cuda.device(device):  # what follows is asked of the current card
            native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float32


def fast_products(device: torch.device) -> torch.autocast:
    """A context in which matrix products are of `product_dtype`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=product_dtype(device) == torch.bfloat16)


def to_numpy(values, dtype: type | None = float) -> np.ndarray:
    """The values as an array, 64 bits wide unless asked otherwise (None: as they are), wherever they lie.

    To the CPU first: NumPy reads no other memory, and Apple's GPU has no 64 bits.
    """
    return np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values, dtype=dtype)


def _existing(name: str) -> torch.device:
    there = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    there += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise CourseError(f"device {name!r}", "it is not a device's name", f"use one of {there}") from error
    found = {"cpu": True, "cuda": (device.index or 0) < torch.cuda.device_count(), "mps": "mps" in there}
    if not found.get(device.type, False):
        raise CourseError(
            f"device {name!r}", "this machine does not have it", f"use one of {there}, or unset {VARIABLE}"
        )
    return device
