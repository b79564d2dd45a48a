"""Ctrl-C and its relatives: the first asks to stop, the second insists."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from cluster.local.failure import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.1


class Interrupt:
    """Counts requests to stop instead of letting them end the launcher; a context manager."""

    def __init__(self) -> None:
        # A plain number: a lock (threading.Event has one) must not be taken in a signal handler.
        self._times = 0
        self._previous: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._count)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def asked(self) -> bool:
        """Whether somebody wants the application to stop."""
        return self._times > 0

    @property
    def forced(self) -> bool:
        """Whether somebody wants that at once."""
        return self._times > 1

    def pause(self, seconds: float) -> None:
        """Let time go by; over early when somebody asks to stop."""
        deadline = time.monotonic() + seconds
        while not self.asked and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(_POLL_S, left))

    def check(self) -> None:
        """Leave a start that nobody wants any more.

        Raises:
            Interrupted: Somebody asked to stop.
        """
        if self.asked:
            raise Interrupted

    def _count(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._times += 1
