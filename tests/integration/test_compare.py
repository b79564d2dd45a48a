"""``python -m quantize compare`` on the real engine: a model with itself, and with a damaged copy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from quantize.errors import QuantizeError
from quantize.evaluation import Loss, encoding, evaluate, read_set
from tests import quantize_data
from tests.integration.conftest import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

_CHAT = ROOT / "models" / "demo-chat"
_VISION = ROOT / "models" / "demo-vl"


def _compare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quantize", "compare", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)


def _copy(source: Path, folder: Path, noise: float) -> Path:
    """A checkpoint with noise on one matrix, of so many times its standard deviation."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layers.1.mlp.down_proj.weight"))
    weight = tensors[name].float()
    shift = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)) * weight.std() * noise
    tensors[name] = (weight + shift).to(tensors[name].dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_vision_model_equals_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images stand in held-out chats and in questions; the vocabulary is taken for a large one."""
    monkeypatch.setattr(encoding, "WHOLE_VOCABULARY", 0)
    path = quantize_data.vision_evaluation(tmp_path / "evaluation.jsonl")
    # Every third line: of each form and each language some.
    path.write_text(
        "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:112:3]), encoding="utf-8"
    )
    items = read_set(path)
    loss = evaluate(_VISION, _VISION, items)
    assert loss.top_tokens == 256
    assert loss.perplexity_reference == loss.perplexity_candidate < 1.1
    assert (loss.perplexity_loss, loss.kl_divergence_mean, loss.kl_divergence_p99) == (0, 0, 0)
    assert loss.next_token_agreement == 1
    assert loss.right_reference == loss.right_candidate == loss.same_answers == loss.questions > 10
    assert loss.excess(0) is None


def test_damaged_copy_fails_and_says_by_how_much(tmp_path: Path) -> None:
    damaged = _copy(_CHAT, tmp_path / "damaged", noise=4)
    done = _compare(
        *(_CHAT, damaged, "--eval", quantize_data.chat_evaluation(tmp_path / "evaluation.jsonl"), "--json")
    )
    assert done.returncode == 1, done.stderr
    loss = Loss.model_validate_json(done.stdout)
    assert loss.perplexity_reference < 1.01
    assert loss.perplexity_loss > 0.02
    assert loss.kl_divergence_p99 > loss.kl_divergence_mean > 0.01
    assert loss.next_token_agreement < 1
    assert loss.right_candidate == loss.questions - len(loss.lost_lines) < 46
    assert loss.right_reference == loss.questions == 46
    assert f"perplexity is {loss.perplexity_loss:.2%} above the original's, 2.00% are allowed" in done.stderr


def test_engine_that_cannot_load_a_checkpoint_tells_its_reason(tmp_path: Path) -> None:
    damaged = tmp_path / "odd"
    shutil.copytree(_CHAT, damaged)
    config: dict[str, Any] = json.loads((damaged / "config.json").read_text(encoding="utf-8"))
    (damaged / "config.json").write_text(json.dumps({**config, "num_key_value_heads": 3}), encoding="utf-8")
    items = read_set(quantize_data.chat_evaluation(tmp_path / "evaluation.jsonl"))
    with pytest.raises(QuantizeError) as raised:
        evaluate(damaged, _CHAT, items)
    message = str(raised.value)
    assert message.startswith(f"vLLM cannot run {damaged}: ")
    assert "Error" in message
    assert "\n" not in message
