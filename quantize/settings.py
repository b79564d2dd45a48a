"""What decides how a checkpoint is quantized: with the same settings and the same source, the same bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

BITS = (4,)
"""What vLLM's GPTQ kernels read on a CPU and by Marlin alike, and what this pipeline is measured for."""

GROUP_SIZES = (32, 64, 128)
"""Weights per scale that vLLM's INT4 kernels know (``MARLIN_SUPPORTED_GROUP_SIZES``, vLLM 0.29)."""


class Settings(BaseModel):
    """The settings of a quantization.

    Attributes:
        bits: Bits of a packed weight.
        group_size: Weights of an input row that share one scale.
        damp_percent: Share of the Hessian's mean diagonal that is added to it; GPTQ's paper takes 0.01.
        desc_act: Quantize the columns of largest activation first (act order): a little more precise, slower
            to serve, since columns of a group no longer lie side by side.
        samples: Calibration samples at most.
        sequence_length: Tokens of a calibration sample at most.
        tensor_parallel_size: GPUs that the result is to be split over; groups must not be cut by it.
        pad: Whether ``intermediate_size`` may be padded to whole groups.
        seed: Of the choice of samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bits: Literal[4] = 4
    group_size: int = Field(128, gt=0)
    damp_percent: float = Field(0.01, gt=0, lt=1)
    desc_act: bool = False
    samples: int = Field(128, gt=0)
    sequence_length: int = Field(2048, gt=0)
    tensor_parallel_size: int = Field(1, gt=0)
    pad: bool = False
    seed: int = 0
