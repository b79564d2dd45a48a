"""The texts of a request, which are read before the engine sees them.

Every text anywhere in the body is read, whatever the field is called, since the engine knows more fields
than any list could: messages of all roles, names, tool calls and their results, descriptions of tools,
prompts, inputs, queries and documents. What is no text is named in the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from serve_app.filtering.policy import Policy
from serve_app.filtering.request import Place, RequestTexts
from serve_app.filtering.stream import TextStream
from serve_app.filtering.verdict import Action, Finding, Scanned, Tally, Verdict, findings

_JSON: Final = "arguments"
_UNREADABLE: Final = ("token_ids", "vectors")


@dataclass(frozen=True, slots=True)
class PromptCheck:
    """A request that was read.

    Attributes:
        body: The request with its matches masked; the same object where there was nothing to mask.
        verdict: What was found.
    """

    body: dict[str, Any]
    verdict: Verdict


class PromptFilter:
    """Reads one request.

    Args:
        policy: What is looked for.
        refuse_unreadable: Block prompts that come as token ids or vectors.
    """

    def __init__(self, policy: Policy, *, refuse_unreadable: bool) -> None:
        self._policy = policy
        self._refuse_unreadable = refuse_unreadable
        self._tallies: list[Tally] = []
        self._masked = False

    def check(self, body: dict[str, Any]) -> PromptCheck:
        """Read all texts of a request's body, which stays as it is."""
        texts = RequestTexts(body)
        told = {place.key: self._read([place]) for place in texts.places}
        for message in texts.messages:
            # The parts were read each by itself; a model may read them as one text.
            self._read(message, told=[told[place.key] for place in message])
        for name, count in texts.names.items():
            self._read_name(name, count)
        return PromptCheck(texts.body if self._masked else body, self._verdict(texts))

    def _verdict(self, texts: RequestTexts) -> Verdict:
        found = list(findings(self._tallies))
        if self._refuse_unreadable:
            found += [
                Finding(kind, Action.BLOCK, count)
                for kind, count in sorted(texts.unread.items())
                if kind in _UNREADABLE
            ]
        scanned = Scanned.ALL
        if texts.unread:
            scanned = Scanned.PART if texts.places else Scanned.NOTHING
        return Verdict(tuple(found), self._policy.lexicon_version, scanned, tuple(sorted(texts.unread)))

    def _read_name(self, name: str, count: int) -> None:
        """Names of fields reach the model within a tool's schema; one cannot be masked, so it blocks."""
        strict: Tally = Counter()
        for (category, action), found in self._stream([name], is_json=False).found.items():
            strict[category, Action.BLOCK if action.hides else action] += found * count
        self._tallies.append(strict)

    def _read(self, places: Sequence[Place], told: Iterable[Tally] = ()) -> Tally:
        """Mask the matches in the pieces of one text.

        Args:
            places: Where they are, in order.
            told: What was found in the pieces one by one, where that is masked already.

        Returns:
            What was found.
        """
        pieces = [place.text for place in places]
        text = self._stream(pieces, is_json=all(place.name == _JSON for place in places))
        known = sum(told, Tally())
        self._tallies.append(
            text.found - Tally({key: count for key, count in known.items() if key[1] is not Action.MASK})
        )
        if text.masks:
            self._masked = True
            for place, piece, end in zip(places, pieces, accumulate(map(len, pieces)), strict=True):
                place.text = self._shown(piece, end - len(piece), text.masks)
        return text.found

    def _stream(self, pieces: Iterable[str], *, is_json: bool) -> TextStream:
        text = TextStream(self._policy, is_json=is_json)
        for piece in pieces:
            text.feed(piece)
        text.finish()
        return text

    def _shown(self, piece: str, begin: int, masks: Iterable[tuple[int, int]]) -> str:
        """A piece that begins at ``begin`` of the text, without what is masked of it."""
        shown: list[str] = []
        place = begin
        for first, last in masks:
            if last <= place or first >= begin + len(piece):
                continue
            shown.append(piece[place - begin : max(first - begin, place - begin)])
            # A match over several pieces has its placeholder in the first of them.
            if first >= place:
                shown.append(self._policy.placeholder)
            place = min(last, begin + len(piece))
        return "".join((*shown, piece[place - begin :]))
