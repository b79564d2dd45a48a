"""``python -m cluster.monitoring``: write Grafana's dashboards as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cluster.monitoring import fleet, model, overview, tenants

FOLDER: Final = Path(__file__).with_name("dashboards")
DASHBOARDS: Final[dict[str, Callable[[], str]]] = {
    "overview": overview.build,
    "models": model.build,
    "fleet": fleet.build,
    "tenants": tenants.build,
}


def main() -> int:
    """Write them, and name what has changed."""
    FOLDER.mkdir(exist_ok=True)
    for name, build in DASHBOARDS.items():
        file, content = FOLDER / f"{name}.json", build()
        if not file.is_file() or file.read_text(encoding="utf-8") != content:
            file.write_text(content, encoding="utf-8")
            sys.stdout.write(f"{file.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
