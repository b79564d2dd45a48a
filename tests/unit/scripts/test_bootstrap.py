"""The environment is made when it must be, mended when it can be, and left alone otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import bootstrap
from scripts.bootstrap import Environment, canonical, read_pins
from scripts.installer import Installer
from scripts.machine import SetupFailed

_LOCK = "# a remark\nPy_YAML==6.0.3\ntorch==2.13.0+cpu\ntorchvision==0.28.0\n"
_TORCH, _VISION, _VISION_CPU = "torch==2.13.0+cpu", "torchvision==0.28.0", "torchvision==0.28.0+cpu"
_PINS = {"py-yaml": "6.0.3", "torch": "2.13.0+cpu", "torchvision": "0.28.0"}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment of an empty checkout, as it looks when all is well."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "cpu.lock").write_text(_LOCK)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    made = Environment(tmp_path, "cpu")
    (made.folder / "bin").mkdir(parents=True)
    made.python.symlink_to(sys.executable)
    for folder in ("py_yaml-6.0.3", "torch-2.13.0+cpu", "torchvision-0.28.0+cpu"):
        _install(made, folder)
    made.write_stamp()
    return made


def _site_packages(environment: Environment) -> Path:
    return environment.folder / "lib" / "python3.11" / "site-packages"


def _install(environment: Environment, folder: str) -> None:
    record = _site_packages(environment) / f"{folder}.dist-info" / "RECORD"
    record.parent.mkdir(parents=True)
    record.touch()


def test_pins_are_read_by_canonical_name(environment: Environment) -> None:
    assert read_pins(environment.lock) == _PINS
    assert canonical("Zope.Interface__x") == "zope-interface-x"


def test_missing_lock_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match=r"cannot read .*cpu\.lock: No such file"):
        read_pins(tmp_path / "cpu.lock")


def test_nothing_is_done_when_all_is_there(environment: Environment) -> None:
    assert environment.is_ready(_PINS)
    before = {path: path.stat().st_mtime_ns for path in environment.folder.rglob("*")}

    environment.make()

    assert {path: path.stat().st_mtime_ns for path in environment.folder.rglob("*")} == before


@pytest.mark.parametrize("source", ["requirements/cpu.lock", "pyproject.toml"])
def test_change_of_a_source_is_noticed(environment: Environment, source: str) -> None:
    with (environment.root / source).open("a") as file:
        file.write("# changed\n")

    assert not environment.is_ready(_PINS)


def test_another_extra_is_another_environment(environment: Environment) -> None:
    (environment.root / "requirements" / "gpu.lock").write_text(_LOCK)

    assert not Environment(environment.root, "gpu").is_ready(_PINS)


def test_moved_checkout_is_noticed(environment: Environment, tmp_path: Path) -> None:
    moved = environment.root.rename(tmp_path.parent / f"{tmp_path.name}-moved")

    assert not Environment(moved, "cpu").is_ready(_PINS)


def test_package_that_is_gone_or_of_another_version_is_missing(environment: Environment) -> None:
    packages = _site_packages(environment)
    (packages / "torch-2.13.0+cpu.dist-info").rename(packages / "torch-2.13.0.dist-info")
    (packages / "py_yaml-6.0.3.dist-info" / "RECORD").unlink()

    assert sorted(environment.missing(_PINS)) == ["py-yaml", "torch"]
    assert not environment.is_ready(_PINS)


def test_half_made_environment_is_neither_ready_nor_mended(environment: Environment) -> None:
    environment.stamp.unlink()
    environment.under_way.touch()

    assert not environment.is_ready(_PINS)
    assert not environment.can_be_mended()


def test_environment_whose_python_is_gone_is_not_mended(environment: Environment) -> None:
    environment.python.unlink()
    environment.python.symlink_to("/no/such/python")

    assert not environment.is_ready(_PINS)
    assert not environment.can_be_mended()


def test_real_environment_can_be_mended_until_it_is_moved(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    root.mkdir()
    subprocess.run([sys.executable, "-m", "venv", root / ".venv"], check=True)

    assert Environment(root, "cpu").can_be_mended()

    moved = root.rename(tmp_path / "moved")
    assert not Environment(moved, "cpu").can_be_mended()


class _Index:
    """pip with an index of its own: says what was installed from where.

    Args:
        found: What there is, as `(where, requirement)`; where is `pip` or `pytorch`.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: set[tuple[str, str]]) -> None:
        self.installed: list[tuple[str, str]] = []
        self._found = found
        monkeypatch.setattr(Installer, "_pip", lambda _, arguments: self._run(arguments))

    def _run(self, arguments: list[str]) -> tuple[int, str]:
        where = "pytorch" if bootstrap.PYTORCH_CPU_INDEX in arguments else "pip"
        wanted = [(where, argument) for argument in arguments if "==" in argument]
        for want in wanted:
            if want not in self._found:
                return 1, f"ERROR: No matching distribution found for {want[1]}"
        self.installed += wanted
        return 0, ""


@pytest.mark.parametrize(
    ("found", "installed"),
    [
        pytest.param(
            {
                ("pip", _TORCH),
                ("pip", _VISION_CPU),
                ("pip", _VISION),
            },
            [("pip", _TORCH), ("pip", _VISION_CPU)],
            id="pip-has-both",
        ),
        pytest.param(
            {("pip", _TORCH), ("pip", _VISION)},
            [("pip", _TORCH), ("pip", _VISION)],
            id="only-the-cuda-build-of-torchvision",
        ),
        pytest.param(
            {("pytorch", _TORCH), ("pytorch", _VISION_CPU)},
            [("pytorch", _TORCH), ("pytorch", _VISION_CPU)],
            id="pytorchs-own-index",
        ),
        pytest.param(
            {
                ("pip", _TORCH),
                ("pytorch", _VISION_CPU),
                ("pip", _VISION),
            },
            [("pip", _TORCH), ("pytorch", _VISION_CPU)],
            id="a-cpu-build-is-preferred",
        ),
    ],
)
def test_torch_comes_from_where_pip_looks_and_else_from_pytorch(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    found: set[tuple[str, str]],
    installed: list[tuple[str, str]],
) -> None:
    index = _Index(monkeypatch, found)

    bootstrap.install_cpu_torch(Installer(Path("python"), tmp_path / "setup.log", 3), _PINS)

    assert index.installed == installed


def test_torch_that_is_nowhere_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _Index(monkeypatch, set())

    with pytest.raises(SetupFailed, match=r"no wheel of torch==2\.13\.0\+cpu for Python 3\.\d+"):
        bootstrap.install_cpu_torch(Installer(Path("python"), tmp_path / "setup.log", 3), _PINS)
