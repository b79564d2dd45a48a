"""The Dockerfiles: hadolint's word, and what it does not look for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.objects import objects_of, pod_templates

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "cluster" / "docker"
DOCKERFILES = sorted(FOLDER.glob("Dockerfile.*"))
WEIGHTS = re.compile(r"huggingface|modelscope|\.safetensors|models/|snapshot_download|deployments\.demo")


def hadolint(text: str) -> tuple[int, str]:
    """Its exit status and its words, on a Dockerfile."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    binary = shutil.which("hadolint", path=path)
    assert binary is not None, "hadolint is not installed; run `make setup`"
    done = subprocess.run(
        [binary, "--no-color", "--failure-threshold", "style", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def bases(text: str) -> list[str]:
    """Images that stages begin with, arguments filled in; of other stages of the file none."""
    arguments = dict(re.findall(r"(?m)^ARG (\w+)=(\S+)$", text))
    stages = re.findall(r"(?m)^FROM \S+ AS (\w+)$", text)
    named = re.findall(r"(?m)^FROM (\S+)", text)
    filled = [re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base) for base in named]
    return [base for base in filled if base not in stages]


def last_stage(text: str) -> str:
    return re.split(r"(?m)^FROM ", text)[-1]


def instructions(text: str) -> str:
    """Without comments."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


@pytest.fixture(params=DOCKERFILES, ids=lambda file: file.name)
def text(request: pytest.FixtureRequest) -> str:
    file: Path = request.param
    return file.read_text(encoding="utf-8")


def test_there_is_one_for_gpus_and_one_without() -> None:
    assert [file.name for file in DOCKERFILES] == ["Dockerfile.cpu", "Dockerfile.gpu"]


def test_hadolint_finds_nothing(text: str) -> None:
    assert hadolint(text) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("WORKDIR /var/lib/qwen-serve", "WORKDIR var/lib", "DL3000"),
        ("COPY . /opt", "ADD . /opt", "DL3020"),
        ("# hadolint ignore=DL3008\n", "", "DL3008"),
        ("USER 10001:10001", "USER root", "DL3002"),
        (":3.11.14-slim-bookworm", ":latest", ""),
    ],
)
def test_mistake_is_found(text: str, old: str, new: str, rule: str) -> None:
    assert old in text
    broken = text.replace(old, new)
    if rule:
        status, words = hadolint(broken)
        assert status != 0
        assert rule in words
    else:
        assert any(base.endswith(":latest") for base in bases(broken))


def test_every_base_is_pinned(text: str) -> None:
    found = bases(text)
    assert len(found) >= 2
    for base in found:
        assert re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?", base), base


def test_image_runs_as_the_charts_user_and_answers_for_its_health(text: str) -> None:
    stage = last_stage(text)
    security = dict(pod_templates(objects_of("standard")))["head"]["spec"]["securityContext"]
    assert re.findall(r"(?m)^USER (\S+)$", stage) == [f"{security['runAsUser']}:{security['runAsGroup']}"]
    assert f"--uid {security['runAsUser']}" in stage
    assert "--home-dir /home/qwen" in stage
    assert "HEALTHCHECK" in stage


def test_compilers_of_cuda_and_sources_of_packages_stay_behind(text: str) -> None:
    stage = last_stage(text)
    assert "-devel-" not in bases(text)[-1]
    assert "scripts.bootstrap" in text
    assert "scripts.bootstrap" not in stage
    assert "pip install" not in text


def test_nothing_but_the_lock_is_installed_and_no_host_is_named(text: str) -> None:
    assert not re.search(r"https?://(?!127\.0\.0\.1)|--(extra-)?index-url|trusted-host", text)
    assert not re.search(r"(?m)^(ARG|ENV) \w*(TOKEN|PASSWORD|SECRET|KEY)", text)


def test_no_weights_are_inside(text: str) -> None:
    assert not WEIGHTS.search(instructions(text))


def test_context_holds_what_runs_and_no_state() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert not let_in & {"models", ".qwen-serve", ".venv", ".git", "tests", "bench"}
    for name in let_in:
        assert (ROOT / name).exists(), name
    # What setuptools packages, and what the set-up reads.
    assert {
        "serve_app",
        "deployments",
        "quantize",
        "cluster",
        "scripts",
        "requirements",
        "pyproject.toml",
    } <= let_in
