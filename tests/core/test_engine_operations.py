"""Every operation of a Scheduler, on every backend, while it runs or not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from operator import attrgetter
from unittest.mock import ANY

import pytest
from core_kit import START, Gate, IgnoresCancel, Notes, World, at, skipped, slots, story

from cronkit_core import (
    Fate,
    HandlerNotFound,
    InvalidSchedule,
    InvalidTask,
    NaiveDatetime,
    RunNotFound,
    RunStarted,
    Scheduler,
    SkipReason,
    Task,
    TaskActive,
    TaskNotFound,
    TaskQuery,
    parse_schedule,
)
from cronkit_core.outcome import cancelled

MINUTE = {"interval": 60}
NEVER = "0 0 1 1 *"


async def nothing(run):
    """A handler."""


# --- add, update, remove ---------------------------------------------------------------------


async def test_add_is_seen_by_a_loop_that_sleeps(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)
    await world.until(30)
    task = await scheduler.add_task("t", notes, MINUTE)
    assert task.next_run_at == at(90)  # the interval counts from the creation
    await world.until(200)
    assert notes.slots == [90, 150]


async def test_add_by_another_process_is_seen_within_a_poll(world: World) -> None:
    scheduler = await world.scheduler(poll=1.0)
    notes = Notes(world.clock)
    scheduler.register_handler("handler", notes)
    other = world.idle_scheduler()
    await world.until(0.5)
    await other.add_task("t", "handler", {"interval": 2})
    await world.until(10)
    assert notes.runs[0] == (2, 2, 1)  # counted from the whole second of its creation


async def test_add_many_all_or_none(world: World) -> None:
    scheduler = await world.scheduler()
    wishes = [{"name": f"t{i}", "handler": nothing, "schedule": MINUTE} for i in range(1203)]
    tasks = await scheduler.add_tasks(wishes)
    assert [task.name for task in tasks] == [w["name"] for w in wishes]
    assert (await scheduler.status()).tasks == 1203
    for wrong, message in (
        ({"name": "new", "handler": "h"}, "a task needs schedule: {'name': 'new', 'handler': 'h'}"),
        ({"name": "t0", "handler": "h", "schedule": MINUTE}, "task name 't0' comes twice"),
        ({"name": "new", "handler": "h", "schedule": MINUTE, "x": 1}, "unknown option 'x'"),
    ):
        with pytest.raises(InvalidTask) as error:
            await scheduler.add_tasks([*wishes[:1], {**wishes[0], "name": "fresh"}, wrong])
        assert str(error.value).startswith(message)
    with pytest.raises(InvalidSchedule):
        await scheduler.add_tasks([{**wishes[0], "name": "fresh"}, {**wishes[0], "schedule": "x"}])
    assert (await scheduler.status()).tasks == 1203


def stored(tasks: list[Task]) -> list[Task]:
    """`tasks` as a storage has them, which counts ids and revisions for itself."""
    by_name = sorted(tasks, key=attrgetter("name"))
    return [replace(t, record=replace(t.record, id=ANY, revision=ANY)) for t in by_name]


async def test_add_answers_with_what_is_stored(light_world: World) -> None:
    """Texts that come again are parsed once: an `H` is its task's own all the same, and an interval
    counts from when its task was made."""
    scheduler = await light_world.scheduler()
    specs = [
        "0 8 * * *",
        "0 8 * * *",
        "H H * * *",
        "H H * * *",
        "90m",
        "FREQ=DAILY",
        {"interval": 7},
    ]
    wishes = [
        {"name": f"t{i}", "handler": "h", "schedule": spec, "timezone": zone, "config": {"i": i}}
        for i, (spec, zone) in enumerate(product(specs, [None, "Europe/Berlin"]))
    ]
    added = await scheduler.add_tasks(wishes)
    assert await scheduler.tasks() == stored(added)
    assert len({task.next_slot for task in added if "H" in str(task.schedule)}) == 4
    await light_world.until(100)
    wishes += [{**wish, "name": f"new {wish['name']}"} for wish in wishes]
    added = await scheduler.add_tasks(wishes)
    assert await scheduler.tasks() == stored(added)
    firsts = {task.name: task.next_slot for task in added}
    assert firsts["t8"] == at(90 * 60)
    assert firsts["new t8"] == at(100 + 90 * 60)


async def test_add_is_safe_at_every_start(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, MINUTE)
    await scheduler.disable_task("t")
    before = await scheduler.get_task("t")
    await world.until(40)
    again = world.idle_scheduler()
    await again.add_task("t", notes, MINUTE)
    assert await again.get_task("t") == before


async def test_declared_tasks_are_added_when_it_opens(world: World) -> None:
    scheduler = world.idle_scheduler()
    seen = []

    @scheduler.task("*/5 * * * *", timezone="Europe/Berlin", overlap="queue")
    async def refresh(run):
        seen.append(run.slot)

    @scheduler.task(MINUTE, name="other name")
    def other(run):
        """A sync one."""

    assert seen == []
    with pytest.raises(InvalidTask, match="task 'refresh' is declared twice"):
        scheduler.task(MINUTE, name="refresh")(nothing)
    with pytest.raises(InvalidTask, match="unknown option 'overlp'"):
        scheduler.task(MINUTE, overlp="skip")(nothing)
    with pytest.raises(InvalidSchedule):
        scheduler.task("every full moon")(nothing)
    async with scheduler:
        await world.until(300)
        assert [task.name for task in await scheduler.tasks()] == ["other name", "refresh"]
        assert seen == [at(300)]
    # At the next start they are there still, and nothing is declared anew.
    async with scheduler:
        await world.until(600)
    assert seen == [at(300), at(600)]


async def test_what_is_refused_replaces_no_handler(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, MINUTE)
    with pytest.raises(InvalidTask):
        await scheduler.add_task("t", nothing, MINUTE, timeout=-1)
    with pytest.raises(InvalidTask):
        await scheduler.add_tasks(
            [
                {"name": "t", "handler": nothing, "schedule": MINUTE},
                {"name": "u", "handler": nothing, "schedule": MINUTE, "priority": 101},
            ]
        )
    with pytest.raises(InvalidTask):
        await scheduler.update_task("t", handler=nothing, timeout=-1)
    with pytest.raises(TaskNotFound):
        await scheduler.update_task("v", handler=nothing)
    with pytest.raises(InvalidTask, match="a task is a dict of the arguments of add_task, not 5"):
        await scheduler.add_tasks([5])
    assert set(scheduler.handlers) == {"t"}
    await world.until(60)
    assert notes.slots == [60]


async def test_an_update_takes_effect_on_the_next_slot(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, {"interval": 600})
    await world.until(700)
    await scheduler.update_task("t", schedule=MINUTE)
    await world.until(800)
    await scheduler.update_task("t", schedule="0 * * * *", config={"a": 1})
    await world.until(7300)
    assert notes.slots == [600, 720, 780, 3600, 7200]
    assert await skipped(scheduler, "t") == []
    assert (await scheduler.get_task("t")).config == {"a": 1}


async def test_an_update_by_another_process(world: World) -> None:
    scheduler = await world.scheduler(poll=1.0)
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, {"interval": 600})
    other = world.idle_scheduler()
    await other.update_task("t", schedule={"interval": 10})
    await world.until(31)
    assert notes.slots == [10, 20, 30]


async def test_update_may_change_the_handler_and_whether_it_is_enabled(world: World) -> None:
    scheduler = await world.scheduler()
    one, two = Notes(world.clock), Notes(world.clock)
    await scheduler.add_task("t", one, MINUTE)
    await scheduler.update_task("t", handler=two)
    await world.until(60)
    assert (one.slots, two.slots) == ([], [60])
    assert not (await scheduler.update_task("t", enabled=False, timeout=5)).enabled
    await world.until(180)
    assert two.slots == [60]
    task = await scheduler.update_task("t", enabled=True)
    assert (task.enabled, task.policies.timeout) == (True, 5)
    with pytest.raises(InvalidTask, match="bad enabled 'no': True or False"):
        await scheduler.update_task("t", enabled="no")


async def test_operations_on_tasks_that_are_not_there(world: World) -> None:
    scheduler = await world.scheduler()
    for operation in (
        scheduler.update_task("no"),
        scheduler.enable_task("no"),
        scheduler.disable_task("no"),
        scheduler.trigger_task("no"),
        scheduler.get_task("no"),
        scheduler.backfill("no", START, START),
        scheduler.explain("no", START),
        scheduler.preview("no"),
    ):
        with pytest.raises(TaskNotFound, match="Task not found: no"):
            await operation
    assert await scheduler.remove_task("no") is False
    assert await scheduler.runs("no") == []


async def test_remove_cancels_the_active_run(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE)
    await world.until(60)
    assert await scheduler.remove_task("t") is True
    await world.settle()
    assert gate.cancelled == 1
    run = (await scheduler.runs("t"))[0]  # history stays
    assert (run.reason, run.error_message) == ("cancelled", "cancelled by removal of the task")
    await world.until(600)
    assert len(gate.seen) == 1
    assert await scheduler.tasks() == []


async def test_remove_may_leave_the_active_run(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE, retry={"max_retries": 3})
    await world.until(60)
    await scheduler.remove_task("t", cancel=False)
    gate.open.set()
    await world.settle()
    assert await story(scheduler, "t") == [(60, 1, "success", None)]


async def test_a_removed_task_is_not_retried(world: World) -> None:
    scheduler = await world.scheduler()
    go_on = asyncio.Event()

    async def fails(run):
        await go_on.wait()
        raise ValueError("no")

    retry = {"max_retries": 3, "base": 10}
    await scheduler.add_task("t", fails, MINUTE, retry=retry)
    await scheduler.add_task("p", fails, MINUTE, retry=retry)
    await world.until(60)
    await scheduler.remove_task("t", cancel=False)
    go_on.set()
    await world.settle()
    assert await story(scheduler, "t") == [(60, 1, "error", "exception")]
    # A retry that is pending ends with the task.
    await scheduler.remove_task("p")
    await world.until(600)
    assert await story(scheduler, "p") == [
        (60, 1, "error", "exception"),
        (60, 2, "error", "cancelled"),
    ]


async def test_a_task_that_is_made_anew_is_another_one(world: World) -> None:
    scheduler = await world.scheduler()
    deaf, notes = IgnoresCancel(), Notes(world.clock)
    await scheduler.add_task("t", deaf, MINUTE)
    await world.until(60)
    await scheduler.remove_task("t")
    await scheduler.add_task("t", notes, {"interval": 5})
    await world.until(66)
    # The old one's run is active still.
    assert await skipped(scheduler, "t") == [(65, 65, 1, "overlap")]
    deaf.open.set()
    await world.settle()
    # What it said late is not the new task's outcome.
    assert (await scheduler.get_task("t")).last_run_at is None
    await world.until(76)
    assert notes.slots == [70, 75]


async def test_two_at_once_edit_the_same_task(world: World) -> None:
    """Each edit is made on what the others have left."""
    one, two = world.idle_scheduler(), world.idle_scheduler()
    await one.add_task("t", "h", {"interval": 1})
    await asyncio.gather(
        *(one.update_task("t", timeout=i) for i in range(1, 11)),
        *(two.update_task("t", priority=i) for i in range(1, 11)),
        two.update_task("t", config={"a": 1}),
    )
    task = await one.get_task("t")
    assert task.config == {"a": 1}
    assert task.policies.timeout in range(1, 11)
    assert task.policies.priority in range(1, 11)
    assert task.record.revision == 22  # one for each


# --- enable, disable -------------------------------------------------------------------------


async def test_disable_keeps_who_and_why_and_ends_what_is_pending(world: World) -> None:
    scheduler = await world.scheduler()

    async def fails(run):
        raise ValueError("no")

    retry = {"max_retries": 1, "backoff": "constant", "base": 1000}
    await scheduler.add_task("t", fails, MINUTE, retry=retry)
    await world.until(70)
    await scheduler.disable_task("t", note="the disk is full", by="ana")
    task = await scheduler.get_task("t")
    assert not task.enabled
    record = task.record
    assert (record.paused_at, record.paused_by, record.paused_note) == (
        at(70),
        "ana",
        "the disk is full",
    )
    run = (await scheduler.runs("t"))[0]
    assert (run.attempt, run.reason) == (2, "cancelled")
    assert run.error_message == "cancelled by disabling of the task"
    await world.until(330)
    await scheduler.enable_task("t")
    assert (await scheduler.get_task("t")).next_slot == at(360)
    assert await skipped(scheduler, "t") == [(120, 300, 4, "disabled")]


async def test_disable_leaves_the_active_run_and_its_retry_is_not_made(world: World) -> None:
    scheduler = await world.scheduler()
    go_on = asyncio.Event()

    async def fails(run):
        await go_on.wait()
        raise ValueError("no")

    await scheduler.add_task("t", fails, MINUTE, retry={"max_retries": 3, "base": 1})
    await world.until(60)
    await scheduler.disable_task("t")
    go_on.set()
    await world.until(600)
    assert await story(scheduler, "t") == [(60, 1, "error", "exception")]
    assert (await scheduler.get_task("t")).last_status == "error"


async def test_a_disabled_task_can_be_triggered_and_retried(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)

    async def fails(run):
        await notes(run)
        raise ValueError("no")

    await scheduler.add_task("t", fails, MINUTE, retry={"max_retries": 1, "base": 1})
    await scheduler.disable_task("t")
    await scheduler.trigger_task("t")
    await world.until(600)
    assert [attempt for _, _, attempt in notes.runs] == [1, 2]


# --- trigger ---------------------------------------------------------------------------------


async def test_a_trigger_runs_at_once_and_moves_no_slot(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)
    await scheduler.add_task("t", notes, MINUTE)
    await world.until(30)
    run_id = await scheduler.trigger_task("t", by="ana")
    run = await scheduler.wait_for_run(run_id)
    assert (run.status, run.triggered_by, run.slot) == ("success", "manual", at(30))
    await world.until(120)
    assert notes.slots == [30, 60, 120]


async def test_a_trigger_while_nobody_runs_waits(world: World) -> None:
    away = world.idle_scheduler()
    away.register_handler("h", nothing)
    await away.add_task("t", "h", NEVER)
    run_id = await away.trigger_task("t", config={"own": 1})
    assert (await away.status()).pending_runs == 1
    world.clock.advance(1000)
    scheduler = await world.scheduler()
    seen = []
    scheduler.register_handler("h", lambda run: seen.append(run.config))
    await world.settle()
    assert seen == [{"own": 1}] or (await scheduler.get_run(run_id)).reason == "no-handler"


async def test_a_trigger_needs_a_handler_and_a_sound_config(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", "nobody's", NEVER)
    with pytest.raises(HandlerNotFound, match="Handler not found: nobody's"):
        await scheduler.trigger_task("t")
    await scheduler.add_task("t", nothing, NEVER)
    for bad in ([1], {"a": {1}}, {1: 2}):
        with pytest.raises(InvalidTask, match="config"):
            await scheduler.trigger_task("t", config=bad)
    with pytest.raises(InvalidTask, match="by is empty"):
        await scheduler.trigger_task("t", by="")
    assert await scheduler.runs() == []


async def test_triggers_at_one_instant_are_runs_of_their_own(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, NEVER, overlap="allow")
    ids = [await scheduler.trigger_task("t") for _ in range(5)]
    await world.settle()
    runs = await scheduler.runs("t")
    assert sorted(run.id for run in runs) == ids
    assert len({run.slot for run in runs}) == 5
    assert all(run.status == "success" for run in runs)


async def test_two_processes_trigger_a_skip_task_at_once(world: World) -> None:
    schedulers = [await world.scheduler(), await world.scheduler()]
    gate = Gate()
    for scheduler in schedulers:
        scheduler.register_handler("t", gate)
    await schedulers[0].add_task("t", "t", NEVER)
    found = await asyncio.gather(
        *(s.trigger_task("t") for s in schedulers for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, int) for result in found) == 1
    assert sum(isinstance(result, TaskActive) for result in found) == 9
    gate.open.set()


# --- cancel ----------------------------------------------------------------------------------


async def test_cancel_a_running_run(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, {"interval": 600}, retry={"max_retries": 3})
    await world.until(600)
    run_id = gate.seen[0].id
    assert await scheduler.cancel_run(run_id, by="ana") is True
    run = await scheduler.wait_for_run(run_id)
    assert (run.reason, run.error_message) == ("cancelled", "cancelled by ana")
    await world.until(1100)
    assert len(gate.seen) == 1  # it is not retried
    assert await scheduler.cancel_run(run_id) is False
    with pytest.raises(RunNotFound, match="Run not found: 999"):
        await scheduler.cancel_run(999)
    with pytest.raises(InvalidTask, match="by holds a NUL"):
        await scheduler.cancel_run(run_id, by="\0")


async def test_cancel_from_another_process(world: World) -> None:
    scheduler = await world.scheduler(poll=1.0)
    other = world.idle_scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, {"interval": 20})
    await world.until(20)
    await other.cancel_run(gate.seen[0].id, by="somebody else")
    await world.until(22)
    run = await other.get_run(gate.seen[0].id)
    assert (run.reason, run.error_message) == ("cancelled", "cancelled by somebody else")


async def test_cancel_is_seen_within_a_poll_by_a_process_without_room(light_world: World) -> None:
    """Though a slot comes due meanwhile, for which there is no room either."""
    scheduler = await light_world.scheduler(poll=10.0, lease=300.0, max_concurrency=1)
    other = light_world.idle_scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, {"interval": 20})
    await scheduler.add_task("another", gate, {"interval": 25})
    await light_world.until(21)
    await other.cancel_run(gate.seen[0].id)
    await light_world.until(31)
    assert (await other.get_run(gate.seen[0].id)).reason == "cancelled"


async def test_cancel_a_pending_run(world: World) -> None:
    scheduler = await world.scheduler()

    async def fails(run):
        raise ValueError("no")

    retry = {"max_retries": 3, "backoff": "constant", "base": 100}
    await scheduler.add_task("t", fails, {"interval": 600}, retry=retry)
    await world.until(600)
    pending = (await scheduler.runs("t"))[0]
    assert await scheduler.cancel_run(pending.id) is True
    await world.until(1100)
    assert await story(scheduler, "t") == [
        (600, 1, "error", "exception"),
        (600, 2, "error", "cancelled"),
    ]


async def test_cancel_of_a_run_before_its_first_step(light_world: World, caplog) -> None:
    scheduler = await light_world.scheduler()

    def cancel_soon(event):
        stop = (event.run.id, cancelled("somebody"))
        asyncio.get_running_loop().call_soon(scheduler.engine.executions.cancel, *stop)

    scheduler.on(RunStarted, cancel_soon)
    notes = Notes(light_world.clock)
    await scheduler.add_task("t", notes, {"interval": 60})
    await light_world.until(60)
    assert notes.runs == []
    assert await story(scheduler, "t") == [(60, 1, "error", "cancelled")]
    assert "ignores its cancellation" not in caplog.text


async def test_cancel_of_what_runs_lets_what_waits_go_on(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE, overlap="queue")
    await world.until(130)
    assert len(gate.seen) == 1
    await scheduler.cancel_run(gate.seen[0].id)
    await world.settle()
    assert [run.slot for run in gate.seen] == [at(60), at(120)]
    gate.open.set()


async def test_cancel_of_a_sync_handler_tells_it(light_world: World) -> None:
    import threading

    scheduler = await light_world.scheduler()
    running = threading.Event()

    def polite(run):
        running.set()
        while not run.cancelled:
            threading.Event().wait(0.001)

    await scheduler.add_task("t", polite, NEVER)
    run_id = await scheduler.trigger_task("t")
    await asyncio.to_thread(running.wait, 10)
    await scheduler.cancel_run(run_id)
    run = await scheduler.wait_for_run(run_id)
    assert run.reason == "cancelled"
    while scheduler.engine.threads.busy:
        await asyncio.sleep(0.001)


# --- wait_for_run ----------------------------------------------------------------------------


async def test_wait_for_a_run_of_another_process(world: World) -> None:
    scheduler = await world.scheduler(poll=1.0)
    other = world.idle_scheduler(poll=1.0)
    scheduler.register_handler("t", Notes(world.clock, seconds=20))
    other.register_handler("t", nothing)
    await other.add_task("t", "t", NEVER)
    run_id = await other.trigger_task("t")
    waiting = asyncio.create_task(other.wait_for_run(run_id))
    await world.until(10)
    assert not waiting.done()
    await world.until(25)
    assert (await waiting).status == "success"


async def test_wait_for_a_run_that_is_over_or_unknown(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, NEVER)
    run_id = await scheduler.trigger_task("t")
    await world.settle()
    assert (await scheduler.wait_for_run(run_id)).id == run_id
    with pytest.raises(RunNotFound):
        await scheduler.wait_for_run(run_id + 1)
    assert not any(scheduler.events._callbacks.values())


async def test_wait_ends_when_the_run_is_cancelled_before_it_starts(world: World) -> None:
    scheduler = world.idle_scheduler()
    await scheduler.add_task("t", nothing, NEVER)
    run_id = await scheduler.trigger_task("t")
    waiting = asyncio.create_task(scheduler.wait_for_run(run_id))
    await asyncio.sleep(0)
    await scheduler.cancel_run(run_id)
    assert (await waiting).reason == "cancelled"


# --- backfill --------------------------------------------------------------------------------


async def test_backfill_runs_past_slots_once_one_after_the_other(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock, seconds=1)
    await scheduler.add_task("t", notes, {"interval": 600})
    await world.until(1300)
    assert notes.slots == [600, 1200]
    ids = await scheduler.backfill("t", at(-1800), at(1500))
    assert len(ids) == 4
    assert await scheduler.backfill("t", at(-1800), at(1500)) == []  # each slot at most once
    await world.until(1400)
    assert notes.slots[2:] == [-1800, -1200, -600, 0]
    starts = [start for start, _, _ in notes.runs[2:]]
    assert starts == [1300, 1301, 1302, 1303]
    assert {run.triggered_by for run in await scheduler.runs("t") if run.id in ids} == {"backfill"}


async def test_backfill_all_at_once(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, {"interval": 600})
    await world.until(10)
    await scheduler.backfill("t", at(-1800), at(-600), overlap="allow")
    await world.settle()
    assert len(gate.seen) == 3
    gate.open.set()


async def test_backfill_of_what_was_missed(world: World) -> None:
    away = world.idle_scheduler()
    await away.add_task("t", "h", {"interval": 600})
    world.clock.advance(6010)
    scheduler = world.idle_scheduler()
    notes = Notes(world.clock)
    scheduler.register_handler("h", notes)
    scheduler.start()
    await world.settle()
    assert notes.slots == [6000]
    await scheduler.backfill("t", at(600), at(1800))
    await world.settle()
    assert notes.slots[1:] == [600, 1200, 1800]
    explained = await scheduler.explain("t", at(1200))
    assert explained.fate is Fate.RAN


async def test_backfill_keeps_within_bounds(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, {"interval": 1}, start_at=at(-5), end_at=at(3))
    await world.until(10)
    ids = await scheduler.backfill("t", at(-10), at(10))
    runs = [run for run in await scheduler.runs("t") if run.id in ids]
    assert slots(runs) == [-5, -4, -3, -2, -1, 0]
    # What has not come yet is the schedule's own to run.
    assert await scheduler.backfill("t", at(100), at(200)) == []
    assert await scheduler.backfill("t", at(-20), at(-30)) == []
    await scheduler.update_task("t", start_at=None, end_at=None)
    with pytest.raises(InvalidTask, match="names more than 10000 slots: take a shorter span"):
        await scheduler.backfill("t", at(-10_006), at(-6))
    with pytest.raises(InvalidTask, match="bad overlap 'cancel' of a backfill"):
        await scheduler.backfill("t", at(-10), at(10), overlap="cancel")
    with pytest.raises(NaiveDatetime):
        await scheduler.backfill("t", datetime(2027, 1, 1), at(10))


async def test_a_failed_backfill_is_retried_like_any_other(world: World) -> None:
    scheduler = await world.scheduler()
    seen = []

    async def fails(run):
        seen.append(run.attempt)
        raise ValueError("no")

    retry = {"max_retries": 1, "base": 1}
    await scheduler.add_task("t", fails, {"interval": 6000}, retry=retry)
    await world.until(10)
    await scheduler.backfill("t", at(-6000), at(-1))
    await world.until(100)
    assert seen == [1, 2]


async def test_a_task_whose_runs_follow_each_other_can_be_edited_all_the_same(
    world: World,
) -> None:
    """Each claim and each end changes the task; an operation must get its turn between them."""
    scheduler = await world.scheduler()
    ran = 0
    go_on = asyncio.Event()

    async def handler(run):
        nonlocal ran
        ran += 1
        if ran == 5:
            go_on.set()

    await scheduler.add_task("t", handler, {"interval": 600}, overlap="allow")
    await scheduler.backfill("t", at(-600 * 400), at(-1), overlap="queue")
    await go_on.wait()
    await scheduler.trigger_task("t", force=True)
    await scheduler.update_task("t", timeout=5)
    await scheduler.backfill("t", at(-600 * 500), at(-1), overlap="queue")
    await scheduler.disable_task("t")
    assert ran < 400
    assert (await scheduler.get_task("t")).policies.timeout == 5


# --- preview ---------------------------------------------------------------------------------


async def test_preview_of_a_task(world: World) -> None:
    scheduler = world.idle_scheduler()
    await scheduler.add_task("t", nothing, MINUTE, jitter=30, max_runs=3)
    found = await scheduler.preview("t", 5)
    assert [upcoming.slot for upcoming in found] == [at(60), at(120), at(180)]
    assert all(u.slot <= u.run_at < u.slot + timedelta(seconds=30) for u in found)
    assert found[0].run_at == (await scheduler.get_task("t")).next_run_at
    assert [u.local for u in found] == [u.slot for u in found]
    await scheduler.disable_task("t")
    assert await scheduler.preview("t", 5) == found  # as if it were enabled
    await scheduler.add_task("over", nothing, {"at": "2026-01-01T00:00Z"})
    assert await scheduler.preview("over") == []


async def test_preview_shows_what_clocks_do(light_world: World) -> None:
    scheduler = light_world.idle_scheduler()

    async def lines(schedule, zone, after, n):
        found = await scheduler.preview(
            schedule=schedule, timezone=zone, after=datetime.fromisoformat(after), n=n
        )
        return [(u.local.isoformat(), u.note) for u in found]

    assert await lines("30 2 * * *", "America/New_York", "2027-03-13T00:00Z", 3) == [
        ("2027-03-13T02:30:00-05:00", None),
        ("2027-03-14T03:00:00-04:00", "the clock went forward by 1 h"),
        ("2027-03-15T02:30:00-04:00", None),
    ]
    assert await lines("30 * * * *", "America/New_York", "2027-11-07T04:00Z", 4) == [
        ("2027-11-07T00:30:00-04:00", None),
        ("2027-11-07T01:30:00-04:00", "01:30 comes twice that day: this is the first"),
        (
            "2027-11-07T01:30:00-05:00",
            "the clock went back by 1 h; 01:30 comes twice that day: this is the second",
        ),
        ("2027-11-07T02:30:00-05:00", None),
    ]
    assert await lines("0 12 * * *", "Australia/Lord_Howe", "2027-04-02T12:00Z", 2) == [
        ("2027-04-03T12:00:00+11:00", None),
        ("2027-04-04T12:00:00+10:30", "the clock went back by 30 min"),
    ]
    assert await lines(parse_schedule("0 9 * * *", "Asia/Tokyo"), None, "2027-01-01T00:00Z", 1) == [
        ("2027-01-02T09:00:00+09:00", None)
    ]


async def test_preview_refuses_what_makes_no_sense(light_world: World) -> None:
    scheduler = light_world.idle_scheduler()
    with pytest.raises(InvalidTask, match="needs the name of a task, or a schedule"):
        await scheduler.preview()
    with pytest.raises(InvalidTask, match="bad n 0: a whole number from 1 to 10000"):
        await scheduler.preview(schedule=MINUTE, n=0)
    with pytest.raises(InvalidSchedule):
        await scheduler.preview(schedule="nonsense")
    with pytest.raises(NaiveDatetime):
        await scheduler.preview(schedule=MINUTE, after=datetime(2027, 1, 1))
    never = await scheduler.preview(schedule="0 0 30 2 *")
    assert never == []


# --- explain ---------------------------------------------------------------------------------


async def test_explain(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()

    async def handler(run):
        minute = (run.slot - START).total_seconds() / 60
        if minute == 2 and run.attempt == 1:
            raise ValueError("the server hung up")
        if minute == 4:
            await gate(run)
        if minute == 7:
            raise ValueError("the disk is full")

    async def why(minute: float) -> tuple[str, str]:
        found = await scheduler.explain("t", at(60 * minute))
        assert found.instant == at(60 * minute)
        return found.fate.value, found.text

    retry = {"max_retries": 1, "backoff": "constant", "base": 5, "jitter": 0, "on": ["ValueError"]}
    await scheduler.add_task("t", handler, MINUTE, retry=retry)
    await world.until(122)
    assert await why(1) == ("ran", "it ran, run 1, and ended well")
    assert await why(2) == ("pending", "it is to run at attempt 2 from 2027-01-01 00:02:05 UTC on")
    await world.until(130)
    assert await why(2) == ("ran", "it ran, run 3, and ended well at attempt 2")
    assert [run.attempt for run in (await scheduler.explain("t", at(120))).runs] == [1, 2]
    await world.until(310)
    assert await why(4) == ("running", "it is running, run 5")
    assert await why(5) == ("skipped", "it was skipped, since run 5 was active")
    gate.open.set()
    await world.until(430)
    fate, text = await why(7)
    assert (fate, text) == ("ran", "it ran, run 8, and failed at attempt 2: the disk is full")
    assert await why(7.5) == (
        "no-slot",
        "the schedule names no slot then; the one before is 2027-01-01 00:07:00 UTC, "
        "the one after is 2027-01-01 00:08:00 UTC",
    )
    assert await why(100) == ("future", "the slot is in the future")
    assert await why(-5) == ("before", "the task was made later, 2027-01-01 00:00:00 UTC")
    await scheduler.disable_task("t", note="maintenance", by="ana")
    await world.until(600)
    assert await why(9) == (
        "skipped",
        "the task is disabled since 2027-01-01 00:07:10 UTC by ana: maintenance",
    )
    await scheduler.enable_task("t")
    assert await why(9) == (
        "skipped",
        "the task was disabled (by ana: maintenance): 3 slots, "
        "2027-01-01 00:08:00 UTC to 2027-01-01 00:10:00 UTC",
    )
    await scheduler.stop()
    world.clock.advance(1800)
    await scheduler.open()
    assert await why(20) == ("due", "the slot is due, and has not been claimed yet")
    scheduler.start()
    await world.settle()
    assert await why(20) == (
        "missed",
        "it was missed: nobody was running, or had room for it, "
        "from 2027-01-01 00:11:00 UTC to 2027-01-01 00:40:00 UTC (29 slots)",
    )
    await scheduler.update_task("t", end_at=at(3000), max_runs=8)
    await world.until(2470)
    assert await why(60) == ("ended", "the task ended before, 2027-01-01 00:50:00 UTC")
    assert await why(45) == ("ended", "the schedule of the task is over")
    with pytest.raises(NaiveDatetime):
        await scheduler.explain("t", datetime(2027, 1, 1))


async def test_explain_after_edits_and_prunes(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, {"interval": 600}, start_at=at(600), keep_for=60)
    await world.until(1300)
    await scheduler.update_task("t", schedule="*/5 * * * *")
    assert (await scheduler.explain("t", at(900))).text == (
        "the schedule was another one until 2027-01-01 00:21:40 UTC"
    )
    assert (await scheduler.explain("t", at(300))).text == (
        "the task starts later, 2027-01-01 00:10:00 UTC"
    )
    pruning = await world.scheduler(prune_every=100)
    await world.until(2000)
    await pruning.stop()
    found = await scheduler.explain("t", at(1500))
    assert (found.fate, found.text) == (Fate.UNKNOWN, "its record has been pruned")


async def test_explain_of_a_disabled_task(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, MINUTE)
    await world.until(61)
    await scheduler.stop()  # so that the slot at 120 is not claimed any more
    world.clock.advance(60)
    await scheduler.disable_task("t", note="maintenance", by="ana")
    scheduler.start()
    await world.settle()
    await world.until(200)

    async def why(seconds: float) -> tuple[str, str]:
        found = await scheduler.explain("t", at(seconds))
        return found.fate.value, found.text

    disabled = "the task is disabled since 2027-01-01 00:02:01 UTC by ana: maintenance"
    assert await why(60) == ("ran", "it ran, run 1, and ended well")
    assert await why(120) == ("skipped", disabled)
    assert await why(180) == ("skipped", disabled)
    assert await why(240) == ("future", f"the slot is in the future, and {disabled}")


async def test_explain_of_a_slot_that_the_schedule_no_longer_names(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE)
    await world.until(130)
    gate.open.set()
    await world.settle()
    await scheduler.update_task("t", schedule={"interval": 3600})
    assert (await scheduler.explain("t", at(120))).text == (
        "it was skipped, since run 1 was active"
    )
    assert (await scheduler.explain("t", at(90))).text.endswith(
        "; until 2027-01-01 00:02:10 UTC the schedule may have been another one"
    )
    assert "another one" not in (await scheduler.explain("t", at(150))).text


async def test_explain_of_a_schedule_that_is_over(world: World) -> None:
    """What ran before its end, and was pruned, was not kept from running by the end."""
    scheduler = await world.scheduler(prune_every=20)
    await scheduler.add_task("t", nothing, MINUTE, max_runs=3, keep_runs=1)
    await world.until(300)
    assert (await scheduler.explain("t", at(60))).text == "its record has been pruned"
    assert (await scheduler.explain("t", at(180))).fate is Fate.RAN
    assert (await scheduler.explain("t", at(240))).text == "the schedule of the task is over"
    assert (await scheduler.explain("t", at(2400))).text == "the schedule of the task is over"


async def test_explain_of_a_broken_task(world: World) -> None:
    from dataclasses import replace

    from cronkit_core.storage.base import TaskWrite

    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, MINUTE)
    record = (await scheduler.get_task("t")).record
    broken = TaskWrite(replace(record, schedule_config="{}"))
    assert await scheduler.storage.save_tasks([broken], START) == []
    await world.until(60)
    found = await scheduler.explain("t", at(60))
    assert found.fate is Fate.BROKEN
    assert found.text.startswith("the task is broken: InvalidSchedule: ")
    assert (await scheduler.get_task("t")).broken == found.text.removeprefix("the task is broken: ")


# --- status and lists ------------------------------------------------------------------------


async def test_status(world: World) -> None:
    scheduler = world.idle_scheduler(name="worker")
    status = await scheduler.status()
    assert (status.running, status.last_tick, status.lateness_p50) == (False, None, None)
    gate = Gate()

    async def fails(run):
        raise ValueError("no")

    retry = {"max_retries": 1, "backoff": "constant", "base": 1000}
    await scheduler.add_task("slow", gate, MINUTE, overlap="queue")
    await scheduler.add_task("bad", fails, {"interval": 600}, retry=retry)
    scheduler.start()
    await world.until(600)
    status = await scheduler.status()
    assert status.owner.startswith("worker:")
    assert status.running
    assert status.last_tick == at(600)
    assert (status.tasks, status.executing, status.running_runs) == (2, 1, 1)
    assert (status.pending_runs, status.queued_runs, status.pending_retries) == (2, 1, 1)
    assert (status.lateness_p50, status.lateness_p99, status.stuck_threads) == (0, 0, 0)
    gate.open.set()
    await scheduler.stop()
    assert not (await scheduler.status()).running


async def test_lateness_is_of_slots_that_were_to_be_on_time(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, {"interval": 600})
    await world.until(1000)
    await scheduler.backfill("t", at(-6_000), at(-600))
    await world.settle()
    await scheduler.trigger_task("t", force=True)
    await world.settle()
    world.clock.advance(203)
    await world.until(1210)
    assert list(scheduler.engine.lateness) == [0, 3]


async def test_tasks_can_be_searched_and_paged(world: World) -> None:
    scheduler: Scheduler = world.idle_scheduler()
    for name in ("b", "a", "C", "ä"):
        await scheduler.add_task(name, nothing, MINUTE)
    await scheduler.disable_task("b")
    assert [task.name for task in await scheduler.tasks()] == ["C", "a", "b", "ä"]
    query = TaskQuery(limit=2, after="C")
    assert [task.name for task in await scheduler.tasks(query)] == ["a", "b"]
    assert [task.name for task in await scheduler.tasks(TaskQuery(enabled=False))] == ["b"]


async def test_operations_work_without_a_loop_and_after_a_stop(world: World) -> None:
    scheduler = world.idle_scheduler()
    await scheduler.add_task("t", nothing, MINUTE)
    run_id = await scheduler.trigger_task("t")
    await scheduler.cancel_run(run_id)
    await scheduler.stop()
    await scheduler.stop()
    assert (await scheduler.get_run(run_id)).reason == "cancelled"
    assert (await scheduler.get_task("t")).next_slot == datetime(2027, 1, 1, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("backend", ["sqlite-memory"], indirect=True)
async def test_a_day_in_the_life_of_a_scheduler_in_sqlites_memory(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()

    async def fails(run):
        raise ValueError("no")

    await scheduler.add_task("bad", fails, MINUTE, retry={"max_retries": 1, "base": 1, "jitter": 0})
    await scheduler.add_task("slow", gate, MINUTE, overlap="queue")
    await world.until(125)
    await scheduler.cancel_run(gate.seen[0].id)
    await scheduler.disable_task("bad")
    run_id = await scheduler.trigger_task("bad")
    await scheduler.wait_for_run(run_id)
    gate.open.set()
    await world.settle()
    assert await story(scheduler, "slow") == [
        (60, 1, "error", "cancelled"),
        (120, 1, "success", None),
    ]
    assert [status for _, _, status, _ in await story(scheduler, "bad")][:4] == ["error"] * 4


# --- what people ask


async def test_explain_of_a_time_that_people_write(world: World) -> None:
    """The slots have parts of a second, and the instants that are asked for have none."""
    scheduler = await world.scheduler()
    anchored = {"interval": 600, "anchor": at(37.25)}
    await scheduler.add_task("t", nothing, anchored)
    await world.until(700)
    said = "the slot at 2027-01-01 00:10:37.250000 UTC: it ran, run 2, and ended well"
    for asked in (637, 600):
        found = await scheduler.explain("t", at(asked))
        assert (found.fate, found.instant, found.text) == (Fate.RAN, at(637.25), said)
    for asked in (637.1, 636, 638, 660):
        assert (await scheduler.explain("t", at(asked))).fate is Fate.NO_SLOT
    await scheduler.add_task("often", nothing, {"interval": 0.4, "anchor": at(0.1)})
    assert (await scheduler.explain("often", at(720))).instant == at(720)  # several in that second


async def test_explain_tells_of_runs_by_hand(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, {"interval": 600})
    await world.until(630)
    for _ in range(5):
        await scheduler.trigger_task("t", force=True)
    await world.settle()
    found = await scheduler.explain("t", at(600))
    assert found.text.startswith("it ran, run 1, and ended well; it was run by hand at")
    assert "at 2027-01-01 00:10:30 UTC, run 2; " in found.text
    assert found.text.endswith("; 2 more times")
    assert ([run.id for run in found.runs], len(found.by_hand)) == ([1], 5)
    found = await scheduler.explain("t", at(640))
    assert (found.fate, "run by hand" in found.text) == (Fate.NO_SLOT, True)
    assert (await scheduler.explain("t", at(700))).by_hand == ()


async def test_slots_that_passed_while_a_task_was_disabled_are_known_after_an_edit(
    world: World,
) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, MINUTE)
    await scheduler.disable_task("t", note="maintenance", by="ana")
    await world.until(90)
    await scheduler.update_task("t", schedule={"interval": 3600})
    await scheduler.enable_task("t")
    found = await scheduler.explain("t", at(60))
    assert found.fate is Fate.SKIPPED
    assert found.text.startswith("the task was disabled (by ana: maintenance): 1 slot, ")
    assert [(s.count, s.reason) for s in await scheduler.skips("t")] == [(1, SkipReason.DISABLED)]
    assert await scheduler.skips("t", since=at(61)) == []
    assert await scheduler.skips("other") == []


async def test_a_queued_run_is_not_late(world: World) -> None:
    scheduler = await world.scheduler()
    gate = Gate()
    await scheduler.add_task("t", gate, MINUTE, overlap="queue")
    await world.until(170)
    assert (await scheduler.status()).executing == 1
    gate.open.set()
    await world.settle()
    assert (await scheduler.status()).executing == 0
    assert [run.status for run in await scheduler.runs("t")] == ["success"] * 2
    assert list(scheduler.engine.lateness) == [0]


async def test_explain_at_the_end_of_the_calendar(world: World) -> None:
    scheduler = await world.scheduler()
    await scheduler.add_task("t", nothing, MINUTE)
    found = await scheduler.explain("t", datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    assert found.fate.value == "future"
