"""Automata that read one character at a time and know how far back a match may still begin.

This is the construction of Aho and Corasick, all partial matches as one state, for partial matches
that may step over separators. Its states are made when a text first leads to them and are then remembered:
reading a character costs one look-up in a dict, however many phrases there are, and building costs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

from serve_app.filtering.normalize import is_unseen
from serve_app.filtering.verdict import Action

CoreT = TypeVar("CoreT", bound=Hashable)

_REMEMBERED: Final = 100_000
"""Transitions that one automaton remembers, at most 400 bytes each; then it begins anew."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a match means.

    Attributes:
        findings: The categories it belongs to, with the action of each.
        action: The strictest of them.
        accepts: The last word on the matched text, such as a check digit; None: all is accepted.
    """

    findings: tuple[tuple[str, Action], ...]
    action: Action
    accepts: Callable[[str], bool] | None = None


class Hit(NamedTuple):
    """A match, by how many seen characters ago it began and ended; 1: the character just read.

    Attributes:
        rule: Index in the automaton's rules.
        begin: Its first character.
        end: Its last character.
    """

    rule: int
    begin: int
    end: int


class State(dict[str, "State"]):
    """What an automaton knows after a text: the state after each next character, once it was asked for.

    Attributes:
        hits: The matches that the last character confirmed.
        depth: Seen characters since the first that may still become hidden; these must be held back.
        reach: Seen characters since the first that may still become a match of any kind.
        busy: Whether there is anything to note: a hit, or the beginning of a match.
    """

    __slots__ = ("_automaton", "busy", "core", "depth", "hits", "reach")

    def __init__(self, automaton: Automaton[Any], core: Hashable, hits: tuple[Hit, ...]) -> None:
        super().__init__()
        self._automaton = automaton
        self.core = core
        self.hits = hits
        self.depth, self.reach = automaton.measure(core)
        self.busy = bool(self.reach or hits)

    def __missing__(self, char: str) -> State:
        return self._automaton.follow(self, char)

    def at_end(self) -> Sequence[Hit]:
        """The matches that stand if the text ends here."""
        return self._automaton.conclude(self.core)


class Automaton(ABC, Generic[CoreT]):
    """Reads texts for the rules it was made of.

    Args:
        rules: What matches mean.
        core: Of the state before the first character.
    """

    def __init__(self, rules: Sequence[Rule], core: CoreT) -> None:
        self.rules = rules
        self._states: dict[tuple[Hashable, tuple[Hit, ...]], State] = {}
        self._remembered = 0
        self._core = core

    @property
    def start(self) -> State:
        """The state before the first character."""
        return self._state(self._core, ())

    @abstractmethod
    def advance(self, core: CoreT, char: str) -> tuple[CoreT, tuple[Hit, ...]]:
        """What follows when a character is read that is seen."""

    @abstractmethod
    def measure(self, core: CoreT) -> tuple[int, int]:
        """Depth and reach of a state."""

    @abstractmethod
    def conclude(self, core: CoreT) -> Sequence[Hit]:
        """The matches that stand if the text ends here."""

    def hides(self, text: str) -> bool:
        """Whether a text holds what a rule hides; a rule's last word is not asked."""
        state = self.start
        for char in text:
            state = state[char]
            if any(self.rules[hit.rule].action.hides for hit in state.hits):
                return True
        return state.busy and any(self.rules[hit.rule].action.hides for hit in state.at_end())

    def follow(self, state: State, char: str) -> State:
        """The state after a character, remembered from now on."""
        if self._remembered >= _REMEMBERED:
            self._forget()
        core: Any = state.core
        after = self._state(core, ()) if is_unseen(char) else self._state(*self.advance(core, char))
        state[char] = after
        self._remembered += 1
        return after

    def _state(self, core: CoreT, hits: tuple[Hit, ...]) -> State:
        found = self._states.get((core, hits))
        if found is None:
            found = self._states[core, hits] = State(self, core, hits)
        return found

    def _forget(self) -> None:
        # Streams under way keep the states that they are in, which stay right and learn anew.
        for state in self._states.values():
            state.clear()
        self._states.clear()
        self._remembered = 0
