"""The typed queries that plugins make: `datasette._cron_scheduler.internal_db`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cronkit_core.errors import InvalidTask
from cronkit_core.runs import Run, Status
from cronkit_core.storage.base import RunQuery, TaskQuery
from cronkit_core.storage.sqlite_edits import DUE_TASK, Program
from cronkit_core.storage.sqlite_rows import TASK_COLUMNS, parse, task_record, text
from cronkit_core.storage.sqlite_schema import Statement
from cronkit_core.tasks import TaskRecord

from .migrations import PREFIX
from .models import CronRun, CronTask, cron_run, cron_task

if TYPE_CHECKING:
    from .scheduler import Scheduler

STARTED = (Status.RUNNING, Status.SUCCESS, Status.ERROR)


class InternalDB:
    """Tasks and runs as plain values. Runs that have yet to start are not among them."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def get_task(self, name: str) -> CronTask | None:
        """The task with that name, or None."""
        found = await self._tasks(TaskQuery(names=[name]))
        return found[0] if found else None

    async def get_all_tasks(self) -> list[CronTask]:
        """All tasks, by name."""
        return await self._tasks(TaskQuery(limit=None))

    async def get_due_tasks(self) -> list[CronTask]:
        """The enabled tasks whose `next_run_at` has come and that no process has claimed yet,
        longest due first."""
        await self._scheduler.open()
        records = await self._scheduler.internal_storage.read(_due(self._scheduler.clock.now()))
        return [cron_task(record) for record in records]

    async def update_next_run(self, name: str, next_run_at: str) -> None:
        """Have the task run at that ISO 8601 time next (UTC where it has no offset), and by its
        schedule after that.

        Raises TaskNotFound, and InvalidTask when `next_run_at` is no time.
        """
        try:
            at = parse(next_run_at)
        except (TypeError, ValueError, OverflowError):
            raise InvalidTask(
                f"bad next_run_at {next_run_at!r}: an ISO 8601 time such as "
                f"'2027-01-01T09:00:00+00:00'"
            ) from None
        await self._scheduler.move_task(name, at)

    async def get_runs(self, name: str, limit: int = 50, offset: int = 0) -> list[CronRun]:
        """The runs of the task, or of one that was removed, newest first."""
        return await self._runs(
            RunQuery(task_name=name, statuses=STARTED, limit=limit, offset=offset)
        )

    async def get_all_runs(self, limit: int = 50, offset: int = 0) -> list[CronRun]:
        """The runs of all tasks, newest first."""
        return await self._runs(RunQuery(statuses=STARTED, limit=limit, offset=offset))

    async def _tasks(self, query: TaskQuery) -> list[CronTask]:
        await self._scheduler.open()
        return [cron_task(record) for record in await self._scheduler.storage.tasks(query)]

    async def _runs(self, query: RunQuery) -> list[CronRun]:
        await self._scheduler.open()
        runs: list[Run] = await self._scheduler.storage.runs(query)
        return [cron_run(run) for run in runs]


def _due(now: datetime) -> Program[list[TaskRecord]]:
    found = yield Statement(
        f"SELECT {', '.join(TASK_COLUMNS)} FROM {PREFIX}tasks "
        f"WHERE {DUE_TASK} AND next_run_at <= ? ORDER BY next_run_at",
        (text(now),),
    )
    return [task_record(row) for row in found]
