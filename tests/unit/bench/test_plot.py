"""The plot is a PNG with something on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.image import imread

from bench import plot


def test_plot_of_both_engines_is_a_png_with_curves(tmp_path: Path, make_results: Any, make_cell: Any) -> None:
    cells = [
        make_cell(engine, peer, clients)
        for engine in ("real", "simulated")
        for peer in ("qwen-serve", "LiteLLM")
        for clients in (1, 32)
    ]

    plot.draw(make_results(*cells), tmp_path / "run.png")

    picture = imread(tmp_path / "run.png")
    assert picture.shape[0] > 500
    assert picture[:, :, :3].std() > 0.05, "it is empty"
