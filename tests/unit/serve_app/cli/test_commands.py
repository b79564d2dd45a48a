"""The command line, as a user meets it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from serve_app.auth import secret
from serve_app.auth.tokens import Tokens
from serve_app.cli import app

ROOT = Path(__file__).resolve().parents[4]
RUNNER = CliRunner()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped configuration in a folder of its own, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(ROOT / "serve_config.yaml", tmp_path))


def run(*arguments: str) -> tuple[int, str]:
    result = RUNNER.invoke(app, list(arguments))
    return result.exit_code, result.output


def test_check_says_ok(config: Path) -> None:
    code, output = run("check", str(config))
    assert code == 0
    assert "ok, 4 models, 7 aliases" in output


def test_check_tells_the_memory_of_each_gpu(config: Path) -> None:
    assert "Memory of each GPU" not in run("check", str(config))[1], "there is none"

    code, output = run("check", str(ROOT / "configs" / "a100-a10.yaml"))

    assert code == 0
    assert "weights GiB" in output
    (row,) = [line for line in output.splitlines() if line.lstrip().startswith("qwen2.5-32b-instruct ")]
    assert row.split()[:5] == ["qwen2.5-32b-instruct", "2", "x", "A100-80G", "30.71"]


def test_check_of_a_broken_file_names_the_key_and_exits_with_2(config: Path) -> None:
    config.write_text(config.read_text(encoding="utf-8").replace("kind: text", "knd: text"), encoding="utf-8")
    code, output = run("check", str(config))
    assert code == 2
    assert "applications[0].args.models[0].knd: unknown key; did you mean 'kind'?" in output


def test_token_needs_the_secret_first(config: Path) -> None:
    code, output = run("token", "--subject", "zhangsan")
    assert code == 2
    assert "qwen-serve secret .qwen-serve/jwt.key" in output

    assert run("secret", ".qwen-serve/jwt.key")[0] == 0
    code, output = run("token", "--subject", "zhangsan", "--role", "user", "--expires", "30d")
    assert code == 0
    tokens = Tokens(secret.read(Path(".qwen-serve/jwt.key")), issuer="qwen-serve", audience="qwen-serve")
    principal = tokens.verify(f"Bearer {output.strip()}")
    assert (principal.subject, principal.roles) == ("zhangsan", frozenset({"user"}))


def test_secret_is_never_printed_and_never_replaced(config: Path) -> None:
    _, first = run("secret", "jwt.key")
    made = Path("jwt.key").read_text(encoding="ascii").strip()
    _, second = run("secret", "jwt.key")

    assert made not in first + second
    assert "there already" in second
    assert Path("jwt.key").read_text(encoding="ascii").strip() == made


def test_expiry_that_is_no_duration_is_refused(config: Path) -> None:
    run("secret", ".qwen-serve/jwt.key")
    code, output = run("token", "--subject", "a", "--expires", "forever")
    assert code == 2
    assert "30d" in output


def test_configure_serves_one_model_of_the_hub(config: Path) -> None:
    code, output = run("configure", "Qwen/Qwen2.5-0.5B-Instruct", "--out", "derived/one.yaml")
    assert code == 0, output
    args = yaml.safe_load(Path("derived/one.yaml").read_text(encoding="utf-8"))["applications"][0]["args"]
    (model,) = args["models"]
    assert (model["id"], model["kind"]) == ("Qwen/Qwen2.5-0.5B-Instruct", "text")
    assert args["aliases"] == {}
    assert args["auth"] == {"secret_file": ".qwen-serve/jwt.key"}


def test_configure_reads_the_kind_of_a_folder(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"architectures": ["Qwen2ForCausalLM"], "hidden_size": 64, "intermediate_size": 128,'
        ' "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 512,'
        ' "max_position_embeddings": 256}',
        encoding="utf-8",
    )
    code, output = run("configure", str(folder), "--out", "one.yaml")
    assert code == 0, output
    (model,) = yaml.safe_load(Path("one.yaml").read_text(encoding="utf-8"))["applications"][0]["args"][
        "models"
    ]
    assert (model["id"], model["kind"], model["max_model_len"]) == ("mine", "text", 256)


def test_configure_of_a_folder_without_a_checkpoint_is_refused(config: Path, tmp_path: Path) -> None:
    code, output = run("configure", str(tmp_path), "--out", "one.yaml")
    assert code == 2
    assert "config.json" in output
    assert not Path("one.yaml").exists()
