"""Why something failed, in a few lines out of many."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cluster.local.status import ServeStatus

_TAIL_BYTES = 256 * 1024
_LINES = 6
_LONGEST_LINE = 300

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# The last line of a traceback, after what log formats put in front of it: `(EngineCore pid=7) ERROR ... `
_EXCEPTION = re.compile(
    r"(?:^|[\]\s:)])(?P<what>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit)\b(?:: .*)?)$"
)
# Errors that only repeat that another process has failed.
_SECOND_HAND = re.compile(
    r"Engine core initialization failed|See root cause|WorkerProc initialization failed|ActorDiedError"
    r"|RayTaskError|RayActorError|RuntimeError: Traceback|CancelledError|KeyboardInterrupt|SystemExit"
)


def last_words(log: Path, lines: int = _LINES) -> tuple[str, ...]:
    """The end of a log: its last exception where it has one, its last lines otherwise."""
    text = list(_tail(log))
    exceptions = list(_exceptions(text))
    return tuple(exceptions[-1:] or text[-lines:])


def why_failed(status: ServeStatus, ray_logs: Path) -> tuple[str, ...]:
    """What made a deployment fail: its name and the error at the root.

    An engine runs in processes of its own, and Serve only hears that they have ended; the root is then
    in their logs.
    """
    guilty = [part for part in status.deployments if part.status not in ("HEALTHY", "UPDATING")]
    where = f"{guilty[0].name}: " if guilty else ""
    messages = [*(part.message for part in guilty), status.message]
    first_hand = list(_exceptions(line for message in messages for line in _lines(message)))
    logs = sorted([*ray_logs.glob("worker-*"), *ray_logs.glob("serve/*.log")], key=_changed)
    roots = first_hand or [error for log in logs for error in _exceptions(_tail(log))]
    if roots:
        return (f"{where}{roots[-1]}",)
    return tuple(f"{where}{line}" for message in messages for line in list(_lines(message))[-1:])


def _exceptions(lines: Iterable[str]) -> Iterator[str]:
    """The exceptions that lines of a log end in, except those that only report another."""
    for line in lines:
        match = _EXCEPTION.search(line)
        if match and not _SECOND_HAND.search(match["what"]):
            yield match["what"][:_LONGEST_LINE]


def _tail(log: Path) -> Iterator[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            yield from _lines(file.read().decode("utf-8", "replace"))
    except OSError:
        return


def _lines(text: str) -> Iterator[str]:
    for line in _COLOUR.sub("", text).splitlines():
        if line.strip():
            yield line.rstrip()


def _changed(log: Path) -> float:
    return log.stat().st_mtime
