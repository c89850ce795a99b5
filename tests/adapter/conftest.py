"""A Datasette in this process, on a virtual clock or the real one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import datasette.handle_exception
import pytest
from datasette import hookimpl
from datasette.app import Datasette
from datasette.plugins import pm
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from cronkit_core.testing.virtual import VirtualClock
from datasette_cron.scheduler import Scheduler

EVERYBODY = {"permissions": {"datasette-cron-access": True}}

Make = Callable[..., Awaitable[Datasette]]

# Datasette shows the traceback of each error page through rich, with all locals: up to a second for
# a 404. Without rich it does not, and answers the same.
datasette.handle_exception.rich = None

MEMORY = Path("/dev/shm")


class CompiledTemplates(BytecodeCache):
    """Templates are compiled once, not once for each Datasette."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()

    @hookimpl
    def prepare_jinja2_environment(self, env: Environment) -> None:
        env.bytecode_cache = self


@pytest.fixture(scope="session", autouse=True)
def compiled_templates() -> Iterator[None]:
    templates = CompiledTemplates()
    pm.register(templates)
    yield
    pm.unregister(templates)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where the machine has such: what a disk takes to sync is not tested."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


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
        app = datasette.app()
        datasette.app = lambda: app  # as a server: not one for each request
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
