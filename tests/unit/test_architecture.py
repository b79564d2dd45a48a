"""The house's own rules that no linter checks; the direction of imports is import-linter's (`make lint`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("serve_app", "deployments", "quantize", "cluster")
MODULES = [file for package in (*PACKAGES, "tests", "scripts") for file in (ROOT / package).rglob("*.py")]
MAX_LINES = 400
NOT_A_NOUN = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_there_are_modules() -> None:
    assert len(MODULES) > 50


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_module_is_short_and_named_for_a_thing(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
    assert file.stem not in NOT_A_NOUN


@pytest.mark.parametrize("package", PACKAGES)
def test_package_carries_its_types(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_importing_the_ingress_loads_no_heavy_library() -> None:
    probe = (
        "import sys, serve_app.ingress\n"
        "heavy = {'torch', 'vllm', 'transformers', 'ray.llm', 'boto3', 'botocore'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
