"""The audit of one ingress replica: takes the record of each request, and knows what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from serve_app import errors
from serve_app.audit import Audit, AuditConfig, AuditUnavailable
from serve_app.audit.chain import BadLine
from serve_app.audit.reader import ChainUnreadable
from serve_app.audit.replay import Unsettled, unsettled
from serve_app.audit.shipping import Shipper
from serve_app.audit.signing import read_public
from serve_app.audit_entry import record_of
from serve_app.observation import Observation

LAST_RECORDS_WITHIN_S: Final = 3.0
"""What a replica that stops waits for requests in hand; more than an engine takes to tell its usage."""
SAFE_WITHIN_S: Final = 2.0
"""How long usage that is to be reported waits for its mark in the chain; later it is reported next time."""
_WATCH_INTERVAL_S: Final = 1.0
_log = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class AuditState:
    """How the audit is doing.

    Attributes:
        problem: Why records wait in memory; empty when all is well.
        queued: Records that wait to be handed to the operating system.
        unrecorded: Requests without a record since the start, refused or served.
        shipping_problem: What keeps records from Elasticsearch; empty when all is well.
    """

    problem: str
    queued: int
    unrecorded: int
    shipping_problem: str


class AuditRecorder:
    """The audit of one ingress replica. Belongs to one event loop.

    Args:
        config: What, where and how soon.
        replica: Name of the replica, unlike any other's.
        on_state: Told every second how the audit is doing.

    Attributes:
        unsettled: Usage that the replica before this one may not have reported; empty until the start.
    """

    def __init__(
        self, config: AuditConfig, replica: str, on_state: Callable[[AuditState], None] | None = None
    ) -> None:
        self._config = config
        self._replica = replica
        self._on_state = on_state
        self.unsettled = Unsettled()
        self._audit: Audit | None = None
        self._shipper: Shipper | None = None
        self._watching: asyncio.Task[None] | None = None
        self._shipping: asyncio.Task[None] | None = None
        self._in_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def problem(self) -> str:
        """Why requests may go unrecorded; empty when all is well."""
        return self._audit.problem if self._audit is not None else "the audit does not run"

    @property
    def content_bytes(self) -> int:
        """Kept of a prompt and of an answer; 0 where they are not recorded."""
        # One byte more than is recorded shows that there was more.
        return self._config.content.max_bytes + 1 if self._config.content.public_key_file else 0

    async def start(self) -> None:
        """Open the chain, and begin to ship where that is configured.

        Raises:
            AuditUnavailable: A key is unfit, or the directory cannot be written.
        """
        # The machine's name: its next replica goes on with the chain of one that has died.
        audit = await asyncio.to_thread(Audit.open, self._config, socket.gethostname())
        try:
            self._shipping = self._ship()
        except BaseException:
            await asyncio.to_thread(audit.close)
            raise
        self.unsettled = await asyncio.to_thread(_unsettled, audit)
        self._audit = audit
        self._watching = asyncio.create_task(self._watch())

    async def wait_for_records(self) -> None:
        """Wait until each request that has arrived is recorded, for a few seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_RECORDS_WITHIN_S):
                await self._idle.wait()

    async def close(self) -> None:
        """Close the chain behind the last record. What is not shipped by then, another replica ships."""
        await self.wait_for_records()
        if tasks := {task for task in (self._shipping, self._watching) if task is not None}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        audit, self._audit = self._audit, None
        if audit is not None and not await asyncio.to_thread(audit.close):
            _log.error("Audit: the last records are lost, as %s.", audit.problem)

    def admit(self) -> bool:
        """Whether a request may go ahead; one that may not leaves no record but a count."""
        return self._audit is not None and self._audit.admit()

    def expect(self) -> None:
        """A request has arrived, and is recorded once it has ended."""
        self._in_hand += 1
        self._idle.clear()

    def record(self, seen: Observation) -> None:
        """Write the record of a request that has ended; probes leave none."""
        if not seen.probe and seen.error != errors.Unrecordable.code:
            if self._audit is None:
                _log.error("Request %s ended after the audit was closed", seen.request_id)
            else:
                self._audit.write(record_of(seen, self._replica))
        self._in_hand -= 1
        if self._in_hand == 0:
            self._idle.set()

    def mark_usage(self, flush_id: str) -> None:
        """Part of ``usage.collector.Journal``."""
        if self._audit is not None:
            self._audit.mark_usage(flush_id)

    async def is_safe(self) -> bool:
        """Part of ``usage.collector.Journal``."""
        audit = self._audit
        return audit is not None and audit.healthy and await asyncio.to_thread(audit.flush, SAFE_WITHIN_S)

    async def _watch(self) -> None:
        while self._on_state is not None and self._audit is not None:
            shipping = self._shipper.problem if self._shipper is not None else ""
            self._on_state(
                AuditState(self._audit.problem, self._audit.queued, self._audit.unrecorded, shipping)
            )
            await asyncio.sleep(_WATCH_INTERVAL_S)

    def _ship(self) -> asyncio.Task[None] | None:
        if self._config.elasticsearch is None:
            return None
        verifier = read_public([self._config.signing_key_file])
        try:
            self._shipper = Shipper(self._config.elasticsearch, self._config.directory, verifier)
        except OSError as error:
            raise AuditUnavailable(
                f"Cannot read {error.filename} ({error.strerror}); set audit.elasticsearch.api_key_file and "
                "ca_file to files that this user may read."
            ) from error
        return asyncio.create_task(self._shipper.run())


def _unsettled(audit: Audit) -> Unsettled:
    try:
        return unsettled(audit.folder, audit.chain_id, audit.safe_seq)
    except (ChainUnreadable, BadLine, OSError) as error:
        # No reason to serve nobody: what cannot be read is evidence, and stays where it is.
        _log.error("Usage of before the start cannot be made up for: %s", error)
        return Unsettled()
