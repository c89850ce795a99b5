"""How the packages are used from outside, for type checkers to read: it is never executed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import assert_type

from cronkit_core import (
    ActiveRun,
    Explanation,
    Fail,
    MemoryStorage,
    PostgresStorage,
    Retry,
    Run,
    RunFailed,
    Schedule,
    Scheduler,
    SchedulerStatus,
    SQLiteStorage,
    Storage,
    Task,
    UpcomingSlot,
    current_run,
    lint,
    parse_crontab,
    parse_schedule,
)

# Schedules

schedule = parse_schedule("0 8 * * 1-5", "Europe/Berlin")
assert_type(schedule, Schedule)
after = datetime(2027, 1, 1, tzinfo=UTC)
assert_type(schedule.next_after(after), datetime | None)
assert_type(schedule.previous_before(after), datetime | None)
assert_type(schedule.upcoming(after, 3), list[datetime])
assert_type(schedule.between(after, after + timedelta(days=1)), Iterator[datetime])
assert_type(schedule.count_between(after, after), int)
assert_type(schedule.describe(), str)
for warning in lint(schedule):
    assert_type(warning.code, str)
for line in parse_crontab("0 8 * * * backup"):
    assert_type(line.schedule, Schedule | None)  # None: at @reboot

# Storages

storages: list[Storage] = [
    MemoryStorage(),
    SQLiteStorage("jobs.db", synchronous="NORMAL"),
    PostgresStorage("postgresql://localhost/jobs", schema="jobs"),
]

# A scheduler

scheduler = Scheduler(storages[0], max_concurrency=10, groups={"imports": 2})


@scheduler.task("*/5 * * * *", retry={"max_retries": 3})
async def refresh(run: ActiveRun) -> dict[str, int]:
    assert_type(run.slot, datetime)
    assert_type(run.attempt, int)
    await run.progress(1, 2, "half")
    run.log("done")
    if run.config.get("busy"):
        raise Retry(after=60)
    return {"pages": 1}


@scheduler.handler("report")
def report(run: ActiveRun) -> None:
    assert_type(current_run(), ActiveRun)
    raise Fail("no paper")


def on_failure(event: RunFailed) -> None:
    assert_type(event.task_name, str)


async def main() -> None:
    scheduler.on(RunFailed, on_failure)
    async with scheduler as same:
        assert_type(same, Scheduler)
        task = await scheduler.add_task(
            "weekly", "report", {"cron": "0 9 * * MON"}, overlap="queue"
        )
        assert_type(task, Task)
        assert_type(task.next_run_at, datetime | None)
        run_id = await scheduler.trigger_task("weekly", config={"busy": False})
        assert_type(run_id, int)
        assert_type(await scheduler.wait_for_run(run_id), Run)
        assert_type(await scheduler.runs("weekly"), list[Run])
        assert_type(await scheduler.preview("weekly"), list[UpcomingSlot])
        assert_type(await scheduler.explain("weekly", after), Explanation)
        assert_type(await scheduler.status(), SchedulerStatus)
        await scheduler.serve_forever()


# What is wrong is found: an unused `ignore` is an error.

Scheduler(storage="jobs.db")  # type: ignore[arg-type]
schedule.next_after("2027-01-01")  # type: ignore[arg-type]
