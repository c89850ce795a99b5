"""Executing what is due once, for hosts without a long-lived process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from cronkit_core.events import Event, LeaseLost, RunFailed, RunLost, RunSucceeded
from cronkit_core.runs import Run, Status
from cronkit_core.storage.base import RunQuery

from .scheduler import Scheduler

ENDS = (RunSucceeded, RunFailed, RunLost, LeaseLost)
LOOK_EVERY = 0.05
FOREVER = 10 * 365 * 86_400.0
LIVE = (Status.PENDING, Status.RUNNING)
MOST_LIVE = 10_000


@dataclass(slots=True)
class Report:
    """What was executed."""

    runs: list[Run] = field(default_factory=list)
    """In the order in which they were claimed."""
    late: bool = False
    """Whether there was no time for all of it."""

    @property
    def ok(self) -> bool:
        return not self.late and all(run.status is Status.SUCCESS for run in self.runs)


async def run_due(scheduler: Scheduler, timeout: float | None = None) -> Report:
    """Execute what is due now, wait for its end, and stop the scheduler.

    Retries that are due later, and slots that come meanwhile, are left for the next time. When
    `timeout` seconds have passed, what still runs is cancelled, and is retried by policy.
    """
    since, began = scheduler.clock.now(), scheduler.clock.monotonic()
    report = Report()
    with _ends(scheduler) as (ended, run_ids):
        scheduler.start()
        while not await _is_done(scheduler, since):
            if timeout is not None and scheduler.clock.monotonic() - began >= timeout:
                report.late = True
                break
            await scheduler.clock.wait(ended, LOOK_EVERY)
            ended.clear()
        await scheduler.stop(0 if report.late else FOREVER)
        for run_id in dict.fromkeys(run_ids):
            report.runs.append(await scheduler.get_run(run_id))
    report.runs.sort(key=lambda run: run.id)
    return report


@contextmanager
def _ends(scheduler: Scheduler) -> Iterator[tuple[asyncio.Event, list[int]]]:
    """An event that is set when a run of this process ends, and their ids."""
    ended = asyncio.Event()
    run_ids: list[int] = []

    def note(event: Event) -> None:
        run_ids.append(event.run_id if isinstance(event, RunLost) else event.run.id)  # type: ignore[attr-defined]
        ended.set()

    with contextlib.ExitStack() as stack:
        for kind in ENDS:
            stack.callback(scheduler.on(kind, note))
        yield ended, run_ids


async def _is_done(scheduler: Scheduler, since: datetime) -> bool:
    """Whether nothing is left to do here of what was due at `since`."""
    for task in await scheduler.internal_db.get_due_tasks():
        if task.next_run_at is not None and datetime.fromisoformat(task.next_run_at) <= since:
            return False
    # What was claimed before is a run by now.
    query = RunQuery(statuses=LIVE, until=since, limit=MOST_LIVE)
    now = scheduler.clock.now()
    return not any(
        _is_ours(run, scheduler.owner, now) for run in await scheduler.storage.runs(query)
    )


def _is_ours(run: Run, owner: str, now: datetime) -> bool:
    """Whether this process executes `run`, or is to: it is due, or its process is gone."""
    at = run.lease_until if run.status is Status.RUNNING else run.due_at
    return run.owner == owner or (at is not None and at <= now)
