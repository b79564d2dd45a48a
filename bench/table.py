"""A run as a table in Markdown, and its promises as lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bench.results import Cell, Results, Round, Verdict

_HEADER = (
    "engine",
    "clients",
    "peer",
    "tokens/s (least to most)",
    "requests/s",
    "failed",
    "TTFT p50 / p99, ms",
    "ITL p50 / p99, ms",
    "CPU us/token (least to most)",
    "peak MiB",
)


def render(results: Results) -> str:
    """Medians over the rounds; one row for each engine, number of clients and peer, in this order."""
    order = {(note.engine, note.peer): place for place, note in enumerate(results.peers)}
    cells = sorted(results.cells, key=lambda cell: (cell.clients, order[cell.engine, cell.peer]))
    cells.sort(key=lambda cell: cell.engine)
    rows = [_HEADER, *(_row(cell) for cell in cells)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(_line(row, widths) for row in (rows[0], rule, *rows[1:])) + "\n"


def render_verdicts(verdicts: Sequence[Verdict]) -> str:
    """A line for each: pass or short, the measured value, the bound."""
    return "".join(
        f"{'pass ' if each.kept else 'SHORT'}  {each.promise}: {each.value:,.2f}"
        f" (at {'least' if each.at_least else 'most'} {each.bound:g})\n"
        for each in verdicts
    )


def render_notes(results: Results) -> Iterator[str]:
    """What the CPU and the memory of each peer are taken from, and what it uses when nobody asks."""
    for note in results.peers:
        yield f"{note.peer} ({note.engine}): {note.counted}; idle {note.idle_cpu_percent:.1f}% of a core\n"


def _row(cell: Cell) -> tuple[str, ...]:
    return (
        cell.engine,
        str(cell.clients),
        cell.peer,
        _spread(cell, lambda one: one.tokens_per_s),
        f"{cell.median(lambda one: one.requests_per_s):,.1f}",
        str(cell.failed),
        _pair(cell, lambda one: one.ttft_p50_ms, lambda one: one.ttft_p99_ms),
        _pair(cell, lambda one: one.itl_p50_ms, lambda one: one.itl_p99_ms),
        _spread(cell, lambda one: one.cpu_us_per_token),
        f"{cell.peak_memory_mib:,.0f}",
    )


def _spread(cell: Cell, of: Callable[[Round], float]) -> str:
    least, most = cell.spread(of)
    return f"{cell.median(of):,.0f} ({least:,.0f} to {most:,.0f})"


def _pair(cell: Cell, one: Callable[[Round], float], other: Callable[[Round], float]) -> str:
    return f"{cell.median(one):,.2f} / {cell.median(other):,.2f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return f"| {' | '.join(text.ljust(width) for text, width in zip(row, widths, strict=True))} |"
