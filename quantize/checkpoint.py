"""A checkpoint folder: its ``config.json``, its tensors one by one, its other files.

Everything is looked at before work starts: each shard's header, and that each file is as long as its header
says. Tensors are read from the disk when they are asked for.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantize.errors import QuantizeError

if TYPE_CHECKING:
    from torch import Tensor

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_LENGTH_BYTES = 8
_LONGEST_HEADER_BYTES = 100_000_000
"""The format's own limit (safetensors, ``MAX_HEADER_SIZE``)."""
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies.

    Attributes:
        file: Name of its shard.
        dtype: As safetensors calls it: BF16, F16, F32, I32.
        shape: Its dimensions.
        size_bytes: Its bytes.
    """

    file: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


class Checkpoint:
    """A folder that transformers can load.

    Args:
        folder: The folder.

    Raises:
        QuantizeError: It is no checkpoint, or a part of it is missing or cut off.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise QuantizeError(f"no such folder: {folder}; give the folder of a checkpoint")
        self.config = _read_json(folder / "config.json", f"{folder} has no config.json; it is no checkpoint")
        self.tensors = _tensors(folder)

    @property
    def text_config(self) -> dict[str, Any]:
        """The language model's part of ``config.json``: all of it, but in vision-language models."""
        inner = self.config.get("text_config")
        return inner if isinstance(inner, dict) else self.config

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(info.size_bytes for info in self.tensors.values())

    def shards(self) -> list[str]:
        """Names of the files that hold tensors."""
        return sorted({info.file for info in self.tensors.values()})

    def other_files(self) -> list[Path]:
        """Files beside the weights and ``config.json``: tokenizer, template, generation settings."""
        weights = {*self.shards(), _INDEX, "config.json"}
        return [
            path
            for path in sorted(self.folder.iterdir())
            if path.is_file() and path.name not in weights and path.suffix not in (".safetensors", ".bin")
        ]

    def read(self, name: str) -> Tensor:
        """A tensor, on the CPU, in its own dtype.

        Raises:
            QuantizeError: There is no such tensor.
        """
        from safetensors import safe_open

        if name not in self.tensors:
            raise QuantizeError(f"{self.folder} has no tensor {name}; copy the checkpoint again")
        with safe_open(self.folder / self.tensors[name].file, framework="pt") as shard:
            tensor: Tensor = shard.get_tensor(name)
        return tensor

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that the result comes from, by name; reads all of them."""
        paths = [self.folder / name for name in ("config.json", *self.shards())] + self.other_files()
        return {path.name: sha256(path) for path in paths}

    def stamp(self) -> dict[str, list[int]]:
        """Size and time of change of each weight file: a quick word on whether they are still the same."""
        stats = {name: (self.folder / name).stat() for name in ("config.json", *self.shards())}
        return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _tensors(folder: Path) -> dict[str, TensorInfo]:
    if (folder / _INDEX).is_file():
        weight_map = _read_json(folder / _INDEX, "").get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise QuantizeError(f"{folder / _INDEX} has no weight_map; copy the checkpoint again")
    elif (folder / _SINGLE).is_file():
        weight_map = None
    else:
        raise QuantizeError(
            f"{folder} has neither {_SINGLE} nor {_INDEX}; save the checkpoint with safetensors"
        )
    names = sorted(set(weight_map.values())) if weight_map else [_SINGLE]
    found: dict[str, TensorInfo] = {}
    for name in names:
        found.update(_header(folder / str(name)))
    if weight_map and (lost := sorted(set(weight_map) - set(found))):
        raise QuantizeError(
            f"{folder}: {lost[0]} is in no shard, though {_INDEX} names it; copy it again"
        )
    return found


def _header(path: Path) -> Iterator[tuple[str, TensorInfo]]:
    """The tensors of one shard, from its header; the file must be exactly as long as the header says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(_LENGTH_BYTES)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == _LENGTH_BYTES else _LONGEST_HEADER_BYTES
            header = json.loads(file.read(length)) if length < _LONGEST_HEADER_BYTES else None
    except FileNotFoundError as error:
        raise QuantizeError(f"{path} is missing, though the index names it; copy the shard again") from error
    except (OSError, ValueError) as error:
        raise QuantizeError(f"{path} is no safetensors file or cut off; copy it again") from error
    if not isinstance(header, dict):
        raise QuantizeError(f"{path} is no safetensors file or cut off; copy it again")
    end = _LENGTH_BYTES + length
    try:
        infos = {
            name: TensorInfo(path.name, row["dtype"], tuple(row["shape"]), _span(row))
            for name, row in header.items()
            if name != "__metadata__"
        }
    except (KeyError, TypeError, ValueError) as error:
        raise QuantizeError(f"{path} has a damaged header; copy it again") from error
    expected = end + sum(info.size_bytes for info in infos.values())
    if size != expected:
        raise QuantizeError(
            f"{path} is {size} bytes long and its header says {expected}; it was cut off, copy it again"
        )
    yield from infos.items()


def _span(row: Mapping[str, Any]) -> int:
    begin, end = row["data_offsets"]
    return int(end) - int(begin)


def _read_json(path: Path, missing: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise QuantizeError(missing) from error
    except (OSError, ValueError) as error:
        raise QuantizeError(f"{path} is no readable JSON ({error}); copy the checkpoint again") from error
    if not isinstance(content, dict):
        raise QuantizeError(f"{path} holds no JSON object; copy the checkpoint again")
    return content
