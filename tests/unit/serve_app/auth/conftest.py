"""A clock that the test turns, and an issuer with real keys behind a real HTTP server."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from serve_app.auth.attempts import Attempts
from serve_app.auth.authenticator import Authenticator
from serve_app.auth.changes import Changes
from serve_app.auth.config import AttemptsConfig, IssuerConfig
from serve_app.auth.credentials import Credentials
from serve_app.auth.tokens import Tokens
from serve_app.auth.verifier import Verifier

ISSUER = "https://sso.example.cn/realms/staff"
SECRET = b"0123456789abcdef0123456789abcdef"
TOKENS = Tokens(SECRET, issuer="qwen-serve", audience="qwen-serve", leeway_s=5)

RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def segment(value: bytes) -> str:
    """A part of a JWT."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def pem(key: PrivateKey) -> bytes:
    """The public key in PEM form."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: PrivateKey, **members: Any) -> dict[str, Any]:
    """The public key as a JWKS has it."""
    algorithm: Any = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    kind = next(each for each in algorithm if isinstance(key, each))
    return {**json.loads(algorithm[kind].to_jwk(key.public_key())), **members}


def claims_with(**changes: Any) -> dict[str, Any]:
    """Claims of the outside issuer that hold, but for the changes; None leaves one out."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "qwen",
        "sub": "zhangsan",
        "iat": now,
        "exp": now + 86_400,  # a suite on a slow machine takes an hour, and some tokens are made at its start
        "realm_access": {"roles": ["staff", "admin"]},
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(
    key: PrivateKey = RSA, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **changes: Any
) -> str:
    """A token of the outside issuer."""
    return jwt.encode(
        claims_with(**changes), key, algorithm=algorithm, headers={"kid": "rsa-1", **(headers or {})}
    )


class Clock:
    """Seconds, as the test says."""

    def __init__(self, now: float = 1000) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Sso:
    """The issuer's HTTP side: counts what it is asked, and answers as the test says."""

    def __init__(self) -> None:
        self.document: Any = {"keys": [jwk(RSA, kid="rsa-1", use="sig"), jwk(EC, kid="ec-1")]}
        self.answer: Callable[[], web.StreamResponse] | None = None
        self.paths: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path_qs)
        return self.answer() if self.answer else web.json_response(self.document)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sso() -> Sso:
    return Sso()


@pytest.fixture
async def server(sso: Sso) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", sso.handle)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


@pytest.fixture
def issuer(server: TestServer) -> IssuerConfig:
    return IssuerConfig(
        issuer=ISSUER,
        audience="qwen",
        algorithms=("RS256", "ES256"),
        jwks_url=str(server.make_url("/jwks")),
        roles_claim="realm_access.roles",
        role_map={"staff": "user"},
    )


@pytest.fixture
async def verifier(issuer: IssuerConfig) -> AsyncIterator[Verifier]:
    verifier = Verifier(TOKENS, [issuer])
    yield verifier
    await verifier.close()


@pytest.fixture
def credentials(clock: Clock) -> Credentials:
    """Fresh, and without any key."""
    credentials = Credentials(300, clock=clock)
    credentials.apply(Changes(1, (), (), complete=True), clock())
    return credentials


@pytest.fixture
def waits() -> list[float]:
    """How long refusals waited, in seconds."""
    return []


@pytest.fixture
def attempts(clock: Clock, waits: list[float]) -> Attempts:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    return Attempts(AttemptsConfig(), clock=clock, sleep=sleep)


@pytest.fixture
def authenticator(credentials: Credentials, verifier: Verifier, attempts: Attempts) -> Authenticator:
    return Authenticator(credentials, verifier, attempts)
