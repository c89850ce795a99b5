"""A year of fifty mixed tasks across two zones with summer time, in seconds: every slot that the
schedules name has its fate in the ledger, and no other has one."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cronkit_core import (
    Fail,
    MemoryStorage,
    Run,
    RunQuery,
    Scheduler,
    Skip,
    SkipQuery,
    SkipReason,
    Status,
)
from cronkit_core.storage.base import TaskQuery
from cronkit_core.testing.virtual import VirtualClock, run_until

NEW_YORK, BERLIN = "America/New_York", "Europe/Berlin"
START = datetime(2027, 1, 1, tzinfo=UTC)
END = datetime(2028, 1, 1, tzinfo=UTC)
FOR_EVER = 5 * 365 * 86_400


def make_tasks() -> list[dict[str, Any]]:
    """Fifty tasks: kinds of schedules, zones, policies and manners of handlers, mixed."""
    schedules: list[object] = [
        "30 2 * * *",  # in the gap of New York and of Berlin
        "30 1 * * *",  # twice in New York in autumn
        "0 */6 * * *",
        "15 9 * * mon-fri",
        "0 0 1 * *",
        "0 12 L * *",
        "0 3 * * sun#1",
        {"rrule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU;BYHOUR=2;BYMINUTE=30"},
        {"rrule": "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17"},
        {"rrule": "FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=15"},
        {"any": ["0 8 * * *", "0 20 * * sat"]},
        {"schedule": "0 7 * * *", "except": ["2027-12-25", "* * * * sun"]},
    ]
    policies: list[dict[str, Any]] = [
        {"overlap": "skip"},
        {"overlap": "queue", "grace": 600},
        {"overlap": "cancel", "catch_up": "all", "catch_up_limit": 3},
        {"overlap": "allow", "catch_up": "skip", "grace": 30},
        {"overlap": "skip", "jitter": 900, "catch_up": "all"},
    ]
    manners = ["quick", "slow", "flaky", "fails", "quick"]
    tasks: list[dict[str, Any]] = [
        {
            "name": f"task {i}",
            "schedule": schedules[i % len(schedules)],
            "timezone": (NEW_YORK, BERLIN)[i // len(schedules) % 2],
            "handler": manners[i // 7 % len(manners)],
            "priority": i % 7 - 3,
            "retry": {"max_retries": i % 3, "base": 60},
            "group": "shared" if i % 4 == 0 else None,
            **policies[i % len(policies)],
        }
        for i in range(48)
    ]
    tasks.append({"name": "often", "schedule": {"interval": 21_600}, "handler": "slow"})
    tasks.append({"name": "at most", "schedule": "0 5 * * *", "handler": "quick", "max_runs": 100})
    return tasks


@pytest.mark.slow
async def test_a_year_accounts_for_every_slot(caplog: pytest.LogCaptureFixture) -> None:
    # asyncio's debug mode takes note of a traceback for each callback; and thousands of failures
    # are on purpose.
    asyncio.get_running_loop().set_debug(False)
    caplog.set_level(logging.CRITICAL, "cronkit")
    random.seed(2027)
    clock = VirtualClock(START)
    storage = MemoryStorage()
    saw: Counter[tuple[str, datetime, int]] = Counter()
    pauses: list[str] = []

    async def quick(run):
        saw[run.task.name, run.slot, run.attempt] += 1

    async def slow(run):
        await quick(run)
        # Mostly shorter than the time between slots, at times longer.
        await clock.sleep(random.choice([5, 60, 600, 20_000, 100_000]))

    async def flaky(run):
        await quick(run)
        if random.random() < 0.3:
            raise ConnectionError("the server hung up")

    async def fails(run):
        await quick(run)
        raise (Fail if random.random() < 0.5 else ValueError)("no")

    def scheduler() -> Scheduler:
        made = Scheduler(
            storage,
            clock=clock,
            poll=FOR_EVER,
            prune_every=FOR_EVER,
            lease=FOR_EVER,
            groups={"shared": 3},
            shutdown_grace=30,
        )
        for handler in (quick, slow, flaky, fails):
            made.register_handler(handler.__name__, handler)
        return made

    tasks = make_tasks()
    assert len(tasks) == 50
    now = scheduler()
    now.start()
    await now.add_tasks(tasks)
    # The year: days when it runs, nights when it does not, and people who pause and go on.
    at = START
    while at < END:
        await run_until(now, min(at + timedelta(days=random.choice([3, 10, 17])), END))
        at = clock.now()
        match random.choice(["away", "pause", "go on", "trigger", "restart"]):
            case "away" if at < END:
                await now.stop()
                clock.advance(min(random.choice([600, 20_000, 300_000]), _seconds(at, END)))
                now = scheduler()
                now.start()
            case "restart":
                await now.stop()
                now = scheduler()
                now.start()
            case "pause":
                pauses.append(f"task {random.randrange(48)}")
                await now.disable_task(pauses[-1], note="a test", by="somebody")
            case "go on" if pauses:
                await now.enable_task(pauses.pop(0))
            case "trigger":
                await now.trigger_task(f"task {random.randrange(48)}", force=True)
        at = clock.now()
    for name in pauses:
        await now.enable_task(name)
    await run_until(now, END)

    runs = await storage.runs(RunQuery(limit=10**9))
    by_task: dict[str, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run.task_name, []).append(run)
    total = 0
    for task in await now.tasks(TaskQuery(limit=None)):
        skips = await storage.skips(SkipQuery(task.name, limit=10**9))
        assert task.schedule is not None
        between: Callable[..., Any] = task.schedule.between
        total += account(task.name, by_task[task.name], skips, between, task.next_slot)
    assert total > 12_000
    # A handler saw each attempt once, and just the attempts that started.
    started = [(r.task_name, r.slot, r.attempt) for r in runs if r.started_at is not None]
    assert Counter(started) == saw
    assert max(saw.values()) == 1
    reasons = {run.reason for run in runs}
    assert {"exception", "cancelled", "interrupted"} <= reasons
    await now.stop(0)


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


def account(
    name: str,
    runs: list[Run],
    skips: list[Skip],
    between: Callable[..., Any],
    next_slot: datetime | None,
) -> int:
    """Check that each slot of a task has one fate. Returns how many slots there were."""
    fates: Counter[datetime] = Counter(
        run.slot for run in runs if run.attempt == 1 and not run.manual
    )
    for skip in skips:
        inside = list(between(skip.first_slot - timedelta(microseconds=1), skip.last_slot))
        assert inside[0] == skip.first_slot, (name, skip)
        assert inside[-1] == skip.last_slot, (name, skip)
        if skip.reason is SkipReason.OVERLAP:
            # One row holds what one run was in the way of; others may have run between.
            assert skip.count <= len(inside), (name, skip)
            left = skip.count - 1
            fates[skip.first_slot] += 1
            for slot in inside[:0:-1]:
                if left and not fates[slot]:
                    fates[slot] += 1
                    left -= 1
            assert left == 0, (name, skip)
        else:
            assert skip.count == len(inside), (name, skip)
            fates.update(inside)
    end = END if next_slot is None or next_slot > END else next_slot - timedelta(microseconds=1)
    if next_slot is None:
        assert name == "at most"
        end = max(fates)
    slots = list(between(START, end))
    assert sorted(fates) == slots, name
    assert set(fates.values()) <= {1}, (name, fates.most_common(3))
    last = [run for run in runs if run.status in (Status.RUNNING, Status.PENDING)]
    assert len(last) <= 4, name
    return len(slots)
