"""Where a host name may lead: addresses that are public, or in a network that the operator allows."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from aiohttp.abc import AbstractResolver, ResolveResult

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's special-purpose registries (RFC 6890 and successors), written out because `is_global` of Python's
# ipaddress differs between patch releases. 168.63.129.16 is Azure's platform address: public by number,
# but answered by the host machine.
_REFUSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
# Of IPv6 only 2000::/3 is in use as global unicast; these are its special parts.
_GLOBAL_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefusedError(Exception):
    """A name leads to an address that images are not fetched from."""


def is_allowed(address: str, networks: Sequence[Network]) -> bool:
    """Whether to connect to `address`: public, or in one of `networks`.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4) is judged as that IPv4 address.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    actual = _embedded_v4(parsed) or parsed
    return any(actual in network or parsed in network for network in networks) or _is_public(actual)


def _embedded_v4(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


class CheckedResolver(AbstractResolver):
    """Resolves once and answers only if every address is allowed.

    The connector connects to just the addresses of this answer, so a name that changes its mind between
    the check and the connection (DNS rebinding) gains nothing.

    Args:
        inner: Does the look-up.
        networks: Private networks that are allowed beside the public addresses.
    """

    def __init__(self, inner: AbstractResolver, networks: Sequence[Network]) -> None:
        self._inner = inner
        self._networks = tuple(networks)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of `host`, all of them checked.

        Raises:
            AddressRefusedError: One of them is neither public nor in an allowed network.
            OSError: The name cannot be resolved.
        """
        results = await self._inner.resolve(host, port, family)
        if not results:
            raise OSError("the name has no address")
        if not all(is_allowed(result["host"], self._networks) for result in results):
            raise AddressRefusedError
        return results

    async def close(self) -> None:
        """Closes the inner resolver."""
        await self._inner.close()
