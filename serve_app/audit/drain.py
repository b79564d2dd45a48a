"""The thread that brings records from memory to a chain."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

from serve_app.audit.chain import Kind
from serve_app.audit.record import AuditRecord, UsageMark
from serve_app.audit.writer import ChainWriter

_SLICE_RECORDS: Final = 32
"""Made into lines before other threads get a turn: it holds the interpreter for about 0.5 ms."""
_RETRY_S: Final = 0.5
_log = logging.getLogger("ray.serve")

Item: TypeAlias = AuditRecord | UsageMark
"""What waits in the queue."""


class Source(Protocol):
    """Where the records come from. Its methods are called by the thread."""

    def line(self, item: Item) -> tuple[Kind, Mapping[str, object]]:
        """The item's line."""

    def due(self, *, final: bool) -> list[AuditRecord]:
        """Records that nobody has put into the queue, and that are due now."""

    def gap(self) -> Mapping[str, object] | None:
        """What is to be said of requests without a record since the last time, if there were any."""

    def spoilt(self) -> None:
        """Count a record that could not be written for what it holds."""


class Drain:
    """Writes what is in a queue until it is stopped.

    Args:
        writer: The chain; belongs to the thread from now on.
        queue: Records and marks; the thread takes them from the left.
        source: What else there is to write, and how.
        write_delay_s: For so long records are gathered, seconds.
        fsync_interval_s: Between two times that the chain is brought to the disk, seconds.
    """

    def __init__(
        self,
        writer: ChainWriter,
        queue: deque[Item],
        source: Source,
        *,
        write_delay_s: float,
        fsync_interval_s: float,
    ) -> None:
        self._writer = writer
        self._queue = queue
        self._source = source
        self._write_delay_s = write_delay_s
        self._fsync_interval_s = fsync_interval_s
        self._next_commit = time.monotonic() + fsync_interval_s
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._waiters: deque[threading.Event] = deque()
        self._gives_up = False
        self.problem = ""
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something in the queue."""
        self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that is in the queue is safe; whether it is."""
        done = threading.Event()
        self._waiters.append(done)
        self._wake.set()
        return done.wait(timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Write what is left and close the chain; whether the disk took it in time."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._gives_up = True
            self._wake.set()
            self._thread.join()
        return not self.problem

    def _run(self) -> None:
        while True:
            self._wake.clear()
            final = self._stopping.is_set()
            done = self._attempt(self._finish if final else self._pass)
            if final and (done or self._gives_up):
                break
            if done:
                self._wake.wait(max(0.0, self._next_commit - time.monotonic()))
                self._stopping.wait(self._write_delay_s)
            else:
                self._wake.wait(_RETRY_S)
        if not done:
            self._writer.abandon()

    def _attempt(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except OSError as error:
            self._fail(f"the audit's disk does not take records: {error.strerror or error}")
            return False
        except Exception as error:
            # The thread must outlive anything: without it requests would go unrecorded in silence.
            _log.exception("The audit's thread failed and tries again")
            self._fail(f"the audit cannot write records: {type(error).__name__}; see the log")
            return False
        if self.problem:
            _log.info("The audit writes again; nothing that it had accepted is lost.")
            self.problem = ""
        return True

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            _log.error("Audit: %s. Accepted records wait in memory.", problem)
        self.problem = problem

    def _pass(self) -> None:
        waiters = tuple(self._waiters)
        self._write(final=False)
        if waiters or time.monotonic() >= self._next_commit:
            self._writer.commit()
            self._next_commit = time.monotonic() + self._fsync_interval_s
        for waiter in waiters:
            waiter.set()
            self._waiters.remove(waiter)

    def _finish(self) -> None:
        self._write(final=True)
        self._writer.close()
        while self._waiters:
            self._waiters.popleft().set()

    def _write(self, *, final: bool) -> None:
        """Hand all there is to the operating system; what is in the queue only while it takes it."""
        self._writer.write()
        while self._queue:
            for _ in range(min(_SLICE_RECORDS, len(self._queue))):
                # It leaves the queue when it is in the chain, not before.
                self._add(self._queue[0])
                self._queue.popleft()
            self._writer.write()
        for record in self._source.due(final=final):
            self._add(record)
        if (gap := self._source.gap()) is not None:
            self._writer.add(Kind.GAP, gap)
        self._writer.write()

    def _add(self, item: Item) -> None:
        try:
            self._writer.add(*self._source.line(item))
        except Exception:
            # One that cannot be written must not keep all others from the disk; the chain counts it.
            _log.exception("An audit record cannot be written: %s", getattr(item, "request_id", ""))
            self._source.spoilt()
