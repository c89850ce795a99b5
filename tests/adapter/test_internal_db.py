"""The typed queries of `scheduler.internal_db`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cronkit_core.testing.virtual import VirtualClock, run_until, settle
from datasette_cron.models import CronRun, CronTask
from datasette_cron.scheduler import Scheduler

START = datetime(2027, 1, 1, tzinfo=UTC)


async def test_tasks(scheduler: Scheduler) -> None:
    assert await scheduler.internal_db.get_task("a") is None
    assert await scheduler.internal_db.get_all_tasks() == []
    for name in ("b", "a", "ä", 'x" OR 1=1 --'):
        await scheduler.add_task(name=name, handler="test:ok", schedule={"interval": 60})
    tasks = await scheduler.internal_db.get_all_tasks()
    assert [task.name for task in tasks] == ["a", "b", 'x" OR 1=1 --', "ä"]
    assert isinstance(tasks[0], CronTask)
    assert await scheduler.internal_db.get_task("a") == tasks[0]


async def test_runs_newest_first_in_pages(scheduler: Scheduler) -> None:
    await scheduler.add_task(name="a", handler="test:ok", schedule={"interval": 1})
    await scheduler.add_task(name="b", handler="test:fail", schedule={"interval": 2})
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=4))
    internal_db = scheduler.internal_db
    runs = await internal_db.get_runs("a")
    assert all(isinstance(run, CronRun) for run in runs)
    assert [run.started_at for run in runs] == [
        f"2027-01-01T00:00:0{second}.000000+00:00" for second in (4, 3, 2, 1)
    ]
    assert await internal_db.get_runs("a", limit=2) == runs[:2]
    assert await internal_db.get_runs("a", 2, 1) == runs[1:3]
    assert await internal_db.get_runs("a", limit=50, offset=4) == []
    every = await internal_db.get_all_runs()
    assert [run.id for run in every] == sorted((run.id for run in every), reverse=True)
    assert {(run.task_name, run.status) for run in every} == {("a", "success"), ("b", "error")}
    assert await internal_db.get_runs("nobody") == []


async def test_runs_that_have_not_started_are_not_among_them(scheduler: Scheduler) -> None:
    await scheduler.add_task(
        name="t", handler="test:fail", schedule={"interval": 60}, retry={"max_retries": 1}
    )
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=60))
    assert [run.status.value for run in await scheduler.runs("t")] == ["pending", "error"]
    assert [run.status for run in await scheduler.internal_db.get_runs("t")] == ["error"]
    assert [run.status for run in await scheduler.internal_db.get_all_runs()] == ["error"]
    # One that never starts is told of when it ends.
    await scheduler.disable_task("t")
    newest, _ = await scheduler.internal_db.get_runs("t")
    assert newest.error_message == "cancelled by disabling of the task"
    assert newest.started_at == newest.finished_at


async def test_a_running_run(scheduler: Scheduler) -> None:
    await scheduler.add_task(name="t", handler="test:hang", schedule={"interval": 60})
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=60))
    [run] = await scheduler.internal_db.get_runs("t")
    assert (run.status, run.finished_at, run.duration_ms) == ("running", None, None)


async def test_due_tasks(scheduler: Scheduler, clock: VirtualClock) -> None:
    for name, seconds in (("late", 10), ("later", 5), ("to come", 60), ("paused", 5)):
        await scheduler.add_task(name=name, handler="test:ok", schedule={"interval": seconds})
    await scheduler.disable_task("paused")
    assert await scheduler.internal_db.get_due_tasks() == []
    clock.advance(10)
    due = await scheduler.internal_db.get_due_tasks()
    assert [task.name for task in due] == ["later", "late"]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("2027-01-01T00:00:30", "2027-01-01T00:00:30.000000+00:00"),
        ("2027-01-01T00:00:30.250", "2027-01-01T00:00:30.250000+00:00"),
        ("2027-01-01 00:00:30", "2027-01-01T00:00:30.000000+00:00"),
        ("2027-01-01T01:00:30+01:00", "2027-01-01T00:00:30.000000+00:00"),
        ("2027-01-01T00:00:30Z", "2027-01-01T00:00:30.000000+00:00"),
    ],
)
async def test_update_next_run(scheduler: Scheduler, given: str, stored: str) -> None:
    await scheduler.add_task(name="t", handler="test:ok", schedule={"interval": 60})
    await scheduler.internal_db.update_next_run("t", given)
    task = await scheduler.internal_db.get_task("t")
    assert task is not None
    assert task.next_run_at == stored


async def test_update_next_run_wakes_the_scheduler(scheduler: Scheduler) -> None:
    await scheduler.add_task(name="t", handler="test:ok", schedule={"interval": 3600})
    scheduler.start()
    await settle(scheduler)
    await scheduler.internal_db.update_next_run("t", "2026-12-31T23:59:59")
    await settle(scheduler)
    assert len(await scheduler.internal_db.get_runs("t")) == 1
    task = await scheduler.internal_db.get_task("t")
    assert task is not None
    # After the moved one the schedule's own slots follow.
    assert task.next_run_at == "2027-01-01T01:00:00.000000+00:00"


async def test_update_next_run_refuses_what_it_cannot_do(scheduler: Scheduler) -> None:
    with pytest.raises(ValueError, match="Task not found: t"):
        await scheduler.internal_db.update_next_run("t", "2027-01-01T00:00:00")
    with pytest.raises(ValueError, match="bad next_run_at 'soon'"):
        await scheduler.internal_db.update_next_run("t", "soon")


async def test_what_other_hands_wrote_hides_nothing(scheduler: Scheduler) -> None:
    for name in ("good", "bad"):
        await scheduler.add_task(name=name, handler="test:ok", schedule={"interval": 60})
    await scheduler.datasette.get_internal_database().execute_write(
        "UPDATE datasette_cron_tasks SET config = 'no JSON' WHERE name = 'bad'"
    )
    bad, good = await scheduler.internal_db.get_all_tasks()
    assert (bad.config, good.config) == ({}, {})
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=60))
    assert len(await scheduler.internal_db.get_runs("good")) == 1
    assert "JSON" in ((await scheduler.get_task("bad")).broken or "")
