"""torchvision built for CUDA imports beside a CPU torch, and nothing is imported early for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from deployments import torchvision_cpu
from deployments.torchvision_cpu import PTH_NAME, arm, install


def test_line_is_written_once_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_cpu, "is_needed", lambda: True)
    assert install(tmp_path)
    line = tmp_path / PTH_NAME
    before = line.stat().st_mtime_ns
    assert install(tmp_path)
    assert line.stat().st_mtime_ns == before
    assert line.read_text(encoding="utf-8").count("\n") == 1


def test_line_is_taken_away_where_it_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_cpu, "is_needed", lambda: False)
    (tmp_path / PTH_NAME).write_text("import sys\n", encoding="utf-8")
    assert not install(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_arming_twice_puts_one_finder_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    arm()
    arm()
    assert [type(finder).__name__ for finder in sys.meta_path] == ["TorchvisionFinder"]


def test_start_arms_and_leaves_no_trace_of_the_module() -> None:
    code = (
        "import sys; import deployments.torchvision_cpu as t; t.start();"
        "import deployments; assert not hasattr(deployments, 'torchvision_cpu');"
        "assert 'deployments.torchvision_cpu' not in sys.modules;"
        "assert [type(f).__name__ for f in sys.meta_path].count('TorchvisionFinder') == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_finder_goes_away_and_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    declared: list[str] = []
    monkeypatch.setattr(torchvision_cpu, "is_needed", lambda: True)
    monkeypatch.setattr(torchvision_cpu, "declare_operators", lambda: declared.append("yes"))
    finder = torchvision_cpu.TorchvisionFinder()
    monkeypatch.setattr(sys, "meta_path", [finder])
    assert finder.find_spec("json") is None
    assert declared == []
    assert finder.find_spec("torchvision") is None
    assert declared == ["yes"]
    assert sys.meta_path == []


@pytest.mark.parametrize("version", ["0.28.0+cu130", "0.28.0+cpu", "0.28.0"])
def test_build_is_read_from_torchvisions_version_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "version.py").write_text(f"__version__ = '{version}'\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert torchvision_cpu._built_for_cuda() == ("cu130" in version)


def test_torchvision_imports_after_the_line_and_torch_waits_until_then(tmp_path: Path) -> None:
    code = (
        "import sys; assert 'torch' not in sys.modules;"
        "from deployments.torchvision_cpu import arm; arm();"
        "assert 'torch' not in sys.modules; import torchvision.ops"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
