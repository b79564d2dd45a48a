"""A manifest as the pipeline writes it, of as many layers as are asked for."""

from __future__ import annotations

from quantize.evaluation import Loss
from quantize.layer_error import LayerError
from quantize.layout import LINEARS
from quantize.manifest import CalibrationData, Cost, Manifest, Padding, Sizes, Source
from quantize.settings import Settings
from tests.unit.quantize.evaluation.test_loss import FIGURES


def manifest(blocks: int = 3, padding: Padding | None = None) -> Manifest:
    """Errors grow with depth, and differ from projection to projection."""
    return Manifest(
        source=Source(name="Some-7B", architecture="Qwen2ForCausalLM", sha256={"config.json": "1" * 64}),
        tools={"torch": "2.13.0"},
        settings=Settings(tensor_parallel_size=4),
        padding=padding,
        calibration=CalibrationData(
            file="calibration.jsonl", samples=128, tokens=60_000, repeated=1, short=2, sha256="2" * 64
        ),
        sizes=Sizes(source=15 << 30, result=5 << 30, linear_before=1300, linear_after=340),
        loss=Loss(**FIGURES),
        layers=layer_errors(blocks),
        cost=Cost(machine="a CPU", seconds=61.5, peak_host_bytes=3 << 30, peak_gpu_bytes=None),
    )


def layer_errors(blocks: int) -> tuple[LayerError, ...]:
    """Of each projection of each block."""
    return tuple(
        LayerError(
            name=f"model.layers.{block}.{projection}",
            projection=projection,
            block=block,
            relative_error=1e-4 * (1 + place) * (1 + block),
            damp_percent=0.01,
            seconds=0.1,
        )
        for block in range(blocks)
        for place, projection in enumerate(LINEARS)
    )
