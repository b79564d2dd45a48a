"""An ingress whose audit cannot be written or shipped, and one that does not start without it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from aiohttp.test_utils import TestServer

from serve_app.audit import AuditUnavailable
from serve_app.audit.config import ElasticsearchConfig
from serve_app.audit_recorder import AuditState
from serve_app.config import AppConfig
from tests.unit.serve_app.audit.elastic_stub import ElasticStub
from tests.unit.serve_app.conftest import ScriptedUpstream
from tests.unit.serve_app.test_audit_wiring import (
    CHAT,
    CHAT_PATH,
    DEADLINE_S,
    bearer,
    chain_of,
    changed,
    check,
    client_of,
    records,
    serving,
)


async def test_nothing_is_served_without_room_for_its_record(
    config: AppConfig, upstream: ScriptedUpstream
) -> None:
    config = changed(config, "audit", max_file_bytes=4096, queue_records=2, fsync_interval_s=0.05)
    told: list[AuditState] = []
    async with (
        serving(config, upstream, told.append) as app,
        client_of(app, bearer(config, "zhangsan")) as client,
    ):
        # The writer makes its new head beside the old one; a folder of that name is in its way.
        obstacle = chain_of(config) / ".head.json.new"
        make(obstacle)
        served, refused = await ask_until(client, 503)
        assert served > 0
        assert (await client.get("/health")).status_code == 200
        ready = await client.get("/ready")
        assert ready.status_code == 503
        assert "disk does not take records" in ready.json()["audit"]
        async with asyncio.timeout(DEADLINE_S):
            while not (told and told[-1].problem and told[-1].unrecorded):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert told[-1].queued > 0

        obstacle.rmdir()
        more_refused, more_served = await ask_until(client, 200)
        async with asyncio.timeout(DEADLINE_S):
            while (await client.get("/ready")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert len(records(config)) == served + more_served
    assert check(config).unrecorded == refused + more_refused


def make(folder: Path) -> None:
    """Make a folder where a file of that name may come and go."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return folder.mkdir()
        except FileExistsError:
            assert time.monotonic() < deadline


async def ask_until(client: httpx.AsyncClient, status: int) -> tuple[int, int]:
    """Ask until the answer has a status; how many had another, and one."""
    others = 0
    async with asyncio.timeout(DEADLINE_S):
        while (response := await client.get("/v1/models")).status_code != status:
            others += 1
            await asyncio.sleep(0.01)
    if status == 503:
        assert response.json()["error"]["code"] == "audit_unavailable"
        assert response.headers["retry-after"] == "5"
    return others, 1


async def test_records_are_shipped_while_the_ingress_serves(
    config: AppConfig, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    stub = ElasticStub()
    server = TestServer(stub.app())
    await server.start_server()
    key = tmp_path / "elastic.key"
    key.write_text("c2VjcmV0\n")
    elastic = ElasticsearchConfig(url=str(server.make_url("/")), api_key_file=key, interval_s=0.05)
    config = changed(config, "audit", elasticsearch=elastic, fsync_interval_s=0.05)
    async with serving(config, upstream) as app, client_of(app, bearer(config, "zhangsan")) as client:
        await client.post(CHAT_PATH, json=CHAT)
        async with asyncio.timeout(DEADLINE_S):
            while not any(CHAT_PATH in str(each) for each in stub.documents.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    await server.close()
    assert len(stub.installed) == 2


@pytest.mark.parametrize("fault", ["directory", "api key"])
async def test_ingress_does_not_start_without_its_audit(
    config: AppConfig, upstream: ScriptedUpstream, tmp_path: Path, fault: str
) -> None:
    if fault == "directory":
        config.audit.directory.touch()
    else:
        elastic = ElasticsearchConfig(url="http://127.0.0.1:9", api_key_file=tmp_path / "nowhere")
        config = changed(config, "audit", elasticsearch=elastic)
    with pytest.raises(AuditUnavailable, match=r"set audit\."):
        async with serving(config, upstream):
            pass
