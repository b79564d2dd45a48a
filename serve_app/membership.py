"""What an ingress replica knows of its callers, in step with the registry: credentials, limits, usage."""

from __future__ import annotations

from serve_app.auth import secret
from serve_app.auth.attempts import Attempts
from serve_app.auth.authenticator import Authenticator
from serve_app.auth.credentials import Credentials
from serve_app.auth.outage import AuthenticationUnavailable
from serve_app.auth.tokens import Tokens
from serve_app.auth.verifier import Verifier
from serve_app.config import AppConfig
from serve_app.limits import Estimator, Leases, Limiter, RuleSet
from serve_app.limits.redis_ledger import RedisLedger
from serve_app.registry import RegistryClient, Subscriber
from serve_app.usage.collector import Journal, UsageCollector


class Membership:
    """Builds the collaborators that belong together, and starts and stops them as one.

    Args:
        config: The whole configuration.
        registry: Whom to keep in step with; it is the ledger too unless Redis is.
        journal: Holds each request; out of it the usage of a replica that has died is made again.

    Attributes:
        authenticator: Who is asking.
        limiter: What is left of their limits.
        usage: What they have used.

    Raises:
        SecretError: The signing secret is missing or unfit.
        PublicKeyError: A key file of another issuer is.
    """

    def __init__(self, config: AppConfig, registry: RegistryClient, journal: Journal | None = None) -> None:
        auth, limits = config.auth, config.limits
        tokens = Tokens(
            secret.read(auth.secret_file),
            issuer=auth.issuer,
            audience=auth.audience,
            leeway_s=auth.leeway_s,
        )
        self._credentials = Credentials(auth.credentials_max_age_s)
        self.authenticator = Authenticator(
            self._credentials, Verifier(tokens, auth.issuers), Attempts(auth.attempts)
        )
        redis = limits.ledger.kind == "redis"
        self._redis = RedisLedger.from_config(limits.ledger, limits.zone) if redis else None
        self._leases = Leases(self._redis or registry, limits.ledger)
        self.limiter = Limiter(RuleSet(limits.rules), self._leases, Estimator(limits.estimate))
        self.usage = UsageCollector(journal=journal)
        self._subscriber = Subscriber(
            registry,
            self._credentials,
            self.usage,
            rules=limits.rules,
            on_rules=self._take_rules,
            interval_s=auth.sync_interval_s,
        )

    @property
    def ledger_away(self) -> bool:
        """Whether the ledger of the limits does not answer."""
        return self._leases.away_since_s is not None

    def is_known(self) -> bool:
        """Whether credentials can be checked."""
        try:
            self._credentials.check_fresh()
        except AuthenticationUnavailable:
            return False
        return True

    def start(self) -> None:
        """Begin to keep in step."""
        self._leases.start()
        self._subscriber.start()

    async def close(self) -> None:
        """Give back what is leased, report what was used, and stop."""
        await self._leases.close()
        await self._subscriber.close()
        await self.authenticator.close()
        if self._redis is not None:
            await self._redis.close()

    def _take_rules(self, rules: RuleSet) -> None:
        self.limiter.rules = rules
