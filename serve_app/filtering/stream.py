"""One text that comes in pieces, and what of it may be shown already.

The text is read character by character, and everything that happens depends on the characters alone, so
that neither the text that is released nor the verdict depends on how it was cut into pieces.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from itertools import repeat
from typing import TypeAlias

from serve_app.filtering import escapes
from serve_app.filtering.automaton import Hit, Rule, State
from serve_app.filtering.normalize import is_unseen, plain
from serve_app.filtering.policy import Policy
from serve_app.filtering.verdict import Action, Tally

_Mark: TypeAlias = tuple[int, int, str]
"""A character that is seen: where it begins and ends in the text, and itself."""


class TextStream:
    """Filters one text.

    What is held back begins where a match may still begin that would be hidden, and ends with the text.

    Args:
        policy: What is looked for.
        is_json: The text is JSON, with all of its escapes.

    Attributes:
        found: What was found so far.
        blocked: A match ends the text; nothing after it is read, and nothing that was held is shown.
        taken: Characters that came.
        settled: Characters of these that were either released or hidden for good.
        masks: Where matches were masked, begin and end, in the order of their beginnings.
    """

    def __init__(self, policy: Policy, *, is_json: bool = False) -> None:
        self._policy = policy
        self._is_json = is_json
        self._rules = policy.phrases.rules, policy.patterns.rules
        self._phrases: State = policy.phrases.start
        self._patterns: State = policy.patterns.start
        self._marks: list[_Mark] = []
        self._held = ""
        self._open = ""
        self._read_to = 0
        self._free_to = 0
        self._hidden_to = 0
        self._longest_mask = 0
        self._counted: dict[tuple[int, int], int] = {}
        self.found: Tally = Counter()
        self.blocked = False
        self.taken = 0
        self.settled = 0
        self.masks: list[tuple[int, int]] = []

    def feed(self, text: str) -> str:
        """Take the next piece of the text; returns what can no longer become part of a match."""
        self.taken += len(text)
        if self.blocked:
            return ""
        is_spelled = bool(self._open) or "\\" in text
        if not is_spelled and not self._marks and self._passes(text):
            return text
        if is_spelled:
            text, self._open = escapes.split(self._open + text, is_json=self._is_json)
        self._held += text
        self._read(escapes.units(text, is_json=self._is_json) if is_spelled else zip(text, repeat(1)))
        self._forget()
        return self._release()

    def finish(self) -> str:
        """The end of the text; returns what was held and is no match. What comes after it begins anew."""
        if self.blocked:
            return ""
        rest, self._open = self._open, ""
        self._held += rest
        self._read((char, 1) for char in rest)
        if not self.blocked:
            for which, state in enumerate((self._phrases, self._patterns)):
                self._take_all(which, state.at_end())
        if not self.blocked:
            self._free_to = self._read_to
        self._marks.clear()
        self._phrases, self._patterns = self._policy.phrases.start, self._policy.patterns.start
        return self._release()

    def hides(self, begin: int, end: int) -> bool:
        """Whether any of the settled characters from ``begin`` to ``end`` was not shown."""
        for place in range(bisect_left(self.masks, (end, end)) - 1, -1, -1):
            first, last = self.masks[place]
            if last > begin:
                return True
            if first + self._longest_mask <= begin:
                return False
        return False

    def _forget(self) -> None:
        """Drop the marks that no match can reach any more."""
        del self._marks[: len(self._marks) - max(self._phrases.reach, self._patterns.reach)]

    def _passes(self, text: str) -> bool:
        """Read a piece in which nothing begins; where something does, nothing was read."""
        phrases, patterns = self._phrases, self._patterns
        for char in text:
            phrases = phrases[char]
            patterns = patterns[char]
            if phrases.busy or patterns.busy:
                return False
        self._phrases, self._patterns = phrases, patterns
        self._read_to += len(text)
        self._free_to = self.settled = self._read_to
        return True

    def _read(self, characters: Iterable[tuple[str, int]]) -> None:
        phrases, patterns, marks = self._phrases, self._patterns, self._marks
        read_to, depth = self._read_to, max(self._phrases.depth, self._patterns.depth)
        for char, length in characters:
            begin, read_to = read_to, read_to + length
            phrases = phrases[char]
            patterns = patterns[char]
            if phrases.busy or patterns.busy:
                if not is_unseen(char):
                    marks.append((begin, read_to, char))
                if phrases.hits or patterns.hits:
                    self._take_all(0, phrases.hits)
                    self._take_all(1, patterns.hits)
                    if self.blocked:
                        # What was free before this character, which is the last mark.
                        self._free_to = marks[-depth - 1][0] if depth else begin
                        return
            if not (phrases.reach or patterns.reach):
                marks.clear()
            depth = phrases.depth if phrases.depth > patterns.depth else patterns.depth
        self._phrases, self._patterns, self._read_to = phrases, patterns, read_to
        self._free_to = marks[-depth][0] if depth else read_to

    def _take_all(self, which: int, hits: Iterable[Hit]) -> None:
        rules = self._rules[which]
        for hit in sorted(hits, key=lambda one: -one.begin):
            self._take(which, hit, rules[hit.rule])

    def _take(self, which: int, hit: Hit, rule: Rule) -> None:
        matched = self._marks[len(self._marks) - hit.begin : len(self._marks) - hit.end + 1]
        if rule.accepts is not None and not rule.accepts("".join(plain(char) for _, _, char in matched)):
            return
        begin, end = matched[0][0], matched[-1][1]
        # A number with its country code also matches without; matches that overlap count as one.
        if begin >= self._counted.get((which, hit.rule), 0):
            self.found.update(rule.findings)
        self._counted[which, hit.rule] = end
        if rule.action is Action.BLOCK:
            self.blocked = True
        elif rule.action is Action.MASK:
            insort(self.masks, (begin, end))
            self._longest_mask = max(self._longest_mask, end - begin)

    def _release(self) -> str:
        """The text up to where it is free, with a placeholder for each run of masked characters."""
        shown: list[str] = []
        base = place = self.settled
        for begin, end in self.masks[bisect_left(self.masks, (base, 0)) :]:
            if begin >= self._free_to:
                break
            if begin >= self._hidden_to:
                shown += (
                    self._held[max(place, self._hidden_to) - base : begin - base],
                    self._policy.placeholder,
                )
            self._hidden_to = max(self._hidden_to, end)
            place = begin
        shown.append(self._held[max(place, self._hidden_to) - base : max(self._free_to - base, 0)])
        self._held = self._held[self._free_to - base :] if not self.blocked else ""
        self.settled = self._free_to
        return "".join(shown)
