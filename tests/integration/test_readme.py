"""The READMEs' examples, run as they stand against the running application."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT, Application

pytestmark = pytest.mark.integration

README_URL = "http://127.0.0.1:8000"
PYTHON = re.compile(r"```python\n(.*?)```\n```text\n(.*?)```", re.DOTALL)
CURL = re.compile(r"```bash\n(curl .*?)```", re.DOTALL)


def blocks(pattern: re.Pattern[str]) -> list[tuple[str, ...]]:
    found = []
    for name in ("README.md", "README.zh-CN.md"):
        text = Path(ROOT, name).read_text(encoding="utf-8")
        found += [(name, *match.groups()) for match in pattern.finditer(text)]
    return found


def environment(application: Application) -> dict[str, str]:
    return {**os.environ, "QWEN_SERVE_TOKEN": application.token, "PYTHONIOENCODING": "utf-8"}


@pytest.mark.parametrize(("name", "code", "output"), blocks(PYTHON))
def test_python_example_prints_what_the_readme_shows(
    application: Application, name: str, code: str, output: str
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", code.replace(README_URL, application.url)],
        cwd=ROOT,
        env=environment(application),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.stdout.strip() == output.strip(), result.stderr[-2000:]


@pytest.mark.parametrize(("name", "command"), blocks(CURL))
def test_curl_example_is_answered(application: Application, name: str, command: str) -> None:
    result = subprocess.run(
        ["bash", "-c", command.replace(README_URL, application.url)],
        cwd=ROOT,
        env=environment(application),
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    (best,) = json.loads(result.stdout)["results"]
    assert best["document"]["text"] == "Paris is the capital of France."


def test_every_example_is_found() -> None:
    assert len(blocks(PYTHON)) == 8
    assert len(blocks(CURL)) == 2
