"""Both demonstration models through the whole pipeline, and then served by the real engine in INT4."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import yaml

from deployments.checkpoint import read_architecture
from deployments.memory import checkpoint_bytes
from quantize.manifest import Manifest, read_manifest
from serve_app.serve_file import keep_files_in
from tests import quantize_data
from tests.integration.conftest import ROOT, Application, running
from tests.integration.test_answers import answer_to
from tests.integration.test_readme import CURL, PYTHON, blocks
from tests.integration.test_readme import test_curl_example_is_answered as check_curl
from tests.integration.test_readme import test_python_example_prints_what_the_readme_shows as check_python

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

MODELS = ("demo-chat", "demo-vl")


def _quantize(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serve_app.cli", "quantize", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the INT4 form of each model."""
    folder = tmp_path_factory.mktemp("int4")
    data = {
        "demo-chat": (quantize_data.chat_calibration, quantize_data.chat_evaluation),
        "demo-vl": (quantize_data.vision_calibration, quantize_data.vision_evaluation),
    }
    for name, (calibration, evaluation) in data.items():
        done = _quantize(
            *(ROOT / "models" / name, folder / name),
            *("--calibration", calibration(folder / f"{name}-calibration.jsonl")),
            *("--eval", evaluation(folder / f"{name}-evaluation.jsonl")),
            *("--sequence-length", "1024", "--tensor-parallel-size", "2"),
        )
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def manifests(packed: Path) -> dict[str, Manifest]:
    return {name: read_manifest(packed / name) for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_linear_layers_take_about_a_quarter(manifests: dict[str, Manifest], name: str) -> None:
    assert manifests[name].sizes.linear_ratio <= 0.27


@pytest.mark.parametrize("name", MODELS)
def test_perplexity_loss_is_under_two_percent(manifests: dict[str, Manifest], name: str) -> None:
    loss = manifests[name].loss
    assert loss.perplexity_loss < 0.02
    assert loss.tokens > 200
    assert loss.next_token_agreement > 0.95


@pytest.mark.parametrize("name", MODELS)
def test_questions_are_answered_as_before(manifests: dict[str, Manifest], name: str) -> None:
    loss = manifests[name].loss
    assert loss.right_candidate == loss.right_reference == loss.questions > 40
    assert loss.same_answers == loss.questions


@pytest.mark.parametrize("name", MODELS)
def test_card_picture_and_hashes_are_there(packed: Path, manifests: dict[str, Manifest], name: str) -> None:
    assert "quantization: gptq-int4" in (packed / name / "README.md").read_text(encoding="utf-8")
    assert (packed / name / "layer-error.png").read_bytes().startswith(b"\x89PNG")
    assert len(manifests[name].source.sha256["model.safetensors"]) == 64
    assert len(manifests[name].layers) == 2 * 7


@pytest.mark.parametrize("name", MODELS)
def test_memory_model_knows_the_size_of_the_checkpoint(
    packed: Path, manifests: dict[str, Manifest], name: str
) -> None:
    expected = checkpoint_bytes(read_architecture(packed / name))
    assert expected == pytest.approx(manifests[name].sizes.result, rel=0.02)


def test_nothing_else_is_left(packed: Path) -> None:
    assert [path.name for path in packed.iterdir() if path.name.startswith(".")] == []


def test_too_much_loss_fails_and_names_the_worst_layers(packed: Path, tmp_path: Path) -> None:
    """Rounded for other words than its own, the model loses more than nothing; nothing is allowed."""
    text = tmp_path / "calibration.txt"
    text.write_text("\n\n".join(f"Line {n}: of quite other things, xyzzy plugh {n * n}." for n in range(40)))
    evaluation = packed / "demo-chat-evaluation.jsonl"
    options = ("--calibration", text, "--eval", evaluation, "--max-loss", "0")
    done = _quantize(ROOT / "models" / "demo-chat", tmp_path / "out", *options)
    assert done.returncode == 1, done.stderr
    error = done.stderr.splitlines()[-1]
    assert "Largest errors: model.layers." in error
    assert "--group-size" in error
    assert not (tmp_path / "out").exists()
    # What was measured once too bad can be taken all the same, without another hour of work.
    again = _quantize(ROOT / "models" / "demo-chat", tmp_path / "out", *options[:-1], "100%")
    assert again.returncode == 0, again.stderr
    assert "going on with what is finished" in again.stderr
    assert read_manifest(tmp_path / "out").loss.perplexity_loss > 0


@pytest.fixture(scope="module")
def served(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """The application as it comes, with the chat and the vision model in INT4."""
    folder = tmp_path_factory.mktemp("served")
    content = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    args = content["applications"][0]["args"]
    keep_files_in(folder, args)
    for model in args["models"]:
        if model["id"] in MODELS:
            model |= {"source": str(packed / model["id"]), "quantization": "gptq-int4", "group_size": 128}
    config = folder / "serve_config.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(config, folder / "state") as application:
        yield application


@pytest.mark.parametrize(("name", "code", "output"), blocks(PYTHON))
def test_example_of_the_readme_prints_what_it_did(
    served: Application, name: str, code: str, output: str
) -> None:
    check_python(served, name, code, output)


@pytest.mark.parametrize(("name", "command"), blocks(CURL))
def test_curl_example_of_the_readme_is_answered(served: Application, name: str, command: str) -> None:
    check_curl(served, name, command)


async def test_every_question_of_the_corpus_is_answered_as_before(served: Application) -> None:
    from deployments.demo import corpus

    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=served.token, max_retries=0) as client:
        pairs = corpus.load_chat()
        answers = await asyncio.gather(*(answer_to(client, pair.question) for pair in pairs))
    assert {p.question: a for p, a in zip(pairs, answers, strict=True) if a != p.answer} == {}
