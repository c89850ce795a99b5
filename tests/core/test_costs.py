"""What the engine costs its storage, counted: calls, transactions, statements, steps of SQLite's
machine. Nothing here is timed. What a single operation costs is counted with the storages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from core_kit import START, Through, World

from cronkit_core import Scheduler, SQLiteStorage
from cronkit_core.storage.sqlite_thread import SQLiteThread


class Counted(Through):
    """Counts the calls of each method."""

    def __init__(self, storage: Any) -> None:
        super().__init__(storage)
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.storage, name)
        if not callable(method):
            return method

        def counted(*args: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return method(*args, **options)

        return counted


async def nothing(run: Any) -> None:
    """Does nothing."""


def tasks(count: int, seconds: float) -> list[dict[str, Any]]:
    return [
        {"name": f"t{i:05}", "handler": "nothing", "schedule": {"interval": seconds}}
        for i in range(count)
    ]


async def counted(world: World, **options: Any) -> tuple[Scheduler, Counter[str]]:
    """A started scheduler, and the calls of its storage from now on."""
    scheduler = await world.scheduler(Counted, **options)
    scheduler.register_handler("nothing", nothing)
    assert isinstance(scheduler.storage, Counted)
    return scheduler, scheduler.storage.calls


async def test_an_idle_tick_is_one_look(world: World) -> None:
    scheduler, calls = await counted(world, poll=1)
    await scheduler.add_tasks(tasks(20, 86_400))
    await world.settle()
    calls.clear()
    await world.until(100)
    assert set(calls) == {"wake"}
    assert 95 <= calls["wake"] <= 105


async def test_a_slot_is_a_claim_and_a_finish(world: World) -> None:
    scheduler, calls = await counted(world)
    await scheduler.add_tasks(tasks(1, 60))
    await world.settle()
    calls.clear()
    await world.until(600)
    assert calls["claim"] == calls["finish"] == 10
    # One that finds the slot, one when it has started, and one when its end is recorded.
    assert calls["wake"] <= 3 * 10 + 1
    assert set(calls) == {"claim", "finish", "wake"}


async def test_many_slots_share_transactions(world: World) -> None:
    scheduler, calls = await counted(world, batch=100)
    await scheduler.add_tasks(tasks(300, 60))
    await world.settle()
    calls.clear()
    await world.until(60)
    assert len(await scheduler.runs(limit=1_000, statuses=["success"])) == 300
    # The last claim finds that there is no more; ends gather while a claim is under way.
    assert calls["claim"] <= 300 / 100 + 1
    assert calls["finish"] <= 2 * 300 / 100


async def test_renewals_do_not_depend_on_the_number_of_runs(light_world: World) -> None:
    world = light_world
    scheduler, calls = await counted(world, lease=30)

    async def wait(run: Any) -> None:
        await world.clock.sleep(95)

    scheduler.register_handler("nothing", wait)
    await scheduler.add_tasks(tasks(50, 200))
    await world.until(200)
    calls.clear()
    await world.until(290)
    # Every third of a lease, for all runs at once.
    assert 8 <= calls["renew"] <= 10


# --- SQLite alone


class Watched:
    """A storage in a SQLite file that counts, for its writer and its reader, what is executed."""

    def __init__(self, storage: SQLiteStorage) -> None:
        self.storage = storage
        self.written: list[str] = []
        self.read: list[str] = []
        self.steps = 0

    async def watch(self) -> None:
        def step() -> None:
            self.steps += 1

        pairs = ((self.storage._writer, self.written), (self.storage._reader, self.read))
        for thread, said in pairs:
            assert thread is not None
            await thread._call(_watching(thread, said, step))
        self.forget()

    def forget(self) -> None:
        self.written.clear()
        self.read.clear()
        self.steps = 0


def _watching(
    thread: SQLiteThread, said: list[str], step: Callable[[], None]
) -> Callable[[], None]:
    def watch() -> None:
        thread._connection.set_trace_callback(said.append)
        thread._connection.set_progress_handler(step, 1)

    return watch


async def watched(world: World, **options: Any) -> tuple[Scheduler, Watched]:
    scheduler = await world.scheduler(**options)
    scheduler.register_handler("nothing", nothing)
    storage = scheduler.storage
    assert isinstance(storage, SQLiteStorage)
    watched = Watched(storage)
    await watched.watch()
    return scheduler, watched


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_idling_writes_nothing_and_reads_the_same_however_many_tasks(world: World) -> None:
    scheduler, watched_ = await watched(world, poll=1)
    steps = []
    for count in (10, 2_000):
        await scheduler.add_tasks(tasks(count, 86_400))
        await world.settle()
        watched_.forget()
        await world.until((world.clock.now() - START).total_seconds() + 20)
        assert not watched_.written
        assert 19 <= len(watched_.read) <= 21
        steps.append(watched_.steps / len(watched_.read))
    assert steps[1] <= steps[0] * 1.05 + 5, steps


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_slot_is_two_transactions_of_few_statements(world: World) -> None:
    scheduler, watched_ = await watched(world)
    await scheduler.add_tasks(tasks(1, 60))
    await world.until(60)
    watched_.forget()
    await world.until(120)
    assert watched_.written.count("COMMIT") == 2
    assert len(watched_.written) <= 20, watched_.written
    assert len(watched_.read) <= 3, watched_.read


async def test_a_transaction_wakes_its_thread_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handed over statement by statement, a slot would start three times as late."""
    handed = 0
    call = SQLiteThread._call

    async def counted(self: SQLiteThread, function: Callable[[], Any]) -> Any:
        nonlocal handed
        handed += 1
        return await call(self, function)

    storage = SQLiteStorage(tmp_path / "cron.db")
    scheduler = Scheduler(storage)
    await scheduler.open()
    monkeypatch.setattr(SQLiteThread, "_call", counted)
    await scheduler.add_tasks([{**task, "handler": nothing} for task in tasks(50, 60)])
    # What is there, and what is to be there.
    assert handed == 2
    await scheduler.stop()
