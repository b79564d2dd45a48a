"""The error of every packed layer as a picture: a line for each projection over the depth of the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantize.layer_error import LayerError
from quantize.layout import LINEARS


def plot_errors(layers: Sequence[LayerError], path: Path, title: str) -> None:
    """Write it as a PNG.

    Args:
        layers: The errors.
        path: Where to.
        title: Above the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for projection in LINEARS:
        points = [(layer.block, layer.relative_error) for layer in layers if layer.projection == projection]
        blocks, errors = zip(*sorted(points), strict=True) if points else ((), ())
        axes.plot(blocks, errors, marker="o", markersize=3, linewidth=1, label=projection)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("block")
    axes.set_ylabel("squared error of the output / its square")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
