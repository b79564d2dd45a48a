"""The child process: loads one checkpoint in the engine that will serve it, scores, answers, and ends.

``python -m quantize.evaluation.child FOLDER``, where the parent has put a job. A process of its own gives
a GPU's memory back whatever happens.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from quantize.evaluation.job import Job, Prompt, Scores, Sequence

_TOGETHER: Final = 8
"""Sequences at a time: their distributions are Python objects until they are packed."""

_BATCH_TOKENS: Final = 1024
"""Of one step: a step's distributions take this times the vocabulary times 8 bytes beside the model."""


def main() -> None:
    """Do the job in the folder that is named."""
    folder = Path(sys.argv[1])
    job = Job.read(folder)
    engine = _engine(job)
    scores = _score(engine, job, _answer(engine, job))
    scores.write(folder)


def _engine(job: Job) -> Any:
    import torch
    from vllm import LLM

    arguments: dict[str, Any]
    if torch.cuda.is_available():
        arguments = {"tensor_parallel_size": _split(job.tensor_parallel_size, torch.cuda.device_count())}
    else:
        arguments = {"kv_cache_memory_bytes": job.cache_bytes}
    if job.max_images:
        arguments["limit_mm_per_prompt"] = {"image": job.max_images, "video": 0}
    return LLM(
        model=job.model,
        max_model_len=job.max_model_len,
        max_logprobs=job.likeliest,
        max_num_seqs=_TOGETHER,
        max_num_batched_tokens=_BATCH_TOKENS,
        enable_chunked_prefill=True,
        # Prompts are scored anew each time, and nothing of one may wait in the cache for the other.
        enable_prefix_caching=False,
        # Nothing is compiled for so few tokens.
        enforce_eager=True,
        seed=0,
        **arguments,
    )


def _split(wanted: int, present: int) -> int:
    """GPUs to take: as many as wanted, or the most that divide what that many would divide."""
    return max(size for size in range(1, wanted + 1) if wanted % size == 0 and (size <= present or size == 1))


def _score(engine: Any, job: Job, answers: tuple[str, ...]) -> Scores:
    from vllm import SamplingParams

    parameters = SamplingParams(
        temperature=0, max_tokens=1, prompt_logprobs=job.likeliest, flat_logprobs=True, detokenize=False
    )
    actual, token_ids, logprobs = [], [], []
    for start in range(0, len(job.sequences), _TOGETHER):
        batch = job.sequences[start : start + _TOGETHER]
        for output, sequence in zip(
            engine.generate([_prompt(one) for one in batch], parameters, use_tqdm=False), batch, strict=True
        ):
            for found, ids, values in _positions(output.prompt_logprobs, sequence.counted):
                actual.append(found)
                token_ids.append(ids)
                logprobs.append(values)
    return Scores(
        np.array(actual, np.float32), np.stack(token_ids), np.stack(logprobs), job.likeliest == -1, answers
    )


def _positions(flat: Any, counted: int) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Of each of the last tokens: its log probability, the likeliest tokens there, and theirs."""
    for begin, end in zip(flat.start_indices[-counted:], flat.end_indices[-counted:], strict=True):
        # The token that stands there comes first, then the likeliest from the first on.
        ids = np.array(flat.token_ids[begin + 1 : end], np.int32)
        values = np.array(flat.logprobs[begin + 1 : end], np.float32)
        yield float(flat.logprobs[begin]), ids, values


def _answer(engine: Any, job: Job) -> tuple[str, ...]:
    from vllm import SamplingParams

    if not job.prompts:
        return ()
    parameters = [SamplingParams(temperature=0, max_tokens=prompt.max_tokens) for prompt in job.prompts]
    outputs = engine.generate([_prompt(prompt) for prompt in job.prompts], parameters, use_tqdm=False)
    return tuple(output.outputs[0].text for output in outputs)


def _prompt(item: Sequence | Prompt) -> dict[str, Any]:
    prompt: dict[str, Any] = {"prompt_token_ids": list(item.token_ids)}
    if item.images:
        from PIL import Image

        prompt["multi_modal_data"] = {"image": [Image.open(path).convert("RGB") for path in item.images]}
    return prompt


if __name__ == "__main__":
    main()
