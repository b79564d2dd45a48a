"""The launcher's errors: each message is one line that says what is wrong and what to do."""

from __future__ import annotations


class LaunchFailed(Exception):
    """The application cannot start, or has stopped by itself.

    Args:
        message: One line: what is wrong, and what to do about it.
        details: Further lines worth showing, such as the end of an engine's error.
    """

    def __init__(self, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.details = details


class Interrupted(Exception):
    """Somebody asked the launcher to stop while it was starting."""
