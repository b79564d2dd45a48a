"""One choice of an answer: its texts, each a stream of its own, and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from serve_app.filtering import tokens
from serve_app.filtering.calls import ARGUMENTS, CALLS, FUNCTION, NAME, ToolCalls, indexed, locate
from serve_app.filtering.event import CONTENT_FILTER
from serve_app.filtering.policy import Policy
from serve_app.filtering.stream import TextStream
from serve_app.filtering.tokens import Stretch, TokenQueue
from serve_app.filtering.verdict import Tally

Path: TypeAlias = tuple[str | int, ...]
_NO_TEXT: Final = frozenset({"role"})


@dataclass(frozen=True, slots=True)
class _Field:
    """A text within a choice: which it is, and where it stands."""

    path: Path
    owner: dict[str, Any]
    name: str


class ChoiceFilter:
    """Filters the pieces of one choice.

    Args:
        policy: What is looked for.

    Attributes:
        ended: The choice is over: it finished, or was blocked.
        blocked: A match ended it.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._texts: dict[Path, TextStream] = {}
        self._tokens = TokenQueue(policy)
        self._calls = ToolCalls(self._is_named)
        self.ended = False
        self.blocked = False

    @property
    def tallies(self) -> Iterator[Tally]:
        """What was found, text by text."""
        texts = [text.found for text in self._texts.values()]
        yield from texts
        if self._tokens.blocked:
            yield self._tokens.found - sum(texts, Tally())

    @property
    def holds_tokens(self) -> bool:
        """Whether token fields wait for their text."""
        return self._tokens.waits

    def text(self, path: Path) -> TextStream:
        """The stream of one text."""
        found = self._texts.get(path)
        if found is None:
            found = self._texts[path] = TextStream(self._policy, is_json=path[-1] == ARGUMENTS)
        return found

    def apply(self, choice: dict[str, Any], said: dict[str, Any], *, ends: bool) -> bool:
        """Replace what the next piece of the choice says by what of it may be shown.

        Args:
            choice: The choice's object in the frame or body.
            said: The object within it that holds its texts.
            ends: Whether nothing follows.

        Returns:
            Whether anything was changed.
        """
        came = [choice.get(name) for name in tokens.FIELDS]
        changed = self._filter(choice, said)
        changed |= self._calls.keep(said, ends=ends and not self.blocked)
        if not self.blocked and ends:
            changed |= self._finish(said)
        self.ended = ends
        if self.blocked or self._tokens.blocked:
            self._calls.drop(said)
            self.block(choice)
            return True
        changed |= self._tokens.give(choice)
        return changed or came != [choice.get(name) for name in tokens.FIELDS]

    def block(self, choice: dict[str, Any]) -> None:
        """End the choice in its frame or body; what is held is not shown."""
        choice["finish_reason"] = CONTENT_FILTER
        choice.update({name: None for name in tokens.FIELDS if name in choice})
        self.blocked = self.ended = True

    def _filter(self, choice: dict[str, Any], said: dict[str, Any]) -> bool:
        changed = False
        stretches: list[Stretch] = []
        for field in _fields(said):
            if field.name == ARGUMENTS and not self.blocked:
                changed |= self._end_name(field)
            text = self.text(field.path)
            before = text.taken
            came = field.owner[field.name]
            # After a block in an earlier field nothing more of the choice is shown.
            shown = "" if self.blocked else text.feed(came)
            stretches.append(Stretch(text, before, text.taken))
            self.blocked |= text.blocked
            if shown != came:
                field.owner[field.name] = shown
                changed = True
        self._tokens.take(choice, stretches)
        return changed

    def _finish(self, said: dict[str, Any]) -> bool:
        changed = False
        for path, text in self._texts.items():
            if self.blocked:
                break
            rest = text.finish()
            self.blocked |= text.blocked
            if rest:
                owner, name = _locate(said, path)
                owner[name] = (owner.get(name) or "") + rest
                changed = True
        self._tokens.finish(hides=any(text.masks for text in self._texts.values()))
        return changed

    def _end_name(self, arguments: _Field) -> bool:
        """The name of a tool call ends where its arguments begin."""
        name = self._texts.get((*arguments.path[:-1], NAME))
        if name is None or name.settled >= name.taken:
            return False
        arguments.owner[NAME] = (arguments.owner.get(NAME) or "") + name.finish()
        self.blocked |= name.blocked
        return True

    def _is_named(self, index: Any) -> bool:
        name = self._texts.get((CALLS, index, FUNCTION, NAME))
        return name is None or (name.settled >= name.taken and not name.blocked)


def _fields(said: dict[str, Any]) -> Iterator[_Field]:
    """All texts of a delta or message. Texts under names that are not known here are texts too."""
    for name, value in said.items():
        if isinstance(value, str) and name not in _NO_TEXT:
            yield _Field((name,), said, name)
    function = said.get("function_call")
    if isinstance(function, dict):
        yield from _function(function, ("function_call",))
    for index, call in indexed(said):
        function = call.get(FUNCTION)
        if isinstance(function, dict):
            yield from _function(function, (CALLS, index, FUNCTION))


def _function(function: dict[str, Any], path: Path) -> Iterator[_Field]:
    for name in (NAME, ARGUMENTS):
        if isinstance(function.get(name), str):
            yield _Field((*path, name), function, name)


def _locate(said: dict[str, Any], path: Path) -> tuple[dict[str, Any], str]:
    """Where the rest of a text is to be put, with what leads there."""
    *way, name = path
    if way and way[0] == CALLS:
        return locate(said, way[1]), str(name)
    if way:
        return said.setdefault(str(way[0]), {}), str(name)
    return said, str(name)
