"""The memory model against a real engine, and against a real INT4 checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployments import shard
from deployments.checkpoint import read_architecture
from deployments.memory import EngineShape, checkpoint_bytes, estimate
from tests.integration.engine_memory import KV_CACHE_BYTES

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 300

QUANTIZE = """
import sys
from gptqmodel import GPTQModel, QuantizeConfig
model = GPTQModel.load(sys.argv[1], QuantizeConfig(bits=4, group_size=128, desc_act=False, device="cpu"))
model.quantize(["What is the capital of France? Paris is the capital of France. " * 4] * 16, batch_size=1)
model.save(sys.argv[2])
"""


def run(*arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run Python, and return what it said on standard output."""
    found = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=found,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


@pytest.mark.parametrize("name", ["demo-chat", "demo-vl"])
def test_kv_cache_and_table_of_positions_are_what_the_engine_allocates(name: str) -> None:
    folder = ROOT / "models" / name
    output = run("-m", "tests.integration.engine_memory", str(folder))
    engine: dict[str, Any] = json.loads(output.splitlines()[-1])
    architecture = read_architecture(folder)

    found = estimate(architecture, EngineShape(block_tokens=engine["block_tokens"]))

    block_bytes = found.kv_bytes_per_token * found.block_tokens
    assert engine["blocks"] * block_bytes == engine["kv_bytes"]
    assert engine["blocks"] == KV_CACHE_BYTES // block_bytes
    assert engine["block_tokens"] == 128, "vLLM's default on a CPU"
    assert shard.rope_bytes(architecture, 2) == engine["rope_bytes"]


def test_int4_checkpoint_is_as_large_as_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "int4"
    # gptqmodel refuses to start on two cores without the first; docs/decisions/0004.
    environment = {"GPTQMODEL_CPU_WORKERS": "2", "CUDA_VISIBLE_DEVICES": ""}
    run("-c", QUANTIZE, str(ROOT / "models" / "demo-chat"), str(folder), cwd=tmp_path, **environment)

    architecture = read_architecture(folder)

    assert architecture.quantization is not None
    size = (folder / "model.safetensors").stat().st_size
    assert checkpoint_bytes(architecture) == pytest.approx(size, rel=0.01)  # a header of 7 kB comes on top
    assert size < 0.5 * (ROOT / "models" / "demo-chat" / "model.safetensors").stat().st_size
