"""Verifies JWTs of every issuer that is configured.

The ``iss`` of a token, which anyone can write, only chooses whose rules it has to meet; keys and
algorithms are that issuer's alone. ``kid`` is compared and nothing else; ``jku``, ``x5u``, ``x5c`` and
``jwk`` headers, by which a token would bring its own key, are never read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import jwt

from serve_app.auth.bearer import refusal
from serve_app.auth.claims import identity_of
from serve_app.auth.config import IssuerConfig
from serve_app.auth.jwks import Jwks
from serve_app.auth.principal import Identity
from serve_app.auth.public_keys import MAX_KEY_ID_CHARS, PublicKey, read_pem
from serve_app.auth.tokens import Tokens


class KeySource(Protocol):
    """Where an issuer's keys come from."""

    async def candidates(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:
        """Keys that may have signed a token; empty if none has."""

    async def close(self) -> None:
        """Lets go of connections."""


class KeyFiles:
    """Keys that the operator gave as files. Which of them signed is found by trying.

    Raises:
        PublicKeyError: A file cannot be read, or does not fit.
    """

    def __init__(self, config: IssuerConfig) -> None:
        self._keys = read_pem(config.public_key_files, config.algorithms)

    async def candidates(self, kid: str | None, algorithm: str) -> tuple[PublicKey, ...]:  # noqa: ARG002
        """All keys that fit the algorithm: files have no ``kid``."""
        return tuple(key for key in self._keys if algorithm in key.algorithms)

    async def close(self) -> None:
        """Nothing is open."""


class Issuer:
    """Verifies the tokens of one issuer.

    Args:
        config: Its rules.
        keys: Its keys.
    """

    def __init__(self, config: IssuerConfig, keys: KeySource) -> None:
        self._config = config
        self._keys = keys
        # Asked of the claims by PyJWT: present and right.
        self._options: Any = {"require": ["exp", "iss", "aud"]}

    async def read(self, token: str, header: dict[str, Any]) -> Identity:
        """What a token says.

        Raises:
            Unauthenticated: It does not hold.
            AuthenticationUnavailable: The issuer's keys cannot be had.
        """
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._config.algorithms or len(kid or "") > MAX_KEY_ID_CHARS:
            raise refusal("The API key is not valid.")
        fault: Exception | None = None
        for candidate in await self._keys.candidates(kid, algorithm):
            try:
                return identity_of(self._decode(token, candidate, algorithm), self._config)
            except jwt.ExpiredSignatureError as error:
                raise refusal("The API key has expired.") from error
            except (jwt.PyJWTError, ValueError, RecursionError) as error:
                fault = error
        raise refusal("The API key is not valid.") from fault

    async def close(self) -> None:
        """Lets go of connections."""
        await self._keys.close()

    def _decode(self, token: str, key: PublicKey, algorithm: str) -> dict[str, Any]:
        return jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            issuer=self._config.issuer,
            audience=self._config.audience,
            leeway=self._config.leeway_s,
            options=self._options,
        )


class Verifier:
    """Verifies tokens, each by the rules of the issuer that it names.

    Args:
        tokens: The platform's own tokens.
        issuers: The other issuers.

    Raises:
        PublicKeyError: A key file cannot be read, or does not fit.
    """

    def __init__(self, tokens: Tokens, issuers: Iterable[IssuerConfig] = ()) -> None:
        self._tokens = tokens
        self._issuers = {
            config.issuer: Issuer(config, Jwks(config) if config.jwks_url else KeyFiles(config))
            for config in issuers
        }

    async def read(self, token: str) -> Identity:
        """What a token says.

        Raises:
            Unauthenticated: It does not hold.
            AuthenticationUnavailable: The issuer's keys cannot be had.
        """
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise refusal("The API key is not valid.") from error
        name = unverified["payload"].get("iss")
        if name == self._tokens.issuer:
            return self._tokens.read(token)
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise refusal("The API key is not valid.")
        return await issuer.read(token, unverified["header"])

    async def close(self) -> None:
        """Lets go of the connections to the issuers."""
        for issuer in self._issuers.values():
            await issuer.close()
