"""``python -m cluster.kuberay``: write the plain manifests anew."""

from __future__ import annotations

import sys

from cluster.helm import sync
from cluster.helm.chart import PROFILES, ChartError
from cluster.kuberay.manifests import manifest, path_of


def main() -> int:
    """Copy what the chart carries, then render every profile; 1 with one line where that fails."""
    try:
        sync.sync()
        for profile in PROFILES:
            path_of(profile).write_text(manifest(profile), encoding="utf-8")
            sys.stdout.write(f"{path_of(profile).relative_to(sync.ROOT)}\n")
    except ChartError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
