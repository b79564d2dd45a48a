"""What GPUs are held and asked for, as Ray itself tells: looked at ten times a second.

``python -m tests.integration.fleet_observer ADDRESS FILE`` writes a line for each look until it is ended.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import ray
from ray.serve._private.common import ReplicaID
from ray.util.placement_group import placement_group_table

_EVERY_S = 0.1


def look() -> dict[str, dict[str, float]]:
    """GPUs by model: of replicas that are placed, and of all that are ordered or not gone yet."""
    held: dict[str, float] = {}
    ordered: dict[str, float] = {}
    for group in placement_group_table().values():
        if group["state"] == "REMOVED" or not ReplicaID.is_full_id_str(group["name"]):
            continue
        model = ReplicaID.from_full_id_str(group["name"]).deployment_id.name.removeprefix("ModelServer:")
        gpus = sum(bundle.get("GPU", 0.0) for bundle in group["bundles"].values())
        ordered[model] = ordered.get(model, 0.0) + gpus
        if group["state"] == "CREATED":
            held[model] = held.get(model, 0.0) + gpus
    return {"held": held, "ordered": ordered}


def main(address: str, file: Path) -> None:
    """Look until somebody ends the process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ray.init(address=address, log_to_driver=False)
    with file.open("w", encoding="utf-8", buffering=1) as lines:
        while True:
            lines.write(json.dumps({"at": time.time(), **look()}) + "\n")
            time.sleep(_EVERY_S)  # between two looks


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
