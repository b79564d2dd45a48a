"""Keeps an ingress replica and the registry in step: credentials and limits this way, usage that way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from serve_app.auth.credentials import Credentials
from serve_app.errors import ApiError
from serve_app.limits import LimitRule, RuleSet, Scope
from serve_app.registry.client import RegistryClient
from serve_app.registry.operations import Report
from serve_app.store import LimitOverride
from serve_app.usage.collector import UsageCollector

logger = logging.getLogger("ray.serve")


class Subscriber:
    """Reports every so often. What got no answer is sent again under the same id, and counts once.

    Args:
        registry: Whom to ask.
        credentials: Kept up to date.
        usage: Reported.
        rules: The configuration's limits.
        on_rules: Given the limits that hold, each time they change.
        interval_s: Between two reports, seconds.
    """

    def __init__(  # noqa: PLR0913  (its collaborators)
        self,
        registry: RegistryClient,
        credentials: Credentials,
        usage: UsageCollector,
        *,
        rules: Sequence[LimitRule],
        on_rules: Callable[[RuleSet], None],
        interval_s: float,
    ) -> None:
        self._registry = registry
        self._credentials = credentials
        self._usage = usage
        self._rules = tuple(rules)
        self._on_rules = on_rules
        self._interval_s = interval_s
        self._uses: dict[str, float] = {}
        self._overrides: tuple[LimitOverride, ...] = ()
        self._running: asyncio.Task[None] | None = None
        self._silent = False

    def start(self) -> None:
        """Begin to report in the background."""
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Report what is left, and stop."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        # The first report may be one that had no answer yet, as it was then; the second has what came since.
        if await self.exchange():
            await self.exchange()

    async def exchange(self) -> bool:
        """One report; whether it was answered. Otherwise everything stays as it is, for the next one."""
        asked_at = time.monotonic()
        flush = self._usage.pending()
        may_send = await self._usage.may_send(flush)
        self._uses |= self._credentials.take_uses()
        try:
            rows = flush.rows if may_send else ()
            report = Report(self._credentials.sequence, dict(self._uses), flush.id, rows)
            state = await self._registry.run(report)
        except ApiError as error:
            self._complain(error)
            return False
        self._silent = False
        self._uses.clear()
        if may_send:
            self._usage.acknowledge(flush)
        self._credentials.apply(state.changes, asked_at)
        if state.limits != self._overrides:
            self._on_rules(RuleSet(self._rules, map(rule_of, state.limits)))
            self._overrides = state.limits
        return True

    async def _run(self) -> None:
        while True:
            try:
                await self.exchange()
            except Exception:
                logger.exception("The exchange with the registry failed")
            await asyncio.sleep(self._interval_s)

    def _complain(self, error: ApiError) -> None:
        """Once for each time that the registry goes silent."""
        if not self._silent:
            logger.warning("The registry does not answer", extra={"why": error.message})
        self._silent = True


def rule_of(override: LimitOverride) -> LimitRule:
    """An administrator's limit as a rule."""
    key = override.key
    return LimitRule.model_validate(
        {
            "scope": Scope(key.scope),
            "name": key.name,
            "tenant": key.tenant,
            "model": key.model,
            key.limit: override.value,
        }
    )
