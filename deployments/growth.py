"""Machines for models that find no room: what Ray's autoscaler, where there is one, is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ray.autoscaler.sdk import request_resources

from deployments.fleet import Shortage
from deployments.gpus import TYPE_PREFIX, Machine

logger = logging.getLogger("ray.serve")

_SOME_OF_TYPE: Final = 0.001
"""Enough to be on a machine of that type, and little enough to leave it for replicas."""

Bundle = dict[str, float]


class Growth:
    """Tells Ray's autoscaler how large the cluster is to be, while models wait for machines.

    Ray grows the cluster until all that it was asked for would fit into it empty, and keeps it so large until
    it is told otherwise. So it is asked for the machines of a type that are there, each as a whole, and for
    what is lacking beside them; and for nothing, as soon as nothing is lacking: then machines go as they
    become idle.

    Args:
        request: Asks Ray.
    """

    def __init__(self, request: Callable[..., None] = request_resources) -> None:
        self._request = request
        self._asked: list[Bundle] | None = None

    def ask(self, shortages: Sequence[Shortage], machines: Callable[[], Iterable[Machine]]) -> None:
        """Ask for the machines that are lacking; costs nothing where that has not changed.

        Args:
            shortages: Replicas that find no room.
            machines: Tells those that are there.
        """
        bundles: list[Bundle] = []
        if shortages:
            lacking = {one.accelerator for one in shortages}
            bundles += [
                _bundle(machine.gpus, kind)
                for machine in machines()
                for kind in machine.kinds
                if kind in lacking and machine.gpus
            ]
            bundles += [_bundle(one.footprint.total, one.accelerator) for one in shortages]
        # What an earlier controller asked for would stay for ever: the first time nothing is asked for, too.
        if bundles == self._asked:
            return
        try:
            self._request(bundles=bundles)
        except Exception:  # models that have room go on without it; asked again at the next look
            logger.exception("Ray's autoscaler could not be asked for machines")
        else:
            self._asked = bundles


def _bundle(gpus: float, kind: str) -> Bundle:
    return {"GPU": gpus, f"{TYPE_PREFIX}{kind}": _SOME_OF_TYPE}
