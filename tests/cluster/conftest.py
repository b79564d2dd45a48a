"""The chart of every variant."""

from __future__ import annotations

import pytest

from tests.cluster.objects import VARIANTS, Object, objects_of


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def objects(variant: str) -> list[Object]:
    return objects_of(variant)


@pytest.fixture
def standard() -> list[Object]:
    return objects_of("standard")
