"""Which limits hold for a request: the configuration's rules, and what an administrator changed since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from serve_app.limits.bucket import Bucket, LimitName, Scope
from serve_app.limits.config import EACH, LimitRule

_REMEMBERED: Final = 10_000
"""Pairs of caller and model whose limits are looked up once."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as limits care.

    Attributes:
        user: Whose request it is.
        tenant: Of the user.
        key_id: Of the API key; empty for a caller without one, for whom no rule of scope key holds.
        roles: That the user has.
    """

    user: str
    tenant: str = ""
    key_id: str = ""
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Quota:
    """A bucket, and what it allows.

    Attributes:
        bucket: What is counted.
        limit: How much.
    """

    bucket: Bucket
    limit: int


class RuleSet:
    """Rules, ready to be asked. It never changes; another one takes its place.

    For one scope and limit, the limit over all models together and the limit of a single model are two,
    and both hold. Where several rules speak of the same one, the most specific wins: one that names
    the user before one for each user, then one that names the model, the tenant, the role. Between equals
    an override wins, and then the larger limit.

    Args:
        rules: Of the configuration.
        overrides: Of the administrator.
    """

    def __init__(self, rules: Iterable[LimitRule], overrides: Iterable[LimitRule] = ()) -> None:
        self._rules = [(rule, False) for rule in rules] + [(rule, True) for rule in overrides]
        self._quotas: OrderedDict[tuple[Caller, str], tuple[Quota, ...]] = OrderedDict()

    def quotas(self, caller: Caller, model: str) -> tuple[Quota, ...]:
        """The limits that hold for a request of a caller to a model, by its id."""
        key = (caller, model)
        quotas = self._quotas.get(key)
        if quotas is None:
            quotas = self._quotas[key] = self._resolve(caller, model)
            if len(self._quotas) > _REMEMBERED:
                self._quotas.popitem(last=False)
        return quotas

    def _resolve(self, caller: Caller, model: str) -> tuple[Quota, ...]:
        best: dict[Bucket, tuple[tuple[bool | int, ...], int]] = {}
        for rule, is_override in self._rules:
            name = _name(rule.scope, caller, model)
            if not _holds(rule, name, caller, model):
                continue
            for limit in LimitName:
                value = rule.value(limit)
                if value is None:
                    continue
                bucket = Bucket(
                    limit=limit,
                    scope=rule.scope,
                    name=name,
                    tenant=caller.tenant if rule.scope is Scope.USER else "",
                    model=None if rule.model is None else model,
                )
                rank = (*_specificity(rule), is_override, value)
                if bucket not in best or rank > best[bucket][0]:
                    best[bucket] = (rank, value)
        return tuple(Quota(bucket, value) for bucket, (_, value) in best.items())


def _name(scope: Scope, caller: Caller, model: str) -> str:
    names = {
        Scope.KEY: caller.key_id,
        Scope.USER: caller.user,
        Scope.TENANT: caller.tenant,
        Scope.MODEL: model,
    }
    return names[scope]


def _holds(rule: LimitRule, name: str, caller: Caller, model: str) -> bool:
    return (
        bool(name)
        and rule.name in (EACH, name)
        and rule.tenant in (None, caller.tenant)
        and (rule.role is None or rule.role in caller.roles)
        and rule.model in (None, EACH, model)
    )


def _specificity(rule: LimitRule) -> tuple[bool, ...]:
    return rule.name != EACH, rule.model not in (None, EACH), rule.tenant is not None, rule.role is not None
