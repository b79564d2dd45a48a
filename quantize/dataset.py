"""Calibration data by name: a file, or a data set of the hub."""

from __future__ import annotations

import re
from pathlib import Path

from quantize.errors import QuantizeError

_DATASET = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(?::(?P<file>[^:]+))?")


def calibration_file(name: str) -> Path:
    """A file of calibration data, fetched if it is on the hub.

    Args:
        name: A path; or ``owner/name:path/in/it.jsonl`` for a data set of the hub. Without a path, its only
            file of JSON lines or text.

    Raises:
        QuantizeError: It is neither, or cannot be fetched.
    """
    path = Path(name).expanduser()
    match = _DATASET.fullmatch(name)
    if path.exists() or not match:
        return path
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    repository, file = match["repository"], match["file"]
    try:
        if file is None:
            found = HfApi().list_repo_files(repository, repo_type="dataset")
            files = [one for one in found if one.endswith((".jsonl", ".txt"))]
            if len(files) != 1:
                raise QuantizeError(
                    f"{repository} has {len(files)} files of JSON lines or text; name one: {repository}:FILE"
                )
            file = files[0]
        return Path(hf_hub_download(repository, file, repo_type="dataset"))
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise QuantizeError(f"no file {name}, and it cannot be had from the hub ({reason})") from error
