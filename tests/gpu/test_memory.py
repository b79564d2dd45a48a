"""The memory model against a GPU. Run once, on an H100: docs/decisions/0017 has the figures.

    .venv/bin/python -m pytest tests/gpu -m gpu          # one GPU with 24 GiB or more, about two minutes

It failed in one test then, and the model was mended by what it showed; it has not been run since.
Qwen2.5-7B's shape with weights of no meaning: nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.checkpoint import read_architecture
from deployments.memory import EngineShape, MemoryEstimate, estimate
from tests.gpu.engine_peak import MAX_NUM_BATCHED_TOKENS, MAX_NUM_SEQS

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 900
QWEN2_5_7B = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "dtype": "bfloat16",
    "hidden_act": "silu",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "vocab_size": 152064,
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], MemoryEstimate]:
    """What an engine takes, and what the model says of it."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: torch.cuda is not available here")
    folder = tmp_path_factory.mktemp("qwen2.5-7b")
    (folder / "config.json").write_text(json.dumps(QWEN2_5_7B), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "tests.gpu.engine_peak", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    shape = EngineShape(max_num_batched_tokens=MAX_NUM_BATCHED_TOKENS, max_num_seqs=MAX_NUM_SEQS)
    return json.loads(result.stdout.splitlines()[-1]), estimate(read_architecture(folder), shape)


def test_weights_are_as_estimated(measured: tuple[dict[str, int], MemoryEstimate]) -> None:
    engine, found = measured
    assert found.weights_bytes == pytest.approx(engine["weights"], rel=0.01)


def test_peak_under_load_is_as_estimated(measured: tuple[dict[str, int], MemoryEstimate]) -> None:
    engine, found = measured
    assert found.weights_bytes + found.activation_bytes == pytest.approx(engine["peak"], rel=0.05)


def test_all_but_the_kv_cache_is_as_the_engine_reckons(
    measured: tuple[dict[str, int], MemoryEstimate],
) -> None:
    engine, found = measured
    assert found.fixed_bytes - found.context_bytes == pytest.approx(engine["profiled"], rel=0.05)


def test_kv_cache_is_as_estimated(measured: tuple[dict[str, int], MemoryEstimate]) -> None:
    engine, found = measured
    assert engine["kv"] == engine["kv_tokens"] * found.kv_bytes_per_token
    assert found.kv_tokens(engine["gpu"]) == pytest.approx(engine["kv_tokens"], rel=0.05)
