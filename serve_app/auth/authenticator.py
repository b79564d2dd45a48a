"""Who is asking: an API key or a JWT, judged by the replica's own copy of keys and revocations."""

from __future__ import annotations

from serve_app.auth import keys
from serve_app.auth.attempts import Attempts
from serve_app.auth.bearer import NoCredential, credential_of, refusal
from serve_app.auth.credentials import Credentials
from serve_app.auth.principal import Principal
from serve_app.auth.verifier import Verifier
from serve_app.errors import Unauthenticated


class Authenticator:
    """Finds the principal of a request.

    Args:
        credentials: Keys and revocations.
        verifier: Checks JWTs.
        attempts: Counts and slows failures.
    """

    def __init__(self, credentials: Credentials, verifier: Verifier, attempts: Attempts) -> None:
        self._credentials = credentials
        self._verifier = verifier
        self._attempts = attempts

    async def authenticate(self, authorization: str | None, address: str | None) -> Principal:
        """The principal that a request's credential names.

        Args:
            authorization: The one ``Authorization`` header; a request with several is the caller's to refuse.
            address: The client's address, as far as it is known.

        Raises:
            Unauthenticated: No credential, or one that does not hold.
            AuthenticationUnavailable: The credential cannot be judged now.
        """
        try:
            credential = credential_of(authorization)
            self._credentials.check_fresh()
            if keys.is_key(credential):
                return self._by_key(credential, address)
            return await self._by_token(credential)
        except NoCredential:
            raise
        except Unauthenticated:
            await self._attempts.fail(address)
            raise

    async def close(self) -> None:
        """Lets go of the connections to issuers."""
        await self._verifier.close()

    def _by_key(self, secret: str, address: str | None) -> Principal:
        key = self._credentials.find(secret)
        if key is None:
            raise refusal("The API key is not valid: it is unknown, expired or revoked.")
        if not key.allows(address):
            raise refusal("The API key may not be used from this address.")
        self._credentials.note_use(key)
        return key.principal

    async def _by_token(self, token: str) -> Principal:
        identity = await self._verifier.read(token)
        if self._credentials.is_revoked(identity):
            raise refusal("The API key was revoked.")
        return identity.principal
