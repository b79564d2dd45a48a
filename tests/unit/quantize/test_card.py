"""The card says in tables what the manifest holds."""

from __future__ import annotations

from quantize.card import card
from quantize.manifest import Padding
from tests.unit.quantize.manifests import manifest


def test_figures_of_the_loss_are_there() -> None:
    text = card("Some-7B-INT4", manifest())
    assert text.startswith("# Some-7B-INT4\n")
    assert "| perplexity (+1.00%) | 8.0000 | 8.0800 |" in text
    assert "4,000 held-out tokens and 40 questions of\n`evaluation.jsonl`" in text
    assert "KL divergence (the 256 likeliest tokens told apart), mean, nats |  | 4.00e-03" in text
    assert "| all tensors | 15.00 GiB | 5.00 GiB (33.3%) |" in text


def test_worst_layer_is_named_first() -> None:
    lines = card("x", manifest()).splitlines()
    assert lines[lines.index("| layer | error |") + 2].startswith(
        "| `model.layers.2.mlp.down_proj` | 2.10e-03"
    )


def test_padding_is_told_where_there_is_some() -> None:
    assert "padded from 29568 to 29696" in card("x", manifest(padding=Padding(before=29568, after=29696)))
    assert "padded" not in card("x", manifest())


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    width = None
    for line in card("x", manifest()).splitlines():
        if not line.startswith("|"):
            width = None
            continue
        width = width or line.count("|")
        assert line.count("|") == width, line
