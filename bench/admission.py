"""What authentication and limits add to a request, with many keys in the store.

.venv/bin/python -m bench.admission [--keys 10000] [--requests 5000]

The ingress's own objects over a real registry on SQLite, in one process. Leases spare the usual request the
question to the ledger; where it is asked, that is part of what is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench.quantile import quantile
from serve_app.auth import secret
from serve_app.auth.config import AuthConfig
from serve_app.auth.keys import NewKey
from serve_app.config import AppConfig
from serve_app.limits import Caller, LimitsConfig
from serve_app.membership import Membership
from serve_app.registry import Registry, RegistryClient
from serve_app.registry.operations import CreateKey
from serve_app.store import StoreConfig

_RULES = [
    {"scope": "key", "requests_per_minute": 10**6, "tokens_per_minute": 10**9},
    {"scope": "user", "concurrent_requests": 10**4, "tokens_per_day": 10**11},
    {"scope": "tenant", "name": "bench", "tokens_per_month": 10**12},
]
_MODEL = {"id": "chat", "source": "models/chat", "kind": "text", "max_model_len": 4096}


async def measure(keys: int, requests: int, folder: Path) -> list[float]:
    """Seconds that each request spends in authentication, reservation and settlement."""
    secret.ensure(folder / "jwt.key")
    config = AppConfig.model_validate(
        {
            "models": [_MODEL],
            "auth": AuthConfig(secret_file=folder / "jwt.key"),
            "store": StoreConfig(url=f"sqlite:///{folder}/store.db"),
            "limits": LimitsConfig.model_validate({"rules": _RULES}),
        }
    )
    registry = Registry(config.store, config.limits)
    client = RegistryClient(registry)
    issued = [
        await client.run(CreateKey(NewKey(name=f"k{n}", subject=f"u{n}", tenant="bench")))
        for n in range(keys)
    ]
    members = Membership(config, client)
    members.start()
    while not members.is_known():  # noqa: ASYNC110  (started a moment ago)
        await asyncio.sleep(0.05)
    taken = []
    for n in range(requests):
        # A few keys ask often, as services do; every tenth request is of one that was silent until then.
        key = issued[n % 20 if n % 10 else n % keys]
        begun = time.perf_counter()
        principal = await members.authenticator.authenticate(f"Bearer {key.secret}", "127.0.0.1")
        caller = Caller(principal.subject, principal.tenant, principal.key_id or "", principal.roles)
        reservation = await members.limiter.reserve(caller, "chat", 100, 200)
        reservation.settle(80, 120)
        taken.append(time.perf_counter() - begun)
    await members.close()
    await registry.close()
    return taken


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description="What authentication and limits add to a request.")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=5_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = asyncio.run(measure(options.keys, options.requests, Path(folder)))
    p50, p99 = (quantile(taken, share) * 1e6 for share in (0.5, 0.99))
    sys.stdout.write(
        f"{options.keys} keys, {options.requests} requests: {p50:.0f} us p50, {p99:.0f} us p99\n"
    )


if __name__ == "__main__":
    main()
