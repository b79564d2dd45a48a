"""A peer that is one server process, with whatever it starts itself."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.endpoint import Endpoint
from bench.peers.peer import Running, await_answer
from cluster.local import processes

_GRACE_S = 10.0


@contextlib.contextmanager
def serving(
    name: str, command: Sequence[str], environment: Mapping[str, str], endpoint: Endpoint, folder: Path
) -> Iterator[Running]:
    """Run a server until the end of the block.

    Args:
        name: Of the peer.
        command: The server.
        environment: Beside this process's own.
        endpoint: Where it will answer.
        folder: For its log.

    Raises:
        PeerFailed: It does not answer in time.
    """
    session, log = secrets.token_hex(16), folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, processes.MARK: session, "SPT_NOENV": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        await_answer(name, endpoint, lambda: process.poll() is None, log)
        yield Running(endpoint, session, shlex.join(command))
    finally:
        processes.end(session, grace_s=_GRACE_S)
        process.wait()
