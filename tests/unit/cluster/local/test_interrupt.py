"""The first signal asks, the second insists, and the handlers go back to what they were."""

from __future__ import annotations

import os
import signal
import time

import pytest

from cluster.local.failure import Interrupted
from cluster.local.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_asks_and_second_insists(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        interrupt.check()
        os.kill(os.getpid(), number)
        assert (interrupt.asked, interrupt.forced) == (True, False)
        with pytest.raises(Interrupted):
            interrupt.check()
        os.kill(os.getpid(), number)
        assert interrupt.forced
    assert signal.getsignal(number) == before


def test_pause_ends_when_somebody_asks() -> None:
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        begun = time.monotonic()
        interrupt.pause(30)
        assert time.monotonic() - begun < 5
