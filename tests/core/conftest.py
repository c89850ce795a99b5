"""A world for each test, once for each backend."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from core_kit import BACKENDS, EVERY, Backend, World, memory

from postgres_fixture import postgres, postgres_schema

__all__ = ["postgres", "postgres_schema"]


@pytest.fixture(params=EVERY)
def backend(request: Any, tmp_path: Path) -> Backend:
    return BACKENDS[request.param](request, tmp_path)


@pytest.fixture
async def world(backend: Backend) -> AsyncIterator[World]:
    """A world on every backend."""
    world = World(backend)
    yield world
    await world.close()


@pytest.fixture
async def light_world(request: Any, tmp_path: Path) -> AsyncIterator[World]:
    """A world in memory, for what no backend has a part in."""
    world = World(memory(request, tmp_path))
    yield world
    await world.close()
