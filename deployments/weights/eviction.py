"""Room for a model: what was unused for longest goes, what is in use never."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from deployments.weights.cache import SEAL_FILE, Cache
from deployments.weights.disk import free_bytes
from deployments.weights.errors import DiskFull
from deployments.weights.journal import JOURNAL_FILE
from deployments.weights.lock import Lock
from deployments.weights.partial import Partial
from deployments.weights.progress import in_words, logger


@dataclass(frozen=True, slots=True)
class Occupant:
    """Something that takes room.

    Attributes:
        folder: Where it is.
        reserved: What of the budget it takes, bytes: a download counts in full from its start.
        on_disk: What removing it would free, bytes.
        last_used: Unix time.
        lock: Held if it may go; None if it is in use.
    """

    folder: Path
    reserved: int
    on_disk: int
    last_used: float
    lock: Lock | None


@dataclass(frozen=True, slots=True)
class Budget:
    """What the cache may use.

    Attributes:
        max_bytes: All models together, downloads in full from their start; None: as much as there is.
        min_free_bytes: What stays free on the disk.
    """

    max_bytes: int | None
    min_free_bytes: int


def make_room(cache: Cache, name: str, total_bytes: int, budget: Budget) -> None:
    """Evict until a model fits. The caller holds the room lock and the lock of the model's downloads.

    Args:
        cache: The cache.
        name: The model's; what is there of its own download stays, downloads of what that address held
            before are of no use any more and go first.
        total_bytes: Its size.
        budget: What may be used.

    Raises:
        DiskFull: It does not fit; nothing was evicted then.
    """
    for other in cache.partial_names():
        if other != name and other.rpartition("-")[0] == name.rpartition("-")[0]:
            cache.remove(cache.partial_path(other))
    own = Partial.peek(cache.partial_path(name))
    done = own.done_bytes if own else 0
    with ExitStack() as held:
        occupants = sorted(_occupants(cache, name, held), key=lambda occupant: occupant.last_used)
        pending = sum(occupant.reserved - occupant.on_disk for occupant in occupants if not occupant.lock)
        limit = budget.max_bytes
        over = sum(occupant.reserved for occupant in occupants) + total_bytes - limit if limit else 0
        short = total_bytes - done + pending + budget.min_free_bytes - free_bytes(cache.folder)
        victims = []
        for occupant in occupants:
            if (over > 0 or short > 0) and occupant.lock:
                victims.append(occupant)
                over, short = over - occupant.reserved, short - occupant.on_disk
        if over > 0 or short > 0:
            size = f"{cache.folder / name} takes {in_words(total_bytes)}"
            raise DiskFull(f"{size}, {_why(over, short, budget)}")
        for occupant in occupants:
            if occupant.lock and occupant not in victims:
                occupant.lock.release()
        for victim in victims:
            logger.info("Evicting %s, unused for longest: %s", victim.folder.name, in_words(victim.on_disk))
            cache.remove(victim.folder)


def _why(over: int, short: int, budget: Budget) -> str:
    if over > 0:
        limit = f"weights.max_bytes of {in_words(budget.max_bytes or 0)}"
        return f"{in_words(over)} more than {limit} leaves beside what is in use; raise it"
    return (
        f"and the disk lacks {in_words(short)} of that even without what is not in use; free some, "
        "or put weights.cache_dir on a larger one"
    )


def _occupants(cache: Cache, own: str, held: ExitStack) -> Iterator[Occupant]:
    for name in cache.names():
        seal, folder = cache.seal(name), cache.folder / name
        with contextlib.suppress(OSError):
            if seal is not None and name != own:
                lock = cache.claim(name)
                if lock:
                    held.enter_context(lock)
                size = seal.total_bytes
                yield Occupant(folder, size, size, (folder / SEAL_FILE).stat().st_mtime, lock)
    for name in cache.partial_names():
        record, folder = Partial.peek(cache.partial_path(name)), cache.partial_path(name)
        with contextlib.suppress(OSError):
            if name != own:
                lock = Lock.take(cache.lock_path(name.rpartition("-")[0]), exclusive=True, create=True)
                if lock:
                    held.enter_context(lock)
                total, done = (record.total_bytes, record.done_bytes) if record else (0, 0)
                used = (folder / JOURNAL_FILE).stat().st_mtime if record else 0.0
                yield Occupant(folder, total, done, used, lock)
