"""The folder of an unfinished quantization: what is done is kept, so that an interrupted one goes on.

It lies beside the result, on the same disk, and becomes it by renaming. A block's file is written under
another name, flushed and renamed, after the hidden states that the next block reads; so a block counts as
finished only with all that the next one needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from quantize.errors import QuantizeError

if TYPE_CHECKING:
    from torch import Tensor

_JOB = "job.json"
_PARTIAL = ".partial"


class Workspace:
    """Of the quantization into ``out``.

    Args:
        out: Where the result is to be.
    """

    def __init__(self, out: Path) -> None:
        out = out.absolute()
        self.out = out
        self.folder = out.with_name(f".{out.name}.quantizing")
        self.result = self.folder / "result"
        self._lock: IO[str] | None = None

    def open(self, job: Mapping[str, Any]) -> bool:
        """Begin, or go on with what is there.

        Args:
            job: All that decides the result; JSON.

        Returns:
            Whether there was something to go on with.

        Raises:
            QuantizeError: Another process works on it, or what is there was begun with other settings.
        """
        begun = self.folder.is_dir()
        self.folder.mkdir(exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise QuantizeError(f"another process quantizes into {self.out}; wait for it") from error
        path = self.folder / _JOB
        text = json.dumps(job, indent=2, sort_keys=True)
        if begun and path.is_file():
            if path.read_text(encoding="utf-8") != text:
                raise QuantizeError(
                    f"{self.folder} holds an unfinished quantization of another source or with other "
                    "settings; finish it with these, or remove that folder"
                )
            return self.finished(0)
        _write(path, text.encode())
        return False

    def close(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """All of it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def finished(self, block: int) -> bool:
        """Whether a block is done."""
        return self.block_file(block).is_file()

    def block_file(self, block: int) -> Path:
        """The block's tensors, as they will be in the result."""
        return self.folder / f"block-{block:05}.safetensors"

    def note(self, name: str, content: Any) -> None:
        """Keep something that is JSON under a name."""
        _write(self.folder / f"{name}.json", json.dumps(content).encode())

    def noted(self, name: str) -> Any:
        """What was kept; None if nothing was."""
        try:
            return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def write_block(self, block: int, tensors: Mapping[str, Tensor]) -> None:
        """Finish a block; the hidden states before it are let go."""
        write_tensors(self.block_file(block), tensors)
        shutil.rmtree(self._hidden(block), ignore_errors=True)

    def write_hidden(self, block: int, states: Iterator[Tensor]) -> None:
        """Keep what a block reads, one sample after the other, ``[1, tokens, hidden]`` each."""
        from safetensors.torch import save_file

        partial = self._hidden(block).with_suffix(_PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for number, state in enumerate(states):
            path = partial / f"{number:05}.safetensors"
            save_file({"hidden": state.contiguous()}, path)
            _flush(path)
        shutil.rmtree(self._hidden(block), ignore_errors=True)
        partial.rename(self._hidden(block))
        _flush(self.folder)

    def has_hidden(self, block: int) -> bool:
        """Whether what a block reads is kept."""
        return self._hidden(block).is_dir()

    def read_hidden(self, block: int) -> Iterator[Tensor]:
        """What a block reads, in the samples' order."""
        from safetensors.torch import load_file

        for path in sorted(self._hidden(block).iterdir()):
            yield load_file(path)["hidden"]

    def publish(self) -> None:
        """The result becomes what was asked for, all at once.

        Raises:
            QuantizeError: Something has appeared there meanwhile.
        """
        for path in [*self.result.iterdir(), self.result]:
            _flush(path)
        if self.out.exists():
            raise QuantizeError(f"{self.out} has appeared meanwhile; move it away and start again to go on")
        self.result.rename(self.out)
        _flush(self.out.parent)
        self.remove()

    def _hidden(self, block: int) -> Path:
        return self.folder / f"hidden-{block:05}"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, complete or not at all."""
    from safetensors.torch import save_file

    partial = path.with_suffix(_PARTIAL)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, {"format": "pt"})
    # The library keeps its file to the owner; a server often runs as somebody else.
    partial.chmod(0o644)
    _flush(partial)
    partial.rename(path)
    _flush(path.parent)


@contextlib.contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn what the disk refuses into a word on what to do.

    Raises:
        QuantizeError: The disk is full or read-only, or may not be written.
    """
    try:
        yield
    except OSError as error:
        raise _on_disk(error, place) from error
    except Exception as error:
        # safetensors wraps it: "I/O error: No space left on device (os error 28)".
        if type(error).__name__ == "SafetensorError" and "os error" in str(error):
            raise _on_disk(error, place) from error
        raise


def _on_disk(error: Exception, place: Path) -> QuantizeError:
    reason = getattr(error, "strerror", None) or str(error)
    return QuantizeError(
        f"{place.absolute().parent}: {reason}; mend that (make room) and start the same command again: it "
        "goes on where it stopped"
    )


def _write(path: Path, content: bytes) -> None:
    partial = path.with_suffix(_PARTIAL)
    partial.write_bytes(content)
    _flush(partial)
    partial.rename(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
