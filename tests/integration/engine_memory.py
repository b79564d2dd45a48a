"""``python -m tests.integration.engine_memory MODEL`` prints what a real engine on the CPU has allocated."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

KV_CACHE_BYTES = 64 << 20


def main(model: str) -> None:
    """Start an engine in this process and look at its KV cache and its tables."""
    # In this process, so that its worker can be looked at; no compiler, and not all cores.
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "TORCH_COMPILE_DISABLE": "1",
    }
    from vllm import LLM

    images = {"limit_mm_per_prompt": {"image": 1, "video": 0}} if "vl" in model else {}
    engine = LLM(model, enforce_eager=True, kv_cache_memory_bytes=KV_CACHE_BYTES, max_num_seqs=4, **images)
    cache = engine.llm_engine.vllm_config.cache_config
    allocated, tables = engine.collective_rpc(_look)[0]
    found = {
        "blocks": cache.num_gpu_blocks,
        "block_tokens": cache.block_size,
        "kv_bytes": allocated,
        "rope_bytes": tables,
    }
    print(json.dumps(found))  # noqa: T201


def _look(worker: Any) -> tuple[int, int]:
    """Bytes of the KV cache's tensors and of RoPE's tables, each storage once."""
    runner = worker.model_runner
    storages = [one.untyped_storage() for one in runner.kv_caches]
    caches = {one.data_ptr(): one.nbytes() for one in storages}
    buffers = runner.model.named_buffers()
    tables = {one.data_ptr(): one.nbytes for name, one in buffers if name.endswith("cos_sin_cache")}
    return sum(caches.values()), sum(tables.values())


if __name__ == "__main__":
    main(sys.argv[1])
