"""The automaton of forms: numbers, addresses and keys, each a sequence of characters of known kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from serve_app.filtering.automaton import Automaton, Hit, Rule
from serve_app.filtering.normalize import plain


class Item(NamedTuple):
    """So many characters of a kind."""

    chars: frozenset[str]
    at_least: int = 1
    at_most: int = 1


Form: TypeAlias = tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a kind of data looks like. Of the matches that begin at one place, the longest right one counts.

    Attributes:
        forms: Any of them matches.
        not_before: Characters that may not come before a match.
        not_after: Characters that may not come after it.
        open_end: A match that reaches the greatest length of its form needs no regard for what follows.
    """

    forms: tuple[Form, ...]
    not_before: frozenset[str]
    not_after: frozenset[str]
    open_end: bool = False


class _Place(NamedTuple):
    """Within a form: the item, and how many of its characters were read."""

    form: int
    item: int
    read: int


class _Partial(NamedTuple):
    """A match that has begun.

    Attributes:
        ends: How many characters ago it was complete; the latest alone where no check can refuse it.
    """

    pattern: int
    places: frozenset[_Place]
    age: int
    ends: tuple[int, ...]


class _Core(NamedTuple):
    partials: frozenset[_Partial]
    before: frozenset[int]
    """Patterns that may not begin now, for the character that came last."""


class _First(NamedTuple):
    """What a symbol does by itself.

    Attributes:
        begun: The matches that it begins.
        bars: Patterns that may not begin after it.
    """

    begun: tuple[_Partial, ...]
    bars: frozenset[int]


_SYMBOLS: Final = 10_000
"""Symbols of which it is remembered what they begin."""

_NOTHING: Final = _Core(frozenset(), frozenset())


class PatternAutomaton(Automaton[_Core]):
    """Finds data by its form.

    Args:
        patterns: Each with its rule.
    """

    def __init__(self, patterns: Sequence[tuple[Pattern, Rule]]) -> None:
        self._patterns = [pattern for pattern, _ in patterns]
        self._firsts: dict[str, _First] = {}
        super().__init__([rule for _, rule in patterns], _NOTHING)

    def advance(self, core: _Core, char: str) -> tuple[_Core, tuple[Hit, ...]]:
        """Read a character; as a compatibility form it may stand for several."""
        hits: list[Hit] = []
        partials = [_Partial(one.pattern, one.places, one.age + 1, one.ends) for one in core.partials]
        barred = core.before
        for place, symbol in enumerate(plain(char)):
            before = 1 if place else 2
            alive = [after for one in partials for after in self._read(one, symbol, before, hits)]
            first = self._first(symbol)
            partials = alive + [one for one in first.begun if one.pattern not in barred]
            barred = first.bars
        return _Core(frozenset(partials), barred), tuple(dict.fromkeys(hits))

    def measure(self, core: _Core) -> tuple[int, int]:
        """Ages of the oldest partial match that would be hidden, and of the oldest at all."""
        hiding = (one.age for one in core.partials if self.rules[one.pattern].action.hides)
        return max(hiding, default=0), max((one.age for one in core.partials), default=0)

    def conclude(self, core: _Core) -> Sequence[Hit]:
        """What is complete when the text ends."""
        hits: list[Hit] = []
        for one in core.partials:
            ends = self._ends(one, "")
            hits += [Hit(one.pattern, one.age, end + 1) for end in ends]
        return hits

    def _read(self, one: _Partial, symbol: str, before: int, hits: list[Hit]) -> list[_Partial]:
        pattern = self._patterns[one.pattern]
        ends = self._ends(one, symbol)
        places = self._step(pattern, one.places, symbol)
        if places:
            # Only the first symbol of a character is a step away from the one before.
            after = one._replace(places=places, ends=tuple(end + before - 1 for end in ends))
            if pattern.open_end and self._is_exhausted(after):
                hits.append(Hit(one.pattern, one.age, 1))
                return []
            return [after]
        hits += [Hit(one.pattern, one.age, end + before) for end in ends]
        return []

    def _ends(self, one: _Partial, symbol: str) -> tuple[int, ...]:
        """Where a match was complete, before a symbol; empty: the text ends."""
        if not self._is_complete(one) or symbol in self._patterns[one.pattern].not_after:
            return one.ends
        # A card's number may go on with a group of digits that is not its own.
        return (*one.ends, 0) if self.rules[one.pattern].accepts else (0,)

    def _first(self, symbol: str) -> _First:
        found = self._firsts.get(symbol)
        if found is None:
            if len(self._firsts) >= _SYMBOLS:
                self._firsts.clear()
            begun = [self._begin(index, symbol) for index in range(len(self._patterns))]
            bars = [index for index, pattern in enumerate(self._patterns) if symbol in pattern.not_before]
            found = _First(tuple(one for one in begun if one is not None), frozenset(bars))
            self._firsts[symbol] = found
        return found

    def _begin(self, index: int, symbol: str) -> _Partial | None:
        pattern = self._patterns[index]
        starts = frozenset(_Place(form, 0, 0) for form in range(len(pattern.forms)))
        places = self._step(pattern, starts, symbol)
        return _Partial(index, places, 1, ()) if places else None

    @staticmethod
    def _step(pattern: Pattern, places: frozenset[_Place], symbol: str) -> frozenset[_Place]:
        reached: set[_Place] = set()
        for form, item, count in places:
            items = pattern.forms[form]
            here, read = item, count
            while here < len(items):
                if read < items[here].at_most and symbol in items[here].chars:
                    reached.add(_Place(form, here, read + 1))
                if read < items[here].at_least:
                    break
                here, read = here + 1, 0
        return frozenset(reached)

    def _is_complete(self, one: _Partial) -> bool:
        forms = self._patterns[one.pattern].forms
        return any(
            count >= forms[form][item].at_least and all(not rest.at_least for rest in forms[form][item + 1 :])
            for form, item, count in one.places
        )

    def _is_exhausted(self, one: _Partial) -> bool:
        forms = self._patterns[one.pattern].forms
        return all(
            item == len(forms[form]) - 1 and count == forms[form][item].at_most
            for form, item, count in one.places
        )
