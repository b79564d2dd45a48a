"""The engine that will serve it, in a process of its own, so that its memory is free for the next one.

``python -m quantize.evaluation.engine JOB.json``: the parent's side is :func:`predict`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from quantize.errors import QuantizeError
from quantize.evaluation.figures import Predictions

_ANSWER_TOKENS: Final = 256
_CPU_CACHE_BYTES: Final = 256 << 20
_BATCHED_TOKENS: Final = 2048
"""Of a step; its logits over the whole vocabulary are in memory at once: 1.2 GB for Qwen2.5."""
_CPU_ENVIRONMENT: Final = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "TORCH_COMPILE_DISABLE": "1"}


def predict(
    model: Path,
    sequences: Sequence[Sequence[int]],
    counted: Sequence[int],
    conversations: Sequence[Sequence[dict[str, Any]]],
    *,
    top_tokens: int,
    tensor_parallel_size: int,
    folder: Path,
) -> tuple[Predictions, list[str]]:
    """What a checkpoint predicts, and what it answers greedily.

    Args:
        model: The checkpoint.
        sequences: Token ids of held-out texts.
        counted: For each, from which token on predictions count; at least 1.
        conversations: Questions, as messages.
        top_tokens: K, the likeliest tokens that are reported for each position.
        tensor_parallel_size: GPUs; fewer where there are fewer.
        folder: For the files between the two processes.

    Raises:
        QuantizeError: The engine did not start or died; with its own last words.
    """
    job = folder / "job.json"
    content = {
        "model": str(model.absolute()),
        "sequences": [list(sequence) for sequence in sequences],
        "counted": list(counted),
        "conversations": [list(conversation) for conversation in conversations],
        "top_tokens": top_tokens,
        "tensor_parallel_size": tensor_parallel_size,
    }
    job.write_text(json.dumps(content), encoding="utf-8")
    command = [sys.executable, "-m", "quantize.evaluation.engine", str(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = [line for line in done.stderr.splitlines() if "Error" in line] or done.stderr.splitlines()
        raise QuantizeError(
            f"vLLM cannot run {model}: {words[-1].strip() if words else 'no reason given'}"
        )
    with np.load(job.with_suffix(".npz")) as arrays:
        predictions = Predictions(arrays["chosen"], arrays["ids"], arrays["logprobs"])
    answers: list[str] = json.loads(job.with_suffix(".answers.json").read_text(encoding="utf-8"))
    return predictions, answers


def main(job_path: Path) -> None:
    """The child: run the engine and write what it says beside the job."""
    job = json.loads(job_path.read_text(encoding="utf-8"))
    import torch

    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        os.environ |= _CPU_ENVIRONMENT
    from vllm import LLM, SamplingParams

    longest = max((len(sequence) for sequence in job["sequences"]), default=0)
    arguments: dict[str, Any] = (
        {"tensor_parallel_size": min(job["tensor_parallel_size"], torch.cuda.device_count())}
        if on_gpu
        else {"kv_cache_memory_bytes": _CPU_CACHE_BYTES}
    )
    if (images := _images(job["conversations"])) is not None:
        arguments["limit_mm_per_prompt"] = {"image": images, "video": 0}
    engine = LLM(
        model=job["model"],
        enforce_eager=True,
        max_logprobs=job["top_tokens"],
        max_model_len=_context(Path(job["model"]), longest),
        max_num_batched_tokens=_BATCHED_TOKENS,
        max_num_seqs=16,
        enable_prefix_caching=False,
        **arguments,
    )
    scoring = SamplingParams(
        max_tokens=1, temperature=0, prompt_logprobs=job["top_tokens"], flat_logprobs=True, detokenize=False
    )
    outputs = engine.generate(
        [{"prompt_token_ids": sequence} for sequence in job["sequences"]], scoring, use_tqdm=False
    )
    rows = [
        row
        for output, first in zip(outputs, job["counted"], strict=True)
        for row in _rows(output.prompt_logprobs, first, job["top_tokens"])
    ]
    chosen, ids, logprobs = (np.array(column) for column in zip(*rows, strict=True))
    answers = _answers(engine, job["conversations"])
    job_path.with_suffix(".answers.json").write_text(json.dumps(answers), encoding="utf-8")
    np.savez(job_path.with_suffix(".npz"), chosen=chosen, ids=ids, logprobs=logprobs)


def _rows(flat: Any, first: int, top_tokens: int) -> list[tuple[float, list[int], list[float]]]:
    """One row for each position: the engine puts the token that is there before the likeliest ones."""
    rows = []
    for begin in flat.start_indices[first:]:
        end = begin + 1 + top_tokens
        rows.append((flat.logprobs[begin], flat.token_ids[begin + 1 : end], flat.logprobs[begin + 1 : end]))
    return rows


def _answers(engine: Any, conversations: list[Any]) -> list[str]:
    from vllm import SamplingParams

    if not conversations:
        return []
    greedy = SamplingParams(max_tokens=_ANSWER_TOKENS, temperature=0)
    # A model that can think is asked for its answer; thoughts differ from run to run of a packed one.
    outputs = engine.chat(
        conversations, greedy, use_tqdm=False, chat_template_kwargs={"enable_thinking": False}
    )
    return [output.outputs[0].text for output in outputs]


def _images(conversations: list[Any]) -> int | None:
    """Images of the question that has most; None where no question has any."""
    counts = [
        sum(part.get("type") == "image_url" for message in messages for part in _parts(message))
        for messages in conversations
    ]
    return max(counts, default=0) or None


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return content if isinstance(content, list) else []


def _context(model: Path, longest: int) -> int:
    """Room for the longest text and for questions, within what the model allows."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    text = config.get("text_config", config)
    allowed = int(text.get("max_position_embeddings", config.get("max_position_embeddings", _BATCHED_TOKENS)))
    return min(allowed, max(longest + 1, _BATCHED_TOKENS))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
