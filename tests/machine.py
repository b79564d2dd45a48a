"""How fast the machine is at this moment: promises in seconds are made for one that is not overloaded."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

_WORK: Final = "sum(range(1_000_000))"
_IDLE_S: Final = 0.04
"""What the work takes on an idle core, start of the interpreter included; 0.02 s on a recent processor."""


def slowness() -> float:
    """How many times longer than on an idle machine things take now; at least 1."""
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-S", "-c", _WORK], check=True)
        taken.append(time.perf_counter() - begun)
    return max(1.0, max(taken) / _IDLE_S)
