"""The machine: what it computes on, how much memory is free, how much was taken."""

from __future__ import annotations

import platform
import resource
from dataclasses import dataclass
from pathlib import Path

from quantize.errors import QuantizeError

_KIB = 1024


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory that this process has taken, in bytes.

    Attributes:
        host: Of the host.
        gpu: Of the GPU, as torch counts it; None without one.
    """

    host: int
    gpu: int | None


def device_name() -> str:
    """The GPU's name, or the CPU's."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def check_engine(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """The engine can run here what is to be made, so that its loss can be measured.

    Raises:
        QuantizeError: There is no GPU, and the CPU lacks what vLLM's INT4 kernel needs.
    """
    import torch

    if torch.cuda.is_available():
        return
    try:
        able = "avx512f" in cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return
    if not able:
        raise QuantizeError(
            "there is no GPU, and vLLM's INT4 kernel for CPUs needs AVX-512, which this CPU lacks: the loss "
            "could not be measured; use a machine with one of them"
        )


def free_memory_bytes() -> int:
    """Of the GPU if there is one, or of the host."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def peak_memory() -> Peak:
    """Of this process until now."""
    import torch

    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
    return Peak(host, torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None)
