"""Machines on one machine: network namespaces on a bridge, each with an address of its own.

Nothing of it is in the machine's own network: the bridge too lies in a namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

_NETWORK: Final = "10.77.0"
_CLONE_NEWNET: Final = 0x40000000
_NEEDED: Final = "the test needs network namespaces: root, and `ip` of iproute2"


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the network.

    Attributes:
        name: Of its namespace.
        address: Of IPv4.
    """

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        """A command line that runs there."""
        return ["ip", "netns", "exec", self.name, *words]

    @property
    def shared(self) -> bool:
        """Whether its ports and processes are other hosts' too."""
        return False

    def alone(self, *words: str) -> list[str]:
        """A command line that runs there and sees no process but its own; they end with it."""
        return self.command("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *words)

    def port(self, usual: int) -> int:
        """What it has for a usual port."""
        return usual

    def enter(self) -> None:
        """Move the calling thread there, for good; the sockets that it opens are there from now on."""
        descriptor = os.open(Path("/run/netns") / self.name, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(descriptor)


def allowed() -> bool:
    """Whether this process may make what a network is made of."""
    host = Host(f"qs{secrets.token_hex(3)}", "")
    try:
        _run("ip", "netns", "add", host.name)
        try:
            _in(host, "link", "add", "bridge", "type", "bridge")
            _run(*host.alone("true"))
        finally:
            _run("ip", "netns", "del", host.name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@contextlib.contextmanager
def network(*names: str) -> Iterator[dict[str, Host]]:
    """Hosts that reach each other, by the names that are asked for; skips the test where there can be none.

    The first stands where the bridge is, and sees everybody.
    """
    if not allowed():
        pytest.skip(_NEEDED)
    mark = f"qs{secrets.token_hex(3)}"
    hosts = {name: Host(f"{mark}-{name}", f"{_NETWORK}.{at}") for at, name in enumerate(names, start=1)}
    switch = hosts[names[0]]
    with contextlib.ExitStack() as stack:
        for host in hosts.values():
            _run("ip", "netns", "add", host.name)
            stack.callback(_run, "ip", "netns", "del", host.name)
            _in(host, "link", "set", "lo", "up")
        _in(switch, "link", "add", "bridge", "type", "bridge")
        _in(switch, "addr", "add", f"{switch.address}/24", "dev", "bridge")
        _in(switch, "link", "set", "bridge", "up")
        for name in names[1:]:
            _in(
                switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", hosts[name].name
            )
            _in(switch, "link", "set", name, "master", "bridge", "up")
            _in(hosts[name], "addr", "add", f"{hosts[name].address}/24", "dev", "eth0")
            _in(hosts[name], "link", "set", "eth0", "up")
            _in(hosts[name], "route", "add", "default", "via", switch.address)
        yield hosts


def _in(host: Host, *words: str) -> None:
    _run("ip", "-n", host.name, *words)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
