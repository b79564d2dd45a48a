"""What a filter must do with a whole text, worked out again and differently: by regular expressions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from serve_app.filtering.phrases import WORD_BREAK
from serve_app.filtering.verdict import Action
from tests.unit.serve_app.filtering.policies import HIDDEN

ALPHABET = "甲乙丙丁abab .,\n\u200bＡа"
"""Wide and narrow letters, a separator of each kind, one of no width, and two look-alikes of ``a``."""

_FOLDED = str.maketrans("Ａа", "aa")
_NARROW = "ab"


@dataclass(frozen=True)
class Span:
    """A match, by its place in the text."""

    begin: int
    end: int
    action: Action


@dataclass(frozen=True)
class Expected:
    """What must come of a text.

    Attributes:
        blocked: Whether it must be blocked.
        shown: All that may be sent; if it is blocked, what is sent is the beginning of it.
        found: What must have been found, if it is not blocked.
        hidden: Where matches lie that must not be shown, begin and end.
    """

    blocked: bool
    shown: str
    found: Mapping[tuple[str, Action], int]
    hidden: Sequence[tuple[int, int]]


def expect(text: str, phrases: Mapping[str, Action], max_separators: int) -> Expected:
    """What must come of a text, for folded phrases over the alphabet above."""
    spans: list[Span] = []
    found: Counter[tuple[str, Action]] = Counter()
    for phrase, action in phrases.items():
        own = _spans(text, phrase, action, max_separators)
        spans += own
        counted = 0
        for span in own:
            found[str(action), action] += span.begin >= counted
            counted = span.end
    blocks = [span.begin for span in spans if span.action is Action.BLOCK]
    limit = min(blocks, default=len(text))
    hidden = [(span.begin, span.end) for span in spans if span.action.hides]
    return Expected(bool(blocks), _shown(text, spans, limit), +found, hidden)


def _spans(text: str, phrase: str, action: Action, most: int) -> list[Span]:
    seen = [place for place, char in enumerate(text) if char != "\u200b"]
    folded = "".join(text[place] for place in seen).translate(_FOLDED)
    spans = set()
    for pattern in _patterns(phrase, most):
        for first in range(len(folded)):
            match = pattern.match(folded, first)
            if match:
                spans.add((seen[first], seen[match.end() - 1] + 1))
    return [Span(begin, end, action) for begin, end in sorted(spans)]


def _patterns(phrase: str, most: int) -> Sequence[re.Pattern[str]]:
    joined, spelled = phrase[0], phrase[0]
    for before, char in pairwise(phrase):
        if char == WORD_BREAK:
            joined += rf"[. \n]{{1,{most}}}"
            spelled += rf"[. ,\n]{{1,{most}}}"
            continue
        if before != WORD_BREAK:
            soft = "[.]" if before in _NARROW and char in _NARROW else "[. ]"
            joined += f"{soft}{{0,{most}}}"
            spelled += rf"[. ,\n]{{1,{most}}}"
        joined += char
        spelled += char
    ways = [joined, spelled] if len(phrase.replace(WORD_BREAK, "")) >= 3 else [joined]
    begin = "(?<![ab])" if phrase[0] in _NARROW else ""
    end = "(?![ab])" if phrase[-1] in _NARROW else ""
    return [re.compile(begin + way + end) for way in ways]


def _shown(text: str, spans: Sequence[Span], limit: int) -> str:
    shown, hidden_to = "", 0
    masks = sorted((span.begin, span.end) for span in spans if span.action is Action.MASK)
    for begin, end in masks:
        if begin >= limit:
            break
        if begin >= hidden_to:
            shown += text[hidden_to:begin] + HIDDEN
        hidden_to = max(hidden_to, end)
    return shown + text[hidden_to:limit]
