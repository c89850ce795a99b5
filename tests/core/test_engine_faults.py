"""What may go wrong around the engine: storages that fail, hang or lie, clocks that are set,
processes that die or stall. Nothing stops the loop, and no slot is lost or run twice."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import replace

import pytest
from core_kit import (
    Fails,
    Gate,
    Hangs,
    IgnoresCancel,
    Notes,
    Through,
    World,
    at,
    dies,
    skipped,
    slots,
    story,
)

from cronkit_core import Event, LeaseLost, RunLost, StorageError
from cronkit_core.schedules.base import Schedule
from cronkit_core.storage.base import RunQuery, TaskWrite

MINUTE = {"interval": 60}
RETRY = {"max_retries": 3, "base": 1, "jitter": 0}


async def nothing(run):
    """A handler."""


# --- the storage fails -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["wake", "claim", "finish", "renew", "names_with_history"])
async def test_a_storage_that_fails_for_a_while(world: World, method: str, caplog) -> None:
    scheduler = await world.scheduler(Fails, poll=1.0, prune_every=5.0, lease=3)
    faults = scheduler.storage
    notes = Notes(world.clock, seconds=2)
    await scheduler.add_task("t", notes, {"interval": 10})
    await world.until(15)
    faults.broken.add(method)
    await world.until(45)
    assert faults.failed > 3
    faults.broken.clear()
    await world.until(75)
    told = slots(await scheduler.runs("t"))
    for first, _, count, _ in await skipped(scheduler, "t"):
        told += [first + 10 * i for i in range(count)]
    assert sorted(told) == [10, 20, 30, 40, 50, 60, 70]
    assert all(run.status == "success" for run in (await scheduler.runs("t"))[1:])
    assert len(notes.runs) == len(set(notes.slots))
    assert "trying again in" in caplog.text
    # It backs off: no more than a try every second or two.
    assert faults.failed < 45


async def test_a_storage_that_cannot_be_opened_yet(world: World, caplog) -> None:
    scheduler = world.idle_scheduler(lambda storage: Fails(storage, "open"))
    faults = scheduler.storage
    scheduler.register_handler("t", nothing)
    with pytest.raises(StorageError, match="open fails"):
        await scheduler.add_task("t", "t", MINUTE)
    scheduler.start()
    await world.until(20)
    assert "the storage cannot be opened, trying again in 0.2 s" in caplog.text
    faults.broken.clear()
    await world.until(40)
    await scheduler.add_task("t", "t", MINUTE)
    await world.until(100)
    assert await story(scheduler, "t") == [(100, 1, "success", None)]


async def test_a_scheduler_stops_although_its_storage_cannot_be_opened(world: World) -> None:
    scheduler = world.idle_scheduler(lambda storage: Fails(storage, "open"))
    scheduler.start()
    await world.until(3)
    await scheduler.stop()
    assert scheduler._work.done()


async def test_an_operation_whose_storage_fails_says_so(world: World) -> None:
    scheduler = world.idle_scheduler(lambda storage: Fails(storage, "save_tasks", "enqueue"))
    with pytest.raises(StorageError, match="save_tasks fails"):
        await scheduler.add_task("t", nothing, MINUTE)
    assert await scheduler.tasks() == []


class CancelsItself(Through):
    """A storage whose own work is cancelled, as at the shutdown of what it lives on."""

    cancels = False

    async def wake(self, *args, **options):
        if self.cancels:
            raise asyncio.CancelledError
        return await self.storage.wake(*args, **options)

    async def finish(self, *args, **options):
        if self.cancels:
            raise asyncio.CancelledError
        return await self.storage.finish(*args, **options)


async def test_a_storage_that_raises_a_cancellation_does_not_end_the_loop(world: World) -> None:
    scheduler = await world.scheduler(CancelsItself)
    faults = scheduler.storage
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE)
    await world.until(60)
    faults.cancels = True
    gate.open.set()
    await world.until(70)
    faults.cancels = False
    await world.until(120)
    assert await story(scheduler, "t") == [(60, 1, "success", None), (120, 1, "success", None)]


# --- a claim: committed or not, nobody knows -------------------------------------------------


async def test_a_claim_that_fails_before_its_commit(world: World) -> None:
    """FailsBeforeCommit: nothing was claimed, and it is claimed a little later."""
    scheduler = await world.scheduler(Fails)
    faults = scheduler.storage
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, MINUTE)
    faults.broken.add("claim")
    await world.until(60)
    faults.broken.clear()
    await world.until(61)
    assert notes.slots == [60]
    assert await story(scheduler, "t") == [(60, 1, "success", None)]


@pytest.mark.parametrize("busy", [False, True])
async def test_a_claim_whose_answer_is_lost(world: World, busy: bool, caplog) -> None:
    """FailsAfterCommit: the runs are ours without our knowing. They are adopted, not lost."""
    scheduler = await world.scheduler(lambda storage: Fails(storage, after=True))
    faults = scheduler.storage
    gate, notes = Gate(), Notes(world.clock)
    if busy:
        await scheduler.add_task("busy", gate, {"interval": 50})
        await world.until(50)
    await scheduler.add_task("t", notes, {"interval": 60})
    when = 110 if busy else 60
    faults.broken.add("claim")
    await world.until(when)
    faults.broken.clear()
    await world.until(when + 1)
    assert notes.runs == [(when + 0.2, when, 1)]
    assert await story(scheduler, "t") == [(when, 1, "success", None)]
    assert "was claimed unknowingly: starting it" in caplog.text
    gate.open.set()


async def test_runs_are_adopted_in_the_order_of_their_claims(light_world: World) -> None:
    """Storages list them in an order of their own."""

    class Reverses(Fails):
        def __getattr__(self, name):
            if name != "renew":
                return super().__getattr__(name)

            async def renew(*args):
                return sorted(await self.storage.renew(*args), key=lambda mine: -mine[0].id)

            return renew

    scheduler = await light_world.scheduler(lambda storage: Reverses(storage, "claim", after=True))
    faults = scheduler.storage
    begun = []

    async def notes(run):
        begun.append(run.id)

    for name in ("a", "b", "c"):
        await scheduler.add_task(name, notes, {"interval": 60}, max_runs=1)
    await light_world.until(60)
    faults.broken.clear()
    await light_world.until(61)
    assert len(begun) == 3
    assert begun == sorted(begun)


async def test_an_adopted_run_whose_task_is_gone(world: World) -> None:
    scheduler = await world.scheduler(lambda storage: Fails(storage, after=True))
    faults = scheduler.storage
    await scheduler.add_task("t", nothing, MINUTE)
    faults.broken.add("claim")
    await world.until(60)
    await scheduler.remove_task("t")
    faults.broken.clear()
    await world.until(61)
    run = (await scheduler.runs("t"))[0]
    assert run.status == "error"
    assert run.reason in ("broken", "cancelled")


async def test_an_adopted_run_whose_task_was_made_anew(world: World) -> None:
    """It is of the task that was removed: the other one neither executes it nor tries it again."""
    scheduler = await world.scheduler(lambda storage: Fails(storage, after=True))
    faults = scheduler.storage
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, MINUTE)
    faults.broken.add("claim")
    await world.until(60)
    await scheduler.remove_task("t", cancel=False)
    await scheduler.add_task("t", notes, {"interval": 600}, retry=RETRY)
    faults.broken.clear()
    await world.until(100)
    assert notes.runs == []
    [run] = await scheduler.runs("t")
    assert (run.slot, run.reason) == (at(60), "broken")
    assert run.error_message == "claimed, but its task cannot be read: it was removed"
    assert (await scheduler.get_task("t")).record.failures == 0


async def test_the_end_of_a_run_whose_answer_is_lost(world: World) -> None:
    scheduler = await world.scheduler(lambda storage: Fails(storage, "finish", after=True))
    faults = scheduler.storage

    async def fails(run):
        if run.attempt == 1:
            raise ValueError("once")

    events = []
    scheduler.on(Event, lambda event: events.append(type(event).__name__))
    await scheduler.add_task("t", fails, MINUTE, retry=RETRY)
    await world.until(61)
    faults.broken.clear()
    await world.until(70)
    assert await story(scheduler, "t") == [(60, 1, "error", "exception"), (60, 2, "success", None)]
    assert (await scheduler.get_task("t")).record.failures == 0
    assert events.count("RunFailed") == 1


# --- one end that the storage cannot take ----------------------------------------------------


class Refuses(Through):
    """A storage that fails for every batch with a run of the task "poison"."""

    async def finish(self, finishes, now):
        if any(finish.task_name == "poison" for finish in finishes):
            raise StorageError("poison")
        return await self.storage.finish(finishes, now)


async def test_an_end_that_cannot_be_recorded_lets_the_others_by(light_world: World) -> None:
    scheduler = await light_world.scheduler(Refuses)
    for name in ("a", "b", "poison", "y", "z"):
        await scheduler.add_task(name, nothing, MINUTE)
    await light_world.until(110)
    for name in ("a", "b", "y", "z"):
        assert await story(scheduler, name) == [(60, 1, "success", None)]
    assert await story(scheduler, "poison") == [(60, 1, "running", None)]


async def test_runs_that_end_while_others_cannot_be_recorded(world: World) -> None:
    scheduler = await world.scheduler(lambda storage: Fails(storage, "finish"))
    faults = scheduler.storage
    await scheduler.add_task("first", nothing, MINUTE, max_runs=1)
    await scheduler.add_task("second", nothing, {"interval": 61}, max_runs=1)
    async with asyncio.timeout(60):
        await world.until(62)
    assert await story(scheduler, "second") == [(61, 1, "running", None)]
    faults.broken.clear()
    await world.until(75)
    for name, slot in (("first", 60), ("second", 61)):
        assert await story(scheduler, name) == [(slot, 1, "success", None)]


# --- the storage hangs -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["wake", "claim", "renew"])
async def test_time_outs_hold_while_the_storage_hangs(light_world: World, method: str) -> None:
    scheduler = await light_world.scheduler(Hangs, poll=1.0)
    hangs = scheduler.storage
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE, timeout=20)
    await light_world.until(60)
    hangs.hanging.add(method)
    for _ in range(30):
        light_world.clock.advance(1)
        for _ in range(30):
            await asyncio.sleep(0)
    assert gate.cancelled == 1
    hangs.go_on.set()
    hangs.hanging.clear()
    await light_world.settle()
    assert await story(scheduler, "t") == [(60, 1, "error", "timeout")]


@pytest.mark.parametrize("method", ["wake", "claim", "finish"])
async def test_a_scheduler_stops_although_its_storage_hangs(
    light_world: World, method: str
) -> None:
    scheduler = light_world.idle_scheduler(lambda storage: Hangs(storage, method))
    hangs = scheduler.storage
    await scheduler.add_task("t", nothing, {"interval": 1})
    light_world.clock.advance(1)
    scheduler.start()
    await hangs.reached.wait()
    stopping = asyncio.create_task(scheduler.stop(grace=3))
    for _ in range(100):
        light_world.clock.advance(0.5)
        await asyncio.sleep(0)
    await stopping
    assert scheduler._work.done()


# --- leases ----------------------------------------------------------------------------------


async def test_a_process_that_dies_after_its_claim(world: World, caplog) -> None:
    """DiesAfterClaim: the run counts as lost when its lease is over, and is retried."""
    one = await world.scheduler(lease=30)
    gate = Gate()
    await one.add_task("t", gate, {"interval": 600}, retry=RETRY)
    await one.add_task("none", gate, {"interval": 600})
    await world.until(600)
    await dies(one)
    two = await world.scheduler(lease=30)
    notes, events = Notes(world.clock), []
    two.register_handler("t", notes)
    two.on(RunLost, lambda event: events.append((event.task_name, event.retry_at)))
    await world.until(629)
    assert notes.runs == []
    await world.until(640)
    assert notes.runs == [(632, 600, 2)]
    assert await story(two, "t") == [(600, 1, "error", "lost"), (600, 2, "success", None)]
    assert await story(two, "none") == [(600, 1, "error", "lost")]
    lost = (await two.runs("t"))[1]
    assert lost.error_message.startswith("lost: the process that ran this is gone (")
    assert lost.owner in lost.error_message
    assert sorted(events) == [("none", None), ("t", at(632))]
    assert "was lost: next attempt at" in caplog.text


async def test_the_same_process_after_a_restart(world: World) -> None:
    one = await world.scheduler(lease=30)
    notes = Notes(world.clock, seconds=1000)
    await one.add_task("t", notes, {"interval": 600}, retry=RETRY)
    await world.until(600)
    await dies(one)
    one.start()
    await world.until(640)
    assert notes.runs == [(600, 600, 1), (632, 600, 2)]


async def test_a_lost_run_for_which_a_cancel_was_asked_is_not_retried(world: World) -> None:
    one = await world.scheduler(lease=30)
    gate = Gate()
    await one.add_task("t", gate, {"interval": 600}, retry=RETRY)
    await world.until(600)
    run_id = gate.seen[0].id
    await dies(one)
    two = await world.scheduler(lease=30)
    await two.cancel_run(run_id)
    await world.until(1000)
    assert await story(two, "t") == [(600, 1, "error", "lost")]


async def test_a_removed_task_of_a_process_that_died(world: World) -> None:
    one = await world.scheduler(lease=30)
    gate = Gate()
    await one.add_task("t", gate, {"interval": 600}, retry=RETRY)
    await world.until(600)
    await dies(one)
    two = await world.scheduler(lease=30)
    await two.remove_task("t")
    await world.until(1000)
    assert await story(two, "t") == [(600, 1, "error", "lost")]


class LosesLease(Through):
    """A storage that does not hear of renewals, as when its process stalls."""

    deaf = False

    async def renew(self, owner, now, lease, reports=()):
        if self.deaf:
            raise StorageError("stalled")
        return await self.storage.renew(owner, now, lease, reports)


async def test_a_process_that_lost_its_lease_records_nothing(world: World, caplog) -> None:
    one = await world.scheduler(LosesLease, lease=30)
    stalled = one.storage
    gate, events = Gate(), []
    one.on(LeaseLost, lambda event: events.append(event.run.id))
    await one.add_task("t", gate, {"interval": 600}, retry=RETRY)
    await world.until(600)
    stalled.deaf = True
    two = await world.scheduler(lease=30)
    notes = Notes(world.clock)
    two.register_handler("t", notes)
    await world.until(650)
    assert notes.runs == [(632, 600, 2)]
    assert gate.cancelled == 0  # it cannot know yet
    gate.open.set()
    await world.settle()
    assert events == [gate.seen[0].id]
    assert await story(two, "t") == [(600, 1, "error", "lost"), (600, 2, "success", None)]
    assert "lost its lease: its outcome is not recorded" in caplog.text


async def test_a_process_that_learns_that_its_lease_is_lost_stops_the_handler(
    world: World,
) -> None:
    one = await world.scheduler(LosesLease, lease=30)
    stalled = one.storage
    gate = Gate()
    await one.add_task("t", gate, {"interval": 600}, retry=RETRY)
    await world.until(600)
    stalled.deaf = True
    two = await world.scheduler(lease=30)
    two.register_handler("t", Notes(world.clock, seconds=300))
    await world.until(640)
    assert gate.cancelled == 0
    stalled.deaf = False
    await world.until(660)
    assert gate.cancelled == 1
    assert await story(two, "t") == [(600, 1, "error", "lost"), (600, 2, "running", None)]


async def test_leases_are_renewed_while_a_handler_takes_its_time(world: World) -> None:
    one = await world.scheduler(lease=30)
    two = await world.scheduler(lease=30)
    notes = Notes(world.clock, seconds=500)
    for scheduler in (one, two):
        scheduler.register_handler("h", notes)
    await one.add_task("t", "h", {"interval": 600}, retry=RETRY)
    await world.until(1190)
    assert notes.runs == [(600, 600, 1)]
    assert await story(one, "t") == [(600, 1, "success", None)]


async def test_leases_are_renewed_while_the_end_of_another_run_is_written(
    light_world: World,
) -> None:
    """The call hangs for longer than a lease, and more slots come due that wait for their turn."""
    scheduler = await light_world.scheduler(Hangs, lease=30, poll=5)
    hangs, clock, gate = scheduler.storage, light_world.clock, Gate()
    await scheduler.add_task("long", gate, MINUTE, max_runs=1)
    await scheduler.add_task("short", nothing, {"interval": 20})
    await light_world.until(60)
    hangs.hanging.add("finish")
    least = math.inf
    for _ in range(100):
        clock.advance(1)
        for _ in range(30):
            await asyncio.sleep(0)
        [run] = await hangs.runs(RunQuery(task_name="long"))
        least = min(least, (run.lease_until - clock.now()).total_seconds())
    assert hangs.reached.is_set()
    hangs.hanging.clear()
    hangs.go_on.set()
    gate.open.set()
    await light_world.until(200)
    assert least > 10
    assert await story(scheduler, "long") == [(60, 1, "success", None)]
    assert slots(await scheduler.runs("short")) == [20, 40, 60, 80, 160, 180, 200]


async def test_who_is_cancelled_while_he_waits_for_the_turn_takes_it_from_nobody(
    light_world: World,
) -> None:
    """As at the end of an event loop, which cancels everything there is, one after the other."""
    engine = (await light_world.scheduler()).engine
    async with engine.turn:
        before = asyncio.all_tasks()
        waiting = asyncio.create_task(engine._take_turn(light_world.clock.monotonic() + 1_000))
        for _ in range(3):
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - before - {waiting}
        assert others
        for task in others:
            task.cancel()
        assert not await waiting
        assert engine.turn.locked()


async def test_a_process_does_not_take_its_own_runs_for_lost(light_world: World) -> None:
    """The event loop was blocked between the renewal and the claim, for longer than a lease."""
    scheduler = await light_world.scheduler(lease=30, poll=1.0)
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE, retry=RETRY, max_runs=1)
    await light_world.until(60)

    class Blocks(Through):
        async def wake(self, now, owner, full_groups=()):
            self.__class__ = Through
            light_world.clock.advance(100)
            return await self.storage.wake(light_world.clock.now(), owner, full_groups)

    scheduler.engine.storage = Blocks(scheduler.engine.storage)
    await light_world.until(170)
    assert await story(scheduler, "t") == [(60, 1, "running", None)]
    gate.open.set()
    await light_world.settle()
    assert await story(scheduler, "t") == [(60, 1, "success", None)]


# --- the wall clock is set -------------------------------------------------------------------


async def test_the_clock_steps_back(world: World) -> None:
    """No slot runs twice; the next one runs when the clock says so."""
    scheduler = await world.scheduler(poll=1.0)
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, MINUTE)
    await world.until(125)
    world.clock.jump(at(55))
    await world.until(190)
    assert notes.slots == [60, 120, 180]
    assert await skipped(scheduler, "t") == []


async def test_the_clock_steps_back_while_a_run_is_under_way(world: World) -> None:
    scheduler = await world.scheduler(poll=1.0, lease=30)
    notes = Notes(world.clock, seconds=50)
    await scheduler.add_task("t", notes, MINUTE, retry=RETRY, timeout=100)
    await world.until(70)
    world.clock.jump(at(-3000))
    await world.until(-2950)
    run = (await scheduler.runs("t"))[0]
    assert (run.status, run.duration_ms) == ("success", 50_000)
    assert run.finished_at == at(110)


async def test_the_clock_steps_forward(world: World) -> None:
    """That is a catch-up."""
    scheduler = await world.scheduler(poll=1.0)
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, MINUTE)
    await world.until(65)
    world.clock.jump(at(3725))
    await world.until(3730)
    assert notes.slots == [60, 3720]
    assert await skipped(scheduler, "t") == [(120, 3660, 60, "missed")]


async def test_suspend_and_resume_while_a_run_is_under_way(world: World) -> None:
    """The machine slept: its leases are over by the wall clock, but the process lives."""
    scheduler = await world.scheduler(poll=1.0, lease=30)
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE, retry=RETRY)
    await world.until(65)
    world.clock.jump(at(3600 + 65))
    await world.until(3600 + 70)
    assert await story(scheduler, "t") == [(60, 1, "running", None)]
    assert (await skipped(scheduler, "t"))[-1][3] == "overlap"
    gate.open.set()
    await world.settle()
    assert await story(scheduler, "t") == [(60, 1, "success", None)]


async def test_suspend_and_resume_of_a_machine_with_two_processes(light_world: World) -> None:
    """Who wakes first renews its leases before anybody looks for lost runs."""
    one = await light_world.scheduler(poll=1.0, lease=30)
    gate = Gate()
    await one.add_task("t", gate, {"interval": 600}, retry=RETRY)
    two = await light_world.scheduler(poll=1.0, lease=30)
    two.register_handler("t", gate)
    await light_world.until(600)
    owner = (await one.runs("t"))[0].owner
    first, second = (one, two) if one.owner == owner else (two, one)
    light_world.clock.jump(at(5000))
    first.wake()
    second.wake()
    await light_world.until(5010)
    assert (await story(one, "t"))[0] == (600, 1, "running", None)
    gate.open.set()


async def test_suspend_and_resume_of_one_of_two(world: World) -> None:
    """The other one took over; who comes back stops what is no longer its own."""
    one = await world.scheduler(lease=30)
    gate = Gate()
    await one.add_task("t", gate, {"interval": 600}, retry=RETRY)
    await world.until(600)
    # `one` stalls: it is not given a turn until 650.
    stalled = Hangs(one.engine.storage, "wake", "renew", "claim")
    one.engine.storage = stalled
    one.wake()
    await stalled.reached.wait()
    two = world.idle_scheduler(lease=30)
    notes = Notes(world.clock, seconds=300)
    two.register_handler("t", notes)
    world.clock.advance(50)
    two.start()
    while not notes.runs:
        world.clock.advance(1)
        for _ in range(50):
            await asyncio.sleep(0.0002)
    stalled.go_on.set()
    stalled.hanging.clear()
    await world.until(700)
    assert gate.cancelled == 1
    assert await story(two, "t") == [(600, 1, "error", "lost"), (600, 2, "running", None)]


# --- the loop --------------------------------------------------------------------------------


class WorksNotAlways(Schedule):
    """A schedule of somebody's own making, with a fault."""

    kind = "interval"

    def __init__(self, inner: Schedule) -> None:
        self.inner = inner

    @property
    def timezone(self):
        return None

    def next_after(self, after):
        if after >= at(60):
            raise ZeroDivisionError("somebody's own")
        return self.inner.next_after(after)

    def previous_before(self, before):
        return self.inner.previous_before(before)

    def describe(self):
        return self.inner.describe()

    def to_dict(self):
        return self.inner.to_dict()


class ForgetsWhoPaused(Through):
    """A storage whose own work is cancelled while it is asked which tasks failures have paused."""

    async def tasks(self, query):
        if query.enabled is False:
            raise asyncio.CancelledError
        return await self.storage.tasks(query)


async def test_a_storage_that_is_cancelled_from_within_stops_no_recorder(
    light_world: World, caplog
) -> None:
    async def fails(run):
        raise ValueError("no")

    scheduler = await light_world.scheduler(ForgetsWhoPaused)
    await scheduler.add_task("bad", fails, MINUTE, pause_after_failures=1)
    await scheduler.add_task("good", nothing, {"interval": 70})
    await light_world.until(80)
    assert await story(scheduler, "bad") == [(60, 1, "error", "exception")]
    assert await story(scheduler, "good") == [(70, 1, "success", None)]
    assert "whether failures have disabled ['bad'] is not known" in caplog.text


async def test_a_schedule_that_raises_breaks_its_task_alone(
    light_world: World, monkeypatch
) -> None:
    from cronkit_core import definition

    load = definition.load_schedule
    scheduler = await light_world.scheduler()
    notes = Notes(light_world.clock)
    await scheduler.add_task("bad", nothing, {"interval": 60})
    await scheduler.add_task("good", notes, {"interval": 30})
    monkeypatch.setattr(
        definition,
        "load_schedule",
        lambda config, zone: (
            WorksNotAlways(load(config, zone)) if "60" in config else load(config, zone)
        ),
    )
    await light_world.until(120)
    assert notes.slots == [30, 60, 90, 120]
    task = await scheduler.get_task("bad")
    assert task.broken == "ZeroDivisionError: somebody's own"


class Hears(Through):
    """A storage that hears of what other processes write, as PostgreSQL does."""

    def subscribe(self, changed):
        self.changed = changed


async def test_a_pending_run_says_why_its_task_is_broken(world: World, caplog) -> None:
    """Its task is found broken in the claim that the run would have started in."""
    scheduler = await world.scheduler()

    async def fails(run):
        raise ValueError("once")

    await scheduler.add_task("t", fails, MINUTE, retry={**RETRY, "base": 30})
    await world.until(60)
    record = (await scheduler.get_task("t")).record
    write = TaskWrite(replace(record, policies='{"timeout": "soon"}'))
    assert await scheduler.storage.save_tasks([write], at(61)) == []
    await world.until(120)
    retry = (await scheduler.runs("t"))[0]
    assert (retry.attempt, retry.status, retry.reason) == (2, "error", "broken")
    assert retry.error_message.startswith("the task is broken: InvalidTask: bad timeout 'soon'")
    assert (await scheduler.get_task("t")).broken in retry.error_message
    assert caplog.text.count("task 't' is broken: ") == 1


async def test_a_hint_of_the_storage_wakes_the_loop(light_world: World) -> None:
    scheduler = await light_world.scheduler(Hears)
    hears = scheduler.storage
    notes = Notes(light_world.clock)
    scheduler.register_handler("h", notes)
    other = light_world.idle_scheduler()
    other.register_handler("h", notes)
    await other.add_task("t", "h", "0 0 1 1 *")
    await other.trigger_task("t")
    await light_world.settle()
    assert notes.runs == []
    hears.changed()
    await light_world.settle()
    assert len(notes.runs) == 1


async def test_the_loop_does_not_spin(light_world: World) -> None:
    """Nothing to do, or only something to wait for: one tick for each reason to wake."""
    scheduler = await light_world.scheduler(poll=1.0, prune_every=30)
    gate, deaf = Gate(), IgnoresCancel()
    await scheduler.add_task("gate", gate, {"interval": 100}, group="g")
    await scheduler.add_task("full", gate, {"interval": 100}, group="g")
    await scheduler.add_task("deaf", deaf, {"interval": 100}, timeout=5)
    object.__setattr__(scheduler.settings, "groups", {"g": 1})
    calls = []

    class Counts(Through):
        def __getattr__(self, name):
            calls.append(name)
            return super().__getattr__(name)

    await light_world.until(100)
    scheduler.engine.storage = Counts(scheduler.engine.storage)
    await light_world.until(200)
    assert calls.count("wake") < 220  # a group that is full is looked at once a second
    assert calls.count("claim") < 130
    assert calls.count("renew") < 20
    gate.open.set()
    deaf.open.set()


async def test_an_idle_tick_asks_once(light_world: World) -> None:
    scheduler = await light_world.scheduler(poll=1.0)
    await scheduler.add_task("t", nothing, {"interval": 3600})
    calls = []

    class Counts(Through):
        def __getattr__(self, name):
            calls.append(name)
            return super().__getattr__(name)

    scheduler.engine.storage = Counts(scheduler.engine.storage)
    await light_world.until(10)
    assert calls == ["wake"] * len(calls)
    assert 9 <= len(calls) <= 12


async def test_errors_of_the_loop_are_logged_with_their_traceback(
    light_world: World, caplog
) -> None:
    scheduler = await light_world.scheduler(lambda storage: Fails(storage), poll=1.0)
    scheduler.storage.broken.add("wake")
    with caplog.at_level(logging.WARNING):
        await light_world.until(3)
    failed = [r for r in caplog.records if r.name == "cronkit.engine"]
    assert failed[0].getMessage() == "tick failed, trying again in 0.2 s"
    assert failed[0].exc_info is not None


async def test_a_deadline_is_forgotten_with_its_run(light_world: World) -> None:
    """Time-outs of runs that are over do not pile up."""
    scheduler = await light_world.scheduler()
    for i in range(100):
        await scheduler.add_task(f"t{i}", nothing, {"interval": 1}, timeout=100_000)
    await light_world.until(20)
    assert len(await scheduler.runs(limit=5_000)) == 2_000
    assert len(scheduler.engine.executions._deadlines) < 1_500


async def test_what_is_raised_while_ends_are_told_stops_no_recorder(
    light_world: World, monkeypatch, caplog
) -> None:
    scheduler = await light_world.scheduler()
    engine = scheduler.engine
    told = engine._announcer.ended

    def ended(run, finish) -> None:
        if run.id == 1:
            raise RuntimeError("planted")
        told(run, finish)

    monkeypatch.setattr(engine._announcer, "ended", ended)
    await scheduler.add_task("t", nothing, {"interval": 60})
    await light_world.until(130)
    assert [run.status for run in await scheduler.runs("t")] == ["success"] * 2
    assert not engine.executions.all
    assert "the ends of 1 runs are recorded, but not told" in caplog.text


@pytest.mark.parametrize("helper", ["recorder", "executions"])
async def test_a_helper_that_ends_is_started_anew(
    light_world: World, monkeypatch, caplog, helper: str
) -> None:
    scheduler = light_world.idle_scheduler()
    await scheduler.open()
    scheduler.start()
    part = getattr(scheduler.engine, helper)
    method = "run" if helper == "recorder" else "watch"
    work, calls = getattr(part, method), []

    async def ends_once() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("planted")
        await work()

    monkeypatch.setattr(part, method, ends_once)
    await scheduler.add_task("t", nothing, {"interval": 60})
    await light_world.until(130)
    assert [run.status for run in await scheduler.runs("t")] == ["success"] * 2
    assert (len(calls), scheduler.failure) == (2, None)
    assert "a part of the scheduler ended, starting it anew" in caplog.text
