"""Machines on one machine: network namespaces where allowed, and else addresses of the loopback device.

Hosts on the loopback device have its ports and all processes in common; each is given ports of its own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from cluster.local.ray_node import free_ports
from tests.cluster.network import Host, allowed, network

CHOICE: Final = "QWEN_SERVE_TEST_MACHINES"
"""Environment variable; `raylets` has hosts on the loopback device although namespaces are allowed."""
_RAYLETS: Final = "raylets"


@dataclass(frozen=True, slots=True)
class LoopbackHost(Host):
    """An address of the loopback device, which Linux has without being asked for it.

    Attributes:
        taken: Ports that some host already has.
    """

    taken: set[int]
    _ports: dict[int, int] = field(default_factory=dict)

    @property
    def shared(self) -> bool:
        return True

    def command(self, *words: str) -> list[str]:
        return list(words)

    def alone(self, *words: str) -> list[str]:
        return list(words)

    def port(self, usual: int) -> int:
        if usual not in self._ports:
            (port,) = free_ports(usual)
            while port in self.taken:
                (port,) = free_ports(port + 1)
            self.taken.add(port)
            self._ports[usual] = port
        return self._ports[usual]

    def enter(self) -> None:
        """Every thread is there."""


@contextlib.contextmanager
def hosts(*names: str) -> Iterator[Mapping[str, Host]]:
    """Hosts that reach each other, of the kind that the machine allows."""
    if os.environ.get(CHOICE) != _RAYLETS and allowed():
        with network(*names) as made:
            yield made
    else:
        # Not the same for two runs at once: HAProxy shares an address and port with whoever is there.
        common = f"127.{secrets.randbelow(255) + 1}.{secrets.randbelow(256)}"
        taken: set[int] = set()
        yield {name: LoopbackHost(name, f"{common}.{at}", taken) for at, name in enumerate(names, start=1)}
