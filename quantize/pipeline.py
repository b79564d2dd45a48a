"""The pipeline: look first, quantize block by block, measure the loss, and only then let the result appear."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantize import checks
from quantize.blocks import best_device, quantize_blocks
from quantize.calibration import DEFAULT, Calibration, calibrate
from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.layout import Layout, layout_of
from quantize.machine import free_memory_bytes, peak_memory_bytes
from quantize.progress import Progress
from quantize.result import assemble
from quantize.settings import Settings
from quantize.workspace import Workspace, disk_errors

FORMAT = 1
"""To be raised when the code changes what bytes come out: a begun quantization is not gone on with then."""
