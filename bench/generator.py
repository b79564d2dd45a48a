"""The load generator as a process of its own, told on standard input what to do: `Generator` is its handle.

    parent                          this process
    one line: the load as JSON  ->  loads everything
                                <-  "ready"
    "go"                        ->  the load
                                <-  "over", as soon as the last answer has ended
                                <-  one line: the report, or what is wrong

So neither the start of this process nor its reading of the answers falls into what the parent measures.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO

import uvloop

from bench.endpoint import Endpoint
from bench.load import Load, Report, run
from bench.stream import NotWhole


class LoadFailed(Exception):
    """The load generator could not do its work: what it said."""


class Generator:
    """A load generator that is ready to go.

    Args:
        process: With pipes for its input and output.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin: IO[str] = process.stdin
        self._stdout: IO[str] = process.stdout

    def go(self) -> None:
        """Put the load on; returns when its last answer has ended.

        Raises:
            LoadFailed: It could not.
        """
        self._stdin.write("go\n")
        self._stdin.flush()
        self.expect("over")

    def report(self) -> Report:
        """What the load has met, once it is over.

        Raises:
            LoadFailed: No answer is whole.
        """
        answer = json.loads(self._stdout.readline() or '{"error": "the load generator has died"}')
        if "error" in answer:
            raise LoadFailed(answer["error"])
        return Report(**answer)

    def expect(self, word: str) -> None:
        """Wait for a word of the process.

        Raises:
            LoadFailed: It says something else, or has died.
        """
        line = self._stdout.readline().strip()
        if line != word:
            failure = json.loads(line)["error"] if line.startswith("{") else "the load generator has died"
            raise LoadFailed(failure)


@contextlib.contextmanager
def generator(
    endpoint: Endpoint, clients: int, tokens: int, seconds: float, most_requests: int
) -> Iterator[Generator]:
    """A process that is ready to put a load on an endpoint; see `bench.load.Load` for the arguments."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.generator"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        handle = Generator(process)
        told = {
            "port": endpoint.port,
            "request": endpoint.request(tokens).decode(),
            "tokens": tokens,
            "clients": clients,
            "seconds": seconds,
            "most_requests": most_requests,
        }
        assert process.stdin is not None
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        handle.expect("ready")
        yield handle
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """Do what standard input says, once."""
    told = json.loads(sys.stdin.readline())
    load = Load(**{**told, "request": told["request"].encode()})
    _say("ready")
    if not sys.stdin.readline():
        return  # the parent has gone
    try:
        record = uvloop.run(run(load))
        _say("over")
        _say(json.dumps(asdict(record.report())))
    except* (NotWhole, OSError) as failures:
        _say(json.dumps({"error": str(failures.exceptions[0])}))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
