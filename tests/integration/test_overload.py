"""More requests than there is room for: some are refused before their first byte, the others finish."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import yaml

from serve_app.serve_file import keep_files_in
from tests.integration.conftest import ROOT, Application, running

pytestmark = pytest.mark.integration

CLIENTS = 64
NARROW = {"max_ongoing_requests": 4, "max_queued_requests": 4, "target_ongoing_requests": 4}
INGRESS_LIMIT = 24
TOKENS = 40


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """Two simulated models at the pace of a real one: one with little room, one with plenty."""
    folder = tmp_path_factory.mktemp("overload")
    content = yaml.safe_load((ROOT / "configs" / "simulated.yaml").read_text(encoding="utf-8"))
    args = content["applications"][0]["args"]
    keep_files_in(folder, args)
    args["ingress"] = {"max_ongoing_requests": INGRESS_LIMIT}
    wide = args["models"][0] | {"id": "wide", "simulation": {"step_s": 0.02}}
    args["models"] = [wide, wide | {"id": "narrow", "autoscale": NARROW}]
    config = folder / "overload.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    with running(config, folder / "state") as application:
        yield application


async def ends(application: Application, model: str, *, stream: bool) -> Counter[str]:
    """How so many requests at once end."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Tell me a short story."}],
        "max_tokens": TOKENS,
        "stream": stream,
        "stream_options": {"include_usage": True} if stream else None,
    }
    headers = {"authorization": f"Bearer {application.token}"}
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(headers=headers, timeout=180, limits=limits) as client:

        async def one() -> str:
            response = await client.post(f"{application.url}/v1/chat/completions", json=body)
            if response.status_code == 503:
                assert response.json()["error"]["code"] == "overloaded"
                assert int(response.headers["retry-after"]) >= 1
                return "refused"
            assert response.status_code == 200, response.text
            assert f'"completion_tokens":{TOKENS}' in response.text
            assert response.text.endswith("data: [DONE]\n\n") is stream
            return "whole"

        return Counter(await asyncio.gather(*(one() for _ in range(CLIENTS))))


@pytest.mark.parametrize("stream", [False, True])
async def test_model_without_room_refuses_and_finishes_what_it_took(
    simulated: Application, stream: bool
) -> None:
    ended = await ends(simulated, "narrow", stream=stream)

    assert ended["whole"] >= NARROW["max_ongoing_requests"]
    assert ended["refused"] >= CLIENTS - INGRESS_LIMIT


@pytest.mark.parametrize("stream", [False, True])
async def test_ingress_takes_as_many_as_it_may_and_finishes_them(
    simulated: Application, stream: bool
) -> None:
    ended = await ends(simulated, "wide", stream=stream)

    assert ended == {"whole": INGRESS_LIMIT, "refused": CLIENTS - INGRESS_LIMIT}


async def test_health_answers_while_everything_is_full(simulated: Application) -> None:
    full = asyncio.ensure_future(ends(simulated, "wide", stream=True))
    async with httpx.AsyncClient(base_url=simulated.url, timeout=30) as client:
        seen = set()
        while not full.done():
            seen.add((await client.get("/health")).status_code)
    assert (await full)["refused"] > 0
    assert seen == {200}
