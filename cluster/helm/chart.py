"""The chart, rendered by Helm's own library: no cluster, no network, no Helm to install."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent / "qwen-serve"
RELEASE: Final = "qwen-serve"
NAMESPACE: Final = "qwen-serve"
PROFILES: Final = ("small", "standard", "large")
"""Sizes of cluster, each with a values file."""


class ChartError(Exception):
    """The chart cannot be rendered; one line says why and what to do."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a chart makes of some values.

    Attributes:
        documents: Path of a template, and the manifests that it gave, as text.
        notes: What Helm prints after an installation.
    """

    documents: Mapping[str, str]
    notes: str


def values_of(profile: str) -> dict[str, Any]:
    """The values file of a profile; of ``""`` nothing but the chart's defaults.

    Raises:
        ChartError: There is no such profile.
    """
    if not profile:
        return {}
    if profile not in PROFILES:
        raise ChartError(f"there is no profile {profile!r}; there are {', '.join(PROFILES)}")
    text = (FOLDER / f"values-{profile}.yaml").read_text(encoding="utf-8")
    return dict(_helm().values_from_yaml(text))


def render(
    values: Mapping[str, Any], *, release: str = RELEASE, namespace: str = NAMESPACE, folder: Path = FOLDER
) -> Rendered:
    """The manifests of some values, checked against the chart's schema first.

    Raises:
        ChartError: The values do not fit, or a template refuses them.
    """
    helm = _helm()
    try:
        with helm.Chart.load(folder) as chart:
            chart.validate_schema(dict(values))
            files = chart.render(values=dict(values), name=release, namespace=namespace)
    except helm.HelmError as error:
        raise ChartError(" ".join(str(error).split())) from error
    notes = "".join(text for path, text in files.items() if path.endswith("NOTES.txt"))
    documents = {
        path: text for path, text in sorted(files.items()) if path.endswith(".yaml") and text.strip()
    }
    return Rendered(documents, notes)


def lint(values: Mapping[str, Any], *, folder: Path = FOLDER) -> list[str]:
    """What ``helm lint --strict`` finds wrong; an icon is not missed."""
    report = _helm().lint(folder, dict(values), strict=True)
    grave = [note["error"] for note in report["messages"] if note["severity"] > 1]
    return [*report["errors"], *grave]


def _helm() -> Any:
    """Helm's library: of the development tools, since clusters render the chart with Helm itself."""
    try:
        import helm_python
    except ImportError as error:
        raise ChartError("helm-python-sdk is not installed; run `make setup`") from error
    return helm_python
