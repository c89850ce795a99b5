"""Every policy, through the engine, on every backend."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from core_kit import (
    BACKENDS,
    START,
    WITH_DATASETTE,
    Backend,
    Gate,
    IgnoresCancel,
    Notes,
    World,
    at,
    skipped,
    slots,
    story,
)

from cronkit_core import Fail, InvalidTask, Retry, TaskActive

MINUTE = {"interval": 60}
OK = "success"


@pytest.fixture(params=WITH_DATASETTE)
def backend(request: Any, tmp_path: Path) -> Backend:
    return BACKENDS[request.param](request, tmp_path)


# --- overlap ---------------------------------------------------------------------------------


async def test_skip_leaves_out_the_slots_of_a_task_that_is_active(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock, seconds=150)
    await scheduler.add_task("slow", notes, MINUTE)
    await world.until(400)
    assert notes.slots == [60, 240]
    # One row for the slots of one active run.
    assert await skipped(scheduler, "slow") == [(120, 180, 2, "overlap"), (300, 360, 2, "overlap")]


async def test_a_run_that_ends_at_the_instant_of_a_slot(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock, seconds=60)
    await scheduler.add_task("slow", notes, MINUTE)
    await world.until(360)
    told = slots(await scheduler.runs("slow")) + [s[0] for s in await skipped(scheduler, "slow")]
    assert sorted(told) == [60, 120, 180, 240, 300, 360]


async def test_queue_lets_the_newest_slot_wait(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock, seconds=140)
    await scheduler.add_task("slow", notes, MINUTE, overlap="queue")
    await world.until(400)
    # 60 runs until 200; of 120 and 180, 180 waits. It runs until 340; of 240 and 300, 300 waits.
    assert notes.runs == [(60, 60, 1), (200, 180, 1), (340, 300, 1)]
    assert await skipped(scheduler, "slow") == [(120, 120, 1, "overlap"), (240, 240, 1, "overlap")]
    assert (await story(scheduler, "slow"))[-1] == (360, 1, "pending", None)


async def test_cancel_ends_the_active_run_and_starts_the_new_one(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("slow", gate, MINUTE, overlap="cancel")
    await world.until(130)
    assert await story(scheduler, "slow") == [
        (60, 1, "error", "cancelled"),
        (120, 1, "running", None),
    ]
    runs = await scheduler.runs("slow")
    assert runs[1].error_message == "cancelled by a newer slot of the task"
    assert (gate.cancelled, len(gate.seen)) == (1, 2)
    task = await scheduler.get_task("slow")
    assert (task.last_status, task.record.failures) == (None, 0)  # nobody's failure
    gate.open.set()


async def test_cancel_takes_a_pending_retry_too(world: World) -> None:
    scheduler = await world.scheduler()
    seen = []

    async def fails(run):
        seen.append(run.slot - START)
        if len(seen) == 1:
            raise ValueError("once")

    retry = {"max_retries": 1, "backoff": "constant", "base": 500}
    await scheduler.add_task("t", fails, MINUTE, overlap="cancel", retry=retry)
    await world.until(125)
    assert await story(scheduler, "t") == [
        (60, 1, "error", "exception"),
        (60, 2, "error", "cancelled"),
        (120, 1, OK, None),
    ]


async def test_cancel_of_a_handler_that_ignores_it_waits_for_the_grace(world: World) -> None:
    scheduler = await world.scheduler(cancel_grace=15)
    deaf = IgnoresCancel()
    await scheduler.add_task("deaf", deaf, MINUTE, overlap="cancel")
    await world.until(134)
    assert await story(scheduler, "deaf") == [(60, 1, "running", None), (120, 1, "pending", None)]
    await world.until(136)
    assert await story(scheduler, "deaf") == [
        (60, 1, "error", "cancelled"),
        (120, 1, "running", None),
    ]
    deaf.open.set()


async def test_allow_starts_beside_the_active_run(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("slow", gate, MINUTE, overlap="allow")
    await world.until(200)
    assert await story(scheduler, "slow") == [(s, 1, "running", None) for s in (60, 120, 180)]
    gate.open.set()
    await world.settle()
    assert await story(scheduler, "slow") == [(s, 1, OK, None) for s in (60, 120, 180)]


async def test_a_pending_retry_makes_a_task_active(world: World) -> None:
    scheduler = await world.scheduler()

    async def fails(run):
        if run.attempt == 1:
            raise ValueError("first")

    retry = {"max_retries": 1, "backoff": "constant", "base": 90, "jitter": 0}
    await scheduler.add_task("t", fails, MINUTE, retry=retry)
    await world.until(160)
    assert await story(scheduler, "t") == [(60, 1, "error", "exception"), (60, 2, OK, None)]
    assert await skipped(scheduler, "t") == [(120, 120, 1, "overlap")]
    run = (await scheduler.runs("t"))[0]
    assert (run.started_at - START).total_seconds() == 150


# --- manual triggers obey overlap ------------------------------------------------------------


async def test_five_triggers_of_a_skip_task_run_once(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, "0 0 1 1 *")
    run_id = await scheduler.trigger_task("t")
    for _ in range(4):
        with pytest.raises(TaskActive, match=rf"task 't' is active \(run {run_id}\)"):
            await scheduler.trigger_task("t")
    await world.settle()
    with pytest.raises(TaskActive):
        await scheduler.trigger_task("t")
    assert len(gate.seen) == 1
    forced = await scheduler.trigger_task("t", force=True)
    await world.settle()
    assert [run.id for run in gate.seen] == [run_id, forced]
    gate.open.set()


async def test_triggers_of_a_queue_task_wait_in_line_of_one(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, "0 0 1 1 *", overlap="queue")
    first = await scheduler.trigger_task("t")
    await world.settle()
    waiting = {await scheduler.trigger_task("t") for _ in range(4)}
    assert len(waiting) == 1
    await world.settle()
    assert len(gate.seen) == 1
    gate.open.set()
    await world.settle()
    assert [run.id for run in gate.seen] == [first, *waiting]


async def test_a_trigger_of_a_cancel_task_takes_the_place_of_the_active_run(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, "0 0 1 1 *", overlap="cancel")
    await scheduler.trigger_task("t")
    await world.settle()
    second = await scheduler.trigger_task("t")
    await world.settle()
    assert (gate.cancelled, gate.seen[-1].id) == (1, second)
    gate.open.set()


async def test_a_slot_respects_a_manual_run(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE)
    await scheduler.trigger_task("t")
    await world.until(60)
    assert await skipped(scheduler, "t") == [(60, 60, 1, "overlap")]
    gate.open.set()


# --- catch-up --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "ran", "missed"),
    [
        ({}, [3600], [(60, 3540, 59, "missed")]),
        ({"catch_up": "all", "catch_up_limit": 3}, [3480, 3540, 3600], [(60, 3420, 57, "missed")]),
        ({"catch_up": "skip", "grace": 10}, [], [(60, 3600, 60, "missed")]),
        ({"catch_up": "skip", "grace": 60}, [3600], [(60, 3540, 59, "missed")]),
    ],
)
async def test_an_hour_without_anybody(world: World, options, ran, missed) -> None:
    away = world.idle_scheduler()
    await away.add_task("t", "handler", MINUTE, **options)
    world.clock.advance(3615)
    scheduler = world.idle_scheduler()
    notes = Notes(world.clock)
    scheduler.register_handler("handler", notes)
    scheduler.start()
    await world.settle()
    assert notes.slots == ran
    assert await skipped(scheduler, "t") == missed
    assert (await scheduler.get_task("t")).next_slot == at(3660)
    found = {run.triggered_by.value for run in await scheduler.runs("t")}
    assert found <= {"schedule", "catch-up"}


async def test_a_catch_up_runs_one_after_the_other(world: World) -> None:
    away = world.idle_scheduler()
    options = {"catch_up": "all", "grace": 10}
    await away.add_task("t", "handler", {"interval": 600}, **options)
    world.clock.advance(1850)
    scheduler = world.idle_scheduler()
    notes = Notes(world.clock, seconds=20)
    scheduler.register_handler("handler", notes)
    scheduler.start()
    await world.until(2000)
    assert notes.runs == [(1850, 600, 1), (1870, 1200, 1), (1890, 1800, 1)]


# --- retry -----------------------------------------------------------------------------------


async def test_retries_with_backoff(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)

    async def fails(run):
        await notes(run)
        raise ConnectionError(f"attempt {run.attempt}")

    retry = {"max_retries": 3, "backoff": "exponential", "jitter": 0}
    await scheduler.add_task("t", fails, {"interval": 3600}, retry=retry)
    await world.until(3700)
    assert notes.runs == [(3600, 3600, 1), (3602, 3600, 2), (3606, 3600, 3), (3614, 3600, 4)]
    last = (await scheduler.runs("t"))[0]
    assert (last.error_type, last.error_message) == ("ConnectionError", "attempt 4")
    assert "in fails" in last.error_traceback
    task = await scheduler.get_task("t")
    assert (task.last_status, task.record.failures) == ("error", 1)


async def test_a_pending_retry_survives_a_restart(world: World) -> None:
    first = await world.scheduler()

    async def fails(run):
        raise ValueError("no")

    retry = {"max_retries": 1, "backoff": "constant", "base": 100, "jitter": 0}
    await first.add_task("t", fails, MINUTE, retry=retry)
    await world.until(60)
    await first.stop()
    world.clock.advance(30)
    second = world.idle_scheduler()
    notes = Notes(world.clock)
    second.register_handler("t", notes)
    second.start()
    await world.until(161)
    assert notes.runs == [(160, 60, 2)]


async def test_retry_and_fail_are_words_of_the_handler(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)

    async def asks(run):
        await notes(run)
        if run.attempt == 1:
            raise Retry("busy", after=timedelta(seconds=7))
        if run.attempt == 2:
            raise Fail("no such account")

    retry = {"max_retries": 5, "on": ["OSError"]}
    await scheduler.add_task("t", asks, {"interval": 600}, retry=retry)
    await world.until(1000)
    assert notes.runs == [(600, 600, 1), (607, 600, 2)]
    assert [run.error_message for run in await scheduler.runs("t")] == ["no such account", "busy"]


async def test_a_wish_for_a_retry_counts(world: World) -> None:
    scheduler = await world.scheduler()

    async def asks(run):
        raise Retry(after=1)

    await scheduler.add_task("none", asks, {"interval": 600})
    await scheduler.add_task("one", asks, {"interval": 600}, retry={"max_retries": 1})
    await world.until(700)
    assert len(await scheduler.runs("none")) == 1
    assert len(await scheduler.runs("one")) == 2


class Transient(Exception):
    pass


class Worse(Transient):
    pass


@pytest.mark.parametrize(
    ("on", "error", "attempts"),
    [
        (["Transient"], Transient(), 2),
        (["Transient"], Worse(), 2),
        (["Worse"], Transient(), 1),
        (["test_engine_policies.Transient"], Worse(), 2),
        (["OSError"], Transient(), 1),
        (["OSError"], ConnectionResetError(), 2),
        (["Transient"], ExceptionGroup("both", [ValueError(), Worse()]), 2),
        (["ExceptionGroup"], ExceptionGroup("both", [ValueError()]), 2),
        (["TimeoutError"], TimeoutError(), 2),
    ],
)
async def test_on_names_what_is_worth_a_retry(light_world: World, on, error, attempts) -> None:
    scheduler = await light_world.scheduler()

    async def fails(run):
        raise error

    retry = {"max_retries": 1, "on": on, "base": 0}
    await scheduler.add_task("t", fails, {"interval": 600}, retry=retry)
    await light_world.until(700)
    assert len(await scheduler.runs("t")) == attempts


async def test_fail_in_a_group_is_final(light_world: World) -> None:
    scheduler = await light_world.scheduler()

    async def fails(run):
        raise ExceptionGroup("both", [ValueError(), ExceptionGroup("inner", [Fail("over")])])

    await scheduler.add_task("t", fails, {"interval": 600}, retry={"max_retries": 5, "base": 0})
    await light_world.until(700)
    assert len(await scheduler.runs("t")) == 1


async def test_give_up_after(world: World) -> None:
    scheduler = await world.scheduler()

    async def fails(run):
        raise ValueError("no")

    retry = {"max_retries": 99, "backoff": "constant", "base": 10, "jitter": 0, "give_up_after": 35}
    await scheduler.add_task("t", fails, {"interval": 600}, retry=retry)
    await world.until(1000)
    assert [run.attempt for run in await scheduler.runs("t")] == [4, 3, 2, 1]


# --- timeout ---------------------------------------------------------------------------------


async def test_an_attempt_that_takes_too_long(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, {"interval": 600}, timeout=5.5, retry={"max_retries": 1})
    await world.until(605)
    assert await story(scheduler, "t") == [(600, 1, "running", None)]
    await world.until(1000)
    assert await story(scheduler, "t") == [
        (600, 1, "error", "timeout"),
        (600, 2, "error", "timeout"),
    ]
    run = (await scheduler.runs("t"))[0]
    assert (run.error_type, run.error_message) == ("TimeoutError", "timed out after 5.5 s")
    assert run.duration_ms == 5500
    assert gate.cancelled == 2


async def test_a_timeout_of_a_handler_that_ignores_it(world: World, caplog) -> None:
    scheduler = await world.scheduler(cancel_grace=3)
    deaf = IgnoresCancel()
    await scheduler.add_task("t", deaf, {"interval": 600}, timeout=5)
    await world.until(607)
    assert await story(scheduler, "t") == [(600, 1, "running", None)]
    await world.until(609)
    assert await story(scheduler, "t") == [(600, 1, "error", "timeout")]
    assert "run 1 of 't' ignores its cancellation" in caplog.text
    deaf.open.set()
    await world.settle()
    assert "run 1 of 't' ended after its end was recorded: refused" in caplog.text
    assert await story(scheduler, "t") == [(600, 1, "error", "timeout")]


async def test_a_handler_that_swallows_its_timeout_has_timed_out(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()

    async def swallows(run):
        try:
            await gate(run)
        except BaseException:
            return "all is well"

    async def stumbles(run):
        try:
            await gate(run)
        finally:
            raise ValueError("while cleaning up")

    await scheduler.add_task("a", swallows, {"interval": 600}, timeout=5)
    await scheduler.add_task("b", stumbles, {"interval": 600}, timeout=5)
    await world.until(610)
    assert await story(scheduler, "a") == [(600, 1, "error", "timeout")]
    assert await story(scheduler, "b") == [(600, 1, "error", "timeout")]
    assert "while cleaning up" in (await scheduler.runs("b"))[0].error_traceback


# --- jitter, bounds, max_runs ----------------------------------------------------------------


async def test_jitter_starts_runs_later_and_keeps_their_slots(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, {"interval": 600}, jitter=100)
    await world.until(6_700)
    assert notes.slots == [600.0 * i for i in range(1, 11)] + [6600] * (len(notes.slots) - 10)
    late = [start - slot for start, slot, _ in notes.runs]
    assert all(0 <= seconds < 100 for seconds in late)
    assert len(set(late)) == len(late)
    for run in await scheduler.runs("t"):
        assert run.scheduled_for == run.started_at
        assert run.scheduled_for > run.slot


async def test_start_and_end(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, MINUTE, start_at=at(300), end_at=at(420))
    await world.until(1000)
    assert notes.slots == [300, 360, 420]
    task = await scheduler.get_task("t")
    assert (task.next_slot, task.next_run_at, task.enabled) == (None, None, True)


async def test_max_runs_ends_the_schedule_and_keeps_the_task(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, MINUTE, max_runs=3)
    await world.until(1000)
    assert notes.slots == [60, 120, 180]
    assert (await scheduler.get_task("t")).next_run_at is None
    # A trigger by hand is no slot.
    await scheduler.trigger_task("t")
    await world.settle()
    assert len(notes.runs) == 4
    await scheduler.update_task("t", max_runs=4)
    await world.until(2000)
    assert notes.slots[4:] == [1020]


async def test_retries_are_no_runs_of_their_own_for_max_runs(world: World) -> None:
    scheduler = await world.scheduler()

    async def fails(run):
        raise ValueError("no")

    await scheduler.add_task("t", fails, MINUTE, max_runs=2, retry={"max_retries": 1, "base": 1})
    await world.until(1000)
    assert [(run[0], run[1]) for run in await story(scheduler, "t")] == [
        (60, 1),
        (60, 2),
        (120, 1),
        (120, 2),
    ]


# --- pause_after_failures --------------------------------------------------------------------


async def test_slots_that_fail_in_a_row_pause_the_task(world: World) -> None:
    scheduler = await world.scheduler()
    wrong = {60, 120, 240, 300, 360}

    async def sometimes(run):
        if (run.slot - START).total_seconds() in wrong:
            raise ValueError("no")

    await scheduler.add_task(
        "t", sometimes, MINUTE, pause_after_failures=3, retry={"max_retries": 1, "base": 1}
    )
    await world.until(1000)
    task = await scheduler.get_task("t")
    assert not task.enabled
    record = task.record
    assert record.paused_by == "pause_after_failures"
    assert record.paused_note == "3 slots failed in a row"
    assert record.failures == 3
    assert slots(await scheduler.runs("t", statuses=["success"])) == [180]
    assert max(slots(await scheduler.runs("t"))) == 360
    # What it missed is told when it goes on, with the count from the beginning.
    await scheduler.enable_task("t")
    await world.until(1100)
    assert await skipped(scheduler, "t") == [(420, 960, 10, "disabled")]
    assert (await scheduler.get_task("t")).record.failures == 0


async def test_a_pause_ends_pending_retries_of_other_slots(world: World) -> None:
    scheduler = await world.scheduler()

    async def fails(run):
        if run.slot > at(60):
            raise Fail("at once")
        raise ValueError("later")

    retry = {"max_retries": 1, "backoff": "constant", "base": 1000}
    await scheduler.add_task(
        "t", fails, MINUTE, overlap="allow", pause_after_failures=1, retry=retry
    )
    await world.until(130)
    assert await story(scheduler, "t") == [
        (60, 1, "error", "exception"),
        (60, 2, "error", "cancelled"),
        (120, 1, "error", "exception"),
    ]


# --- limits ----------------------------------------------------------------------------------


async def test_max_concurrency(world: World) -> None:
    scheduler = await world.scheduler(max_concurrency=3)
    gate = Gate()
    for i in range(8):
        await scheduler.add_task(f"t{i}", gate, MINUTE, grace=3600)
    await world.until(60)
    assert len(gate.seen) == 3
    gate.open.set()
    await world.settle()
    assert len(gate.seen) == 8
    assert {run.slot for run in gate.seen} == {at(60)}


async def test_more_slots_of_one_task_than_there_is_room_for(world: World) -> None:
    away = world.idle_scheduler()
    options = {"overlap": "allow", "catch_up": "all", "group": "g"}
    await away.add_task("t", "h", MINUTE, **options)
    world.clock.advance(425)
    scheduler = world.idle_scheduler(max_concurrency=3, groups={"g": 2})
    notes = Notes(world.clock, seconds=1)
    scheduler.register_handler("h", notes)
    scheduler.start()
    await world.until(450)
    assert notes.runs == [(425.0 + i // 2, 60.0 * (i + 1), 1) for i in range(7)]


async def test_a_group_has_a_limit_of_its_own_across_schedulers(world: World) -> None:
    """In all schedulers together, never more than two at once, and nothing is lost."""
    one = await world.scheduler(groups={"api": 2}, poll=5.0, max_concurrency=2)
    two = await world.scheduler(groups={"api": 2}, poll=5.0, max_concurrency=2)
    active = most = 0
    ran = []

    async def limited(run):
        nonlocal active, most
        active += 1
        most = max(most, active)
        ran.append((run.task.name, run.slot))
        await world.clock.sleep(7)
        active -= 1

    free = Notes(world.clock)
    for scheduler in (one, two):
        scheduler.register_handler("limited", limited)
        scheduler.register_handler("free", free)
    for i in range(7):
        await one.add_task(f"t{i}", "limited", {"interval": 600}, group="api", grace=600)
    await one.add_task("free", "free", {"interval": 600})
    await world.until(660)
    assert most == 2
    assert sorted(ran) == [(f"t{i}", at(600)) for i in range(7)]
    assert free.runs == [(600, 600, 1)]  # who is in no group does not wait
    owners = {run.owner for run in await one.runs(limit=100)}
    assert len(owners) == 2


async def test_a_full_group_lets_others_by(world: World) -> None:
    scheduler = await world.scheduler(groups={"api": 1}, poll=5.0)
    gate = Gate()
    other = Notes(world.clock)
    await scheduler.add_task("a", gate, MINUTE, group="api", priority=50, grace=3600)
    await scheduler.add_task("b", gate, MINUTE, group="api", priority=50, grace=3600)
    await scheduler.add_task("other", other, MINUTE)
    await world.until(200)
    assert len(gate.seen) == 1
    assert other.slots == [60, 120, 180]
    gate.open.set()
    await world.until(210)
    assert len(gate.seen) >= 2


@pytest.mark.parametrize("limit", [{"groups": {"api": 1}}, {"max_concurrency": 1}])
async def test_without_room_overlap_is_decided_all_the_same(world: World, limit) -> None:
    """A slot that is skipped or cancels the active run needs no room."""
    scheduler = await world.scheduler(**limit, poll=5.0)
    gate = Gate()
    await scheduler.add_task("skips", gate, MINUTE, group="api", overlap="skip")
    await world.until(130)
    assert await skipped(scheduler, "skips") == [(120, 120, 1, "overlap")]
    await scheduler.update_task("skips", overlap="cancel")
    await world.until(190)
    assert gate.cancelled == 1
    assert (await story(scheduler, "skips"))[-1] == (180, 1, "running", None)
    gate.open.set()


async def test_a_group_without_a_limit_has_none(world: World) -> None:
    scheduler = await world.scheduler(groups={"other": 1}, max_concurrency=8)
    gate = Gate()
    for i in range(8):
        schedule = MINUTE if i < 5 else {"interval": 90}
        await scheduler.add_task(f"t{i}", gate, schedule, group="api")
    await world.until(60)
    assert len(gate.seen) == 5
    await world.until(90)
    assert len(gate.seen) == 8  # whatever of it is running already
    gate.open.set()


async def test_priority_orders_what_is_due_at_once(world: World) -> None:
    scheduler = await world.scheduler(max_concurrency=1)
    order = []

    async def note(run):
        order.append(run.task.record.priority)

    # A trigger of low priority waits too; a slot of high priority goes before it.
    for priority in (5, -100, 0, 100, 7, -3):
        await scheduler.add_task(f"t{priority}", note, MINUTE, priority=priority, grace=600)
    world.clock.advance(60)
    await world.settle()
    assert order == [100, 7, 5, 0, -3, -100]


async def test_a_trigger_has_the_priority_of_its_task(world: World) -> None:
    scheduler = world.idle_scheduler(max_concurrency=1)
    order = []

    async def note(run):
        order.append((run.task.record.priority, run.triggered_by.value))

    await scheduler.add_task("low", note, {"interval": 60}, priority=-1, overlap="allow")
    await scheduler.add_task("high", note, {"interval": 60}, priority=1)
    await scheduler.trigger_task("low")
    await scheduler.trigger_task("low")
    world.clock.advance(60)
    scheduler.start()
    await world.settle()
    assert order == [(1, "schedule"), (-1, "manual"), (-1, "manual"), (-1, "schedule")]


# --- history ---------------------------------------------------------------------------------


async def test_history_is_pruned_by_number_and_by_age(world: World) -> None:
    scheduler = await world.scheduler(keep_runs=5, prune_every=10)
    notes = Notes(world.clock)
    await scheduler.add_task("five", notes, MINUTE)
    await scheduler.add_task("two", notes, MINUTE, keep_runs=2)
    await scheduler.add_task("none", notes, MINUTE, keep_runs=0)
    await scheduler.add_task("young", notes, MINUTE, keep_for=150, keep_runs=1000)
    await world.until(1230)
    assert slots(await scheduler.runs("five")) == [960, 1020, 1080, 1140, 1200]
    assert slots(await scheduler.runs("two")) == [1140, 1200]
    assert await scheduler.runs("none") == []
    assert slots(await scheduler.runs("young")) == [1080, 1140, 1200]


async def test_history_of_a_removed_task_is_pruned_in_time(world: World) -> None:
    scheduler = await world.scheduler(keep_for=300, prune_every=10)
    await scheduler.add_task("t", Notes(world.clock), MINUTE)
    await world.until(125)
    await scheduler.remove_task("t")
    assert slots(await scheduler.runs("t")) == [60, 120]
    await world.until(400)
    assert slots(await scheduler.runs("t")) == [120]
    await world.until(500)
    assert await scheduler.runs("t") == []


async def test_an_active_run_is_not_pruned(world: World) -> None:
    scheduler = await world.scheduler(keep_for=1, keep_runs=1, prune_every=10, lease=30)
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE, overlap="allow")
    await world.until(400)
    assert len(await scheduler.runs("t", statuses=["running"])) == 6
    gate.open.set()
    await world.until(420)


# --- bad options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_concurency": 5}, "unknown option of the scheduler 'max_concurency': did you mean"),
        ({"max_concurrency": 0}, "bad max_concurrency 0: a whole number from 1 to 1000000000"),
        ({"max_concurrency": 1.5}, "bad max_concurrency 1.5: a whole number"),
        ({"lease": float("inf")}, r"bad lease inf: a number from 0 to .* seconds \(10 years\)"),
        ({"lease": 1e300}, r"bad lease 1e\+300: a number from 0 to"),
        ({"poll": float("nan")}, "bad poll nan: a number from 0 to"),
        ({"poll": 0}, "bad poll 0: more than 0 seconds"),
        ({"threads": True}, "bad threads True: a whole number"),
        ({"batch": 10**30}, "bad batch a number of 19 digits or more: a whole number"),
        ({"keep_for": 1e300}, r"bad keep_for 1e\+300: a number from 0 to"),
        ({"shutdown_grace": float("nan")}, "bad shutdown_grace nan: a number from 0 to"),
        ({"shutdown_grace": "10"}, "bad shutdown_grace '10': a number from 0 to"),
        ({"groups": ["a"]}, r"bad groups \['a'\]: a dict of limits"),
        ({"groups": {"a": 0}}, "bad limit 0 of group 'a': 1 or more"),
        ({"groups": {"": 1}}, "group is empty"),
        ({"name": ""}, "scheduler name is empty"),
    ],
)
def test_bad_options_of_a_scheduler(options, message) -> None:
    from cronkit_core import Scheduler

    with pytest.raises(InvalidTask, match=message):
        Scheduler(**options)


async def test_a_handler_may_leave_the_delay_of_a_retry_to_the_backoff(world: World) -> None:
    scheduler = await world.scheduler()

    async def busy(run):
        if run.attempt == 1:
            raise Retry

    retry = {"max_retries": 1, "backoff": "constant", "base": 7, "jitter": 0, "on": ["OSError"]}
    await scheduler.add_task("t", busy, {"interval": 60}, retry=retry)
    await world.until(66)
    assert [run.status for run in await scheduler.runs("t")] == ["pending", "error"]
    await world.until(68)
    assert [run.status for run in await scheduler.runs("t")] == ["success", "error"]
