"""What the tests of the core share: backends, a world on a virtual clock, and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cronkit_core import MemoryStorage, Run, Scheduler, SQLiteStorage, StorageError
from cronkit_core.testing.virtual import VirtualClock, run_until, settle

START = datetime(2027, 1, 1, tzinfo=UTC)
# Nobody but a test changes anything, so nothing needs to be polled for.
LONG = 1e7


def at(seconds: float) -> datetime:
    """So many seconds after the start of a virtual clock."""
    return START + timedelta(seconds=seconds)


class Through:
    """A storage that passes everything on. Faults override what they break."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)


class Shared(Through):
    """One storage for several schedulers: it stays open when one of them closes it."""

    async def close(self) -> None:
        pass


class Backend:
    """Makes storages that hold the same data."""

    def __init__(self, make: Callable[[], Any], *, shared: bool) -> None:
        self._make = make
        self._one = make() if shared else None

    def storage(self) -> Any:
        return self._make() if self._one is None else Shared(self._one)

    async def close(self) -> None:
        if self._one is not None:
            await self._one.close()


# Where a test needs no other: `@pytest.mark.parametrize("backend", LIGHT, indirect=True)`.
LIGHT = ["memory", "sqlite"]


def memory(request: Any, folder: Path) -> Backend:
    return Backend(MemoryStorage, shared=True)


def sqlite_memory(request: Any, folder: Path) -> Backend:
    return Backend(lambda: SQLiteStorage(":memory:"), shared=True)


def sqlite_file(request: Any, folder: Path) -> Backend:
    return Backend(lambda: SQLiteStorage(folder / "cron.db", synchronous="NORMAL"), shared=False)


def postgres(request: Any, folder: Path) -> Backend:
    from cronkit_core import PostgresStorage

    schema = request.getfixturevalue("postgres_schema")
    dsn = request.getfixturevalue("postgres").dsn
    # The clock of these tests is a virtual one.
    return Backend(lambda: PostgresStorage(dsn, schema=schema, clock="caller"), shared=False)


def datasette(request: Any, folder: Path) -> Backend:
    from datasette.app import Datasette

    from datasette_cron.storage import InternalStorage

    site = Datasette(memory=True, internal=str(folder / "internal.db"))
    request.addfinalizer(site.close)
    return Backend(lambda: InternalStorage(site.get_internal_database()), shared=True)


# A further backend is a line here: (request, folder) -> Backend. Fixtures that it needs come from
# `request.getfixturevalue`.
BACKENDS: dict[str, Callable[[Any, Path], Backend]] = {
    "memory": memory,
    "sqlite": sqlite_file,
    "postgres": postgres,
    "datasette": datasette,
    "sqlite-memory": sqlite_memory,
}
# The last one has the SQL of "sqlite", and is for tests that ask for it.
EVERY = ["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
WITH_DATASETTE = [*EVERY, "datasette"]
"""For what is promised of every backend, that of datasette-cron included."""


class World:
    """Schedulers on one virtual clock and one set of data."""

    def __init__(self, backend: Backend) -> None:
        self.clock = VirtualClock(START)
        self.backend = backend
        self.schedulers: list[Scheduler] = []

    async def scheduler(
        self, wrap: Callable[[Any], Any] | None = None, **options: Any
    ) -> Scheduler:
        """A scheduler that is started. `wrap` puts a fault around its storage."""
        scheduler = self.idle_scheduler(wrap, **options)
        await scheduler.open()
        scheduler.start()
        await settle(scheduler)
        return scheduler

    def idle_scheduler(self, wrap: Callable[[Any], Any] | None = None, **options: Any) -> Scheduler:
        """A scheduler that is not started."""
        storage = self.backend.storage()
        options = {"poll": LONG, "prune_every": LONG, **options}
        storage = storage if wrap is None else wrap(storage)
        scheduler = Scheduler(storage, clock=self.clock, **options)
        self.schedulers.append(scheduler)
        return scheduler

    async def until(self, seconds: float) -> None:
        """Let everybody work until so many seconds after the start."""
        await run_until(self.schedulers, at(seconds))

    async def settle(self) -> None:
        await settle(*self.schedulers)

    async def close(self) -> None:
        while Gate.made:
            Gate.made.pop().open.set()
        for scheduler in self.schedulers:
            await scheduler.stop(0)
        await self.backend.close()


def slots(runs: list[Run]) -> list[float]:
    """The slots of runs, oldest first, in seconds after the start."""
    return sorted((run.slot - START).total_seconds() for run in runs)


def said(run: Run) -> tuple[Any, ...]:
    """What matters most of a run."""
    seconds = (run.slot - START).total_seconds()
    return seconds, run.attempt, run.status.value, run.reason and run.reason.value


async def story(scheduler: Scheduler, name: str) -> list[tuple[Any, ...]]:
    """The runs of a task, oldest first: (slot, attempt, status, reason)."""
    return [said(run) for run in reversed(await scheduler.runs(name, limit=1_000))]


async def skipped(scheduler: Scheduler, name: str) -> list[tuple[Any, ...]]:
    """The skips of a task, oldest first: (first slot, last slot, count, reason)."""
    from cronkit_core import SkipQuery

    found = await scheduler.storage.skips(SkipQuery(name))
    return [
        (
            (skip.first_slot - START).total_seconds(),
            (skip.last_slot - START).total_seconds(),
            skip.count,
            skip.reason.value,
        )
        for skip in sorted(found, key=lambda s: s.first_slot)
    ]


# --- handlers --------------------------------------------------------------------------------


class Gate:
    """A handler that waits until it is let through."""

    made: list[Gate] = []
    """All of them, so that a test that fails can be ended."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.seen: list[Any] = []
        self.cancelled = 0
        self.made.append(self)

    async def __call__(self, run: Any) -> str:
        self.seen.append(run)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "through"


class IgnoresCancel(Gate):
    """A handler that goes on when it is cancelled."""

    async def __call__(self, run: Any) -> str:
        self.seen.append(run)
        while not self.open.is_set():
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
        return "late"


class Notes:
    """A handler that takes note of its runs, and takes `seconds` of virtual time."""

    def __init__(self, clock: VirtualClock, seconds: float = 0.0) -> None:
        self.clock = clock
        self.seconds = seconds
        self.runs: list[tuple[float, float, int]] = []
        """When it started, its slot, and its attempt."""

    async def __call__(self, run: Any) -> None:
        now = (self.clock.now() - START).total_seconds()
        self.runs.append((now, (run.slot - START).total_seconds(), run.attempt))
        if self.seconds:
            await self.clock.sleep(self.seconds)

    @property
    def slots(self) -> list[float]:
        return [slot for _, slot, _ in self.runs]


# --- faults ----------------------------------------------------------------------------------


class Fails(Through):
    """Every call of the methods in `broken` fails, before or after it did its work."""

    def __init__(self, storage: Any, *methods: str, after: bool = False) -> None:
        super().__init__(storage)
        self.broken = set(methods)
        self.after = after
        self.failed = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.storage, name)
        if name not in self.broken:
            return method

        async def fails(*args: Any, **options: Any) -> Any:
            self.failed += 1
            if self.after:
                await method(*args, **options)
            raise StorageError(f"{name} fails")

        return fails


class Hangs(Through):
    """The methods in `hanging` do not answer until `go_on` is set."""

    def __init__(self, storage: Any, *methods: str) -> None:
        super().__init__(storage)
        self.hanging = set(methods)
        self.go_on = asyncio.Event()
        self.reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.storage, name)
        if name not in self.hanging:
            return method

        async def hangs(*args: Any, **options: Any) -> Any:
            self.reached.set()
            await self.go_on.wait()
            return await method(*args, **options)

        return hangs


async def dies(scheduler: Scheduler) -> None:
    """End the scheduler as a kill would: nothing is recorded, and nothing said."""
    work = scheduler._work
    assert work is not None
    work.cancel()
    await asyncio.wait([work])


Handler = Callable[[Any], Awaitable[Any]]
