"""The audit as the ingress meets it: takes a record at once, and a thread brings it to the disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from serve_app.audit import signing
from serve_app.audit.chain import Kind
from serve_app.audit.config import AuditConfig
from serve_app.audit.content import ContentKeyError, Sealer
from serve_app.audit.drain import Drain, Item
from serve_app.audit.record import AuditRecord, Outcome, UsageMark, iso
from serve_app.audit.signing import SigningKeyError
from serve_app.audit.unauthorized import Unauthorized
from serve_app.audit.writer import ChainWriter


class AuditUnavailable(Exception):
    """The audit cannot start. The message says what to do."""


class Audit:
    """One record for each request, in a chain on the disk.

    Nothing that ``write`` has accepted is lost while the process lives: as long as the disk does not take
    it, it waits in memory, and ``problem`` says why. ``admit`` and ``write`` take a few microseconds and
    never wait; they are for one thread, the event loop's.

    Args:
        config: What, where and how soon.
        writer: The chain; belongs to this object from now on.
        sealer: Encrypts prompts and answers; None: they are not recorded.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        config: AuditConfig,
        writer: ChainWriter,
        sealer: Sealer | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._writer = writer
        self._sealer = sealer
        self._clock = clock
        self._queue: deque[Item] = deque()
        self._unauthorized = Unauthorized(config.unauthorized)
        # Each of these is changed by one thread only.
        self._refused = self._dropped = self._content_taken = 0
        self._content_written = self._spoilt = 0
        self._told = (0, 0)
        self._drain = Drain(
            writer,
            self._queue,
            self,
            write_delay_s=config.write_delay_s,
            fsync_interval_s=config.fsync_interval_s,
        )

    @classmethod
    def open(cls, config: AuditConfig, owner: str, clock: Callable[[], float] = time.time) -> Audit:
        """Start the audit of one ingress replica.

        Args:
            config: What, where and how soon.
            owner: Begin of the name of its chain's folder, such as the machine's name, if there is none that
                is free. Replicas of one owner take folders of their own.
            clock: Seconds since 1970.

        Raises:
            AuditUnavailable: A key is unfit, or the directory cannot be written.
        """
        content = config.content
        try:
            sealer = None
            if content.public_key_file is not None:
                sealer = Sealer.from_file(content.public_key_file, content.max_bytes)
            signer = signing.ensure(config.signing_key_file)
            writer = ChainWriter.open(config.directory, owner, signer, config.max_file_bytes, clock)
        except (ContentKeyError, SigningKeyError) as error:
            raise AuditUnavailable(str(error)) from error
        except OSError as error:
            raise AuditUnavailable(
                f"The audit cannot be written to {config.directory} ({error.strerror}); make it a folder "
                "that this user may write, on a disk with room, or set audit.directory."
            ) from error
        return cls(config, writer, sealer, clock)

    @property
    def healthy(self) -> bool:
        """Whether the disk takes what it is given; ``problem`` says why not."""
        return not self.problem

    @property
    def problem(self) -> str:
        """Why records wait in memory; empty when all is well."""
        return self._drain.problem

    @property
    def queued(self) -> int:
        """Records that wait to be handed to the operating system."""
        return len(self._queue)

    @property
    def unrecorded(self) -> int:
        """Requests without a record since the start, refused or served."""
        return self._refused + self._dropped + self._spoilt

    @property
    def folder(self) -> Path:
        """Of the chain that is written."""
        return self._writer.folder

    @property
    def chain_id(self) -> str:
        """Of the chain that is written."""
        return self._writer.chain_id

    @property
    def safe_seq(self) -> int:
        """Number of the chain's last line that is safe on the disk."""
        return self._writer.safe_seq

    def admit(self) -> bool:
        """Whether a new request may go ahead; asked before its work begins.

        One that may not is counted, and the chain says so; it gets no record of its own.
        """
        if len(self._queue) < self._config.queue_records or self._config.on_full == "drop":
            return True
        self._refused += 1
        return False

    def write(self, record: AuditRecord) -> bool:
        """Take the record of a request that has ended.

        Returns:
            Whether it was accepted; if not, there was no room, and the chain will say that one is missing.
        """
        if record.outcome is Outcome.UNAUTHORIZED:
            self._unauthorized.note(replace(record, prompt=None, answer=None))
            return True
        waiting = len(self._queue)
        if waiting >= self._config.queue_records + self._config.queue_slack_records:
            self._dropped += 1
            return False
        self._queue.append(record if record.content_bytes == 0 else self._bounded(record))
        if waiting == 0:
            self._drain.wake()
        return True

    def mark_usage(self, flush_id: str) -> None:
        """Note that what the records since the last mark used goes into the usage table under this name."""
        self._queue.append(UsageMark(self._clock(), flush_id))
        self._drain.wake()

    def flush(self, timeout_s: float = 10) -> bool:
        """Wait until all that was accepted is safe on the disk; for a thread that may wait.

        Returns:
            Whether it is.
        """
        return self._drain.flush(timeout_s)

    def close(self, timeout_s: float = 10) -> bool:
        """Write what is left, close the chain and end the thread; for a thread that may wait.

        Returns:
            Whether all is safe; if not, the disk did not take it in time, and what was in memory is lost.
        """
        return self._drain.stop(timeout_s)

    def line(self, item: Item) -> tuple[Kind, Mapping[str, object]]:
        """The item's line; part of ``drain.Source``."""
        fields = item.to_fields()
        if isinstance(item, UsageMark):
            return Kind.USAGE, fields
        if item.content_bytes and self._sealer is not None:
            self._content_written += item.content_bytes
            fields |= self._sealer.fields(item)
        return Kind.RECORD, fields

    def due(self, *, final: bool) -> list[AuditRecord]:
        """Unauthorized requests whose window is over; part of ``drain.Source``."""
        return self._unauthorized.due(None if final else self._clock())

    def gap(self) -> Mapping[str, object] | None:
        """What to say of requests without a record; part of ``drain.Source``."""
        refused, dropped = self._refused, self._dropped + self._spoilt
        before, self._told = self._told, (refused, dropped)
        if self._told == before:
            return None
        return {
            "timestamp": iso(self._clock()),
            "refused": refused - before[0],
            "dropped": dropped - before[1],
        }

    def spoilt(self) -> None:
        """Count a record that could not be written; part of ``drain.Source``."""
        self._spoilt += 1

    def _bounded(self, record: AuditRecord) -> AuditRecord:
        """The record with no more of prompt and answer than may wait in memory."""
        if self._sealer is None:
            return replace(record, prompt=None, answer=None)
        waiting = self._content_taken - self._content_written
        if waiting + record.content_bytes > self._config.content.queue_bytes:
            return replace(record, prompt=None, answer=None, content_left_out=True)
        self._content_taken += record.content_bytes
        return record
