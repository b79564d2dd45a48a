"""One request in the batch: its sequences, what is made of them, and the caller that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Sequence:
    """One prompt and its answer; a request with ``n`` answers has ``n`` of them.

    Attributes:
        prompt_tokens: Length of the prompt.
        output_tokens: Length of the answer; 0 for a prompt that is only read, as for an embedding.
        made: Tokens of the answer so far.
        waiting: Whether it waits for its place in the batch.
        running: Whether it is in the batch.
        fails: Whether it ends with an error.
    """

    __slots__ = (
        "_ends_at",
        "fails",
        "generation",
        "made",
        "output_tokens",
        "prompt_tokens",
        "running",
        "waiting",
    )

    def __init__(self, generation: Generation, prompt_tokens: int, output_tokens: int) -> None:
        self.generation = generation
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.made = 0
        self.waiting = True
        self.running = False
        self.fails = False
        # A prompt that is only read takes one step too.
        self._ends_at = max(1, output_tokens)

    @property
    def kv_tokens(self) -> int:
        """The room that it reserves from its first step on."""
        return self.prompt_tokens + self.output_tokens

    def fail_after(self, tokens: int) -> None:
        """End with an error after so many tokens, unless the answer is over by then."""
        if tokens < self.output_tokens:
            self.fails, self._ends_at = True, tokens

    def advance(self) -> bool:
        """Take part in a step; whether it was the last one."""
        if self.made < self._ends_at:
            self.made += 1
        return self.made >= self._ends_at


class Generation:
    """One request: its sequences, and the caller that waits for them.

    Attributes:
        sequences: In the order of the answer's choices.
        error: What ended the request early.
    """

    __slots__ = ("_streams", "_unfinished", "_waiter", "error", "sequences")

    def __init__(self, lengths: Iterable[tuple[int, int]], *, streams: bool) -> None:
        self.sequences = tuple(Sequence(self, prompt, output) for prompt, output in lengths)
        self.error: Exception | None = None
        self._streams = streams
        self._unfinished = len(self.sequences)
        self._waiter: asyncio.Future[None] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._unfinished == 0 or self.error is not None

    @property
    def begun(self) -> bool:
        """Whether there is a token."""
        return any(sequence.made for sequence in self.sequences)

    async def progress(self) -> None:
        """Return after the next step that made a token; without streaming, after the last step."""
        if not self.over:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def stepped(self) -> None:
        """The batch made a token for it."""
        if self._streams:
            self._wake()

    def ended(self, error: Exception | None = None) -> None:
        """One of its sequences is over, or all of them by an error."""
        self._unfinished -= 1
        self.error = self.error or error
        if self.over:
            self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
