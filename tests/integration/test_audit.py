"""Faults under load: what the clients saw, the audit, the usage table and the index agree one to one.

A file size limit stands for a full disk: it needs no right to mount one, and the process meets the same
failing writes. Elasticsearch is the strict stub of the unit tests.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiohttp.test_utils import TestServer

from serve_app.audit.chain import parse
from serve_app.audit.config import ElasticsearchConfig
from serve_app.audit.folder import chains_in
from serve_app.audit.segment import files_of
from serve_app.audit.shipping import Shipper
from serve_app.audit.signing import Verifier, read_public
from serve_app.audit.verify import verify
from serve_app.registry import Registry
from serve_app.registry.operations import SumUsage
from serve_app.serve_file import keep_files_in, load
from tests.integration.audit_clients import BLOCKED, NAME, Clients, Saw, Seen
from tests.integration.conftest import ROOT, Application, running
from tests.integration.test_faults import replicas
from tests.unit.serve_app.audit.elastic_stub import ElasticStub

pytestmark = pytest.mark.integration

INGRESSES = 2
CLIENTS = 8
PHASE_REQUESTS = 100
"""Answered between two faults at least."""
STREAMS = 8
STREAM_TOKENS = 1000
"""Ten seconds and more: each of these streams meets with the kill that follows."""
WITHIN_S = 400
LOST_WITHIN_S = 1.0
"""Around the kill, an answer may lack its record: 0.01 s (audit.write_delay_s), and what busy cores take."""


class Elastic:
    """The stub on one port, which can be stopped and started again."""

    def __init__(self) -> None:
        self.stub = ElasticStub()
        self._server: TestServer | None = None
        self._port: int | None = None

    async def start(self) -> None:
        """Listen, on the same port each time."""
        self._server = TestServer(self.stub.app(), port=self._port)
        await self._server.start_server()
        self._port = self._server.port

    async def stop(self) -> None:
        """Refuse connections from now on."""
        assert self._server is not None
        await self._server.close()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._port}"


def configured(folder: Path, elastic_url: str) -> Path:
    """A configuration with two ingress replicas, whose audit soon has no room and often begins a file."""
    content = yaml.safe_load((ROOT / "configs" / "simulated.yaml").read_text(encoding="utf-8"))
    args: dict[str, Any] = content["applications"][0]["args"]
    keep_files_in(folder, args)
    (folder / "elastic.key").write_text("c2VjcmV0\n", encoding="ascii")
    (folder / "violence.txt").write_text(f"{BLOCKED}\n", encoding="utf-8")
    args["audit"] |= {
        "fsync_interval_s": 0.2,
        "max_file_bytes": 100_000,
        "queue_records": 50,
        "elasticsearch": {
            "url": elastic_url,
            "api_key_file": str(folder / "elastic.key"),
            "interval_s": 0.2,
            "retry_delay_s": 0.1,
            "max_retry_delay_s": 1,
        },
    }
    args["filtering"] = {
        "lexicons": [{"category": "violence", "files": [str(folder / "violence.txt")], "action": "block"}]
    }
    args["ingress"] = {"num_replicas": INGRESSES}
    args["models"][0]["simulation"] |= {"step_s": 0.01}
    config = folder / "audit.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    return config


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again."""
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110  (polled from outside)
            await asyncio.sleep(0.2)  # between two looks


def is_ready(application: Application) -> bool:
    try:
        return httpx.get(f"{application.url}/ready", timeout=15).status_code == 200
    except httpx.HTTPError:
        return False


async def go_on(clients: Clients) -> None:
    """Until the clients have had some more answers."""
    enough = len(clients.of(Saw.ANSWER)) + PHASE_REQUESTS
    await until(lambda: len(clients.of(Saw.ANSWER)) >= enough)


async def kill(application: Application, deployment: str, count: int) -> float:
    """Kill one replica and wait for its successor; when it was killed, on the monotonic clock."""
    state = application.state
    assert state
    before = replicas(state, deployment)
    killed_at = time.monotonic()
    os.kill(min(before), signal.SIGKILL)
    await until(
        lambda: (
            len(now := replicas(state, deployment)) >= count
            and min(before) not in now
            and is_ready(application)
        )
    )
    return killed_at


async def fill_the_disks(application: Application, clients: Clients) -> None:
    """No file of an ingress may grow beyond what the audit's have, until a request was refused for it."""
    assert application.state
    ingresses = replicas(application.state, "Ingress")
    largest = max(path.stat().st_size for path in application.config.parent.glob("audit/*/*.jsonl"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for process in ingresses:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (largest, hard))
        await until(lambda: bool(clients.of(Saw.REFUSAL)) and not is_ready(application))
    finally:
        for process in ingresses:
            resource.prlimit(process, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    await until(lambda: is_ready(application))


def all_lines(directory: Path) -> list[dict[str, Any]]:
    """Every line of every chain."""
    return [
        parse(line)
        for folder in chains_in(directory)
        for path in files_of(folder)
        for line in path.read_bytes().splitlines()
    ]


def reconcile(seen: list[Seen], said: list[dict[str, Any]], killed_at: float) -> None:
    """Each request that a client saw answered has one record that says the same; no other has more."""
    times = Counter(each["request_id"] for each in said)
    records = {each["request_id"]: each for each in said}
    assert set(times) <= {each.request_id for each in seen}
    assert max(times.values()) == 1
    answered = [each for each in seen if each.saw in {Saw.ANSWER, Saw.LEFT} and each.status != 401]
    lost = [each for each in answered if each.request_id not in records]
    assert all(abs(killed_at - each.ended) < LOST_WITHIN_S for each in lost), lost
    for each in answered:
        if (record := records.get(each.request_id)) is not None:
            assert record["http_status"] == each.status, (each, record)
            if each.tokens:
                assert record["input_tokens"] + record["output_tokens"] == each.tokens
    assert not any(each.request_id in records for each in seen if each.saw is Saw.REFUSAL)


def check(directory: Path, verifier: Verifier, refused: int) -> None:
    """The chains are good, and closed; the crash and the refused requests are told."""
    reports = list(verify(directory, verifier))
    assert [report.problem for report in reports] == [None] * INGRESSES
    assert sum(report.unsigned + report.unfinished_bytes for report in reports) == 0
    assert sum(report.recovered for report in reports) == 1
    assert sum(report.unrecorded for report in reports) == refused


async def used(config: Path) -> int:
    """Tokens in the usage table."""
    app = load(config).app
    registry = Registry(app.store, app.limits)
    sums = await registry.run(SumUsage(()))
    await registry.close()
    return sum(each.prompt_tokens + each.completion_tokens for each in sums)


@pytest.mark.timeout(2400)
async def test_clients_audit_usage_and_index_agree_whatever_fails(tmp_path: Path) -> None:
    elastic = Elastic()
    await elastic.start()
    config = configured(tmp_path, elastic.url)
    started = running(config, tmp_path / "state")
    application = await asyncio.to_thread(started.__enter__)
    try:
        assert application.state
        state = application.state
        await until(lambda: len(replicas(state, "Ingress")) == INGRESSES)
        clients = Clients(application.url, application.token, CLIENTS)
        clients.start()
        await go_on(clients)
        await elastic.stop()
        await clients.begin_streams(STREAMS, STREAM_TOKENS)
        killed_at = await kill(application, "Ingress", INGRESSES)
        await go_on(clients)
        await clients.begin_streams(STREAMS, STREAM_TOKENS)
        await kill(application, "ModelServer:simulated-chat", 1)
        await go_on(clients)
        shipped = len(elastic.stub.documents)
        await elastic.start()
        await until(lambda: len(elastic.stub.documents) > shipped + PHASE_REQUESTS)
        await fill_the_disks(application, clients)
        # Not before the kill: a minute's sum that is not yet a record dies with its process.
        clients.with_bad_key = True
        await go_on(clients)
        await clients.stop()
    finally:
        await asyncio.to_thread(started.__exit__, None, None, None)

    directory = tmp_path / "audit"
    verifier = read_public([tmp_path / "audit.key"])
    lines = all_lines(directory)
    records = [each for each in lines if each["kind"] == "record"]
    ours = [each for each in records if each["request_id"].startswith(NAME)]
    check(directory, verifier, len(clients.of(Saw.REFUSAL)))
    reconcile(clients.seen, [each for each in ours if each["outcome"] != "unauthorized"], killed_at)
    unauthorized = sum(each.get("count", 1) for each in ours if each["outcome"] == "unauthorized")
    assert unauthorized == sum(each.status == 401 for each in clients.seen) > 0
    outcomes = {each["outcome"] for each in ours}
    assert outcomes >= {"done", "invalid", "blocked", "disconnected", "unauthorized"}
    assert outcomes & {"failed", "unavailable"}, "nobody noticed that the model replica was killed"
    assert clients.of(Saw.NOTHING), "nobody noticed that the ingress was killed"

    # What was used is charged once, also what the ingress that was killed had not reported.
    assert await used(config) == sum(each["input_tokens"] + each["output_tokens"] for each in records)

    # What was not shipped before the end, the next replica ships.
    target = ElasticsearchConfig(url=elastic.url, api_key_file=tmp_path / "elastic.key")
    shipper = Shipper(target, directory, verifier)
    await shipper.ship()
    await shipper.close()
    await elastic.stop()
    assert sorted(name for _, name in elastic.stub.documents) == sorted(each["id"] for each in lines)
