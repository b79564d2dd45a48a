"""Copies the chains to Elasticsearch: all of it, in order, never twice.

Read are the files, up to the signed head: what a crash could still take back is not sent. A document's id
is its place in its chain, so what is sent again after a crash is refused as a duplicate (409), which
counts as success. How far a chain is sent is kept beside it, and written only after Elasticsearch has all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from serve_app.audit import head
from serve_app.audit.bulk import Elasticsearch, ElasticsearchError, Item
from serve_app.audit.chain import Link
from serve_app.audit.config import ElasticsearchConfig
from serve_app.audit.ecs import bare_document, document, index_of
from serve_app.audit.folder import Lock, chains_in
from serve_app.audit.head import HeadError
from serve_app.audit.reader import ChainUnreadable, Entry, Place, entries
from serve_app.audit.signing import Verifier

POSITION_NAME: Final = "shipped.json"
_LOCK_NAME: Final = "shipping.lock"
_MAX_DOUBLINGS: Final = 16
_log = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A line and its document."""

    entry: Entry
    item: Item

    def bare(self, reason: str) -> _Parcel:
        content = _encode(bare_document(self.entry.said, self.entry.line, reason))
        return replace(self, item=replace(self.item, content=content))


class Shipper:
    """Ships the chains of a directory; of several at one directory, each chain is shipped by one at a time.

    Args:
        config: Elasticsearch.
        directory: Of the chains.
        verifier: The public keys that the heads are signed with.
        sleep: Waits so many seconds.

    Raises:
        OSError: The API key or the certificates cannot be read.
    """

    def __init__(
        self,
        config: ElasticsearchConfig,
        directory: Path,
        verifier: Verifier,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._directory = directory
        self._verifier = verifier
        self._sleep = sleep
        self._client = Elasticsearch(config)
        self._failures = 0
        self._installed = not config.install_template
        self._failure = self._broken = ""
        self.shipped = 0

    @property
    def problem(self) -> str:
        """What keeps records from Elasticsearch; empty when all is well."""
        return self._failure or self._broken

    async def run(self) -> None:
        """Ship what there is and what comes, until it is cancelled; nothing that fails ends it."""
        try:
            while True:
                try:
                    await self.ship()
                except Exception as error:
                    # The files stay, so whatever this is, it can be made up for.
                    _log.exception("Shipping the audit failed and is tried again")
                    await self._fail(f"{type(error).__name__}; see the log", 0)
                await self._sleep(self._config.interval_s)
        finally:
            await self._client.close()

    async def ship(self) -> int:
        """Ship all that is safe on the disk by now, however long Elasticsearch makes it wait.

        Returns:
            How many lines were sent.

        Raises:
            OSError: The files cannot be read, or the position cannot be written.
        """
        await self._install()
        before, broken = self.shipped, ""
        for folder in await asyncio.to_thread(chains_in, self._directory):
            try:
                lock = Lock(folder, _LOCK_NAME)
            except BlockingIOError:
                continue  # another replica ships it
            try:
                await self._ship_chain(folder)
            except (HeadError, ChainUnreadable) as error:
                broken = f"{folder} is not shipped on. {error}"
            finally:
                lock.release()
        if broken and broken != self._broken:
            _log.error("Shipping the audit: %s", broken)
        self._broken = broken
        return self.shipped - before

    async def close(self) -> None:
        """Close the connections, after ``ship`` without ``run``."""
        await self._client.close()

    async def _install(self) -> None:
        while not self._installed:
            try:
                await self._client.install()
                self._installed = True
                self._succeed()
            except ElasticsearchError as error:
                await self._fail(f"The index template cannot be installed. {error}", error.retry_after_s)

    async def _ship_chain(self, folder: Path) -> None:
        known = await asyncio.to_thread(head.read, folder, self._verifier)
        place = _load(folder, known.chain_id)
        while place is None or place.link.seq < known.link.seq:
            parcels = await asyncio.to_thread(
                self._batch, entries(folder, known.chain_id, known.link.seq, place)
            )
            if not parcels:
                raise ChainUnreadable(f"Its end is missing; run `qwen-serve audit verify {folder}`.")
            await self._send(parcels)
            place = parcels[-1].entry.behind
            content = json.dumps({"chain": known.chain_id} | asdict(place)).encode() + b"\n"
            await asyncio.to_thread(head.replace, folder / POSITION_NAME, content)
            self.shipped += len(parcels)

    def _batch(self, source: Iterator[Entry]) -> list[_Parcel]:
        """The next lines, as many as one request takes; at least one."""
        parcels: list[_Parcel] = []
        size = 0
        for entry in source:
            said = entry.said
            content = _encode(document(said, entry.line))
            size += len(content)
            if parcels and size > self._config.batch_bytes:
                break
            parcels.append(_Parcel(entry, Item(index_of(self._config.index, said), str(said["id"]), content)))
            if len(parcels) >= self._config.batch_records:
                break
        return parcels

    async def _send(self, parcels: Sequence[_Parcel]) -> None:
        """Send until all are stored."""
        waiting = list(parcels)
        size = len(waiting)
        while waiting:
            now, later = waiting[:size], waiting[size:]
            try:
                results = await self._client.create([parcel.item for parcel in now])
            except ElasticsearchError as error:
                if error.too_large and size > 1:
                    size = max(1, size // 2)
                else:
                    await self._fail(str(error), error.retry_after_s)
                continue
            left = []
            for parcel, result in zip(now, results, strict=True):
                if not result.stored:
                    left.append(parcel if result.retriable else parcel.bare(result.reason))
            waiting = left + later
            if left:
                reasons = next(result.reason for result in results if not result.stored)
                await self._fail(f"Elasticsearch did not take {len(left)} documents: {reasons}", 0)
            else:
                self._succeed()

    async def _fail(self, problem: str, retry_after_s: float) -> None:
        if problem != self._failure:
            _log.warning("Shipping the audit: %s", problem)
        self._failure = problem
        config = self._config
        delay_s = config.retry_delay_s * 2.0 ** min(self._failures, _MAX_DOUBLINGS)
        self._failures += 1
        # Spread, so that replicas that failed together do not come back together.
        delay_s = min(delay_s, config.max_retry_delay_s) * random.uniform(0.5, 1)  # noqa: S311
        await self._sleep(max(delay_s, min(retry_after_s, config.max_retry_delay_s)))

    def _succeed(self) -> None:
        self._failures, self._failure = 0, ""


def _load(folder: Path, chain_id: str) -> Place | None:
    """How far a chain is shipped; None: not at all, or nobody can tell, and then all is sent again."""
    try:
        said = json.loads((folder / POSITION_NAME).read_bytes())
        if said["chain"] != chain_id:
            return None
        link = Link(int(said["link"]["seq"]), str(said["link"]["hash"]))
        return Place(str(said["file"]), int(said["offset"]), link)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        _log.warning("%s is unreadable; the chain is sent again, and known documents refused.", folder)
        return None


def _encode(content: dict[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
