"""Tokens of a call as the engine counts them, also of one that is cut short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deployments.call import Usage


class Tally:
    """What one call has used so far. Its prompts count from their first token on."""

    def __init__(self) -> None:
        self._prompts: dict[str, int] = {}
        self._completion_tokens = 0

    def add(self, engine_id: str, prompt_tokens: int, completion_tokens: int) -> None:
        """A sequence has ended; sequences of one engine request share their prompt."""
        if completion_tokens:
            self._prompts[engine_id] = prompt_tokens
            self._completion_tokens += completion_tokens

    @property
    def usage(self) -> Usage:
        """The sum."""
        return Usage(sum(self._prompts.values()), self._completion_tokens)


class Meter:
    """The tallies of the calls in hand, by request id. Lives in one event loop.

    Attributes:
        taken: Calls ever counted for.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._tallies: dict[str, Tally] = {}

    @contextmanager
    def open(self, request_id: str) -> Iterator[Tally]:
        """Count for a call, whose id no other call has."""
        tally = self._tallies[request_id] = Tally()
        self.taken += 1
        try:
            yield tally
        finally:
            del self._tallies[request_id]

    def note(self, engine_id: str, prompt_tokens: int, completion_tokens: int) -> None:
        """One sequence of the engine has ended or was cut short.

        Args:
            engine_id: vLLM's id of the request, ``chatcmpl-<request id>`` or ``cmpl-<request id>-<prompt>``.
            prompt_tokens: Length of its prompt.
            completion_tokens: Generated for it.
        """
        call_id = engine_id.partition("-")[2]
        tally = self._tallies.get(call_id) or self._tallies.get(call_id.rpartition("-")[0])
        if tally is not None:
            tally.add(engine_id, prompt_tokens, completion_tokens)


class MeteredStates(dict[str, Any]):
    """vLLM's table of the requests in hand, which notes every sequence that leaves it.

    All ends pass here, a client's disconnect too: the last moment at which vLLM knows what was generated.

    Args:
        meter: Told of each.
    """

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def pop(self, key: str, *default: Any) -> Any:
        """See ``dict.pop``."""
        state = super().pop(key, *default)
        # Pooling models have no detokenizer, and are never half done.
        if state is not None and state.detokenizer is not None:
            generated = state.detokenizer.num_output_tokens()
            self._meter.note(state.external_req_id, state.prompt_len, generated)
        return state
