"""``python -m tests.gpu.engine_peak FOLDER`` prints what a real engine takes of a GPU, bytes, as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

MAX_MODEL_LEN = 8192
MAX_NUM_BATCHED_TOKENS = 2048
MAX_NUM_SEQS = 256


def main(folder: str) -> None:
    """Start an engine in this process on weights of no meaning, give it full steps, and look."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # so that its worker can be looked at
    from vllm import LLM, SamplingParams

    engine = LLM(
        folder,
        load_format="dummy",
        skip_tokenizer_init=True,
        max_model_len=MAX_MODEL_LEN,
        max_num_batched_tokens=MAX_NUM_BATCHED_TOKENS,
        max_num_seqs=MAX_NUM_SEQS,
    )
    # Full steps of prefill and of decoding, and a temperature, so that the sampler copies the logits.
    prompts = [{"prompt_token_ids": [100 + one] * 64} for one in range(MAX_NUM_SEQS)]
    sampling = SamplingParams(temperature=0.7, max_tokens=64, ignore_eos=True, detokenize=False)
    engine.generate(prompts, sampling, use_tqdm=False)
    print(json.dumps(engine.collective_rpc(_look)[0]))  # noqa: T201


def _look(worker: Any) -> dict[str, int]:
    """What PyTorch and the worker have counted.

    ``peak`` is PyTorch's own peak under load less the KV cache; ``profiled`` is all but the KV cache as the
    worker reckoned it when it started, CUDA graphs included, CUDA's context not. The rest are its parts:
    ``context`` is what was taken before its first look, ``kept`` what it held after its profile run (weights,
    buffers, kernels), ``transient`` the run's peak above that, ``graphs`` what it guessed for CUDA graphs.
    """
    import torch

    storages = [one.untyped_storage() for one in worker.model_runner.kv_caches]
    kv_bytes = sum({one.data_ptr(): one.nbytes() for one in storages}.values())
    free, gpu = torch.cuda.mem_get_info()
    return {
        "gpu": gpu,
        "weights": int(worker.model_runner.model_memory_usage),
        "peak": torch.cuda.max_memory_allocated() - kv_bytes,
        "profiled": int(worker.requested_memory - worker.available_kv_cache_memory_bytes),
        "context": worker.init_snapshot.non_torch_memory,
        "kept": worker.total_consumed,
        "transient": worker.peak_activation_memory - worker.cudagraph_memory_estimate,
        "graphs": worker.cudagraph_memory_estimate,
        "outside_pytorch": gpu - free - torch.cuda.memory_reserved(),
        "kv": kv_bytes,
        "kv_tokens": worker.cache_config.num_gpu_blocks * worker.cache_config.block_size,
    }


if __name__ == "__main__":
    main(sys.argv[1])
