"""Downloads in processes that can be killed; forked, since an interpreter takes a second to start.

Reads a JSON line ``[configuration, source, die_at]`` and writes the process id of the child; reads ``end``
and writes its exit status; and so on.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import botocore.session

from deployments.weights import ModelStore, S3Config, WeightsConfig
from deployments.weights.s3 import open_client


@dataclass
class Fetcher:
    """The other end of the pipe."""

    process: subprocess.Popen[str]

    def begin(self, config: WeightsConfig, source: str, die_at: int = 0) -> int:
        """Start a download; its process id.

        Args:
            config: Its configuration.
            source: What to download.
            die_at: It kills itself before so many-th step on the cache's files; 0: it does not.
        """
        self._send(json.dumps([config.model_dump_json(), source, die_at]))
        return int(self._line())

    def end(self) -> int:
        """Wait for it; the exit status, negative for a signal. Until then its process id stays its own."""
        self._send("end")
        return int(self._line())

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@contextmanager
def fetching() -> Iterator[Fetcher]:
    """Run this file."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Fetcher(process)
        finally:
            process.kill()


def _fetch(text: str, source: str, die_at: int) -> None:
    config = WeightsConfig.model_validate_json(text)
    steps = itertools.count(1)

    def watch(_: str, arguments: tuple[Any, ...]) -> None:
        on_cache = bool(arguments) and str(arguments[0]).startswith(str(config.cache_dir))
        if on_cache and next(steps) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    ModelStore(config).ensure(source)


def main() -> None:
    """Serve the pipe. The description of S3 is read once, before the forks."""
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    open_client(S3Config(), "tests", 1)
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _fetch(*json.loads(line))
                status = 0
            finally:
                os._exit(status)
        print(child, flush=True)  # noqa: T201
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
