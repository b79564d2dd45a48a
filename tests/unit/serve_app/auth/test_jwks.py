"""The cache of an issuer's keys, against a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from serve_app.auth.config import IssuerConfig
from serve_app.auth.jwks import MAX_DOCUMENT_BYTES, Jwks
from serve_app.auth.outage import AuthenticationUnavailable
from tests.unit.serve_app.auth.conftest import OTHER_RSA, RSA, Clock, Sso, jwk


@pytest.fixture
async def jwks(issuer: IssuerConfig, clock: Clock) -> AsyncIterator[Jwks]:
    jwks = Jwks(issuer, clock)
    yield jwks
    await jwks.close()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_key_is_found_by_kid_and_algorithm(jwks: Jwks, sso: Sso) -> None:
    assert [key.kid for key in await jwks.candidates("rsa-1", "RS256")] == ["rsa-1"]
    assert [key.kid for key in await jwks.candidates("ec-1", "ES256")] == ["ec-1"]
    assert await jwks.candidates("ec-1", "RS256") == ()
    assert sso.paths == ["/jwks"]


async def test_without_kid_the_only_fitting_key_is_meant(jwks: Jwks, sso: Sso, clock: Clock) -> None:
    assert [key.kid for key in await jwks.candidates(None, "RS256")] == ["rsa-1"]
    sso.document["keys"].append(jwk(OTHER_RSA, kid="rsa-2"))
    clock.now += 20
    await jwks.candidates("rsa-2", "RS256")
    assert await jwks.candidates(None, "RS256") == ()


async def test_callers_that_come_together_fetch_once(jwks: Jwks, sso: Sso) -> None:
    found = await asyncio.gather(*(jwks.candidates("rsa-1", "RS256") for _ in range(50)))
    assert all(found)
    assert len(sso.paths) == 1


async def test_rotated_key_is_fetched_when_a_token_names_it(jwks: Jwks, sso: Sso, clock: Clock) -> None:
    await jwks.candidates("rsa-1", "RS256")
    sso.document = {"keys": [jwk(OTHER_RSA, kid="rsa-2")]}
    clock.now += 10
    assert [key.kid for key in await jwks.candidates("rsa-2", "RS256")] == ["rsa-2"]
    assert await jwks.candidates("rsa-1", "RS256") == ()


async def test_unknown_kids_cannot_hurry_the_fetches(jwks: Jwks, sso: Sso, clock: Clock) -> None:
    await jwks.candidates("rsa-1", "RS256")
    for number in range(1000):
        assert await jwks.candidates(f"made-up-{number}", "RS256") == ()
        clock.now += 0.025
    assert len(sso.paths) == 3  # at 0, 10 and 20 of 25 seconds


async def test_keys_of_some_age_are_fetched_anew_while_nobody_waits(
    jwks: Jwks, sso: Sso, clock: Clock
) -> None:
    await jwks.candidates("rsa-1", "RS256")
    clock.now += 301
    assert await jwks.candidates("rsa-1", "RS256")
    await until(lambda: len(sso.paths) == 2)


async def test_outage_leaves_the_last_good_keys_for_a_bounded_time(
    jwks: Jwks, sso: Sso, clock: Clock
) -> None:
    await jwks.candidates("rsa-1", "RS256")
    sso.answer = lambda: web.Response(status=503)
    began = clock.now
    while clock.now < began + 86_400:
        assert await jwks.candidates("rsa-1", "RS256")
        clock.now += 3600
    assert await jwks.candidates("rsa-1", "RS256")
    clock.now = began + 86_401
    with pytest.raises(AuthenticationUnavailable, match="cannot be had"):
        await jwks.candidates("rsa-1", "RS256")

    sso.answer = None
    clock.now += 10
    assert await jwks.candidates("rsa-1", "RS256")


async def test_server_that_is_gone_is_an_outage(
    issuer: IssuerConfig, server: TestServer, clock: Clock
) -> None:
    await server.close()
    jwks = Jwks(issuer, clock)
    with pytest.raises(AuthenticationUnavailable):
        await jwks.candidates("rsa-1", "RS256")
    await jwks.close()


def endless() -> web.Response:
    good = json.dumps({"keys": [jwk(RSA, kid="rsa-1"), jwk(RSA, kid="rsa-9")]}).encode()
    return web.Response(body=good + b" " * MAX_DOCUMENT_BYTES)


def duplicate() -> web.Response:
    return web.json_response({"keys": [jwk(RSA, kid="rsa-1"), jwk(OTHER_RSA, kid="rsa-1")]})


@pytest.mark.parametrize(
    "answer",
    [
        endless,
        duplicate,
        lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
        lambda: web.Response(status=404),
        lambda: web.Response(text="<html>maintenance</html>"),
        lambda: web.json_response({"keys": []}),
    ],
    ids=["endless", "duplicate kid", "redirect", "not found", "html", "empty"],
)
async def test_document_that_does_not_hold_changes_nothing(
    jwks: Jwks, sso: Sso, clock: Clock, answer: Callable[[], Any]
) -> None:
    sso.answer = answer
    with pytest.raises(AuthenticationUnavailable):
        await jwks.candidates("rsa-1", "RS256")
    assert sso.paths == ["/jwks"]

    sso.answer = None
    clock.now += 10
    assert await jwks.candidates("rsa-1", "RS256")
    sso.answer = answer
    clock.now += 10
    assert await jwks.candidates("rsa-9", "RS256") == ()
    assert await jwks.candidates("rsa-1", "RS256")


async def test_server_that_hangs_is_given_up(issuer: IssuerConfig, clock: Clock) -> None:
    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    silent = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    config = issuer.model_copy(update={"jwks_url": f"http://127.0.0.1:{port}/", "jwks_timeout_s": 0.1})
    jwks = Jwks(config, clock)
    with pytest.raises(AuthenticationUnavailable):
        await jwks.candidates("rsa-1", "RS256")
    await jwks.close()
    silent.close()


async def test_caller_that_goes_away_leaves_the_fetch_to_the_others(jwks: Jwks, sso: Sso) -> None:
    first = asyncio.create_task(jwks.candidates("rsa-1", "RS256"))
    second = asyncio.create_task(jwks.candidates("rsa-1", "RS256"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert len(sso.paths) == 1


async def test_fetch_asks_for_plain_json_and_says_who_asks(server: TestServer, issuer: IssuerConfig) -> None:
    seen: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        seen.update(request.headers)
        return web.Response(text=json.dumps({"keys": [jwk(RSA, kid="rsa-1")]}))

    app = web.Application()
    app.router.add_get("/jwks", answer)
    async with TestServer(app) as other:
        jwks = Jwks(issuer.model_copy(update={"jwks_url": str(other.make_url("/jwks"))}))
        assert await jwks.candidates("rsa-1", "RS256")
        await jwks.close()
    assert (seen["Accept-Encoding"], seen["User-Agent"]) == ("identity", "qwen-serve")
    assert "Authorization" not in seen
