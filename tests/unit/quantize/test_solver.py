from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from quantize.errors import QuantizeError
from quantize.packing import unpack
from quantize.settings import Settings
from quantize.solver import Solution, Solver

INPUTS, OUTPUTS = 128, 64


def _layer() -> nn.Linear:
    torch.manual_seed(1)
    layer = nn.Linear(INPUTS, OUTPUTS, bias=False).to(torch.bfloat16)
    return layer.requires_grad_(False)


def _data() -> Tensor:
    """Correlated inputs, some channels far louder than others, as in a language model."""
    torch.manual_seed(2)
    mixed = torch.randn(512, 32) @ torch.randn(32, INPUTS) + 0.2 * torch.randn(512, INPUTS)
    return (mixed * torch.logspace(-1, 1, INPUTS)).to(torch.bfloat16)


def _solve(layer: nn.Linear, data: Tensor, **changes: object) -> Solution:
    solver = Solver(layer, Settings.model_validate({"group_size": 64, **changes}))
    for part in torch.split(data, 128):
        solver.see(part.unsqueeze(0), layer(part).unsqueeze(0))
    return solver.solve()


def _nearest(weight: Tensor) -> Tensor:
    """Rounding to nearest, with the same grid of scales."""
    groups = weight.float().view(OUTPUTS, -1, 64)
    scales = groups.abs().amax(-1, keepdim=True) * 2 / 15
    return (torch.round(groups / scales).clamp(-8, 7) * scales).view(OUTPUTS, INPUTS)


def _error(layer: nn.Linear, weight: Tensor, data: Tensor) -> float:
    before, after = data.float() @ layer.weight.float().t(), data.float() @ weight.float().t()
    return float((before - after).square().sum() / before.square().sum())


@pytest.mark.parametrize("desc_act", [False, True])
def test_output_is_nearer_than_by_rounding_to_nearest(desc_act: bool) -> None:
    layer, data = _layer(), _data()
    solution = _solve(layer, data, desc_act=desc_act)
    assert _error(layer, solution.weight, data) < 0.7 * _error(layer, _nearest(layer.weight), data)


def test_reported_error_is_that_of_the_output() -> None:
    layer, data = _layer(), _data()
    solution = _solve(layer, data)
    assert solution.relative_error == pytest.approx(_error(layer, solution.weight, data), rel=0.02)


def test_weight_is_what_the_packed_layer_stands_for() -> None:
    layer = _layer()
    solution = _solve(layer, _data())
    assert torch.equal(unpack(solution.packed, torch.bfloat16), solution.weight)


def test_columns_of_a_group_lie_side_by_side_but_in_act_order() -> None:
    layer, data = _layer(), _data()
    index = _solve(layer, data).packed.g_idx
    assert torch.equal(index, torch.arange(2, dtype=torch.int32).repeat_interleave(64))
    assert not torch.equal(_solve(layer, data, desc_act=True).packed.g_idx, index)


def test_same_data_gives_the_same_bytes() -> None:
    first, second = (_solve(_layer(), _data()).packed for _ in range(2))
    assert torch.equal(first.qweight, second.qweight)
    assert torch.equal(first.scales, second.scales)


def test_layer_that_reads_the_same_as_another_is_solved_alike() -> None:
    layer, data = _layer(), _data()
    leader, follower = (Solver(layer, Settings(group_size=64)) for _ in range(2))
    leader.see(data.unsqueeze(0), layer(data).unsqueeze(0))
    follower.see_as(leader)
    assert torch.equal(leader.solve().packed.qweight, follower.solve().packed.qweight)


def test_columns_that_are_never_used_do_no_harm() -> None:
    layer, data = _layer(), _data()
    data[:, 10:20] = 0
    solution = _solve(layer, data)
    assert _error(layer, solution.weight, data) < 0.02


def test_input_that_is_no_number_is_told() -> None:
    data = _data()
    data[3, 3] = float("nan")
    with pytest.raises(QuantizeError, match="no numbers; is the checkpoint sound"):
        _solve(_layer(), data)
