"""A Datasette in this process, on a virtual clock or the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from datasette.app import Datasette

from cronkit_core.testing.virtual import VirtualClock
from datasette_cron.scheduler import Scheduler

EVERYBODY = {"permissions": {"datasette-cron-access": True}}

Make = Callable[..., Awaitable[Datasette]]


@pytest.fixture
def internal(tmp_path: Path) -> Path:
    return tmp_path / "internal.db"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def make_datasette(internal: Path) -> AsyncIterator[Make]:
    """Makes a Datasette whose startup is done, on the file `internal`. With a `clock`, its
    scheduler keeps time by that one. Its loop is not started."""
    made: list[Datasette] = []

    async def make(
        clock: VirtualClock | None = None, config: dict[str, Any] | None = None, **options: Any
    ) -> Datasette:
        settings = options.pop("scheduler", {})
        options.setdefault("internal", str(internal))
        datasette = Datasette(
            memory=True, config=EVERYBODY if config is None else config, **options
        )
        made.append(datasette)
        await datasette.invoke_startup()
        if clock is not None:
            settings = {"poll": 3600, "prune_every": 3600, **settings}  # virtual days are long
        if settings:
            datasette._cron_scheduler = Scheduler(datasette, clock=clock, **settings)
        return datasette

    yield make
    for datasette in made:
        await datasette._cron_scheduler.stop(0)
        datasette.close()


@pytest.fixture
async def datasette(make_datasette: Make, clock: VirtualClock) -> Datasette:
    return await make_datasette(clock)


@pytest.fixture
def scheduler(datasette: Datasette) -> Scheduler:
    """The scheduler of `datasette`, on the virtual clock, with some handlers, not started."""
    scheduler: Scheduler = datasette._cron_scheduler
    scheduler.register_handlers("test", {"ok": ok, "fail": fail, "hang": hang})
    return scheduler


async def ok(datasette: Datasette, config: dict[str, Any]) -> None:
    pass


async def fail(datasette: Datasette, config: dict[str, Any]) -> None:
    raise ValueError("out of paper")


async def hang(datasette: Datasette, config: dict[str, Any]) -> None:
    await asyncio.Event().wait()
