"""A run as a picture: throughput, time to first token and CPU per token over the number of clients.

.venv/bin/python -m bench.plot bench/results/FILE.json draws it again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from bench import results as files
from bench.results import Cell, EngineKind, Results, Round

_PANELS: tuple[tuple[str, Callable[[Round], float]], ...] = (
    ("tokens/s", lambda one: one.tokens_per_s),
    ("TTFT p50, ms", lambda one: one.ttft_p50_ms),
    ("framework CPU, us per token", lambda one: one.cpu_us_per_token),
)
_SIZE_INCHES = (13.0, 4.0)


def draw(results: Results, path: Path) -> None:
    """Write a PNG: a row for each engine, a column for each figure, least to most as bars."""
    engines = sorted({cell.engine for cell in results.cells})
    width, height = _SIZE_INCHES
    figure = Figure(figsize=(width, height * len(engines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(engines), len(_PANELS), squeeze=False)
    for row, engine in zip(axes, engines, strict=True):
        for panel, (label, of) in zip(row, _PANELS, strict=True):
            _panel(panel, results, engine, label, of)
        row[0].legend(fontsize="small")
    cores = results.machine.get("cores", "?")
    figure.suptitle(f"{results.started[:10]}, {results.machine.get('processor', '')}, {cores} cores")
    figure.savefig(path, dpi=120)


def _panel(
    panel: Axes, results: Results, engine: EngineKind, label: str, of: Callable[[Round], float]
) -> None:
    cells = [cell for cell in results.cells if cell.engine == engine]
    for peer in dict.fromkeys(cell.peer for cell in cells):
        _curve(panel, sorted((c for c in cells if c.peer == peer), key=lambda cell: cell.clients), of)
    panel.set(xscale="log", xlabel="clients", ylabel=label, title=f"{engine} engine")
    # A short load may have used less CPU than the kernel's clock shows: no point on a logarithmic axis.
    panel.set_yscale("log", nonpositive="mask")
    panel.xaxis.set_major_locator(FixedLocator(sorted({cell.clients for cell in cells})))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.grid(visible=True, alpha=0.3)


def _curve(panel: Axes, cells: Sequence[Cell], of: Callable[[Round], float]) -> None:
    middle = [cell.median(of) for cell in cells]
    below = [value - cell.spread(of)[0] for value, cell in zip(middle, cells, strict=True)]
    above = [cell.spread(of)[1] - value for value, cell in zip(middle, cells, strict=True)]
    clients = [cell.clients for cell in cells]
    panel.errorbar(clients, middle, yerr=[below, above], marker="o", capsize=3, label=cells[0].peer)


def main() -> None:
    """Draw a file of results, beside it."""
    parser = argparse.ArgumentParser(description="Draw a file of bench/results again.")
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    draw(files.read(file), file.with_suffix(".png"))


if __name__ == "__main__":
    main()
