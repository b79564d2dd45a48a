"""An administrator in front of ``/admin/v1``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from serve_app.auth.tokens import Tokens
from serve_app.registry import RegistryClient
from tests.unit.serve_app.administration import admin_app, new_registry

TOKENS = Tokens(b"0123456789abcdef0123456789abcdef", issuer="qwen-serve", audience="qwen-serve")


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[RegistryClient]:
    registry = new_registry(tmp_path)
    yield RegistryClient(registry)
    await registry.close()


@pytest.fixture
async def admin(registry: RegistryClient) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {TOKENS.issue('root', ['admin'], 60)}"}
    transport = httpx.ASGITransport(admin_app(registry, TOKENS))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://x/admin/v1", headers=headers
    ) as client:
        yield client
