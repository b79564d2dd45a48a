"""GPTQ's checkpoint format: eight 4-bit weights in an int32, a scale per group, in the form vLLM reads.

The form is AutoGPTQ's first one (``checkpoint_format: gptq``), where a zero point is stored less one.
Weights are symmetric: the zero point is 8, and a weight is ``(q - 8) * scale``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_BITS = 4
_PER_INT32 = 32 // _BITS
_ZERO = 1 << (_BITS - 1)
_HIGHEST = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed linear layer.

    Attributes:
        qweight: ``[inputs / 8, outputs]`` int32; the lowest bits are the first input.
        qzeros: ``[groups, outputs / 8]`` int32.
        scales: ``[groups, outputs]`` float16.
        g_idx: ``[inputs]`` int32, the group of each input.
    """

    qweight: Tensor
    qzeros: Tensor
    scales: Tensor
    g_idx: Tensor

    def tensors(self, name: str) -> dict[str, Tensor]:
        """By the names that a checkpoint gives them, under the layer's own."""
        return {f"{name}.{field}": getattr(self, field) for field in self.__slots__}

    @classmethod
    def of(cls, tensors: dict[str, Tensor], name: str) -> Packed:
        """The layer of that name, out of a checkpoint's tensors."""
        return cls(*(tensors[f"{name}.{field}"] for field in cls.__slots__))


def pack(weight: Tensor, scales: Tensor, g_idx: Tensor) -> Packed:
    """Pack a layer whose weights lie on the grid of its scales, or near it.

    Args:
        weight: ``[outputs, inputs]``; both multiples of 8.
        scales: ``[outputs, groups]``.
        g_idx: ``[inputs]``, the group of each input.
    """
    index = g_idx.long()
    stored = scales.to(torch.float16)
    # By the scales that the weights were put on the grid with, not by what float16 leaves of them.
    steps = torch.round(weight.float() / scales.float()[:, index]) + _ZERO
    integers = steps.clamp_(0, _HIGHEST).to(torch.int32).t().contiguous()
    zeros = torch.full((stored.shape[1], stored.shape[0]), _ZERO - 1, dtype=torch.int32)
    return Packed(
        qweight=_packed_rows(integers),
        qzeros=_packed_rows(zeros.t().contiguous()).t().contiguous(),
        scales=stored.t().contiguous(),
        g_idx=g_idx.to(torch.int32),
    )


def unpack(packed: Packed, dtype: torch.dtype) -> Tensor:
    """The weights ``[outputs, inputs]`` that a packed layer stands for."""
    shifts = torch.arange(0, 32, _BITS, dtype=torch.int32)
    integers = (packed.qweight.unsqueeze(1) >> shifts.view(1, -1, 1)) & _HIGHEST
    integers = integers.reshape(-1, packed.qweight.shape[1]) - _ZERO
    weight = integers.float() * packed.scales.float()[packed.g_idx.long()]
    return weight.t().contiguous().to(dtype)


def _packed_rows(integers: Tensor) -> Tensor:
    """Eight rows in one, ``[rows, columns]`` to ``[rows / 8, columns]``."""
    parts = integers.view(-1, _PER_INT32, integers.shape[1])
    packed = torch.zeros(parts.shape[0], parts.shape[2], dtype=torch.int32)
    for place in range(_PER_INT32):
        packed |= parts[:, place] << (_BITS * place)
    return packed
