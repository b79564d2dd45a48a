"""Downloads from a real HTTPS server on loopback, whose certificate comes from an authority of the test."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from serve_app.errors import InvalidImage
from serve_app.images import ImageInliner, ImagePolicy
from tests.unit.serve_app.images.pictures import data_url, image_part, picture, user

PNG = picture("PNG")
LIMIT = 50_000
LOOPBACK = "127.0.0.1"


class FakeResolver(AbstractResolver):
    """Answers from a table of answers per name, each one once, the last one for ever; counts look-ups."""

    def __init__(self, table: dict[str, list[list[str]]]) -> None:
        self.table = table
        self.asked: dict[str, int] = defaultdict(int)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family  # Each answer has addresses of its own family.
        answers = self.table.get(host)
        if answers is None:
            raise OSError("no such name")
        addresses = answers[min(self.asked[host], len(answers) - 1)]
        self.asked[host] += 1
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


class Server:
    """The image host: counts requests by path."""

    def __init__(self) -> None:
        self.port = 0
        self.hits: dict[str, int] = defaultdict(int)
        self.headers: dict[str, str] = {}
        self.released = asyncio.Event()
        self.sent_bytes = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.hits[request.path] += 1
        self.headers = dict(request.headers)
        special: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            "/endless": self.endless,
            "/stuck": self.stuck,
        }
        if request.path in special:
            return await special[request.path](request)
        return {
            "/a.png": lambda: web.Response(body=PNG, content_type="image/png"),
            "/liar": lambda: web.Response(body=PNG, content_type="text/html"),
            "/page": lambda: web.Response(body=b"<html>", content_type="image/png"),
            "/cut": lambda: web.Response(body=PNG[:-30]),
            "/huge": lambda: web.Response(body=b"\0" * (LIMIT + 1)),
            "/gzip": lambda: web.Response(body=gzip.compress(PNG), headers={"Content-Encoding": "gzip"}),
            "/moved": lambda: web.Response(status=302, headers={"Location": "/a.png"}),
            "/cached": lambda: web.Response(status=304),
            "/empty": lambda: web.Response(status=204),
            "/error": lambda: web.Response(status=500),
            "/图.png": lambda: web.Response(body=PNG),
        }.get(request.path, lambda: web.Response(status=404))()

    async def endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            while self.sent_bytes < 1000 * LIMIT:
                await response.write(b"\0" * 10_000)
                self.sent_bytes += 10_000
        finally:
            self.released.set()
        return response

    async def stuck(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(PNG[:10])
        await self.released.wait()
        return response


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[Server]:
    host = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", host.answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("images.test", "moving.test", "mixed.test", "six.test").configure_cert(context)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0, ssl_context=context).start()
    host.port = runner.addresses[0][1]
    yield host
    host.released.set()
    await runner.cleanup()


@pytest.fixture
def resolver() -> FakeResolver:
    public = "93.184.216.34"
    return FakeResolver(
        {
            "images.test": [[LOOPBACK]],
            "wrong-name.test": [[LOOPBACK]],
            "moving.test": [[LOOPBACK], ["10.0.0.1"]],
            "mixed.test": [[public, LOOPBACK]],
            "metadata.test": [["169.254.169.254"]],
            "mapped.test": [["::ffff:127.0.0.1"]],
            "nothing.test": [[]],
        }
    )


class Client:
    """Sends one remote image through an inliner."""

    def __init__(self, inliner: ImageInliner, port: int) -> None:
        self.inliner = inliner
        self.port = port

    async def inlined(self, path: str, host: str = "images.test") -> str:
        messages = user(image_part(f"https://{host}:{self.port}{path}"))
        result: str = (await self.inliner.inline(messages))[1]["content"][0]["image_url"]["url"]
        return result

    async def refusal(self, path: str, host: str = "images.test") -> str:
        with pytest.raises(InvalidImage) as caught:
            await self.inlined(path, host)
        assert caught.value.param == "messages[1].content[0].image_url"
        assert path not in caught.value.message
        return caught.value.message


@asynccontextmanager
async def client_of(
    port: int, resolver: FakeResolver, context: ssl.SSLContext | None, **policy: Any
) -> AsyncIterator[Client]:
    settings: dict[str, Any] = {
        "allowed_hosts": (f"*.test:{port}",),
        "allowed_networks": ("127.0.0.0/8",),
        "max_bytes": LIMIT,
        "fetch_timeout_s": 5,
        **policy,
    }
    inliner = ImageInliner(ImagePolicy(**settings), resolver=resolver, ssl_context=context)
    try:
        yield Client(inliner, port)
    finally:
        await inliner.close()


@pytest.fixture
async def client(server: Server, resolver: FakeResolver, trusting: ssl.SSLContext) -> AsyncIterator[Client]:
    async with client_of(server.port, resolver, trusting) as client:
        yield client


async def test_remote_image_is_inlined(client: Client, server: Server) -> None:
    assert await client.inlined("/a.png") == data_url(PNG)
    assert server.hits == {"/a.png": 1}
    assert server.headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in server.headers


async def test_content_type_of_the_host_is_not_trusted(client: Client) -> None:
    assert await client.inlined("/liar") == data_url(PNG)
    assert "not an image" in await client.refusal("/page")


async def test_international_path_and_upper_case_host_are_fetched(client: Client) -> None:
    assert await client.inlined("/图.png", host="IMAGES.test") == data_url(PNG)


async def test_several_remote_images_of_one_request_are_fetched(client: Client, server: Server) -> None:
    url = f"https://images.test:{server.port}/a.png"
    result = await client.inliner.inline(user(*[image_part(url)] * 16))
    assert [part["image_url"]["url"] for part in result[1]["content"]] == [data_url(PNG)] * 16


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/moved", "redirects, which is not followed"),
        ("/cached", "redirects|304"),
        ("/empty", "status 204"),
        ("/missing", "status 404"),
        ("/error", "status 500"),
        ("/cut", "truncated"),
        ("/huge", f"more than {LIMIT} bytes"),
        ("/gzip", "not an image"),
    ],
)
async def test_answer_that_is_no_image_is_refused(client: Client, path: str, says: str) -> None:
    assert re.search(says, await client.refusal(path))


async def test_redirect_is_not_followed(client: Client, server: Server) -> None:
    await client.refusal("/moved")
    assert server.hits == {"/moved": 1}


async def test_endless_body_is_cut_off_at_the_limit(client: Client, server: Server) -> None:
    assert f"more than {LIMIT} bytes" in await client.refusal("/endless")
    await asyncio.wait_for(server.released.wait(), 5)
    # What the sockets buffer comes on top; far from the 50 MB that the server would send.
    assert server.sent_bytes < 200 * LIMIT


async def test_body_that_does_not_arrive_in_time_is_refused(
    server: Server, resolver: FakeResolver, trusting: ssl.SSLContext
) -> None:
    async with client_of(server.port, resolver, trusting, fetch_timeout_s=0.2) as client:
        assert "within 0.2 s" in await client.refusal("/stuck")


async def test_name_resolution_counts_into_the_timeout(server: Server, trusting: ssl.SSLContext) -> None:
    class Silent(FakeResolver):
        async def resolve(self, *_: Any, **__: Any) -> list[ResolveResult]:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async with client_of(server.port, Silent({}), trusting, fetch_timeout_s=0.2) as client:
        assert "within 0.2 s" in await client.refusal("/a.png")


async def test_untrusted_certificate_is_refused(server: Server, resolver: FakeResolver) -> None:
    async with client_of(server.port, resolver, None) as client:
        assert "TLS" in await client.refusal("/a.png")
    assert server.hits == {}


async def test_certificate_for_another_name_is_refused(client: Client, server: Server) -> None:
    assert "TLS" in await client.refusal("/a.png", host="wrong-name.test")
    assert server.hits == {}


@pytest.mark.parametrize("host", ["unknown.test", "nothing.test"])
async def test_name_without_address_is_refused(client: Client, host: str) -> None:
    assert f"{host} cannot be resolved" in await client.refusal("/a.png", host=host)


@pytest.mark.parametrize("host", ["images.test", "mapped.test", "mixed.test", "metadata.test"])
async def test_name_that_leads_to_a_private_address_is_refused(
    server: Server, resolver: FakeResolver, trusting: ssl.SSLContext, host: str
) -> None:
    async with client_of(server.port, resolver, trusting, allowed_networks=()) as client:
        message = await client.refusal("/a.png", host=host)
    assert "not public" in message
    assert "images.allowed_networks" in message
    assert not any(address in message for address in (LOOPBACK, "169.254"))
    assert server.hits == {}


async def test_name_is_resolved_once_per_download_and_checked_each_time(
    client: Client, server: Server, resolver: FakeResolver
) -> None:
    assert await client.inlined("/a.png", host="moving.test") == data_url(PNG)
    assert resolver.asked["moving.test"] == 1
    assert "not public" in await client.refusal("/a.png", host="moving.test")
    assert resolver.asked["moving.test"] == 2
    assert server.hits == {"/a.png": 1}


async def test_proxy_of_the_environment_is_not_used(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await client.inlined("/a.png") == data_url(PNG)


async def test_closed_port_is_refused(resolver: FakeResolver, trusting: ssl.SSLContext) -> None:
    with socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        async with client_of(unused.getsockname()[1], resolver, trusting) as client:
            assert "could not be fetched from images.test" in await client.refusal("/a.png")


@pytest.mark.parametrize(
    "answer",
    [b"", b"hello\r\n\r\n", b"HTTP/1.1 999999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000],
    ids=["nothing", "no http", "bad status", "endless header"],
)
async def test_host_that_does_not_speak_http_is_refused(
    authority: trustme.CA, resolver: FakeResolver, trusting: ssl.SSLContext, answer: bytes
) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("images.test").configure_cert(context)
    async with await asyncio.start_server(respond, LOOPBACK, 0, ssl=context) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with client_of(port, resolver, trusting) as client:
            assert "could not be fetched" in await client.refusal("/a.png")


async def test_first_bad_image_ends_the_other_downloads(client: Client, server: Server) -> None:
    base = f"https://images.test:{server.port}"
    started = asyncio.get_running_loop().time()
    with pytest.raises(InvalidImage) as caught:
        await client.inliner.inline(user(image_part(f"{base}/stuck"), image_part(f"{base}/missing")))
    assert caught.value.param == "messages[1].content[1].image_url"
    assert asyncio.get_running_loop().time() - started < 4
