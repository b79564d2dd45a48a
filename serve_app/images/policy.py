"""What an operator allows: from where images come, and how large they may be."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, IPvAnyNetwork, StringConstraints, field_validator

from deployments.config import FrozenConfig

ImageFormat = Literal["PNG", "JPEG", "WEBP", "GIF", "BMP"]

ALL_FORMATS: tuple[ImageFormat, ...] = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
HTTPS_PORT = 443

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ENTRY = re.compile(rf"(?P<wildcard>\*\.)?(?P<host>{_LABEL}(?:\.{_LABEL})*)(?::(?P<port>[0-9]{{1,5}}))?")
# The WHATWG URL standard reads a host whose last label is a number, in any base, as an IPv4 address.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


def is_host_name(host: str) -> bool:
    """Whether `host` is a DNS name in lower case, and no address in any notation."""
    return len(host) <= 253 and _HOST.fullmatch(host) is not None and _NUMBER.fullmatch(host) is None


class ImagePolicy(FrozenConfig):
    """Limits on the images of one chat request. The default takes ``data:`` URLs only."""

    allowed_hosts: tuple[Annotated[str, StringConstraints(to_lower=True, max_length=260)], ...] = Field(
        default=(),
        description="Hosts that https images may come from: a name, *.name for every name below it, "
        "or either with :port where the port is not 443. Empty: no remote image at all.",
    )
    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description="Private networks that an allowed host may resolve to. "
        "Empty: only globally routable addresses.",
    )
    max_bytes: Annotated[int, Field(gt=0, le=256 * 2**20)] = Field(
        default=10 * 2**20, description="Largest image file, in bytes, before base64."
    )
    max_pixels: Annotated[int, Field(gt=0, le=178_956_970)] = Field(
        default=16 * 2**20,
        description="Largest width times height. The engine's own limit is 178,956,970 "
        "(VLLM_MAX_IMAGE_PIXELS).",
    )
    max_aspect_ratio: Annotated[int, Field(ge=1, le=200)] = Field(
        default=200,
        description="Largest ratio of the long edge to the short one. Qwen2-VL's image processor takes 200.",
    )
    max_images_per_request: Annotated[int, Field(ge=0, le=256)] = Field(
        default=16, description="Most images in all messages of one request."
    )
    fetch_timeout_s: Annotated[float, Field(gt=0, le=300)] = Field(
        default=10.0, description="Time for one download, from name resolution to the last byte, in seconds."
    )
    formats: Annotated[tuple[ImageFormat, ...], Field(min_length=1)] = Field(
        default=ALL_FORMATS, description="Accepted formats. Of a moving image the first frame counts."
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            match = _ENTRY.fullmatch(entry)
            if match is None or not is_host_name(match["host"]):
                raise ValueError(
                    f"{entry!r} is not a host: write name, *.name or either with :port, without a scheme, "
                    "no address, and international names in their xn-- form"
                )
            if match["port"] and not 0 < int(match["port"]) < 65536:
                raise ValueError(f"the port of {entry!r} must be 1 to 65535")
        return entries

    def allows_host(self, host: str, port: int) -> bool:
        """Whether an image may be fetched from `host` (lower case, no trailing dot) at `port`."""
        return any(_matches(entry, host, port) for entry in self.allowed_hosts)


def _matches(entry: str, host: str, port: int) -> bool:
    name, _, own_port = entry.partition(":")
    if port != int(own_port or HTTPS_PORT):
        return False
    if name.startswith("*."):
        return host.endswith(name[1:])
    return host == name
