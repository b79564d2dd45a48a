"""Authentication that cannot be done now, as opposed to a credential that does not hold."""

from __future__ import annotations


class AuthenticationUnavailable(Exception):
    """What is needed to judge a credential cannot be had: neither yes nor no, worth another try.

    The message says what is missing, and to the operator what to do.
    """
