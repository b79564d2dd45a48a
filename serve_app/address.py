"""Where a request comes from, past the proxies that are ours."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address

from starlette.requests import Request

Network = IPv4Network | IPv6Network


def client_address(request: Request, trusted: Iterable[Network]) -> str | None:
    """The client's address.

    Of ``x-forwarded-for`` the last entry that a trusted proxy has written and that is no trusted proxy
    itself: what stands before it, anyone could have written.

    Args:
        request: With the address of whoever connected.
        trusted: Networks of proxies whose header is believed.
    """
    address = request.client.host if request.client else None
    networks = tuple(trusted)
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    while address is not None and _is_in(address, networks) and forwarded:
        named = forwarded.pop().strip()
        if not named:
            break
        address = named
    return address


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    actual = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(actual in network for network in networks)
