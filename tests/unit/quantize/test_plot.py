"""The picture of the layers' errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from quantize.layer_error import LayerError
from quantize.plot import plot_errors
from tests.unit.quantize.manifests import layer_errors


@pytest.mark.parametrize("blocks", [1, 2, 80])
def test_picture_is_drawn_at_any_depth(tmp_path: Path, blocks: int) -> None:
    path = tmp_path / "layer-error.png"
    plot_errors(layer_errors(blocks), path, "Some-7B")
    with Image.open(path) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or ()}
        assert image.size == (1200, 600)
    # Seven lines of seven colours, white, black and the shades between.
    assert len(colours) > 7


def test_layer_without_error_does_not_spoil_the_logarithmic_axis(tmp_path: Path) -> None:
    first, *rest = layer_errors(4)
    exact = LayerError(**{**first.model_dump(), "relative_error": 0.0})
    plot_errors([exact, *rest], tmp_path / "layer-error.png", "Some-7B")
    assert (tmp_path / "layer-error.png").stat().st_size > 10_000
