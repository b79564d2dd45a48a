"""Tool calls of a choice, each kept back until its name is known whole: clients read it at the beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

CALLS: Final = "tool_calls"
FUNCTION: Final = "function"
NAME: Final = "name"
ARGUMENTS: Final = "arguments"


class ToolCalls:
    """Keeps calls back.

    Args:
        is_named: Whether the name of the call with this index is known whole, and may be shown.
    """

    def __init__(self, is_named: Callable[[Any], bool]) -> None:
        self._is_named = is_named
        self._kept: dict[Any, dict[str, Any]] = {}

    def keep(self, said: dict[str, Any], *, ends: bool) -> bool:
        """Take unnamed calls out of what is said, and put them back together with what follows.

        Args:
            said: A delta or message.
            ends: Whether nothing follows.

        Returns:
            Whether anything was changed.
        """
        if not said.get(CALLS) and not (ends and self._kept):
            return False
        changed = False
        shown: list[dict[str, Any]] = []
        for index, call in indexed(said):
            begun = self._kept.pop(index, None)
            whole = call if begun is None else _joined(begun, call)
            if ends or self._is_named(index):
                shown.append(whole)
                changed |= begun is not None
            else:
                self._kept[index] = whole
                changed = True
        if ends and self._kept:
            shown += self._kept.values()
            changed = True
        said[CALLS] = shown
        if not shown:
            del said[CALLS]
        return changed

    def drop(self, said: dict[str, Any]) -> None:
        """Drop the calls of which a block left nothing that could be called."""
        if said.get(CALLS):
            said[CALLS] = [
                call
                for index, call in indexed(said)
                if self._is_named(index) and any((call.get(FUNCTION) or {}).values())
            ]


def indexed(said: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The tool calls of a delta, or of a message, where their places are their indices."""
    for place, call in enumerate(said.get(CALLS) or ()):
        yield call.get("index", place), call


def locate(said: dict[str, Any], index: Any) -> dict[str, Any]:
    """The function of a tool call within a delta, which is added where it is not there."""
    calls = said.get(CALLS) or []
    said[CALLS] = calls
    for other, call in indexed(said):
        if other == index:
            found: dict[str, Any] = call.setdefault(FUNCTION, {})
            return found
    calls.append({"index": index, FUNCTION: {}})
    added: dict[str, Any] = calls[-1][FUNCTION]
    return added


def _joined(begun: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """The beginning of a call together with the next piece of it."""
    functions = [one.get(FUNCTION) or {} for one in (begun, call)]
    function = {**functions[0], **functions[1]}
    for name in (NAME, ARGUMENTS):
        if name in function:
            function[name] = "".join(one.get(name) or "" for one in functions)
    return {**begun, **call, FUNCTION: function}
