"""Why a request may not go ahead.

::

    LimitRefusal
    ├── LimitExceeded      later it may: retry after so many seconds
    ├── RequestTooLarge    it never can: it alone is more than the limit
    └── LedgerAway         nobody can say: the ledger does not answer

Nothing here knows HTTP; the ingress translates.
"""

from __future__ import annotations

import math

from serve_app.limits.bucket import Bucket


class LimitRefusal(Exception):
    """A request may not go ahead. The message is for the client."""


class LimitExceeded(LimitRefusal):
    """A limit is used up for now.

    Args:
        bucket: Which limit of whom.
        limit: What it allows.
        retry_after_s: When asking again may help, seconds.
    """

    def __init__(self, bucket: Bucket, limit: int, retry_after_s: float) -> None:
        self.bucket = bucket
        self.limit = limit
        self.retry_after_s = retry_after_s
        super().__init__(
            f"Limit reached: {_say(bucket, limit)}. Try again in {max(1, math.ceil(retry_after_s))} s."
        )


class RequestTooLarge(LimitRefusal):
    """The request alone needs more than a limit ever allows; sending it again will not help.

    Args:
        bucket: Which limit of whom.
        limit: What it allows, tokens.
        needed: What the request needs, tokens.
    """

    def __init__(self, bucket: Bucket, limit: int, needed: int) -> None:
        self.bucket = bucket
        self.limit = limit
        self.needed = needed
        super().__init__(
            f"The request may need {needed} tokens, and the limit is {_say(bucket, limit)}. "
            "Shorten the prompt, or set a smaller max_tokens."
        )


class LedgerAway(LimitRefusal):
    """The ledger of limits does not answer, and what may be done without it is used up.

    Args:
        retry_after_s: When asking again may help, seconds.
    """

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("Limits cannot be checked at the moment. Try again in a few seconds.")


def _say(bucket: Bucket, limit: int) -> str:
    model = f" on {bucket.model}" if bucket.model is not None else ""
    return f"{limit} {bucket.limit.value.replace('_', ' ')} per {bucket.scope.value}{model}"
