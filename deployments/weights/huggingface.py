"""Models on Hugging Face's hub, or on a mirror of it that ``HF_ENDPOINT`` names, with its own library.

Tested against a local server that speaks the parts of the hub's protocol that are used here; it has not
been run against the hub itself. The token is the library's: ``HF_TOKEN``, or ``hf auth login``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deployments.weights.errors import (
    AccessRefused,
    ChecksumMismatch,
    LibraryMissing,
    ObjectMissing,
    SourceUnreachable,
)
from deployments.weights.hub import HubSource
from deployments.weights.inventory import Digest, Inventory, RemoteFile
from deployments.weights.partial import Partial


class HuggingFaceSource(HubSource):
    """``hf://owner/name[@revision]``; the revision is resolved to a commit once, for all files."""

    _commit: str | None = None

    def inventory(self) -> Inventory:
        """Large files have a SHA-256 at the hub, all others git's digest."""
        hub = _library()
        with _hub_errors(str(self.location)):
            info = hub.HfApi().model_info(
                self.location.place, revision=self.location.revision, files_metadata=True
            )
        self._commit = info.sha
        return Inventory.of(map(_file, info.siblings or ()), str(self.location))

    def download(self, file: RemoteFile, partial: Partial) -> None:
        """With the library, which resumes what it has begun."""
        with _hub_errors(self.location.file(file.name)):
            _library().hf_hub_download(
                self.location.place, file.name, revision=self._commit, local_dir=partial.model
            )


def _file(sibling: Any) -> RemoteFile:
    digest = Digest("sha256", sibling.lfs.sha256) if sibling.lfs else Digest("git-sha1", sibling.blob_id)
    return RemoteFile(sibling.rfilename, sibling.size, digest)


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise LibraryMissing("hf:// needs a library; pip install huggingface_hub") from error
    return huggingface_hub


@contextmanager
def _hub_errors(where: str) -> Iterator[None]:
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise AccessRefused(
            f"{where}: its licence must be accepted on the hub first; then set HF_TOKEN"
        ) from error
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.RemoteEntryNotFoundError,
    ) as error:
        raise ObjectMissing(
            f"{where}: not on the hub; check its name, or set HF_TOKEN if it is private"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise SourceUnreachable(f"{where}: HF_HUB_OFFLINE is set; unset it, or give a folder") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise AccessRefused(f"{where}: the hub answers {status}; set a valid HF_TOKEN") from error
        if status == 404:
            raise ObjectMissing(f"{where}: not on the hub; check its name and revision") from error
        raise SourceUnreachable(f"{where}: the hub answers {status}; try again later") from error
    except errors.HFValidationError as error:
        raise ObjectMissing(f"{where}: the hub's library does not take that name; check it") from error
    except OSError as error:
        # Including a size that differs: the library leaves it to the next attempt.
        if "consistency" in str(error).lower():
            raise ChecksumMismatch(f"{where}: what came is not complete; try again") from error
        raise SourceUnreachable(
            f"{where}: no answer; check the network, or set HF_ENDPOINT to a mirror"
        ) from error
