"""Which addresses images are fetched from."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest

from serve_app.images.address import is_allowed


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "1.1.1.1",
        "172.32.0.1",
        "2606:2800:220:1:248:1893:25c8:1946",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
    ],
)
def test_public_address_is_allowed(address: str) -> None:
    assert is_allowed(address, ())


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("127.0.0.1", id="loopback"),
        pytest.param("127.8.8.8", id="loopback network"),
        pytest.param("0.0.0.0", id="unspecified"),
        pytest.param("10.1.2.3", id="private A"),
        pytest.param("172.31.255.255", id="private B"),
        pytest.param("192.168.1.1", id="private C"),
        pytest.param("169.254.169.254", id="cloud metadata"),
        pytest.param("100.100.100.200", id="Alibaba Cloud metadata"),
        pytest.param("192.0.0.192", id="Oracle Cloud metadata"),
        pytest.param("168.63.129.16", id="Azure platform"),
        pytest.param("198.18.0.1", id="benchmarking"),
        pytest.param("203.0.113.9", id="documentation"),
        pytest.param("224.0.0.1", id="multicast"),
        pytest.param("240.0.0.1", id="reserved"),
        pytest.param("255.255.255.255", id="broadcast"),
        pytest.param("::1", id="loopback 6"),
        pytest.param("::", id="unspecified 6"),
        pytest.param("::7f00:1", id="IPv4-compatible loopback"),
        pytest.param("fe80::1", id="link-local 6"),
        pytest.param("fe80::1%eth0", id="link-local 6 with zone"),
        pytest.param("fec0::1", id="site-local 6"),
        pytest.param("fd00:ec2::254", id="AWS metadata 6"),
        pytest.param("ff02::1", id="multicast 6"),
        pytest.param("2001:db8::1", id="documentation 6"),
        pytest.param("2001:0:4136:e378:8000:63bf:3fff:fdd2", id="Teredo"),
        pytest.param("::ffff:127.0.0.1", id="mapped loopback"),
        pytest.param("::ffff:10.0.0.1", id="mapped private"),
        pytest.param("::ffff:169.254.169.254", id="mapped metadata"),
        pytest.param("64:ff9b::7f00:1", id="NAT64 loopback"),
        pytest.param("64:ff9b::a9fe:a9fe", id="NAT64 metadata"),
        pytest.param("64:ff9b:1::1", id="local NAT64"),
        pytest.param("2002:7f00:1::", id="6to4 loopback"),
        pytest.param("2002:a00:1::1", id="6to4 private"),
        pytest.param("4000::1", id="not assigned"),
        pytest.param("localhost", id="not an address"),
        pytest.param("127.1", id="short form"),
        pytest.param("2130706433", id="decimal form"),
        pytest.param("0x7f000001", id="hexadecimal form"),
        pytest.param("0177.0.0.1", id="octal form"),
    ],
)
def test_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", ["10.0.3.4", "::ffff:10.0.3.4", "fd00::7"])
def test_address_in_an_allowed_network_is_allowed(address: str) -> None:
    assert is_allowed(address, (IPv4Network("10.0.0.0/16"), IPv6Network("fd00::/64")))


@pytest.mark.parametrize("address", ["10.1.0.1", "127.0.0.1", "fd01::7"])
def test_allowed_network_opens_no_other_network(address: str) -> None:
    assert not is_allowed(address, (IPv4Network("10.0.0.0/16"), IPv6Network("fd00::/64")))
