"""What the two public hubs have in common: their own library fetches a file, and we verify it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from functools import partial as bind

from deployments.weights.config import WeightsConfig
from deployments.weights.errors import ChecksumMismatch
from deployments.weights.inventory import Inventory, RemoteFile
from deployments.weights.location import Location
from deployments.weights.partial import Partial
from deployments.weights.progress import Progress
from deployments.weights.workers import run_all


class HubSource(ABC):
    """One model on a hub. A file is the unit: it is fetched by the hub's library, which resumes it."""

    def __init__(self, location: Location, config: WeightsConfig) -> None:
        self.location, self.config = location, config

    @abstractmethod
    def inventory(self) -> Inventory:
        """All files, of one revision."""

    @abstractmethod
    def download(self, file: RemoteFile, partial: Partial) -> None:
        """Bring one file to its place below ``partial.model``."""

    def fetch(self, partial: Partial, progress: Progress) -> None:
        """Fetch and verify every file that is not noted as whole."""
        stopped = threading.Event()
        missing = [file for file in partial.inventory.files if not self._is_there(file, partial)]
        tasks = [bind(self._complete, file, partial, progress) for file in missing]
        run_all(tasks, self.config.parallel_downloads, stopped)

    def _complete(self, file: RemoteFile, partial: Partial, progress: Progress) -> None:
        self.download(file, partial)
        try:
            partial.verify(file)
        except ChecksumMismatch:
            # So that the library fetches it anew next time, and does not take it for done.
            partial.path(file).unlink(missing_ok=True)
            raise
        progress.add(file.size)

    @staticmethod
    def _is_there(file: RemoteFile, partial: Partial) -> bool:
        path = partial.path(file)
        return file.name in partial.record.whole and path.is_file() and path.stat().st_size == file.size
