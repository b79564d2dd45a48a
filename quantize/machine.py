"""The machine: what it computes on, how much memory is free, how much was taken."""

from __future__ import annotations

import platform
import resource
from dataclasses import dataclass
from pathlib import Path

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
