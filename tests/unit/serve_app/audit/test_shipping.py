"""Everything gets into the index, nothing twice, whatever fails on the way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from serve_app.audit import head
from serve_app.audit.chain import parse
from serve_app.audit.config import ElasticsearchConfig
from serve_app.audit.folder import Lock
from serve_app.audit.segment import files_of
from serve_app.audit.shipping import POSITION_NAME, Shipper
from tests.unit.serve_app.audit.conftest import SIGNER, Clock, Open, put
from tests.unit.serve_app.audit.elastic_stub import ElasticStub

INDEX = "qwen-serve-audit-2026.11"
RECORDS = 40


@pytest.fixture
def chain(open_writer: Open) -> Path:
    writer = open_writer(8192)
    put(writer, RECORDS)
    writer.close()
    return writer.folder


@pytest.fixture
def stub() -> ElasticStub:
    return ElasticStub()


@pytest.fixture
async def config(stub: ElasticStub, tmp_path: Path) -> AsyncIterator[ElasticsearchConfig]:
    server = TestServer(stub.app())
    await server.start_server()
    key = tmp_path / "elastic.key"
    key.write_text("c2VjcmV0\n")
    yield ElasticsearchConfig(
        url=str(server.make_url("/")), api_key_file=key, batch_records=7, timeout_s=5, install_template=False
    )
    await server.close()


class Sleep:
    """Waits no time, and remembers how long it should have been."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def sleep() -> Sleep:
    return Sleep()


@pytest.fixture
async def shipper(config: ElasticsearchConfig, chain: Path, sleep: Sleep) -> AsyncIterator[Shipper]:
    shipper = Shipper(config, chain.parent, SIGNER.verifier, sleep)
    yield shipper
    await shipper.close()


def lines_of(folder: Path) -> list[bytes]:
    return [line for path in files_of(folder) for line in path.read_bytes().splitlines()]


def assert_complete(stub: ElasticStub, folder: Path) -> None:
    """Each line is in the index once, under its place in the chain, unchanged."""
    lines = lines_of(folder)
    assert {name for _, name in stub.documents} == {parse(line)["id"] for line in lines}
    originals = {document["event"]["original"] for document in stub.documents.values()}
    assert originals == {line.decode() for line in lines}
    assert len(stub.documents) == len(lines)


async def test_all_lines_arrive_once(stub: ElasticStub, shipper: Shipper, chain: Path) -> None:
    assert await shipper.ship() == len(lines_of(chain))
    assert_complete(stub, chain)
    assert await shipper.ship() == 0
    assert (stub.conflicts, shipper.problem) == (0, "")


async def test_records_are_ecs_documents(stub: ElasticStub, shipper: Shipper, chain: Path) -> None:
    await shipper.ship()
    document = next(d for d in stub.documents.values() if d["event"].get("sequence") == 1)
    assert document["@timestamp"] == "2026-11-24T12:00:00.000Z"
    assert document["user"] == {"id": "zhangsan"}
    assert document["gen_ai"]["usage"] == {"input_tokens": 100, "output_tokens": 200}
    assert document["event"]["duration"] == 812_500_000
    assert document["event"]["outcome"] == "success"
    assert document["qwen_serve"]["audit"]["status"] == "success"


async def test_restart_goes_on_where_it_was(
    stub: ElasticStub, config: ElasticsearchConfig, chain: Path, open_writer: Open, sleep: Sleep
) -> None:
    for begin in (100, 200):
        shipper = Shipper(config, chain.parent, SIGNER.verifier, sleep)
        await shipper.ship()
        await shipper.close()
        writer = open_writer(8192)
        put(writer, 5, begin)
        writer.close()
    last = Shipper(config, chain.parent, SIGNER.verifier, sleep)
    await last.ship()
    await last.close()
    assert_complete(stub, chain)
    assert stub.conflicts == 0


@pytest.mark.parametrize("status", [429, 500, 503, 401])
async def test_request_that_is_refused_is_sent_again_and_ever_later(
    stub: ElasticStub, shipper: Shipper, chain: Path, sleep: Sleep, status: int
) -> None:
    async def refuse(request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response(status=status, headers={"Retry-After": "3"} if status == 429 else {})

    stub.faults = [None, refuse, refuse, refuse, refuse]
    await shipper.ship()
    assert_complete(stub, chain)
    waits = sleep.asked
    assert len(waits) == 4
    if status == 429:
        assert all(seconds >= 3 for seconds in waits)
    else:
        assert all(0.25 * 2**n <= seconds <= 0.5 * 2**n for n, seconds in enumerate(waits))
    assert shipper.problem == ""


async def test_connection_that_breaks_after_all_was_stored_doubles_nothing(
    stub: ElasticStub, shipper: Shipper, chain: Path
) -> None:
    async def store_and_reset(request: web.Request, body: bytes) -> web.StreamResponse:
        stub.store(body)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    stub.faults = [None, store_and_reset, None, store_and_reset]
    await shipper.ship()
    assert_complete(stub, chain)
    assert stub.conflicts == 14


async def test_documents_that_are_refused_for_now_are_sent_again_alone(
    stub: ElasticStub, shipper: Shipper, chain: Path
) -> None:
    stub.item_statuses = [None, 429, None, 503, None, 429, None, 429]
    await shipper.ship()
    assert_complete(stub, chain)
    assert stub.conflicts == 0


async def test_document_that_is_refused_for_good_is_kept_as_its_bare_line(
    stub: ElasticStub, shipper: Shipper, chain: Path
) -> None:
    stub.reject = lambda document: document.get("http", {}).get("request", {}).get("id") == "req-3"
    await shipper.ship()
    assert_complete(stub, chain)
    bare = [d for d in stub.documents.values() if d["event"]["kind"] == "pipeline_error"]
    assert [parse(d["event"]["original"].encode())["request_id"] for d in bare] == ["req-3"]
    assert "error_400" in bare[0]["error"]["message"]


async def test_answer_that_is_not_elasticsearchs_is_not_believed(
    stub: ElasticStub, shipper: Shipper, chain: Path
) -> None:
    async def portal(request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response(text="<html>Please log in</html>")

    async def too_few(request: web.Request, body: bytes) -> web.StreamResponse:
        return web.json_response({"errors": False, "items": []})

    stub.faults = [portal, too_few]
    await shipper.ship()
    assert_complete(stub, chain)


async def test_request_that_is_too_large_is_sent_in_parts(
    stub: ElasticStub, shipper: Shipper, chain: Path
) -> None:
    stub.max_bytes = 5000
    await shipper.ship()
    assert_complete(stub, chain)


async def test_crash_between_success_and_saved_position_doubles_nothing(
    stub: ElasticStub, config: ElasticsearchConfig, chain: Path, sleep: Sleep, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    replace, saved = head.replace, 0

    def dies_in_the_end(path: Path, content: bytes) -> None:
        nonlocal saved
        saved += 1
        if saved == 3:
            raise Killed
        replace(path, content)

    monkeypatch.setattr(head, "replace", dies_in_the_end)
    first = Shipper(config, chain.parent, SIGNER.verifier, sleep)
    with pytest.raises(Killed):
        await first.ship()
    await first.close()
    assert len(stub.documents) == 21

    second = Shipper(config, chain.parent, SIGNER.verifier, sleep)
    await second.ship()
    await second.close()
    assert_complete(stub, chain)
    assert stub.conflicts == 7


async def test_position_that_is_unreadable_costs_conflicts_only(
    stub: ElasticStub, shipper: Shipper, chain: Path
) -> None:
    await shipper.ship()
    (chain / POSITION_NAME).write_text("{")
    await shipper.ship()
    assert_complete(stub, chain)
    assert stub.conflicts == len(lines_of(chain))


async def test_lines_behind_the_head_wait(
    stub: ElasticStub, shipper: Shipper, open_writer: Open, chain: Path
) -> None:
    writer = open_writer()
    put(writer, 5, begin=100)
    writer.write()
    await shipper.ship()
    assert max(d["event"]["sequence"] for d in stub.documents.values()) == writer.safe_seq
    writer.close()
    await shipper.ship()
    assert_complete(stub, chain)


async def test_chain_that_was_tampered_with_is_not_shipped_on_and_others_are(
    stub: ElasticStub, shipper: Shipper, open_writer: Open, chain: Path
) -> None:
    path = files_of(chain)[1]
    path.write_bytes(path.read_bytes().replace(b"zhangsan", b"lisi", 1))
    writing = Lock(chain)
    other = open_writer()
    put(other, 3)
    other.close()
    assert other.folder != chain
    await shipper.ship()
    assert str(path) in shipper.problem
    assert {parse(line)["id"] for line in lines_of(other.folder)} <= {name for _, name in stub.documents}
    assert not any(b'"lisi"' in d["event"]["original"].encode() for d in stub.documents.values())
    writing.release()


async def test_chain_that_another_replica_ships_is_left_to_it(
    stub: ElasticStub, shipper: Shipper, chain: Path
) -> None:
    lock = Lock(chain, "shipping.lock")
    assert await shipper.ship() == 0
    lock.release()
    assert await shipper.ship() > 0


async def test_records_go_into_the_index_of_their_month(
    stub: ElasticStub, shipper: Shipper, open_writer: Open, clock: Clock
) -> None:
    clock.now += 30 * 86_400
    open_writer().close()
    await shipper.ship()
    assert {index for index, _ in stub.documents} == {INDEX, "qwen-serve-audit-2026.12"}


async def test_template_and_policy_are_installed_first(
    stub: ElasticStub, config: ElasticsearchConfig, chain: Path, sleep: Sleep
) -> None:
    shipper = Shipper(
        config.model_copy(update={"install_template": True}), chain.parent, SIGNER.verifier, sleep
    )
    await shipper.ship()
    await shipper.close()
    template = stub.installed["/_index_template/qwen-serve-audit"]
    assert template["index_patterns"] == ["qwen-serve-audit-*"]
    assert "delete" in stub.installed["/_ilm/policy/qwen-serve-audit"]["policy"]["phases"]


async def test_running_shipper_outlives_what_fails(
    stub: ElasticStub, shipper: Shipper, chain: Path, sleep: Sleep
) -> None:
    hidden = chain.parent.with_name("hidden")
    chain.parent.rename(hidden)
    task = asyncio.create_task(shipper.run())
    async with asyncio.timeout(10):
        while not shipper.problem:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        hidden.rename(chain.parent)
        while len(stub.documents) < len(lines_of(chain)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert_complete(stub, chain)


@pytest.mark.skipif("ES_URL" not in os.environ, reason="ES_URL names a real Elasticsearch")
async def test_real_elasticsearch_takes_all_and_nothing_twice(chain: Path) -> None:
    index = f"qwen-serve-test-{os.getpid()}"
    config = ElasticsearchConfig(url=os.environ["ES_URL"], index=index, batch_records=7)
    for _ in range(2):
        shipper = Shipper(config, chain.parent, SIGNER.verifier)
        await shipper.ship()
        await shipper.close()
        (chain / POSITION_NAME).unlink()
    async with aiohttp.ClientSession(os.environ["ES_URL"]) as session:
        await session.post(f"/{index}-2026.11/_refresh")
        async with session.get(f"/{index}-2026.11/_count") as response:
            count = (await response.json())["count"]
        await session.delete(f"/{index}-2026.11")
        await session.delete(f"/_index_template/{index}")
        await session.delete(f"/_ilm/policy/{index}")
    assert count == len(lines_of(chain))
