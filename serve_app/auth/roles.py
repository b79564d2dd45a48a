"""What a principal may do: the roles of the configuration, over models, routes and administration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

from serve_app.auth.config import RoleConfig
from serve_app.auth.principal import Principal

_MAX_CACHED_GRANTS = 4096


@dataclass(frozen=True, slots=True)
class _Grant:
    """What some roles, within a credential's restriction, come to."""

    by_role: tuple[tuple[frozenset[str], re.Pattern[str]], ...]
    restriction: re.Pattern[str] | None


class Roles:
    """The rules. Pure: the same question has the same answer.

    Args:
        roles: By name. A name that is not here grants nothing.
    """

    def __init__(self, roles: Mapping[str, RoleConfig]) -> None:
        self._roles = dict(roles)
        self._grant = lru_cache(_MAX_CACHED_GRANTS)(self._compile)

    def may_use(self, principal: Principal, model_id: str, alias: str | None, task: str) -> bool:
        """Whether a principal may ask a model to do a task.

        Some one role has to grant both the model and the task, and the credential's own restriction has to
        take in the model. A pattern may match the model's id or the name that it is asked for by.

        Args:
            principal: Who is asking.
            model_id: The model.
            alias: The name that it is asked for by, where that is another.
            task: ``chat``, ``completion``, ``embedding``, ``rerank``, ``score``, or ``models`` to list it.
        """
        grant = self._grant(principal.roles, principal.models)
        names = (model_id,) if alias is None else (model_id, alias)
        if grant.restriction is not None and not _matches(grant.restriction, names):
            return False
        return any(task in routes and _matches(models, names) for routes, models in grant.by_role)

    def is_admin(self, principal: Principal) -> bool:
        """Whether a principal may administer the platform.

        Not with a credential that is restricted to models: it could make itself one that is not.
        """
        return principal.models is None and any(
            self._roles[role].admin for role in principal.roles if role in self._roles
        )

    def _compile(self, roles: frozenset[str], restriction: tuple[str, ...] | None) -> _Grant:
        known = [self._roles[role] for role in sorted(roles) if role in self._roles]
        return _Grant(
            tuple((frozenset(role.routes), _pattern(role.models)) for role in known if role.models),
            None if restriction is None else _pattern(restriction),
        )


def _matches(pattern: re.Pattern[str], names: Iterable[str]) -> bool:
    return any(pattern.match(name) for name in names)


def _pattern(globs: Iterable[str]) -> re.Pattern[str]:
    """One expression for any of some patterns; ids are told apart by case."""
    return re.compile("|".join(translate(glob) for glob in globs))
