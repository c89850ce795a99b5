"""Start and stop: the grace of a shutdown, hurry, restarts, and who may stop what."""

from __future__ import annotations

import asyncio
import threading

import pytest
from core_kit import Fails, Gate, Hangs, IgnoresCancel, Notes, Through, World, at, story

from cronkit_core import Scheduler
from cronkit_core.testing.virtual import VirtualClock, run_until

MINUTE = {"interval": 60}
RETRY = {"max_retries": 3, "base": 1, "jitter": 0}


async def nothing(run):
    """A handler."""


# --- the grace -------------------------------------------------------------------------------


async def test_a_stop_lets_running_handlers_end(world: World) -> None:
    scheduler = await world.scheduler(shutdown_grace=10)
    notes = Notes(world.clock, seconds=5)
    await scheduler.add_task("t", notes, MINUTE)
    await world.until(60)
    await scheduler.stop()
    await scheduler.open()
    assert await story(scheduler, "t") == [(60, 1, "success", None)]
    assert world.clock.now() == at(65)


async def test_a_stop_interrupts_what_is_left_after_the_grace(world: World) -> None:
    scheduler = await world.scheduler(shutdown_grace=10)
    gate = Gate()
    await scheduler.add_task("retried", gate, MINUTE, retry=RETRY)
    await scheduler.add_task("not", gate, MINUTE)
    await world.until(60)
    await scheduler.stop()
    assert gate.cancelled == 2
    await scheduler.open()
    # By policy: one is to be tried again, in whatever process that is.
    assert await story(scheduler, "retried") == [
        (60, 1, "error", "interrupted"),
        (60, 2, "pending", None),
    ]
    assert await story(scheduler, "not") == [(60, 1, "error", "interrupted")]
    run = (await scheduler.runs("not"))[0]
    assert run.error_message == "interrupted: the scheduler was stopped"
    gate.open.set()
    scheduler.start()
    await world.until(100)
    assert (await story(scheduler, "retried"))[-1] == (60, 2, "success", None)


async def test_a_handler_that_brings_its_work_to_an_end_has_done_it(world: World) -> None:
    scheduler = await world.scheduler(shutdown_grace=1)
    gate = Gate()

    async def careful(run):
        try:
            await gate(run)
        except asyncio.CancelledError:
            return "saved"

    async def clumsy(run):
        try:
            await gate(run)
        finally:
            raise ValueError("while cleaning up")

    await scheduler.add_task("careful", careful, MINUTE)
    await scheduler.add_task("clumsy", clumsy, MINUTE)
    await world.until(60)
    await scheduler.stop()
    await scheduler.open()
    assert await story(scheduler, "careful") == [(60, 1, "success", None)]
    assert (await scheduler.runs("careful"))[0].output == '"saved"'
    assert await story(scheduler, "clumsy") == [(60, 1, "error", "interrupted")]


async def test_a_stop_does_not_wait_for_a_handler_that_ignores_it(world: World) -> None:
    scheduler = await world.scheduler(shutdown_grace=5)
    deaf = IgnoresCancel()
    await scheduler.add_task("t", deaf, MINUTE)
    await world.until(60)
    await scheduler.stop()
    assert world.clock.now() <= at(70)
    await scheduler.open()
    assert await story(scheduler, "t") == [(60, 1, "error", "interrupted")]


async def test_a_stop_does_not_wait_for_a_thread_that_hangs(light_world: World) -> None:
    scheduler = await light_world.scheduler(shutdown_grace=5)
    hanging, go_on = threading.Event(), threading.Event()

    def hangs(run):
        hanging.set()
        assert go_on.wait(10)

    await scheduler.add_task("t", hangs, MINUTE)
    light_world.clock.advance(60)
    scheduler.wake()
    await asyncio.to_thread(hanging.wait, 10)
    stopping = asyncio.create_task(scheduler.stop())
    # The virtual clock does not wind up while a thread works: time passes by hand here.
    while not stopping.done():
        light_world.clock.advance(1)
        await asyncio.sleep(0)
    await stopping
    assert await story(scheduler, "t") == [(60, 1, "error", "interrupted")]
    go_on.set()


async def test_a_stop_with_no_grace(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE)
    await world.until(60)
    await scheduler.stop(0)
    assert gate.cancelled == 1
    assert world.clock.now() == at(60)


async def test_a_second_stop_cuts_the_grace_short(light_world: World) -> None:
    scheduler = await light_world.scheduler(shutdown_grace=1e8)
    light_world.clock.wind_up = lambda over, idle: None  # so that the grace is not over at once
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE)
    await light_world.until(60)
    first = asyncio.create_task(scheduler.stop())
    for _ in range(50):
        await asyncio.sleep(0)
    assert gate.cancelled == 0
    second = asyncio.create_task(scheduler.stop())
    for _ in range(50):
        await asyncio.sleep(0)
    assert gate.cancelled == 1
    await asyncio.gather(first, second)
    assert await story(scheduler, "t") == [(60, 1, "error", "interrupted")]


async def test_nothing_is_claimed_once_a_stop_has_begun(world: World) -> None:
    scheduler = await world.scheduler(shutdown_grace=1000)
    notes = Notes(world.clock, seconds=500)
    await scheduler.add_task("long", notes, {"interval": 100})
    await scheduler.add_task("short", nothing, {"interval": 110})
    await world.until(100)
    await scheduler.stop()
    await scheduler.open()
    assert await story(scheduler, "long") == [(100, 1, "success", None)]
    assert await story(scheduler, "short") == []
    assert world.clock.now() == at(600)


async def test_a_claim_that_was_under_way_is_not_lost(world: World) -> None:
    scheduler = world.idle_scheduler(lambda storage: Hangs(storage, "claim"), shutdown_grace=30)
    hangs = scheduler.storage
    gate = Gate()
    gate.open.set()
    await scheduler.add_task("t", gate, MINUTE)
    world.clock.advance(60)
    scheduler.start()
    await hangs.reached.wait()
    stopping = asyncio.create_task(scheduler.stop())
    await asyncio.sleep(0)
    hangs.go_on.set()
    await stopping
    await scheduler.open()
    assert await story(scheduler, "t") == [(60, 1, "success", None)]


async def test_a_claim_that_waited_for_its_turn_is_not_made_after_a_stop(world: World) -> None:
    scheduler = await world.scheduler(lambda storage: Hangs(storage, "finish"), shutdown_grace=30)
    hangs = scheduler.storage
    await scheduler.add_task("first", nothing, MINUTE, max_runs=1)
    await scheduler.add_task("next", nothing, {"interval": 90})
    world.clock.advance(60)
    scheduler.wake()
    await hangs.reached.wait()  # the end of the first run is being recorded
    world.clock.advance(30)
    scheduler.wake()
    while scheduler.engine.last_tick != at(90):
        await asyncio.sleep(0)
    stopping = asyncio.create_task(scheduler.stop())
    await asyncio.sleep(0)
    hangs.go_on.set()
    await stopping
    await scheduler.open()
    assert await story(scheduler, "first") == [(60, 1, "success", None)]
    assert await story(scheduler, "next") == []


async def test_ends_that_cannot_be_recorded_count_as_lost(world: World, caplog) -> None:
    scheduler = await world.scheduler(lambda storage: Fails(storage, "finish"), lease=30)
    await scheduler.add_task("t", nothing, MINUTE, retry=RETRY, max_runs=1)
    await world.until(60)
    await scheduler.stop()
    assert "the ends of 1 runs could not be recorded: they will count as lost" in caplog.text
    scheduler.storage.broken.clear()
    scheduler.start()
    await world.until(200)
    assert await story(scheduler, "t") == [(60, 1, "error", "lost"), (60, 2, "success", None)]


# --- start, stop, and start again ------------------------------------------------------------


async def test_start_and_stop_as_often_as_you_like(world: World) -> None:
    scheduler = world.idle_scheduler()
    notes = Notes(world.clock)
    owners = set()
    await scheduler.stop()  # never started
    for i in range(1, 4):
        scheduler.start()
        scheduler.start()
        owners.add(scheduler.owner)
        await scheduler.add_task("t", notes, MINUTE)
        await world.until(60 * i)
        await scheduler.stop()
        await scheduler.stop()
    assert notes.slots == [60, 120, 180]
    assert len(owners) == 3  # so that what an earlier start left behind counts as lost


async def test_a_context_starts_and_stops(world: World) -> None:
    scheduler = world.idle_scheduler()
    async with scheduler as entered:
        assert entered is scheduler
        assert (await scheduler.status()).running
    assert not (await scheduler.status()).running
    with pytest.raises(ZeroDivisionError):
        async with scheduler:
            1 / 0  # noqa: B018
    assert not (await scheduler.status()).running


async def test_an_error_at_the_opening_is_raised_in_a_context(world: World) -> None:
    scheduler = world.idle_scheduler(lambda storage: Fails(storage, "open"))
    with pytest.raises(Exception, match="open fails"):
        async with scheduler:
            raise AssertionError("not reached")
    assert scheduler.engine is None


async def test_a_stop_right_after_the_start(world: World) -> None:
    scheduler = world.idle_scheduler()
    scheduler.start()
    await scheduler.stop()
    assert scheduler._work.done()
    scheduler.start()
    await asyncio.sleep(0)
    await scheduler.stop()
    assert scheduler._work.done()


async def test_a_stopped_scheduler_leaves_no_task_and_no_thread(light_world: World) -> None:
    before = asyncio.all_tasks()
    scheduler = await light_world.scheduler()
    await scheduler.add_task("a", nothing, MINUTE, timeout=5)
    await scheduler.add_task("s", lambda run: None, MINUTE)
    await light_world.until(120)
    await scheduler.stop()
    if light_world.clock._winding:
        await asyncio.wait(light_world.clock._winding)
    assert asyncio.all_tasks() == before
    for thread in threading.enumerate():
        if thread.name == "cronkit-handler":
            thread.join(5)
            assert not thread.is_alive()


async def test_who_gives_up_while_the_storage_opens_leaves_nothing_half_open(
    world: World,
) -> None:
    for turns in range(12):
        scheduler = world.idle_scheduler()
        opening = asyncio.create_task(scheduler.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        await scheduler.stop()
        scheduler.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        await scheduler.stop()
    names = [thread.name for thread in threading.enumerate()]
    # At most the connections that all schedulers of this world share.
    assert sum("connection_worker" in name for name in names) <= 2


# --- who stops -------------------------------------------------------------------------------


async def test_a_handler_may_stop_its_own_scheduler(world: World) -> None:
    scheduler = await world.scheduler(shutdown_grace=5)

    async def stops(run):
        await scheduler.stop()

    await scheduler.add_task("t", stops, MINUTE)
    await world.until(60)
    while not scheduler._work.done():
        world.clock.advance(1)
        await world.settle()
    await scheduler.stop()
    await scheduler.open()
    assert await story(scheduler, "t") == [(60, 1, "error", "interrupted")]


async def test_a_stop_of_an_engine_that_has_given_up_returns(light_world: World) -> None:
    scheduler = await light_world.scheduler(lambda storage: Fails(storage, "finish"))
    await scheduler.add_task("t", nothing, MINUTE)
    await light_world.until(60)
    await scheduler.stop()
    assert scheduler.engine.executions.all  # what could not be recorded
    await scheduler.engine.stop(10)


async def test_a_handler_may_ask_for_a_stop_and_go(world: World) -> None:
    scheduler = await world.scheduler()
    asked = []

    async def stops(run):
        asked.append(asyncio.create_task(scheduler.stop()))

    await scheduler.add_task("t", stops, MINUTE)
    await world.until(60)
    await asked[0]
    await scheduler.open()
    assert await story(scheduler, "t") == [(60, 1, "success", None)]


async def test_a_caller_that_gives_up_does_not_stop_the_stopping(light_world: World) -> None:
    scheduler = await light_world.scheduler(shutdown_grace=100)
    light_world.clock.wind_up = lambda over, idle: None
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE)
    await light_world.until(60)
    stopping = asyncio.create_task(scheduler.stop())
    for _ in range(10):
        await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    gate.open.set()
    while not scheduler._work.done():
        await asyncio.sleep(0)
    assert await story(scheduler, "t") == [(60, 1, "success", None)]


async def test_the_loop_ends_when_its_task_is_cancelled(light_world: World) -> None:
    """As asyncio.run does with what is left; the runs count as lost later."""
    scheduler = await light_world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE)
    await light_world.until(60)
    scheduler._work.cancel()
    await asyncio.wait([scheduler._work])
    await asyncio.sleep(0)
    assert gate.cancelled == 1
    await scheduler.stop()


# --- the virtual clock -----------------------------------------------------------------------


async def test_leaving_a_context_moves_the_virtual_clock_as_far_as_needed() -> None:
    clock = VirtualClock()
    scheduler = Scheduler(clock=clock, poll=3600)

    @scheduler.task({"interval": 600})
    async def slow(run):
        await clock.sleep(900)

    async with scheduler:
        await run_until(scheduler, at(610))
    assert clock.now() == at(620)  # the grace
    assert await story(scheduler, "slow") == [(600, 1, "error", "interrupted")]


async def test_time_stands_still_without_a_stop(light_world: World) -> None:
    scheduler = await light_world.scheduler(poll=1.0)
    await scheduler.add_task("t", nothing, {"interval": 1})
    for _ in range(200):
        await asyncio.sleep(0)
    assert await scheduler.runs() == []


async def test_settling_raises_what_ended_a_loop(light_world: World) -> None:
    class Ends(BaseException):
        """As a test's own time-out, which asyncio keeps in the task that it strikes."""

    class Strikes(Through):
        async def claim(self, *args, **options):
            raise Ends

    scheduler = await light_world.scheduler(Strikes)
    await scheduler.add_task("t", nothing, {"interval": 60})
    with pytest.raises(Ends):
        await light_world.until(60)
    assert not (await scheduler.status()).running
    assert isinstance(scheduler.failure, Ends)


async def test_settling_waits_for_who_takes_many_turns(light_world: World) -> None:
    done = []

    async def handler(run):
        for _ in range(200):
            await asyncio.sleep(0)
        done.append(run.slot)

    scheduler = await light_world.scheduler()
    await scheduler.add_task("t", handler, {"interval": 60})
    await light_world.until(60)
    assert done == [at(60)]


async def test_run_until_needs_a_virtual_clock() -> None:
    with pytest.raises(TypeError, match="run_until needs a VirtualClock, not SystemClock"):
        await run_until(Scheduler(), at(1))
