"""What is given by name: a folder or a file of this machine, or something of the hub, which is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from quantize.errors import QuantizeError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILE_OF = re.compile(rf"(?P<repository>{_REPOSITORY.pattern})(?::(?P<file>[^:]+))?")
_CHECKPOINT: Final = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.jinja", "*.model")


def checkpoint_folder(name: str) -> Path:
    """A checkpoint's folder: a path, or the hub's id of a model, whose files are fetched into its cache.

    Raises:
        QuantizeError: The hub has it not, or cannot be reached.
    """
    path = Path(name).expanduser()
    if path.exists() or not _REPOSITORY.fullmatch(name):
        return path
    from huggingface_hub import HfApi

    with _told(f"no folder {name}"):
        return Path(HfApi().snapshot_download(name, allow_patterns=list(_CHECKPOINT)))


def calibration_file(name: str) -> Path:
    """A file of calibration data: a path, or a data set of the hub.

    Args:
        name: A path; or ``owner/name:path/in/it.jsonl``. Without a path, the data set's only file of JSON
            lines or text.

    Raises:
        QuantizeError: The hub has it not, or cannot be reached, or it has several files.
    """
    path = Path(name).expanduser()
    match = _FILE_OF.fullmatch(name)
    if path.exists() or not match:
        return path
    from huggingface_hub import HfApi

    repository, file = match["repository"], match["file"]
    with _told(f"no file {name}"):
        if file is None:
            found = HfApi().list_repo_files(repository, repo_type="dataset")
            files = [one for one in found if one.endswith((".jsonl", ".txt"))]
            if len(files) != 1:
                raise QuantizeError(
                    f"{repository} has {len(files)} files of JSON lines or text; name one: {repository}:FILE"
                )
            file = files[0]
        return Path(HfApi().hf_hub_download(repository, file, repo_type="dataset"))


@contextmanager
def _told(nothing_here: str) -> Iterator[None]:
    """Say in one line why the hub did not give it."""
    from httpx import HTTPError

    try:
        yield
    except (OSError, HTTPError, ValueError) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise QuantizeError(f"{nothing_here}, and the hub does not give it ({reason})") from error
