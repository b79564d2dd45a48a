"""What a choice says about its tokens, which must not show what its text hides.

Log probabilities and token ids come with a piece of text, or before it: the parsers of reasoning and tools,
and the wait for stop sequences, release text later than its tokens. Log probabilities spell the tokens,
which are therefore read as a text of their own; they are released when all of it is, and dropped if any of
it was hidden. Token ids alone cannot be read, and are given at the end of a choice that hides nothing.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from serve_app.filtering.policy import Policy
from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Tally

FIELDS: Final = ("logprobs", "token_ids")
_SPELLED_ID: Final = "token_id:"
"""So vLLM spells tokens for ``return_tokens_as_token_ids``."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters of a text, from ``begin`` to ``end``."""

    text: TextStream
    begin: int
    end: int

    @property
    def is_settled(self) -> bool:
        """Whether it is known what of it is shown."""
        return self.text.settled >= self.end or self.text.blocked

    @property
    def is_shown(self) -> bool:
        """Whether all of it is shown; for a settled stretch."""
        return self.text.settled >= self.end and not self.text.hides(self.begin, self.end)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Token fields that wait.

    Attributes:
        fields: By their names.
        texts: For what they wait.
        is_blind: They do not spell their tokens.
    """

    fields: dict[str, Any]
    texts: tuple[Stretch, ...]
    is_blind: bool


class TokenQueue:
    """The token fields of one choice, waiting for their text.

    Args:
        policy: What is looked for.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._waiting: deque[_Waiting] = deque()
        self._said = TextStream(policy)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._over = False
        self._hides = False

    @property
    def waits(self) -> bool:
        """Whether anything is held."""
        return bool(self._waiting)

    @property
    def blocked(self) -> bool:
        """Whether the tokens hold a match that ends the choice."""
        return self._said.blocked

    @property
    def found(self) -> Tally:
        """What was found in the tokens, which their text repeats."""
        return self._said.found

    def take(self, choice: dict[str, Any], texts: Iterable[Stretch]) -> None:
        """Take the token fields out of a choice and keep them until the texts are settled."""
        fields = {name: choice[name] for name in FIELDS if choice.get(name)}
        if not fields:
            return
        spelled = [self._decoded(entry) for entry in _entries(fields.get("logprobs"))]
        is_blind = not spelled or any(token.startswith(_SPELLED_ID) for token in spelled)
        begin = self._said.taken
        self._said.feed("".join(spelled))
        # The bytes of half a character wait for the other half.
        half = bool(self._decoder.getstate()[0])
        own = Stretch(self._said, begin, self._said.taken + half)
        self._waiting.append(_Waiting(fields, (*texts, own), is_blind))
        for name in fields:
            choice[name] = None

    def give(self, choice: dict[str, Any]) -> bool:
        """Put the fields whose texts are settled into a choice; returns whether any were dropped."""
        given: dict[str, Any] = {}
        dropped = False
        while self._waiting and self._is_settled(self._waiting[0]):
            waiting = self._waiting.popleft()
            if all(text.is_shown for text in waiting.texts) and not (waiting.is_blind and self._hides):
                dropped |= self._drop_alternatives(waiting.fields.get("logprobs"))
                _extend(given, waiting.fields)
            else:
                dropped = True
        choice.update(given)
        return dropped

    def finish(self, *, hides: bool) -> None:
        """The choice ends; ``hides``: some of its text was not shown."""
        self._said.feed(self._decoder.decode(b"", final=True))
        self._said.finish()
        self._over = True
        self._hides = hides

    def _is_settled(self, waiting: _Waiting) -> bool:
        return (self._over or not waiting.is_blind) and all(text.is_settled for text in waiting.texts)

    def _decoded(self, entry: Mapping[str, Any]) -> str:
        spelled = entry.get("bytes")
        return self._decoder.decode(bytes(spelled)) if spelled else str(entry["token"])

    def _drop_alternatives(self, logprobs: Any) -> bool:
        """Drop the alternatives to tokens that are themselves matches; returns whether there were any."""
        dropped = False
        for position in _alternatives(logprobs):
            hidden = [other for other in position or () if self._is_hidden(_token(other))]
            dropped |= bool(hidden)
            for other in hidden:
                if isinstance(position, dict):
                    del position[other]
                else:
                    position.remove(other)
        return dropped

    def _is_hidden(self, token: str) -> bool:
        # One that is spelled as a number could be any.
        return token.startswith(_SPELLED_ID) or self._policy.hides(token)


def _entries(logprobs: Any) -> Iterable[Mapping[str, Any]]:
    """The tokens of a chat's or a completion's log probabilities."""
    if not isinstance(logprobs, dict):
        return ()
    if "tokens" in logprobs:
        return [{"token": token} for token in logprobs["tokens"]]
    return [entry for entries in logprobs.values() for entry in entries or ()]


def _alternatives(logprobs: Any) -> Iterable[Any]:
    """The alternatives at each position: a list of tokens for a chat, a mapping for a completion."""
    if not isinstance(logprobs, dict):
        return ()
    if "tokens" in logprobs:
        return logprobs.get("top_logprobs") or ()
    return [entry.get("top_logprobs") for entry in _entries(logprobs)]


def _token(alternative: Any) -> str:
    return str(alternative["token"] if isinstance(alternative, dict) else alternative)


def _extend(known: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Append the lists within an object to those of another."""
    for name, value in more.items():
        if isinstance(known.get(name), dict) and isinstance(value, dict):
            _extend(known[name], value)
        elif isinstance(known.get(name), list) and isinstance(value, list):
            known[name] += value
        elif value is not None or name not in known:
            known[name] = value
