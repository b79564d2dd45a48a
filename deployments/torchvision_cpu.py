"""A torchvision built for CUDA, made importable beside a torch built without it.

Some package indexes carry only torchvision wheels that are linked to CUDA. Such a wheel tolerates that
its C library cannot be loaded, but it then registers fake kernels for operators that nobody has declared
and fails. Declaring the two schemas before torchvision is imported is all that is missing: the Python
part, which is what image processors use, works.

`python -m deployments.torchvision_cpu` writes one `.pth` line into the environment, so that every
process of it (engine cores, workers, Ray replicas) is ready. The line puts a finder in front of the
import system that does nothing until somebody imports torchvision; torch is not imported before that.
Not needed, and not installed, where torch has CUDA or torchvision is a CPU build. It can go when every
supported index has a CPU build of torchvision (torch 2.13, torchvision 0.28: not yet).
"""

from __future__ import annotations

import sys

# This module is imported at the start of every interpreter: what costs time is imported where it is
# used, and type checkers take this constant for `typing.TYPE_CHECKING`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType

__all__ = ["PTH_NAME", "TorchvisionFinder", "arm", "declare_operators", "install", "is_needed", "start"]

PTH_NAME = "qwen_serve_torchvision.pth"
"""Sorts after setuptools' `__editable__*.pth`, which makes `deployments` importable."""

_PTH_LINE = (
    r'import sys; exec("try:\n from deployments.torchvision_cpu import start'
    r'\nexcept ImportError: pass\nelse: start()")'
    "\n"
)
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class TorchvisionFinder:
    """Finder that finds nothing: it prepares torch the first time that torchvision is asked for."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Declare the operators before torchvision is loaded; the search then goes on elsewhere."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            if is_needed():
                declare_operators()
        return None


def start() -> None:
    """Do what the `.pth` line is for: arm, and leave no trace of this module's import.

    Without that, `python -m deployments.torchvision_cpu` would warn that it had been imported before.
    """
    arm()
    package, _, name = __name__.rpartition(".")
    del sys.modules[__name__]
    delattr(sys.modules[package], name)


def arm() -> None:
    """Put the finder in front of the import system, once."""
    # By name: after `start`, a finder of another copy of this module may be there.
    armed = any(type(finder).__name__ == TorchvisionFinder.__name__ for finder in sys.meta_path)
    if "torchvision" not in sys.modules and not armed:
        sys.meta_path.insert(0, TorchvisionFinder())


def is_needed() -> bool:
    """Tell whether torchvision is built for CUDA and torch is not; imports torch only if it has to."""
    return _built_for_cuda() and _torch_lacks_cuda()


def declare_operators() -> None:
    """Declare `torchvision::nms` and `torchvision::qnms` without kernels.

    Calling either raises `NotImplementedError`; no Qwen image processor does.
    """
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    # torch drops the schemas of a `Library` that is garbage collected, and this module itself may be
    # (see the `.pth` line): torch keeps it.
    torch.library._qwen_serve_torchvision = library  # type: ignore[attr-defined]


def install(site_packages: Path | None = None) -> bool:
    """Write the `.pth` line where it is needed, take it away where it is not.

    Args:
        site_packages: the folder to write to; the running interpreter's own by default.

    Returns:
        Whether the line is there afterwards.
    """
    import sysconfig
    from pathlib import Path

    folder = site_packages or Path(sysconfig.get_path("purelib"))
    target = folder / PTH_NAME
    if not is_needed():
        target.unlink(missing_ok=True)
        return False
    if not target.is_file() or target.read_text(encoding="utf-8") != _PTH_LINE:
        target.write_text(_PTH_LINE, encoding="utf-8")
    return True


def _built_for_cuda() -> bool:
    """Read torchvision's own version file; its metadata does not name the build."""
    import re
    from importlib.machinery import PathFinder
    from pathlib import Path

    # PathFinder, not importlib.util.find_spec: this may run inside a search for torchvision.
    spec = PathFinder.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    version = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    return re.search(r"__version__ = '[^']*\+cu\d", version) is not None


def _torch_lacks_cuda() -> bool:
    """Ask torch whether it was built without CUDA; a missing torch needs no help either."""
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.version.cuda is None


def main() -> None:
    """Install the line into the running environment and say what was done."""
    if install():
        sys.stdout.write("torchvision is built for CUDA, torch is not: import line installed\n")
    else:
        sys.stdout.write("torch and torchvision fit each other: nothing to install\n")


if __name__ == "__main__":
    main()
