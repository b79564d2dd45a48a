"""Peers that wait for their turn stand still: an idle Ray takes a tenth of a core, and there are several."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator

from cluster.local import processes

_SETTLE_S = 1.0
"""For what a session makes up for after its pause: timers that are due, health checks."""


@contextlib.contextmanager
def paused(sessions: Iterable[str]) -> Iterator[None]:
    """Stop all processes of some sessions (SIGSTOP) and let them go on afterwards.

    All of a session stand still together, so a check of health that one owes another merely comes late: Ray
    and Serve declare nobody dead before several in a row have failed.
    """
    standing = tuple(sessions)
    try:
        _send(standing, signal.SIGSTOP)
        time.sleep(_SETTLE_S)
        yield
    finally:
        _send(standing, signal.SIGCONT)


def _send(sessions: Iterable[str], number: signal.Signals) -> None:
    for session in sessions:
        for process in processes.find(session):
            processes.send(process, number)
