"""Cost against load as a picture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from cluster.plan import plan, plot
from cluster.plan.failure import PlanFailed
from tests.unit.cluster.plan.loads import requirements


def test_own_cost_goes_up_in_steps_and_the_public_api_in_a_line() -> None:
    one = plan.make(requirements({"name": "qwen2.5-72b", "gpu": "A10", "requests_per_second": 2}))
    points = plot.curve(one, (0.5, 1.0, 2.0, 4.0))
    assert [factor for factor, _, _ in points] == [0.5, 1.0, 2.0, 4.0]
    assert all(later >= earlier for (_, earlier, _), (_, later, _) in pairwise(points))
    assert len({own for _, own, _ in points}) > 1
    public = [each for _, _, each in points if each is not None]
    assert public[3] == pytest.approx(8 * public[0])


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    one = plan.make(requirements({"name": "qwen2.5-7b", "gpu": "A10", "requests_per_second": 5}))
    plot.draw(one, tmp_path / "cost.png")
    with Image.open(tmp_path / "cost.png") as image:
        assert image.format == "PNG"
        assert image.width > 500


def test_what_cannot_be_drawn_or_written_is_told(tmp_path: Path) -> None:
    unpriced = plan.make(requirements({"name": "qwen2.5-7b", "gpu": "Ascend-910B", "concurrent": 4}))
    with pytest.raises(PlanFailed, match="no cost to draw"):
        plot.draw(unpriced, tmp_path / "cost.png")
    one = plan.make(requirements({"name": "qwen2.5-7b", "gpu": "A10", "concurrent": 4}))
    with pytest.raises(PlanFailed, match="cannot be written"):
        plot.draw(one, tmp_path / "nowhere" / "cost.png")
