"""One engine in a child process: started, waited for, and its reason told when it dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from quantize.errors import QuantizeError
from quantize.evaluation.job import Job, Scores

_LOG: Final = "engine.log"
_REASON_LINES: Final = 2
_RAISED = re.compile(
    r"^(?:\(.*?\)\s*)?(?:ERROR [^\]]*\]\s*)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)"
)
"""The line of a traceback that says what was raised, as Python prints it or the engine logs it."""


def score(job: Job, folder: Path) -> Scores:
    """Load the job's checkpoint in a process of its own, score and answer.

    Args:
        job: What to do.
        folder: An empty folder for the files between the processes.

    Raises:
        QuantizeError: The engine ended before it was done, with its reason.
    """
    job.write(folder)
    log = folder / _LOG
    command = [sys.executable, "-m", "quantize.evaluation.child", str(folder)]
    with log.open("wb") as output:
        # A session of its own, so that the engine's workers can be ended with it.
        child = subprocess.Popen(
            command, env=_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = child.wait()
        finally:
            _end(child)
    if code != 0:
        text = log.read_text(encoding="utf-8", errors="replace")
        raise QuantizeError(f"vLLM cannot run {job.model}: {_reason(code, text)}")
    return Scores.read(folder)


def _environment() -> dict[str, str]:
    """The parent's, with what an engine on this machine needs."""
    import torch

    own = {
        # The parent may know the package from its working directory alone.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        # The engine in the child itself: less memory, and its traceback is the log's end.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }
    if not torch.cuda.is_available():
        own |= {
            # The engine's own binding would put processes that run beside each other on the same core.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count() or 1)),
            # The sampler compiles parts of itself on first use, and dies of it without a C++ compiler.
            "TORCH_COMPILE_DISABLE": "1",
        }
    environment = {**os.environ, **own}
    # Whole GiB, and it would override the cache's size that the job names.
    environment.pop("VLLM_CPU_KVCACHE_SPACE", None)
    return environment


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child's session: the child itself if it still runs, and workers that it has left."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    child.wait()


def _reason(code: int, log: str) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; there was not enough memory, most likely" if name == "SIGKILL" else ""
        return f"it was ended by {name}{hint}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    raised = [match[1] for line in lines if (match := _RAISED.match(line))]
    return "; ".join((raised or lines or [f"it ended with code {code}"])[-_REASON_LINES:])
