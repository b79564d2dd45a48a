"""A lock on a file; the system takes it back when its process ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from deployments.weights.errors import CacheUnusable

_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """A held ``flock``: shared by readers, or exclusive. Threads of one process exclude each other too."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, path: Path, *, exclusive: bool, create: bool = False) -> Lock | None:
        """Take it now; None if somebody holds it in a way that excludes this.

        Args:
            path: The file; for a shared lock it may be on a read-only disk.
            exclusive: Whether nobody else may hold it.
            create: Make the file if it is not there.

        Raises:
            FileNotFoundError: No such file.
            CacheUnusable: The file cannot be opened, or its file system has no locks.
        """
        try:
            # A network file system needs a file open for writing for an exclusive lock.
            mode = os.O_RDWR if exclusive or create else os.O_RDONLY
            descriptor = os.open(path, mode | (os.O_CREAT if create else 0) | os.O_NOFOLLOW, 0o666)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(error.errno, "no such file", str(path)) from error
        except OSError as error:
            raise CacheUnusable(
                f"{path} cannot be opened: {error.strerror}; make weights.cache_dir writable or use another"
            ) from error
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _UNSUPPORTED:
                raise CacheUnusable(
                    f"{path}: this file system has no locks ({error.strerror}); put weights.cache_dir on a "
                    "local disk"
                ) from error
            return None
        return cls(descriptor)

    def is_on(self, path: Path) -> bool:
        """Whether the path still leads to the locked file: it may have been moved away before the lock."""
        assert self._descriptor is not None
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Give it back; once is enough."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
