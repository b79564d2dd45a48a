"""Models on ModelScope, with its own library, which has to be installed for it.

The translation is tested against a stand-in for that library; it has not been run against the hub. The token
is the library's: ``MODELSCOPE_API_TOKEN``, or ``modelscope login``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deployments.weights.config import WeightsConfig
from deployments.weights.errors import AccessRefused, LibraryMissing, ObjectMissing, SourceUnreachable
from deployments.weights.hub import HubSource
from deployments.weights.inventory import Digest, Inventory, RemoteFile
from deployments.weights.location import Location
from deployments.weights.partial import Partial

_DEFAULT_REVISION = "master"


class ModelScopeSource(HubSource):
    """``modelscope://owner/name[@revision]``."""

    def __init__(self, location: Location, config: WeightsConfig) -> None:
        super().__init__(location, config)
        try:
            from modelscope.hub.api import HubApi
            from modelscope.hub.file_download import model_file_download
        except ImportError as error:
            raise LibraryMissing(
                f"{location}: modelscope:// needs a library; pip install modelscope"
            ) from error
        self._api: Any = HubApi()
        self._download: Any = model_file_download
        self._revision = location.revision or _DEFAULT_REVISION

    def inventory(self) -> Inventory:
        """Every file has a SHA-256 at the hub."""
        with _hub_errors(str(self.location)):
            found = self._api.get_model_files(self.location.place, revision=self._revision, recursive=True)
        return Inventory.of((_file(item) for item in found if item["Type"] == "blob"), str(self.location))

    def download(self, file: RemoteFile, partial: Partial) -> None:
        """With the library, which resumes what it has begun."""
        with _hub_errors(self.location.file(file.name)):
            self._download(
                self.location.place, file.name, revision=self._revision, local_dir=str(partial.model)
            )


def _file(item: dict[str, Any]) -> RemoteFile:
    digest = Digest("sha256", item["Sha256"].lower()) if item.get("Sha256") else None
    return RemoteFile(item["Path"], item["Size"], digest, item.get("Revision"))


@contextmanager
def _hub_errors(where: str) -> Iterator[None]:
    """The errors of requests and the library's own, which move between modules: told by name and status."""
    try:
        yield
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403) or type(error).__name__ == "NotLoginException":
            raise AccessRefused(f"{where}: the hub refuses it; set a valid MODELSCOPE_API_TOKEN") from error
        if status == 404 or type(error).__name__ in ("NotExistError", "FileNotFoundError"):
            raise ObjectMissing(f"{where}: not on ModelScope; check its name and revision") from error
        raise SourceUnreachable(
            f"{where}: {type(error).__name__} from ModelScope; try again later"
        ) from error
