"""GPTQ of one linear layer, by GPTQModel (Frantar et al., 2022, with its own guards; docs/decisions/0004)."""

from __future__ import annotations

import contextlib
import io
import os
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quantize.errors import QuantizeError
from quantize.packing import Packed, pack, unpack
from quantize.settings import Settings


@dataclass(frozen=True, slots=True)
class Solution:
    """A layer, packed, and what that cost.

    Attributes:
        packed: The layer.
        weight: ``[outputs, inputs]``: what the packed layer stands for, in the layer's dtype.
        relative_error: Squared error of the layer's output over its square, on the calibration data.
        damp_percent: The damping that was needed.
        seconds: Time of the solution.
    """

    packed: Packed
    weight: Tensor
    relative_error: float
    damp_percent: float
    seconds: float


class Solver:
    """Collects the input of one linear layer, then quantizes it.

    Args:
        linear: The layer; its weight is read, not changed.
        settings: Bits, group size, damping, order.
    """

    def __init__(self, linear: nn.Linear, settings: Settings) -> None:
        task, config = _gptqmodel()
        self._linear = linear
        self._task: Any = task(
            linear,
            qcfg=config(
                bits=settings.bits,
                group_size=settings.group_size,
                damp_percent=settings.damp_percent,
                desc_act=settings.desc_act,
                sym=True,
                # Too little data is refused by the calibration; never round to nearest without a word.
                fallback=None,
                offload_to_disk=False,
                device=linear.weight.device.type,
            ),
        )
        self._task.quantizer.configure(perchannel=True)

    def see(self, inputs: Tensor, outputs: Tensor) -> None:
        """Take in what the layer reads and gives, ``[..., inputs]`` and ``[..., outputs]``."""
        self._task.add_batch(inputs.detach(), outputs.detach())

    def see_as(self, other: Solver) -> None:
        """Take over what another layer has seen that reads the same."""
        self._task.adopt_hessian_from(other._task)

    def solve(self) -> Solution:
        """Quantize.

        Raises:
            QuantizeError: The layer's input says too little, or holds what is no number.
        """
        began = time.perf_counter()
        hessian = self._task.finalize_hessian().clone()
        if not bool(torch.isfinite(hessian).all()):
            raise QuantizeError("the calibration gives values that are no numbers; is the checkpoint sound?")
        try:
            solved, scales, _, g_idx, _, _, damp, _ = self._task.quantize()
        except (RuntimeError, ValueError) as error:
            raise QuantizeError(f"the layer cannot be solved ({error}); take more samples") from error
        packed = pack(solved.detach().cpu(), scales.detach().cpu(), g_idx.cpu())
        weight = unpack(packed, self._linear.weight.dtype).to(self._linear.weight.device)
        relative_error = _relative_error(self._linear.weight, weight, hessian)
        self._task.free()
        return Solution(packed, weight, relative_error, float(damp), time.perf_counter() - began)


def _relative_error(before: Tensor, after: Tensor, hessian: Tensor) -> float:
    """``|X (W - Q)^T|^2 / |X W^T|^2``, by ``H = X^T X``."""
    old = before.detach().float()
    change = old - after.float()
    scale = ((old @ hessian) * old).sum()
    return float(((change @ hessian) * change).sum() / scale) if scale > 0 else 0.0


def _gptqmodel() -> tuple[Any, Any]:
    """GPTQModel's solver and its configuration; its banner stays off the output."""
    # It asks for more workers than a small machine has; a failure of its own on two cores.
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(min(2, os.cpu_count() or 1)))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from gptqmodel.quantization.config import QuantizeConfig
        from gptqmodel.quantization.gptq import GPTQ
    return GPTQ, QuantizeConfig
