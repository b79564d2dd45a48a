from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP

from deployments import split
from quantize.padding import pad, padded_size
from quantize.settings import GROUP_SIZES


@pytest.mark.parametrize(
    ("size", "group_size", "parts", "expected"),
    [(29568, 128, 4, 29696), (29568, 128, 8, 29696), (29568, 128, 1, 29568), (18944, 128, 4, 18944)],
)
def test_size_of_the_published_models(size: int, group_size: int, parts: int, expected: int) -> None:
    assert padded_size(size, group_size, parts) == expected


@settings(max_examples=40, deadline=None)
@given(
    inner=st.integers(1, 40),
    extra=st.integers(0, 40),
    seed=st.integers(0, 1000),
)
def test_padded_mlp_is_exactly_equivalent(inner: int, extra: int, seed: int) -> None:
    """Integers, whose sums are exact in any order: the answer must be the same to the last bit."""
    generator = torch.Generator().manual_seed(seed)
    mlp = Qwen2MLP(Qwen2Config(hidden_size=8, intermediate_size=inner, hidden_act="relu"))
    wide = Qwen2MLP(Qwen2Config(hidden_size=8, intermediate_size=inner + extra, hidden_act="relu"))
    state = {
        name: torch.randint(-8, 9, tensor.shape, generator=generator).float()
        for name, tensor in mlp.state_dict().items()
    }
    mlp.load_state_dict(state)
    wide.load_state_dict({name: pad(f"mlp.{name}", tensor, inner + extra) for name, tensor in state.items()})
    inputs = torch.randint(-8, 9, (3, 8), generator=generator).float()
    assert torch.equal(mlp(inputs), wide(inputs))


def test_new_channels_of_qwens_own_activation_are_zero() -> None:
    assert nn.functional.silu(torch.zeros(1)) == 0


def test_other_tensors_are_left_alone() -> None:
    tensor = torch.ones(5, 5)
    assert pad("self_attn.o_proj.weight", tensor, 9) is tensor
    assert pad("input_layernorm.weight", tensor, 9) is tensor


def test_rules_are_those_that_a_configuration_is_checked_by() -> None:
    """``quantize`` stands apart from ``deployments`` and has them again; they must not drift."""
    assert GROUP_SIZES == split.INT4_GROUP_SIZES
    for size, group_size, parts in ((29568, 128, 4), (18944, 64, 8), (9728, 32, 3)):
        assert padded_size(size, group_size, parts) == split.padded(size, parts, group_size)
