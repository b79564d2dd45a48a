"""The simulated engine in one uvicorn process and nothing else: `python -m bench.apps.bare --port N`."""

from __future__ import annotations

import argparse

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from bench.apps.simulation import Streams
from bench.endpoint import LOOPBACK


def build() -> Starlette:
    """The application."""
    streams = Streams()

    async def chat(request: Request) -> StreamingResponse:
        return StreamingResponse(streams.chat(await request.json()), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


def main() -> None:
    """Serve until asked to stop."""
    parser = argparse.ArgumentParser(description="The simulated engine behind uvicorn alone.")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.run(build(), host=LOOPBACK, port=options.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
