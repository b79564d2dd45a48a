from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quantize.packing import Packed, pack, unpack


def _grid(outputs: int, groups: int, group_size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Integers from -8 to 7 ``[outputs, inputs]``, scales ``[outputs, groups]`` and the groups' index."""
    generator = torch.Generator().manual_seed(seed)
    integers = torch.randint(-8, 8, (outputs, groups * group_size), generator=generator)
    scales = (torch.rand(outputs, groups, generator=generator) + 0.01).half().float()
    return integers, scales, torch.arange(groups).repeat_interleave(group_size)


@settings(max_examples=30, deadline=None)
@given(
    outputs=st.integers(1, 6).map(lambda n: n * 8),
    groups=st.integers(1, 4),
    group_size=st.sampled_from([32, 64, 128]),
    seed=st.integers(0, 2**20),
    shuffled=st.booleans(),
)
def test_what_was_packed_comes_out_again(
    outputs: int, groups: int, group_size: int, seed: int, shuffled: bool
) -> None:
    integers, scales, index = _grid(outputs, groups, group_size, seed)
    if shuffled:  # act order
        index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))]
    weight = integers * scales[:, index]
    packed = pack(weight, scales, index)
    assert torch.equal(unpack(packed, torch.float32), weight)


def test_weights_rounded_to_bfloat16_keep_their_integers() -> None:
    integers, scales, index = _grid(256, 4, 128, seed=3)
    weight = (integers * scales[:, index]).to(torch.bfloat16)
    expected = integers * scales[:, index]
    assert torch.equal(unpack(pack(weight, scales, index), torch.float32), expected)


@pytest.mark.parametrize("group_size", [32, 128])
def test_form_is_that_of_gptqmodels_own_packer(group_size: int) -> None:
    """Its packer writes the second form, whose zero points are not stored less one; all else is the same."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear

    outputs, inputs = 64, 256
    integers, scales, index = _grid(outputs, inputs // group_size, group_size, seed=1)
    linear = nn.Linear(inputs, outputs, bias=False)
    linear.weight.data = (integers * scales[:, index]).float()
    theirs = TorchLinear(
        bits=4,
        group_size=group_size,
        sym=True,
        desc_act=False,
        in_features=inputs,
        out_features=outputs,
        bias=False,
        pack_dtype=torch.int32,
        register_buffers=True,
    )
    theirs.pack_original(linear, scales.clone(), torch.full_like(scales, 8.0), index.int())
    ours = pack(linear.weight.data, scales, index)
    assert torch.equal(ours.qweight, theirs.qweight)
    assert torch.equal(ours.scales, theirs.scales.half())
    assert torch.equal(ours.g_idx, theirs.g_idx.int())
    stored = (ours.qzeros.unsqueeze(-1) >> torch.arange(0, 32, 4)) & 15
    assert bool((stored == 7).all())


def test_names_are_those_of_a_checkpoint() -> None:
    integers, scales, index = _grid(8, 1, 32, seed=0)
    packed = pack(integers * scales[:, index], scales, index)
    tensors = packed.tensors("model.layers.0.mlp.up_proj")
    assert set(tensors) == {
        f"model.layers.0.mlp.up_proj.{kind}" for kind in ("qweight", "qzeros", "scales", "g_idx")
    }
    assert torch.equal(Packed.of(tensors, "model.layers.0.mlp.up_proj").qweight, packed.qweight)


def test_packed_layer_takes_about_a_quarter() -> None:
    integers, scales, index = _grid(1024, 8, 128, seed=0)
    packed = pack(integers * scales[:, index], scales, index)
    size = sum(tensor.numel() * tensor.element_size() for tensor in packed.tensors("x").values())
    assert size / (1024 * 1024 * 2) < 0.265
