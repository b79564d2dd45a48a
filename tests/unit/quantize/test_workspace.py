from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from quantize.errors import QuantizeError
from quantize.workspace import Workspace, disk_errors, write_tensors

JOB = {"source": "a", "settings": {"seed": 1}}


def test_first_time_begins_and_second_goes_on(tmp_path: Path) -> None:
    first = Workspace(tmp_path / "out")
    assert first.open(JOB) is False
    first.write_block(0, {"a": torch.ones(2)})
    first.close()
    assert Workspace(tmp_path / "out").open(JOB) is True


def test_other_settings_are_not_mixed_with_what_was_begun(tmp_path: Path) -> None:
    first = Workspace(tmp_path / "out")
    first.open(JOB)
    first.close()
    with pytest.raises(QuantizeError, match="unfinished quantization of another source or with other"):
        Workspace(tmp_path / "out").open({**JOB, "source": "b"})


def test_two_processes_do_not_write_into_one(tmp_path: Path) -> None:
    first = Workspace(tmp_path / "out")
    first.open(JOB)
    with pytest.raises(QuantizeError, match="another process"):
        Workspace(tmp_path / "out").open(JOB)


def test_hidden_states_come_back_in_order_and_go_with_their_block(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    space.open(JOB)
    space.write_hidden(0, (torch.full((1, n, 2), float(n)) for n in range(1, 13)))
    assert [state.shape[1] for state in space.read_hidden(0)] == list(range(1, 13))
    space.write_block(0, {"a": torch.ones(1)})
    assert space.finished(0)
    assert not space.has_hidden(0)


def test_cut_off_hidden_states_do_not_count(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    space.open(JOB)

    def states() -> object:
        yield torch.ones(1, 1, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        space.write_hidden(0, states())  # type: ignore[arg-type]
    assert not space.has_hidden(0)
    space.write_hidden(0, iter([torch.ones(1, 2, 1)]))
    assert [state.shape[1] for state in space.read_hidden(0)] == [2]


def test_result_appears_whole_and_nothing_is_left(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    space.open(JOB)
    space.result.mkdir()
    (space.result / "a").write_text("b")
    space.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "b"


def test_what_appeared_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    space.open(JOB)
    space.result.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(QuantizeError, match="has appeared meanwhile"):
        space.publish()
    assert (tmp_path / "out" / "mine").read_text() == "mine"


def test_notes_come_back(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "out")
    space.open(JOB)
    space.note("seconds", 3.5)
    assert space.noted("seconds") == 3.5
    assert space.noted("nothing") is None


def test_files_can_be_read_by_a_server_that_runs_as_somebody_else(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(1)})
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o044 == 0o044


def test_full_disk_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match=r"No space left.*make room.*it goes on"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_under_the_library_that_writes_says_what_to_do(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk; it needs a process of its own."""
    program = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from quantize.workspace import disk_errors, write_tensors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "out = Path(sys.argv[1])\n"
        "with disk_errors(out):\n"
        "    write_tensors(out, {'a': torch.ones(100_000)})\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "QuantizeError" in done.stderr.splitlines()[-1]
    assert "make room" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "a.safetensors").exists()


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), disk_errors(tmp_path):
        raise ZeroDivisionError
