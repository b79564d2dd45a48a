"""What the registry answers in place of a result: data, since Ray logs exceptions with their tracebacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from serve_app.errors import ApiError, Conflict, NotFound, RegistryUnavailable
from serve_app.store import DuplicateKeyName, KeyNotActive, KeyNotFound, StoreUnavailable

RETRY_AFTER_S: Final = "5"
"""When whoever asked may ask again, as the header ``Retry-After`` has it."""


class FaultKind(StrEnum):
    """Which kind of fault."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"


_KINDS: Final[Mapping[type[Exception], tuple[FaultKind, str | None]]] = {
    KeyNotFound: (FaultKind.NOT_FOUND, None),
    KeyNotActive: (FaultKind.CONFLICT, None),
    DuplicateKeyName: (FaultKind.CONFLICT, "name"),
    StoreUnavailable: (FaultKind.UNAVAILABLE, None),
}
"""For each exception the kind of fault, and the field at fault."""

EXPECTED: Final = tuple(_KINDS)
"""What an operation may raise; anything else is a fault of this software."""

_ERRORS: Final[Mapping[FaultKind, type[ApiError]]] = {
    FaultKind.NOT_FOUND: NotFound,
    FaultKind.CONFLICT: Conflict,
    FaultKind.UNAVAILABLE: RegistryUnavailable,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no result.

    Attributes:
        kind: Which kind of fault.
        message: For whoever asked; says what to do.
        param: The field at fault, where it is one.
    """

    kind: FaultKind
    message: str
    param: str | None = None

    @classmethod
    def of(cls, error: Exception) -> Fault:
        """The fault that one of the expected exceptions is."""
        kind, param = next(of for known, of in _KINDS.items() if isinstance(error, known))
        return cls(kind, str(error), param)

    def error(self) -> ApiError:
        """The fault as this API tells it."""
        headers = {"retry-after": RETRY_AFTER_S} if self.kind is FaultKind.UNAVAILABLE else None
        return _ERRORS[self.kind](self.message, param=self.param, headers=headers)
