"""The chart's manifests of a profile as one file for ``kubectl apply -f``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cluster.helm import chart

FOLDER: Final = Path(__file__).resolve().parent

_HEAD: Final = """\
# Made by `make manifests` from the chart cluster/helm/qwen-serve with values-{profile}.yaml, and a test keeps
# it so. Edit the values and make it anew, or patch it with Kustomize. docs/kubernetes.md says what must be
# there before: KubeRay, the secrets, and the namespace:
#   kubectl create namespace {namespace}
#   kubectl apply -f cluster/kuberay/{profile}.yaml
"""
# Helm does not manage what kubectl applies.
_OF_HELM: Final = re.compile(
    r"^ +annotations:\n +helm\.sh/resource-policy: keep\n"
    r"|^ +(?:app\.kubernetes\.io/managed-by: Helm|helm\.sh/[a-z-]+: .*)\n",
    re.MULTILINE,
)
_SOURCE: Final = re.compile(r"^# Source: .*\n", re.MULTILINE)


def manifest(profile: str) -> str:
    """All objects of a profile, in the chart's order.

    Raises:
        ChartError: There is no such profile, or it cannot be rendered.
    """
    rendered = chart.render(chart.values_of(profile))
    parts = [part for text in rendered.documents.values() for part in re.split(r"(?m)^---\n", text)]
    bodies = [_OF_HELM.sub("", _SOURCE.sub("", part)).strip() for part in parts]
    head = _HEAD.format(profile=profile, namespace=chart.NAMESPACE)
    return head + "".join(f"---\n{body}\n" for body in bodies if _holds_object(body))


def path_of(profile: str) -> Path:
    """Where a profile's manifests lie."""
    return FOLDER / f"{profile}.yaml"


def _holds_object(body: str) -> bool:
    return any(line and not line.startswith("#") for line in body.splitlines())
