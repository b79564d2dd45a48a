"""``qwen-serve plan``, as a user meets it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from deployments.config import ModelConfig
from serve_app.cli import app

ROOT = Path(__file__).resolve().parents[4]
GUIDES = [ROOT / "docs/planning.md", ROOT / "docs/planning.zh-CN.md"]
RUNNER = CliRunner()


def run(*arguments: str) -> tuple[int, str]:
    result = RUNNER.invoke(app, ["plan", *arguments])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_one_model_on_one_gpu() -> None:
    code, output = run(
        *("--model", "qwen2.5-72b", "--quantization", "gptq-int4", "--gpu", "A10"),
        *("--context", "8192", "--concurrent", "32", "--json"),
    )
    assert code == 0
    content = json.loads(output)
    (model,) = content["models"]
    assert (model["tensor_parallel_size"], model["gpus"]) == (4, 4 * model["replicas"])
    assert model["requests_at_once_per_replica"] * model["replicas"] >= 32
    ModelConfig.model_validate(content["configuration"]["models"][0])


def test_a_catalogue_says_what_is_left_out(tmp_path: Path) -> None:
    code, output = run(str(ROOT / "configs/a100-a10.yaml"))
    assert code == 0
    assert "qwen2-vl-7b-instruct-int4" in output
    text = (ROOT / "configs/a100-a10.yaml").read_text(encoding="utf-8")
    text = text.replace("        - id: qwen3-reranker-4b\n          source: Qwen/Qwen3-Reranker-4B\n"
                        "          kind: reranker\n          accelerator: A10\n",
                        "        - id: qwen3-reranker-4b\n          source: Qwen/Qwen3-Reranker-4B\n"
                        "          kind: reranker\n")  # fmt: skip
    (tmp_path / "mixed.yaml").write_text(text, encoding="utf-8")
    code, output = run(str(tmp_path / "mixed.yaml"))
    assert code == 0
    assert "left out: qwen3-reranker-4b: it runs on the CPU" in " ".join(output.split())


def test_requirements_lead_to_machines_a_picture_and_a_section(tmp_path: Path) -> None:
    picture, section = tmp_path / "cost.png", tmp_path / "models.yaml"
    code, output = run(
        *("--requirements", str(ROOT / "configs/requirements-example.yaml"), "--markdown"),
        *("--plot", str(picture), "--models-yaml", str(section)),
    )
    assert code == 0
    assert "**Machines**" in output
    assert picture.read_bytes().startswith(b"\x89PNG")
    written = yaml.safe_load(section.read_text(encoding="utf-8"))
    assert len([ModelConfig.model_validate(one) for one in written["models"]]) == 5
    assert set(written["accelerators"]) >= {one["accelerator"] for one in written["models"]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give one of: a Serve configuration, --model, --requirements, --tables"),
        (("--model", "qwen2.5-7b", "--tables"), "give one of"),
        (("--model", "qwen2.5-72c"), "did you mean qwen2.5-72b"),
        (("--model", "qwen2.5-72b", "--gpu", "A11"), "no GPU 'A11' in the table; did you mean A10"),
        (("--model", "qwen2.5-72b", "--quantization", "fp8"), "use none or gptq-int4"),
        (("--model", "qwen2.5-72b", "--context", "-3"), "--context: Input should be greater than 0, not -3"),
        (("--model", "qwen2.5-72b", "--machine-gpus", "0"), "--machine-gpus: Input should be greater than 0"),
        (
            ("--model", "qwen2.5-72b", "--compute-efficiency", "2"),
            "--compute-efficiency: Input should be less",
        ),
        (
            ("--model", "qwen2.5-72b", "--gpu", "A10", "--quantization", "none"),
            "What would do: INT4 on 4 x A10",
        ),
        (("--model", "/nowhere/model"), "no such folder: /nowhere/model"),
        (("--requirements", "/nowhere/file.yaml"), "there is no such file"),
        (("/nowhere/file.yaml",), "there is no such file"),
        ((str(ROOT / "serve_config.yaml"),), "nothing to plan: demo-chat: it runs on the CPU"),
        ((str(ROOT / "configs/a100-a10.yaml"), "--plot", "x.png"), "a configuration says no load"),
        (("--model", "qwen2.5-7b", "--models-yaml", "/nowhere/x"), "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: tuple[str, ...], told: str) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert told in output
    assert len(output.strip().splitlines()) == 1


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_tables_in_the_guide_are_what_its_commands_print(guide: Path, tmp_path: Path) -> None:
    """Every row, note and error after a command, up to the next heading, is of that command's output."""
    text = guide.read_text(encoding="utf-8")
    shown = re.findall(
        r"```bash\n\.venv/bin/qwen-serve plan ([^\n]+)\n```\n(.*?)(?=\n```bash|\n#)", text, re.DOTALL
    )
    assert len(shown) >= 6
    for command, below in shown:
        words = [str(ROOT / word) if word.startswith("configs/") else word for word in shlex.split(command)]
        words = [str(tmp_path / "cost.png") if word.endswith(".png") else word for word in words]
        _, printed = run(*words)
        figures = {line for line in below.splitlines() if line.startswith(("|", "* ", "error: "))}
        assert figures, command
        assert figures <= {line.rstrip() for line in printed.splitlines()}, command
