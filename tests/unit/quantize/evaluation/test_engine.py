"""Whatever becomes of the child process, one line tells it, and nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from quantize.errors import QuantizeError
from quantize.evaluation import engine
from quantize.evaluation.job import Job, Scores, Sequence

_JOB = Job(
    model="/models/some",
    sequences=(Sequence(line=1, token_ids=(1, 2, 3), counted=2),),
    prompts=(),
    likeliest=-1,
    max_model_len=8,
)
_TRACEBACK = """\
INFO 11-26 01:06:20 [cpu.py:255] No Error so far.
Traceback (most recent call last):
  File "loader.py", line 1, in load
    raise ValueError("no such tensor")
ValueError: no such tensor

The above exception was the direct cause of the following exception:

RuntimeError: the model did not load
[rank0]:[W1126 01:06:20] Warning: the process group was not destroyed
"""

Child = Callable[[str], None]


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Child:
    """Runs Python code in the place of the engine; the job's folder is its first argument."""
    real = subprocess.Popen

    def become(code: str) -> None:
        def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
            return real([sys.executable, "-c", code, command[-1]], **options)  # type: ignore[call-overload, no-any-return]

        monkeypatch.setattr(subprocess, "Popen", start)

    return become


def test_scores_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    scores = Scores(
        np.array([-0.5, -1], np.float32),
        np.array([[3, 1], [0, 2]], np.int32),
        np.array([[-0.5, -2], [-1, -3]], np.float32),
        False,
        ("four", "四"),
    )
    scores.write(tmp_path)
    found = Scores.read(tmp_path)
    assert found.token_ids.tolist() == [[3, 1], [0, 2]]
    assert (found.actual == scores.actual).all()
    assert (found.logprobs == scores.logprobs).all()
    assert (found.complete, found.answers) == (False, ("four", "四"))


def test_job_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    _JOB.write(tmp_path)
    assert Job.read(tmp_path) == _JOB


def test_last_exceptions_are_the_reason(child: Child, tmp_path: Path) -> None:
    child(f"import sys; sys.stderr.write({_TRACEBACK!r}); sys.exit(1)")
    with pytest.raises(QuantizeError) as raised:
        engine.score(_JOB, tmp_path)
    assert str(raised.value) == (
        "vLLM cannot run /models/some: ValueError: no such tensor; RuntimeError: the model did not load"
    )


def test_last_lines_are_the_reason_where_there_is_no_exception(child: Child, tmp_path: Path) -> None:
    child("import sys; print('one'); print('two', flush=True); print('  three'); sys.exit(3)")
    with pytest.raises(QuantizeError, match=r"vLLM cannot run /models/some: two; three$"):
        engine.score(_JOB, tmp_path)


def test_silent_end_is_told_by_its_code(child: Child, tmp_path: Path) -> None:
    child("import sys; sys.exit(3)")
    with pytest.raises(QuantizeError, match="it ended with code 3"):
        engine.score(_JOB, tmp_path)


def test_killed_engine_is_told_from_a_failed_one(child: Child, tmp_path: Path) -> None:
    child("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(QuantizeError, match="ended by SIGKILL; there was not enough memory, most likely"):
        engine.score(_JOB, tmp_path)


def test_engine_that_leaves_half_a_result_is_told(child: Child, tmp_path: Path) -> None:
    child("import pathlib, sys; pathlib.Path(sys.argv[1], 'scores.npz').write_bytes(b'PK')")
    with pytest.raises(QuantizeError, match="the engine has left no whole result"):
        engine.score(_JOB, tmp_path)


def test_workers_end_with_the_engine(child: Child, tmp_path: Path) -> None:
    """A tensor parallel worker that outlives its engine would keep its GPU."""
    child(
        "import pathlib, subprocess, sys\n"
        "worker = subprocess.Popen(['sleep', '300'])\n"
        "pathlib.Path(sys.argv[1], 'worker').write_text(str(worker.pid))\n"
        "sys.exit(1)"
    )
    with pytest.raises(QuantizeError):
        engine.score(_JOB, tmp_path)
    _gone(int((tmp_path / "worker").read_text()))


def test_interruption_ends_the_engine(child: Child, tmp_path: Path) -> None:
    child(
        "import os, pathlib, signal, sys, time\n"
        "pathlib.Path(sys.argv[1], 'engine').write_text(str(os.getpid()))\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(300)"
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.score(_JOB, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    _gone(int((tmp_path / "engine").read_text()))


def test_size_of_a_cache_that_is_set_for_others_is_not_taken(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "40")
    child("import os, sys; sys.exit(repr(os.environ.get('VLLM_CPU_KVCACHE_SPACE')))")
    with pytest.raises(QuantizeError, match=r": None$"):
        engine.score(_JOB, tmp_path)


def _gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} of {os.getpid()} is still there"
        time.sleep(0.05)  # between two looks
