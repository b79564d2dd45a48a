"""Padding of ``intermediate_size`` to whole groups on every GPU: zero rows and columns change no answer.

A channel of the MLP whose row of ``gate_proj`` and ``up_proj`` is zero gives ``silu(0) * 0 = 0``, which the
new zero columns of ``down_proj`` read. Qwen's published INT4 forms of the 72B models are padded so, from
29568 to 29696 (QwenLM/Qwen3#578).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = ("mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.gate_proj.bias", "mlp.up_proj.bias")
_COLUMNS = ("mlp.down_proj.weight",)


def padded_size(size: int, group_size: int, parts: int) -> int:
    """The next multiple of ``group_size * parts``: 29568 by 128 over 4 becomes 29696."""
    return math.ceil(size / (group_size * parts)) * group_size * parts


def pad(name: str, tensor: Tensor, size: int) -> Tensor:
    """A tensor of a block, with zeros where ``intermediate_size`` was less than ``size``; others as they are.

    Args:
        name: Its name within the block.
        tensor: The tensor.
        size: The ``intermediate_size`` wanted.
    """
    from torch.nn.functional import pad as pad_zeros

    if name in _ROWS:
        missing = size - tensor.shape[0]
        return pad_zeros(tensor, (0, 0, 0, missing) if tensor.dim() > 1 else (0, missing))
    if name in _COLUMNS:
        return pad_zeros(tensor, (0, size - tensor.shape[1]))
    return tensor
