"""Many tasks due at once: in order, in bounded memory, in few transactions."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from dataclasses import replace

import pytest
from core_kit import LIGHT, START, Gate, Through, World, at

from cronkit_core import RunQuery
from cronkit_core.engine import Engine
from cronkit_core.storage.base import TaskWrite

MINUTE = {"interval": 60}


@pytest.fixture(autouse=True)
async def without_debug():
    """asyncio's debug mode takes note of a traceback for each callback: not here."""
    asyncio.get_running_loop().set_debug(False)


def wishes(count: int, handler: str, **options):
    return [
        {"name": f"t{i:06}", "handler": handler, "schedule": MINUTE, **options}
        for i in range(count)
    ]


@pytest.mark.parametrize("backend", LIGHT, indirect=True)
async def test_two_thousand_at_once_start_by_priority(world: World) -> None:
    scheduler = await world.scheduler(max_concurrency=50, batch=200)
    order: list[int] = []

    async def note(run):
        order.append(run.task.record.priority)

    scheduler.register_handler("note", note)
    random.seed(5)
    priorities = [random.randrange(-100, 101) for _ in range(2_000)]
    tasks = wishes(2_000, "note", grace=600)
    await scheduler.add_tasks(
        [{**task, "priority": p} for task, p in zip(tasks, priorities, strict=True)]
    )
    await world.until(60)
    assert order == sorted(priorities, reverse=True)


class Counts(Through):
    """Counts calls, and what is alive at each of them."""

    def __init__(self, storage) -> None:
        super().__init__(storage)
        self.calls: dict[str, int] = {}
        self.engine: Engine | None = None
        self.alive = 0
        self.unrecorded = 0

    def __getattr__(self, name):
        self.calls[name] = self.calls.get(name, 0) + 1
        if self.engine is not None:
            self.alive = max(self.alive, len(self.engine.executions.all))
            self.unrecorded = max(self.unrecorded, len(self.engine.recorder.waiting))
        return super().__getattr__(name)


@pytest.mark.slow
@pytest.mark.timeout(600)  # it works all the time: beside others, that takes a while
async def test_a_hundred_thousand_due_at_once_in_bounded_memory(light_world: World) -> None:
    scheduler = await light_world.scheduler(Counts, max_concurrency=1_000, batch=500)
    counts = scheduler.storage
    ran = 0

    async def handler(run):
        nonlocal ran
        ran += 1

    scheduler.register_handler("h", handler)
    record = (await scheduler.add_task("t", "h", MINUTE)).record
    for i in range(0, 99_999, 1_000):
        writes = [
            TaskWrite(replace(record, name=f"t{i + j}")) for j in range(min(1_000, 99_999 - i))
        ]
        await scheduler.storage.save_tasks(writes, START)
    gc.disable()  # the hundred thousand that wait would be looked at again and again
    counts.engine = scheduler.engine
    counts.calls.clear()
    try:
        await light_world.until(60)
    finally:
        gc.enable()
    assert ran == 100_000
    # No more is alive than may run at once and is yet to be recorded.
    assert counts.alive <= 2_000
    assert counts.unrecorded <= 2_000
    # And no transaction for each run.
    assert counts.calls["claim"] <= 100_000 / 500 * 1.5 + 5
    assert counts.calls["finish"] <= 100_000 / 500 * 1.5 + 5
    assert not scheduler.engine.executions.all
    assert not scheduler.engine.recorder.waiting


@pytest.mark.parametrize("backend", LIGHT, indirect=True)
async def test_memory_does_not_grow_with_the_number_of_runs(world: World) -> None:
    """On SQLite; the memory storage keeps the history itself, which is pruned."""
    scheduler = await world.scheduler(keep_runs=2, prune_every=20, batch=100)

    async def handler(run):
        run.log("a line")
        return {"some": "output"}

    scheduler.register_handler("h", handler)
    await scheduler.add_tasks([{**w, "schedule": {"interval": 1}} for w in wishes(40, "h")])
    await world.until(25)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await world.until(80)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 2,200 runs: kept, each would be some 2 KB.
    assert after - before < 1_500_000


async def test_a_slow_storage_does_not_pile_up_what_is_claimed(light_world: World) -> None:
    """Ends gather while a write is under way; then no more is claimed."""

    class SlowFinish(Counts):
        async def finish(self, finishes, now):
            self.alive = max(self.alive, len(self.engine.executions.all))
            for _ in range(50):
                await asyncio.sleep(0)
            return await self.storage.finish(finishes, now)

    scheduler = await light_world.scheduler(SlowFinish, batch=20, max_concurrency=30)
    made = scheduler.storage
    made.engine = scheduler.engine

    async def handler(run):
        """Nothing."""

    scheduler.register_handler("h", handler)
    await scheduler.add_tasks(wishes(1_000, "h"))
    await light_world.until(60)
    assert len(await scheduler.runs(limit=2_000, statuses=["success"])) == 1_000
    assert made.alive <= 2 * 20 + 30 + 20


async def test_a_long_burst_holds_up_nothing_else(light_world: World) -> None:
    """Leases are renewed, cancellations seen and history pruned while claim follows upon claim."""
    clock, gate = light_world.clock, Gate()

    class SlowClaim(Counts):
        """A claim takes two seconds. After forty of them, somebody cancels a run."""

        left: list[float] = []
        claims = 0
        asked_at = None

        async def claim(self, *args, **options):
            claimed = await self.storage.claim(*args, **options)
            clock.advance(2)
            for _ in range(5):
                await asyncio.sleep(0)  # the others go on meanwhile
            self.claims += 1
            if gate.seen and self.asked_at is None:
                [run] = await self.storage.runs(RunQuery(ids=[gate.seen[0].id]))
                self.left.append((run.lease_until - clock.now()).total_seconds())
                if self.claims == 40:
                    self.asked_at = clock.now()
                    await self.storage.cancel(run.id, clock.now(), "ana")
            return claimed

    scheduler = await light_world.scheduler(SlowClaim, batch=1, poll=1.0, prune_every=20)
    made = scheduler.storage
    made.engine = scheduler.engine

    async def handler(run):
        """Nothing."""

    scheduler.register_handler("h", handler)
    await scheduler.add_task("long", gate, MINUTE, priority=1, max_runs=1)
    await scheduler.add_tasks(wishes(60, "h", max_runs=1))
    await light_world.until(60)
    assert clock.now() > at(180)
    assert len(await scheduler.runs(limit=100, statuses=["success"])) == 60
    assert min(made.left) >= 15
    assert made.calls["prune"] >= 5
    [cancelled] = await scheduler.runs("long")
    assert cancelled.reason == "cancelled"
    assert (cancelled.finished_at - made.asked_at).total_seconds() <= 5


@pytest.mark.parametrize("backend", LIGHT, indirect=True)
async def test_two_schedulers_share_a_burst(world: World) -> None:
    one = await world.scheduler(batch=50, max_concurrency=50)
    two = await world.scheduler(batch=50, max_concurrency=50)
    seen: list[tuple[str, object]] = []
    both: set[object] = set()
    both_work = asyncio.Event()

    def handler_of(scheduler):
        async def handler(run):
            seen.append((run.task.name, run.slot))
            # Whoever is faster has no room for more until the other one has some, too.
            both.add(scheduler)
            if len(both) == 2:
                both_work.set()
            await both_work.wait()

        return handler

    for scheduler in (one, two):
        scheduler.register_handler("h", handler_of(scheduler))
    await one.add_tasks(wishes(500, "h"))
    world.clock.advance(60)
    one.wake()
    two.wake()
    await world.settle()
    assert len(seen) == 500
    assert set(seen) == {(f"t{i:06}", at(60)) for i in range(500)}
    runs = await one.storage.runs(RunQuery(limit=1_000))
    assert {run.status for run in runs} == {"success"}
    assert len({run.owner for run in runs}) == 2
    assert min(run.slot for run in runs) > START
