"""``python -m cluster.helm.sync``: what the chart must carry itself, since Helm reads nothing outside of it.

Prometheus' rules and Grafana's dashboards from ``cluster/monitoring``, and Filebeat's configuration from
beside the audit. A test compares the copies with their sources.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from cluster.helm.chart import FOLDER

ROOT: Final = Path(__file__).resolve().parents[2]
_SOURCES: Final = {
    "rules": ("cluster/monitoring/rules", "*.yaml"),
    "dashboards": ("cluster/monitoring/dashboards", "*.json"),
}
_FILEBEAT: Final = "serve_app/audit/elasticsearch/filebeat.yml"


def wanted(root: Path = ROOT) -> dict[str, bytes]:
    """Content by path below the chart's ``files``, of everything that is copied."""
    found = {"filebeat.yml": (root / _FILEBEAT).read_bytes()}
    for folder, (source, pattern) in _SOURCES.items():
        for file in sorted((root / source).glob(pattern)):
            # promtool's own tests of the rules lie beside them, and mean nothing to a cluster.
            if not file.stem.endswith(("_test", ".test")):
                found[f"{folder}/{file.name}"] = file.read_bytes()
    return found


def stale(root: Path = ROOT, chart: Path = FOLDER) -> list[str]:
    """Paths below ``files`` that differ from their source, are missing, or have none any more."""
    copies, files = wanted(root), chart / "files"
    differing = [
        path
        for path, content in copies.items()
        if not (files / path).is_file() or (files / path).read_bytes() != content
    ]
    return sorted([*differing, *(_copied(files) - copies.keys())])


def sync(root: Path = ROOT, chart: Path = FOLDER) -> list[str]:
    """Bring the copies up to date.

    Returns:
        What has changed.
    """
    copies, changed = wanted(root), stale(root, chart)
    for path in changed:
        target = chart / "files" / path
        if path in copies:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(copies[path])
        else:
            target.unlink()
    return changed


def _copied(files: Path) -> set[str]:
    return {f"{folder}/{file.name}" for folder in _SOURCES for file in (files / folder).glob("*")}


def main() -> int:
    """Copy, and name what has changed."""
    for path in sync():
        sys.stdout.write(f"{(FOLDER / 'files' / path).relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
