from __future__ import annotations

from pathlib import Path

import pytest
import torch

from quantize.errors import QuantizeError
from quantize.machine import check_engine, device_name, free_memory_bytes, peak_memory


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the CPU does not matter")
def test_cpu_that_cannot_run_the_result_is_told_before_work(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : sse4_2 avx2\n")
    with pytest.raises(QuantizeError, match="needs AVX-512"):
        check_engine(cpuinfo)
    cpuinfo.write_text("flags : avx2 avx512f\n")
    check_engine(cpuinfo)


def test_machine_that_does_not_tell_its_cpu_is_taken_as_able(tmp_path: Path) -> None:
    check_engine(tmp_path / "nothing")


def test_machine_is_told() -> None:
    assert device_name()
    assert free_memory_bytes() > 0
    assert peak_memory().host > 1 << 20
