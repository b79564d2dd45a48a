"""The automaton of the lexicons: phrases, and what may stand between their letters.

Letters of scripts whose words are parted by spaces are *narrow*, such as Latin ones; all others are *wide*,
such as Chinese. A phrase is found

- where its letters follow each other, with no more than the allowed separators between two of them, which
  between narrow letters are decoration (``b-a-d``), and with a wide letter may also be spaces;
- or spelled out, each letter apart from the next by separators of any kind (``b, a, d``), from three
  letters on;
- with a narrow letter at its beginning or end only where a word begins or ends: ``class`` holds no ``ass``;
- words of one phrase parted by decoration, spaces or a line break.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import accumulate
from typing import Final, NamedTuple

from serve_app.filtering.automaton import Automaton, Hit, Rule
from serve_app.filtering.normalize import Gap, fold, gap, is_narrow

WORD_BREAK: Final = " "
"""Between the words of a folded phrase."""

_LAST: Final = "\U0010ffff"
_SPELLED_AT_LEAST: Final = 3


class _Way(IntEnum):
    """In which way the letters so far may have been written."""

    ANY = 0
    JOINED = 1
    SPELLED = 2


class _Partial(NamedTuple):
    """A phrase that has begun: those from ``low`` to ``high`` agree in ``length`` symbols."""

    low: int
    high: int
    length: int
    way: _Way
    age: int


class _Following(NamedTuple):
    """What can follow: a narrow letter, a wide one, another word; and whether a phrase can be spelled out."""

    narrow: bool
    wide: bool
    word: bool
    spelled: bool


class _Core(NamedTuple):
    """Partial matches and what came last: whether a narrow letter, then the separators since."""

    partials: frozenset[_Partial]
    in_word: bool
    gap: Gap
    separators: int


class PhraseAutomaton(Automaton[_Core]):
    """Finds phrases.

    The sorted phrases are the trie: those that begin alike lie next to each other.

    Args:
        phrases: Folded, each with its rule.
        max_separators: Between two letters.
    """

    def __init__(self, phrases: Mapping[str, Rule], max_separators: int) -> None:
        self._phrases = sorted(phrases)
        self._max_separators = max_separators
        super().__init__(
            [phrases[phrase] for phrase in self._phrases], _Core(frozenset(), False, Gap.NONE, 0)
        )
        self._hiding = [0, *accumulate(int(rule.action.hides) for rule in self.rules)]
        self._following: dict[tuple[int, int, int], _Following] = {}

    def advance(self, core: _Core, char: str) -> tuple[_Core, tuple[Hit, ...]]:
        """Read a character, which may stand for several letters and separators."""
        hits: list[Hit] = []
        if core.partials:
            older = frozenset(_Partial(*one[:-1], one.age + 1) for one in core.partials)
            core = _Core(older, *core[1:])
        for place, symbol in enumerate(fold(char)):
            before = 1 if place else 2
            parting = gap(symbol)
            if parting:
                core = self._part(core, parting, before, hits)
            else:
                core = self._grow(core, symbol, before, hits)
        return core, tuple(hits)

    def measure(self, core: _Core) -> tuple[int, int]:
        """Ages of the oldest partial match that would be hidden, and of the oldest at all."""
        ended = bool(core.separators)
        depth = max((one.age for one in core.partials if self._would_hide(one, ended)), default=0)
        return depth, max((one.age for one in core.partials), default=0)

    def conclude(self, core: _Core) -> Sequence[Hit]:
        """The end of a text is the end of a word."""
        if core.separators:
            return ()
        return [Hit(one.low, one.age, 1) for one in core.partials if self._awaits_end(one)]

    def _part(self, core: _Core, parting: Gap, before: int, hits: list[Hit]) -> _Core:
        if not core.separators:
            hits += [Hit(one.low, one.age, before) for one in core.partials if self._awaits_end(one)]
        widest, separators = max(core.gap, parting), core.separators + 1
        alive = (
            frozenset(one for one in core.partials if self._survives(one, widest))
            if separators <= self._max_separators
            else frozenset[_Partial]()
        )
        return _Core(alive, core.in_word, widest, separators)

    def _grow(self, core: _Core, letter: str, before: int, hits: list[Hit]) -> _Core:
        narrow = is_narrow(letter)
        if not core.separators and not narrow:
            hits += [Hit(one.low, one.age, before) for one in core.partials if self._awaits_end(one)]
        grown = [after for one in core.partials for after in self._extend(one, letter, narrow, core.gap)]
        if not (narrow and core.in_word and not core.separators):
            begun = self._narrowed(0, len(self._phrases), 0, letter)
            grown += [_Partial(*begun, 1, _Way.ANY, 1)] if begun else []
        if not narrow:
            hits += [Hit(one.low, one.age, 1) for one in grown if self._is_whole(one)]
        alive = frozenset(one for one in grown if self._goes_on(one) or self._awaits_end(one))
        return _Core(alive, narrow, Gap.NONE, 0)

    def _extend(self, one: _Partial, letter: str, narrow: bool, parting: Gap) -> list[_Partial]:
        pair_is_narrow = narrow and is_narrow(self._phrases[one.low][one.length - 1])
        grown: list[_Partial] = []
        way = _joined(one.way, parting, Gap.SOFT if pair_is_narrow else Gap.SPACE)
        if way is not None:
            child = self._narrowed(one.low, one.high, one.length, letter)
            grown += [_Partial(*child, one.length + 1, way, one.age)] if child else []
        way = _joined(one.way, parting, Gap.LINE) if parting and pair_is_narrow else None
        if way is not None:
            child = self._narrowed(one.low, one.high, one.length, WORD_BREAK + letter)
            grown += [_Partial(*child, one.length + 2, way, one.age)] if child else []
        return grown

    def _narrowed(self, low: int, high: int, length: int, symbols: str) -> tuple[int, int] | None:
        if low == high:
            return None
        path = self._phrases[low][:length] + symbols
        first = bisect_left(self._phrases, path, low, high)
        if first == high or not self._phrases[first].startswith(path):
            return None
        return first, bisect_left(self._phrases, path + _LAST, first, high)

    def _survives(self, one: _Partial, widest: Gap) -> bool:
        """Whether a phrase can go on after separators."""
        narrow, wide, word, spelled = self._next_kinds(one)
        if one.way is not _Way.JOINED and spelled:
            return True
        if one.way is _Way.SPELLED:
            return False
        if not is_narrow(self._phrases[one.low][one.length - 1]):
            return widest <= Gap.SPACE and (narrow or wide)
        return (
            (narrow and widest <= Gap.SOFT) or (wide and widest <= Gap.SPACE) or (word and widest <= Gap.LINE)
        )

    def _next_kinds(self, one: _Partial) -> _Following:
        key = (one.low, one.high, one.length)
        found = self._following.get(key)
        if found is None:
            longer = [phrase for phrase in self._phrases[one.low : one.high] if len(phrase) > one.length]
            nexts = {phrase[one.length] for phrase in longer}
            word = WORD_BREAK in nexts
            narrow = any(is_narrow(symbol) for symbol in nexts if symbol != WORD_BREAK)
            wide = not all(is_narrow(symbol) for symbol in nexts)
            found = self._following[key] = _Following(narrow, wide, word, any(map(_is_spellable, longer)))
        return found

    def _is_whole(self, one: _Partial) -> bool:
        phrase = self._phrases[one.low]
        if len(phrase) != one.length:
            return False
        return one.way is not _Way.SPELLED or _is_spellable(phrase)

    def _awaits_end(self, one: _Partial) -> bool:
        return self._is_whole(one) and is_narrow(self._phrases[one.low][-1])

    def _goes_on(self, one: _Partial) -> bool:
        return one.high - one.low > 1 or len(self._phrases[one.low]) > one.length

    def _would_hide(self, one: _Partial, ended: bool) -> bool:
        """Whether a match that is still open would be hidden; ``ended``: no letter came last."""
        said = len(self._phrases[one.low]) == one.length and (ended or not self._awaits_end(one))
        return self._hiding[one.high] > self._hiding[one.low + said]


def _is_spellable(phrase: str) -> bool:
    return len(phrase.replace(WORD_BREAK, "")) >= _SPELLED_AT_LEAST


def _joined(way: _Way, parting: Gap, widest: Gap) -> _Way | None:
    """The way of a match that goes on over separators, which as decoration are ``widest`` at most."""
    if parting is Gap.NONE:
        return None if way is _Way.SPELLED else _Way.JOINED
    if parting <= widest:
        return way
    return None if way is _Way.JOINED else _Way.SPELLED


def folded_phrase(text: str) -> str:
    """A phrase as the automaton compares it: its letters, and one space between narrow words."""
    letters: list[str] = []
    parted = False
    for symbol in "".join(map(fold, text)):
        if gap(symbol):
            parted = bool(letters)
            continue
        if parted and is_narrow(letters[-1]) and is_narrow(symbol):
            letters.append(WORD_BREAK)
        letters.append(symbol)
        parted = False
    return "".join(letters)
