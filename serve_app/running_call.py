"""One call between the ingress and its replica, billed exactly once."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, Final

from ray.exceptions import TaskCancelledError

from deployments.call import Answer, Bill, Call, Refusal, StreamEnd, Usage
from deployments.channel import ChannelError, Subscription

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

STOPPED_WITHIN_S: Final = 2.0
"""How long a replica may take to stop a call and tell what it has used."""


class RunningCall:
    """Starts a call; ``close`` or ``cancel`` ends it.

    Args:
        opened: The call's place in the token channel.
        method: Of the model's deployment.
        call: What to ask.
        bill: Told what the call has used.

    Attributes:
        frames: What the replica sends.
        ending: The unary call's result.
    """

    def __init__(
        self,
        opened: AbstractContextManager[Subscription],
        method: DeploymentHandle[Any],
        call: Call,
        bill: Bill,
    ) -> None:
        self._bill = bill
        self._held = ExitStack()
        self.frames = self._held.enter_context(opened)
        try:
            self._response = method.remote(call, self.frames.address)
        except BaseException:
            self._held.close()
            bill(Usage())
            raise
        self.ending: asyncio.Future[Any] = asyncio.ensure_future(self._response)

    @property
    def over(self) -> bool:
        """Whether it ended by itself. One that was cancelled may still be at work in its replica."""
        if not self.ending.done() or self.ending.cancelled():
            return False
        return not isinstance(self.ending.exception(), TaskCancelledError)

    def close(self) -> None:
        """Bill what has been used, as far as it is known now."""
        # A replica that has died tells nothing: then the frames that have arrived are the bill.
        used = self._used() or Usage(0, self.frames.received)
        self.ending.cancel()
        self._held.close()
        self._bill(used)

    async def cancel(self) -> None:
        """End the engine's work, and bill it once the replica has told what it was."""
        self.frames.fail(ChannelError("nobody reads any more"))
        self._response.cancel()
        try:
            # Not for its ending: that is cancelled on this side at once.
            await asyncio.wait({self.frames.settled}, timeout=STOPPED_WITHIN_S)
        finally:
            self.close()

    def _used(self) -> Usage | None:
        """What the replica has told: in its result, or on the way where that was cut off."""
        if self.ending.done() and not self.ending.cancelled() and self.ending.exception() is None:
            end: Answer | StreamEnd | Refusal = self.ending.result()
            return Usage() if isinstance(end, Refusal) else end.usage
        return self.frames.settled.result() if self.frames.settled.done() else None
