"""A signal ends the block once; what was before comes back."""

from __future__ import annotations

import os
import signal

import pytest

from bench.interruption import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_ends_the_block_and_the_next_does_not_disturb(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    tidied = False

    with pytest.raises(KeyboardInterrupt), interruptible():  # noqa: PT012  (the block is what is tested)
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            os.kill(os.getpid(), number)
            tidied = True

    assert tidied
    assert signal.getsignal(number) == before
