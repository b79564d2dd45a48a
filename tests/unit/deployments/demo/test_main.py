"""The command makes what is missing and leaves alone what is there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployments.demo.__main__ import main
from deployments.demo.checkpoint import RECIPE_FILE
from deployments.demo.progress import Progress
from deployments.demo.recipe import RECIPES, Recipe


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the training, which the pipeline's own tests cover, by a note of what it was asked for."""
    names: list[str] = []

    def build(recipe: Recipe, folder: Path, progress: Progress) -> None:
        names.append(recipe.name)
        progress.step(1, 1, 0.5)
        (folder / "model.safetensors").write_text(recipe.name)

    monkeypatch.setitem(sys.modules, "deployments.demo.pipeline", SimpleNamespace(build=build))
    return names


def test_all_models_are_made_once(tmp_path: Path, made: list[str]) -> None:
    assert main(["--out", str(tmp_path), "--jobs", "1"]) == 0
    assert main(["--out", str(tmp_path), "--jobs", "1"]) == 0
    assert sorted(made) == sorted(RECIPES)


def test_only_the_named_models_are_made(tmp_path: Path, made: list[str]) -> None:
    assert main(["--out", str(tmp_path), "--only", "demo-vl", "demo-embedding", "--jobs", "1"]) == 0
    assert made == ["demo-vl", "demo-embedding"]


def test_half_written_folder_is_made_again(tmp_path: Path, made: list[str]) -> None:
    main(["--out", str(tmp_path), "--only", "demo-chat"])
    (tmp_path / "demo-chat" / RECIPE_FILE).unlink()
    main(["--out", str(tmp_path), "--only", "demo-chat"])
    assert made == ["demo-chat", "demo-chat"]


def test_changed_corpus_makes_the_models_again(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["--out", str(tmp_path), "--only", "demo-chat"])
    monkeypatch.setattr("deployments.demo.recipe.corpus_bytes", lambda: iter([("corpus/chat.jsonl", b"")]))
    main(["--out", str(tmp_path), "--only", "demo-chat"])
    assert made == ["demo-chat", "demo-chat"]


def test_unwritable_folder_ends_with_one_line(
    tmp_path: Path, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file"), "--only", "demo-chat"]) == 1
    assert made == []
    assert "choose another folder with --out" in capsys.readouterr().err


def test_finding_models_there_imports_neither_torch_nor_transformers(tmp_path: Path, made: list[str]) -> None:
    main(["--out", str(tmp_path), "--jobs", "1"])
    code = (
        "import sys; from deployments.demo.__main__ import main;"
        f"status = main(['--out', {str(tmp_path)!r}]);"
        "sys.exit(status or ('torch' in sys.modules or 'transformers' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_failure_in_a_process_of_its_own_says_what_and_which(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "deployments.demo", "--out", str(tmp_path / "file"), "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "choose another folder with --out" in done.stderr
    assert "was not made: see above" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_every_process_and_leaves_no_folder(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "deployments.demo", "--out", str(tmp_path), "--jobs", "2"]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        # Both are at work, importing or training, when both have their folder.
        assert _comes_true(lambda: len(list(tmp_path.iterdir())) == 2)
        process.send_signal(number)
        assert process.wait(timeout=240) == 128 + number
    assert list(tmp_path.iterdir()) == []
    # multiprocessing's own tracker goes a moment later.
    assert _comes_true(lambda: not _has_processes(process.pid))


def _comes_true(condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def _has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
