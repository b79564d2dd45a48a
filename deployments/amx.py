"""Leave from the kernel to use AMX, asked for in each process of vLLM's CPU engine.

vLLM 0.29 picks its AMX attention wherever the processor has AMX, but Linux kills a process that touches
the tiles without asking first (``arch_prctl(ARCH_REQ_XCOMP_PERM)``). oneDNN asks when it multiplies its
first large matrix, so the engine lives as long as its first prompt is a long one; a first prompt of one or
two tokens ends it with SIGILL. vLLM calls ``request_amx`` in every process through its entry-point group
``vllm.general_plugins`` (pyproject.toml). Can go when vLLM asks itself.
"""

from __future__ import annotations


def request_amx() -> None:
    """Ask for the AMX tiles, where there are any. Asking twice does no harm."""
    import torch

    if torch.cpu._is_amx_tile_supported():
        torch.cpu._init_amx()
