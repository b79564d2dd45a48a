"""The files that the tests of the pipeline calibrate and evaluate with have nothing in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantize.calibration import read_records
from quantize.evaluation import read_set
from tests import quantize_data

Write = Callable[[Path], Path]


@pytest.mark.parametrize(
    ("calibration", "evaluation"),
    [
        (quantize_data.chat_calibration, quantize_data.chat_evaluation),
        (quantize_data.vision_calibration, quantize_data.vision_evaluation),
    ],
)
def test_calibration_and_evaluation_are_apart(tmp_path: Path, calibration: Write, evaluation: Write) -> None:
    texts = [record.text for record in read_records(calibration(tmp_path / "calibration.jsonl"))]
    items = read_set(evaluation(tmp_path / "evaluation.jsonl"))
    assert len(texts) > 90
    assert len(items.records) > 90
    assert items.overlap(texts) == []
