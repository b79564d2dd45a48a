"""The model store: an address becomes a verified folder on this machine, once, however many replicas ask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deployments.weights.cache import Cache, Lease
from deployments.weights.config import WeightsConfig
from deployments.weights.errors import (
    CacheUnusable,
    ManifestInvalid,
    ObjectMissing,
    SourceUnreachable,
    WeightsError,
)
from deployments.weights.eviction import Budget, make_room
from deployments.weights.inventory import Inventory
from deployments.weights.location import Location, Scheme
from deployments.weights.lock import Lock
from deployments.weights.manifest import MANIFEST_FILE, is_manifest, parse_manifest
from deployments.weights.partial import Partial
from deployments.weights.progress import ModelState, Phase, Progress, in_words, logger
from deployments.weights.source import Source, open_source

_POLL_S = 0.1


class ModelStore:
    """The weights on this machine. Cheap to make; every process makes its own."""

    def __init__(self, config: WeightsConfig) -> None:
        self._config = config
        self._cache = Cache(config.cache_dir)

    def ensure(self, source: str) -> Lease:
        """Have a model here, complete and verified, and hold it.

        Blocks until it is here: minutes for a large model. Where another process of this machine already
        downloads it, that is waited for. A folder is used where it lies.

        Args:
            source: ``s3://``, ``hf://``, ``modelscope://`` or a folder.

        Returns:
            The lease; the folder stays until it is released or the process ends.

        Raises:
            WeightsError: Names the object and says what to do. The cache has the model whole or not at all;
                what was downloaded is kept for the next call.
        """
        location = Location.parse(source)
        if location.scheme is Scheme.FOLDER:
            return self._in_place(Path(location.place))
        key = self._key(location)
        try:
            opened = open_source(location, self._config)
            inventory = opened.inventory()
        except SourceUnreachable as error:
            lease = self._without_source(key)
            if lease is None:
                raise
            logger.warning("%s; serving the verified copy %s", error, lease.folder)
            return lease
        name = f"{key}-{inventory.fingerprint[:12]}"
        lease = self._cache.lease(name)
        if lease is not None:
            return lease
        self._cache.create()
        with self._alone(key, name, location):
            # Whoever held the lock before may have brought it.
            return self._cache.lease(name) or self._download(location, opened, inventory, name)

    def state(self, source: str) -> ModelState:
        """Tell how far a model is on this machine; asks the disk only, never the source.

        Raises:
            AddressInvalid: The source is no address.
        """
        location = Location.parse(source)
        if location.scheme is Scheme.FOLDER:
            return ModelState(Phase.READY if Path(location.place).is_dir() else Phase.ABSENT)
        key = self._key(location)
        name = self._cache.newest(key)
        seal = self._cache.seal(name) if name else None
        if seal is not None:
            return ModelState(Phase.READY, seal.total_bytes, seal.total_bytes)
        busy = self._is_busy(key)
        for partial in self._cache.partial_names():
            record = Partial.peek(self._cache.partial_path(partial))
            if record is None or partial.rpartition("-")[0] != key:
                continue
            stopped = Phase.FAILED if record.failure else Phase.INTERRUPTED
            phase = Phase.DOWNLOADING if busy else stopped
            return ModelState(phase, record.done_bytes, record.total_bytes, "" if busy else record.failure)
        return ModelState(Phase.DOWNLOADING if busy else Phase.ABSENT)

    def _key(self, location: Location) -> str:
        return location.key(self._config.s3.endpoint_url if location.scheme is Scheme.S3 else None)

    def _in_place(self, folder: Path) -> Lease:
        if not folder.is_dir():
            raise ObjectMissing(f"{folder}: no such folder; give a checkpoint folder or an address")
        path = folder / MANIFEST_FILE
        content = path.read_bytes() if path.is_file() else b"{}"
        if is_manifest(content):
            for name, entry in parse_manifest(content, str(path)).files.items():
                file = folder / name
                if not file.is_file() or file.stat().st_size != entry.size:
                    raise ManifestInvalid(
                        f"{file}: missing, or not of {entry.size} bytes; copy the model again"
                    )
        elif self._config.require_manifest:
            raise ManifestInvalid(f"{path}: no manifest; make it with python -m deployments.weights manifest")
        return Lease(folder)

    def _without_source(self, key: str) -> Lease | None:
        name = self._cache.newest(key) if self._config.use_cached_when_unreachable else None
        return self._cache.lease(name) if name else None

    def _download(self, location: Location, source: Source, inventory: Inventory, name: str) -> Lease:
        partial = self._begin(location, inventory, name)
        done = partial.record.done_bytes
        logger.info(
            "Downloading %s: %s in %d files, %s of it here already",
            *(location, in_words(inventory.total_bytes), len(inventory.files), in_words(done)),
        )
        progress = Progress(str(location), inventory.total_bytes, done, self._config.progress_interval_s)
        try:
            source.fetch(partial, progress)
            self._cache.admit(partial)
        except WeightsError as error:
            logger.error("Download of %s failed: %s", location, error)
            with suppress(WeightsError):  # The disk may be full.
                partial.journal.failed(str(error))
            raise
        progress.finish()
        lease = self._cache.lease(name)
        if lease is None:
            raise CacheUnusable(
                f"{self._cache.folder / name} was changed from outside; leave that folder alone"
            )
        return lease

    def _begin(self, location: Location, inventory: Inventory, name: str) -> Partial:
        """Make room and reserve it, so that two downloads do not count on the same."""
        if self._cache.folds_case:
            inventory.check_case(str(location))
        with _waited_for(self._cache.lock_path("room")):
            self._cache.empty_trash()
            budget = Budget(self._config.max_bytes, self._config.min_free_bytes)
            make_room(self._cache, name, inventory.total_bytes, budget)
            return Partial(self._cache.partial_path(name), location, inventory, self._config.part_bytes)

    @contextmanager
    def _alone(self, key: str, name: str, location: Location) -> Iterator[None]:
        """Hold the right to download the models of a key; says in the log what it waits for."""
        logged = time.monotonic()
        while (lock := Lock.take(self._cache.lock_path(key), exclusive=True, create=True)) is None:
            time.sleep(_POLL_S)
            if time.monotonic() - logged > self._config.progress_interval_s:
                logged = time.monotonic()
                record = Partial.peek(self._cache.partial_path(name))
                share = record.done_bytes / max(record.total_bytes, 1) if record else 0
                logger.info("Waiting for another replica's download of %s: %.0f%%", location, 100 * share)
        with lock:
            yield

    def _is_busy(self, key: str) -> bool:
        try:
            lock = Lock.take(self._cache.lock_path(key), exclusive=False)
        except (FileNotFoundError, CacheUnusable):
            return False
        if lock is not None:
            lock.release()
        return lock is None


@contextmanager
def _waited_for(path: Path) -> Iterator[None]:
    while (lock := Lock.take(path, exclusive=True, create=True)) is None:
        time.sleep(_POLL_S)
    with lock:
        yield
