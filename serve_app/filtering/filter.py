"""The content filter: one for all requests of an ingress."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from serve_app.filtering import lexicon, policy
from serve_app.filtering.config import FilteringConfig
from serve_app.filtering.frames import AnswerFilter
from serve_app.filtering.lexicon import LexiconInvalid
from serve_app.filtering.policy import Policy
from serve_app.filtering.prompt import PromptCheck, PromptFilter
from serve_app.filtering.verdict import Action, Scanned, Verdict

_POLICIES: Final = 16
"""Sets of actions that are kept ready; there are as many as ways in which roles differ."""


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of reading the lexicons again.

    Attributes:
        version: Of the lexicons in use now.
        changed: Whether they are others than before.
        problem: Why the old ones stay in use; None: nothing is wrong.
    """

    version: str
    changed: bool
    problem: str | None = None


class ContentFilter:
    """Filters prompts and answers.

    Answers under way when the lexicons change are filtered to their end by those they began with.

    Args:
        config: What is looked for.

    Raises:
        LexiconInvalid: A lexicon cannot be used.
    """

    def __init__(self, config: FilteringConfig) -> None:
        self._config = config
        self._lexicon = lexicon.read(config.lexicons)
        self._policies: OrderedDict[frozenset[tuple[str, Action]], Policy] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        """Of the lexicons in use."""
        return self._lexicon.version

    def check_prompt(self, body: dict[str, Any], roles: Iterable[str]) -> PromptCheck:
        """Read a request before the engine does.

        0.3 to 0.6 ms of CPU per kilobyte, about 1 ms for text unlike any that was read before
        (``bench.filtering``): long ones are better read in a thread.
        """
        if not self._config.prompts:
            return PromptCheck(body, Verdict((), self.version, Scanned.NOTHING))
        found = self._policy(roles)
        return PromptFilter(found, refuse_unreadable=self._config.refuse_token_ids).check(body)

    def answer(self, roles: Iterable[str], choices: int = 1) -> AnswerFilter:
        """A filter for one answer, streamed or whole, which will have so many choices."""
        return AnswerFilter(self._policy(roles) if self._config.answers else None, choices)

    def reload(self) -> Reload:
        """Read the lexicons again, from any thread; where one is broken, all stay as they were."""
        try:
            read = lexicon.read(self._config.lexicons, self._lexicon)
        except LexiconInvalid as error:
            return Reload(self.version, changed=False, problem=str(error))
        if read is self._lexicon:
            return Reload(read.version, changed=False)
        with self._lock:
            recent = list(self._policies)
        built = {actions: policy.build(self._config, read, dict(actions)) for actions in recent}
        with self._lock:
            self._lexicon = read
            self._policies = OrderedDict(built)
        return Reload(read.version, changed=True)

    def _policy(self, roles: Iterable[str]) -> Policy:
        actions = policy.actions_for(self._config, frozenset(roles))
        key = frozenset(actions.items())
        with self._lock:
            found = self._policies.get(key)
            if found is None:
                found = policy.build(self._config, self._lexicon, actions)
                self._policies[key] = found
                if len(self._policies) > _POLICIES:
                    self._policies.popitem(last=False)
            else:
                self._policies.move_to_end(key)
        return found
