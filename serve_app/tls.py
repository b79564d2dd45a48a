"""HTTPS: the part ``tls`` of the configuration. HAProxy serves it; the ingress tells when it expires."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Self

from cryptography import x509
from pydantic import Field, StringConstraints, model_validator

from deployments.config import FrozenConfig

_INTERVAL_S: Final = 60.0
_log = logging.getLogger("ray.serve")


class TlsConfig(FrozenConfig):
    """TLS 1.3, where this project starts HAProxy; plain HTTP is for the machine itself then."""

    host: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None, description="Address that HTTPS is bound to; default: http_options.host."
    )
    port: int = Field(8443, ge=1, le=65535, description="Port that HTTPS is bound to.")
    certificate_file: Path | None = Field(
        None,
        description="Certificate in PEM form, and after it those between it and its root; read again when it "
        "changes. Default: one is made, for this machine alone.",
    )
    key_file: Path | None = Field(None, description="The certificate's private key in PEM form.")

    @model_validator(mode="after")
    def _both_files_or_none(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together; set both, or neither")
        return self


def expires_at(certificate_file: Path) -> float:
    """When the first certificate of a chain expires, in seconds since 1970.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: It holds no certificate.
    """
    chain = x509.load_pem_x509_certificates(certificate_file.read_bytes())
    return min(one.not_valid_after_utc for one in chain).timestamp()


class Expiry:
    """Tells, again and again, when the certificate expires: it may be another one meanwhile.

    Args:
        certificate_file: The chain; may be missing on machines without a proxy, where nothing is told.
        tell: Told seconds since 1970.
    """

    def __init__(self, certificate_file: Path, tell: Callable[[float], None]) -> None:
        self._file = certificate_file
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._problem = ""

    def start(self) -> None:
        """Begin; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(_INTERVAL_S)

    def look(self) -> None:
        """Tell once."""
        try:
            self._tell(expires_at(self._file))
            self._problem = ""
        except (OSError, ValueError) as error:
            if (problem := str(error)) != self._problem:
                _log.warning("when the certificate expires is not known: %s", problem)
            self._problem = problem
