"""The tables as they are shown."""

from __future__ import annotations

from cluster.plan import listing
from deployments import catalog


def test_every_model_of_the_catalogue_is_there_once() -> None:
    names = [row[0] for row in listing.models().rows]
    assert names == [entry.name for entry in catalog.entries() if "GPTQ" not in entry.name]


def test_int4_takes_less_than_half_of_bf16_where_the_layers_are_most_of_the_model() -> None:
    for row in listing.models().rows:
        plain, packed = row[6], row[7]
        assert isinstance(plain, float)
        assert isinstance(packed, float)
        assert packed < plain
        if plain > 10 and "VL" not in str(row[0]):
            assert packed < 0.38 * plain


def test_original_plan_was_wrong_by_what_the_guide_says() -> None:
    assert {row[0]: row[3] for row in listing.original_plan().rows} == {
        "Weights of a 72B in bf16": "-4%",
        "Weights of a 72B in INT4": "-16%",
        "Peak of an A100 in bf16": "+100%",
        "Peak of an A10 in bf16": "+100%",
    }


def test_every_table_is_regular() -> None:
    for section in listing.sections():
        assert section.rows
        assert {len(row) for row in section.rows} == {len(section.columns)}
