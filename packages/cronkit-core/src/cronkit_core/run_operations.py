"""Operations on runs: trigger, cancel, wait, backfill, explain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from itertools import islice
from typing import Any

from .changes import FIRST_INSTANT
from .definition import check_config, check_name, decode_leniently
from .errors import Conflict, InvalidTask, RunNotFound, TaskActive, TaskNotFound
from .events import LeaseLost, RunFailed, RunLost, RunSucceeded, TaskTriggered
from .explain import LAST_INSTANT, NEAR, Explanation, explain_around, slot_meant
from .policy import MICROSECOND
from .runs import LiveRun, NewRun, Reason, Run, Skip, Status, Trigger, live_run
from .schedules.base import instant
from .storage.base import RunQuery, SkipQuery
from .task_operations import ATTEMPTS, SAVED_AT_ONCE, TaskOperations
from .tasks import Overlap, actual

logger = logging.getLogger("cronkit.scheduler")

BACKFILL_LIMIT = 10_000
"""How many slots one backfill runs at most."""
ATTEMPTS_SHOWN = 1_001
"""How many attempts at a slot are read to explain it: one more than a policy allows retries."""
RUNS_AROUND = 150
"""How many runs around an instant are read to find the slot that is meant: the newest."""
MOST_LIVE = 100_000
"""How many runs of a task that have not ended are looked at."""
LIVE = (Status.PENDING, Status.RUNNING)


class RunOperations(TaskOperations):
    """What a Scheduler does with runs. It works while the scheduler runs or not."""

    poll: float
    """Seconds after which other processes' changes are seen."""

    async def trigger_task(
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        force: bool = False,
        by: str | None = None,
    ) -> int:
        """Run the task now, out of schedule, even when it is disabled. Returns the id of the run.

        `config` replaces the task's for this run. The overlap policy counts: an active "skip" task
        raises TaskActive; a "queue" one gets one waiting run (whose id is returned again while it
        waits); "cancel" cancels the active run first. `force` runs it all the same. Raises
        TaskNotFound and HandlerNotFound.
        """
        await self.open()
        own_config = None if config is None else check_config(config)
        if by is not None:
            check_name(by, "by")
        for attempt in range(ATTEMPTS):
            async with self.in_turn() if attempt else nullcontext():
                run_id, is_new = await self._trigger(name, own_config, force=force)
            if run_id is not None:
                if is_new:
                    logger.info("task %r was triggered%s", name, f" by {by!r}" if by else "")
                    self.events.emit(TaskTriggered(name, run_id))
                self.wake()
                return run_id
        raise Conflict(f"task {name!r} was changed by others again and again: try later")

    async def _trigger(
        self, name: str, own_config: str | None, *, force: bool
    ) -> tuple[int | None, bool]:
        """The id of the run, and whether that is new; None when others changed the task."""
        record = await self._record(name)
        self.resolve(record.handler)
        live = await self._live_runs(name)
        policies = decode_leniently(record).policies
        overlap = Overlap.ALLOW if force or not live else policies.overlap
        if overlap is Overlap.SKIP:
            raise TaskActive(name, live[-1].id)
        waiting = [r for r in live if r.waiting and r.triggered_by is Trigger.MANUAL]
        if overlap is Overlap.QUEUE and waiting:
            return waiting[-1].id, False
        now = self.clock.now()
        new = NewRun(
            task_id=record.id,
            task_name=name,
            slot=now,
            attempt=1,
            triggered_by=Trigger.MANUAL,
            scheduled_for=now,
            due_at=now if overlap is Overlap.ALLOW else None,
            config=own_config,
            task_group=record.task_group,
            priority=record.priority,
        )
        cancels = [run.id for run in live] if overlap is Overlap.CANCEL else []
        ids = await self.storage.enqueue([new], now, revision=record.revision, cancels=cancels)
        return (ids[0], True) if ids else (None, False)

    async def cancel_run(self, run_id: int, *, by: str = "request") -> bool:
        """Cancel a run that is pending or running, in whatever process; its slot is not retried.

        Returns False when the run has ended already. Raises RunNotFound.
        """
        await self.open()
        check_name(by, "by")
        run = await self.storage.cancel(run_id, self.clock.now(), by)
        if run is None:
            raise RunNotFound(run_id)
        if run.status is Status.PENDING:
            # One that is running tells of its end itself.
            message = f"cancelled by {by}"
            self.events.emit(RunFailed(run.task_name, run, Reason.CANCELLED, message, None))
        self.wake()
        return run.status in LIVE

    async def wait_for_run(self, run_id: int) -> Run:
        """The run, once it has ended, in whatever process that is.

        It is this attempt that is waited for, not its retries. Raises RunNotFound, also when the
        run is pruned meanwhile. To wait no longer than so long, use `asyncio.timeout`.
        """
        changed = asyncio.Event()
        kinds = (RunSucceeded, RunFailed, RunLost, LeaseLost)
        offs = [self.events.on(kind, lambda _: changed.set()) for kind in kinds]
        try:
            while (run := await self.get_run(run_id)).status in LIVE:
                await self.clock.wait(changed, self.poll)
                changed.clear()
        finally:
            for off in offs:
                off()
        return run

    async def backfill(
        self, name: str, start: datetime, end: datetime, *, overlap: str | None = None
    ) -> list[int]:
        """Run the slots from `start` to `end`, both included, that have passed and have no run.

        One after the other; with overlap="allow" (the default where it is the task's policy) as
        many at once as there is room for. Returns the ids of the runs. Raises TaskNotFound, and
        InvalidTask for more than 10,000 slots.
        """
        await self.open()
        start, end = instant(start, "start"), instant(end, "end")
        if overlap not in (None, "skip", "queue", "allow"):
            raise InvalidTask(f"bad overlap {overlap!r} of a backfill: skip, queue, allow")
        record = await self._record(name)
        task = decode_leniently(record)
        if task.schedule is None:
            raise InvalidTask(f"task {name!r} is broken: {task.broken}")
        self.resolve(record.handler)
        now = self.clock.now()
        start = max(start, task.policies.start_at or start)
        # From the next slot on, slots are the schedule's own to run.
        own = now if record.next_slot is None else record.next_slot - MICROSECOND
        end = min(end, now, own, task.policies.end_at or end)
        slots = []
        if start <= end:
            # Not counted first: counting may take longer than going up to the limit.
            before = max(start, FIRST_INSTANT + MICROSECOND) - MICROSECOND
            slots = list(islice(task.schedule.between(before, end), BACKFILL_LIMIT + 1))
        if len(slots) > BACKFILL_LIMIT:
            raise InvalidTask(
                f"backfill of {name!r} from {start} to {end} names more than {BACKFILL_LIMIT} "
                "slots: take a shorter span"
            )
        parallel = (overlap or task.policies.overlap) == "allow"
        new = [
            NewRun(
                task_id=record.id,
                task_name=name,
                slot=slot,
                attempt=1,
                triggered_by=Trigger.BACKFILL,
                scheduled_for=actual(task, slot),
                due_at=now if parallel else None,
                task_group=record.task_group,
                priority=record.priority,
            )
            for slot in slots
        ]
        ids: list[int] = []
        for i in range(0, len(new), SAVED_AT_ONCE):
            ids += await self._enqueue(name, record.id, new[i : i + SAVED_AT_ONCE])
        self.wake()
        return ids

    async def _enqueue(self, name: str, task_id: int, new: Sequence[NewRun]) -> list[int]:
        for attempt in range(ATTEMPTS):
            async with self.in_turn() if attempt else nullcontext():
                record = await self._record(name)
                if record.id != task_id:
                    raise TaskNotFound(name)
                ids = await self.storage.enqueue(new, self.clock.now(), revision=record.revision)
            if ids is not None:
                return ids
        raise Conflict(f"task {name!r} was changed by others again and again: try later")

    async def runs(self, name: str | None = None, **query: Any) -> list[Run]:
        """Runs, newest first: of the task `name`, or of all. `query` are fields of RunQuery."""
        await self.open()
        return await self.storage.runs(RunQuery(task_name=name, **query))

    async def skips(self, name: str, **query: Any) -> list[Skip]:
        """The slots of the task `name` that did not run, in ranges, latest first, and why. `query`
        are fields of SkipQuery.

        Slots that passed while nobody was running are recorded when somebody is again, and those of
        a disabled task when it is enabled or edited.
        """
        await self.open()
        return await self.storage.skips(SkipQuery(name, **query))

    async def get_run(self, run_id: int) -> Run:
        """The run with that id. Raises RunNotFound."""
        await self.open()
        found = await self.storage.runs(RunQuery(ids=[run_id]))
        if not found:
            raise RunNotFound(run_id)
        return found[0]

    async def explain(self, name: str, at: datetime) -> Explanation:
        """Why the task did, or did not, run at the instant `at`; and whether it was triggered by
        hand within a minute of that.

        An `at` of whole seconds, or minutes, stands for the only slot in that second, or minute.
        Raises TaskNotFound.
        """
        await self.open()
        asked = instant(at, "at")
        task = decode_leniently(await self._record(name))
        since = max(asked, FIRST_INSTANT + NEAR) - NEAR
        until = min(asked, LAST_INSTANT - NEAR) + NEAR
        around = await self.runs(name, since=since, until=until, limit=RUNS_AROUND)
        unrun = await self.skips(name, since=since, until=until)
        slot = slot_meant(task, asked, around, unrun)
        runs = await self.runs(name, since=slot, until=slot, limit=ATTEMPTS_SHOWN)
        skips = await self.skips(name, since=slot, until=slot)
        attempts = [run for run in runs if not run.manual]
        return explain_around(task, asked, slot, attempts, skips, around, self.clock.now())

    async def _live_runs(self, name: str) -> list[LiveRun]:
        live = await self.storage.runs(RunQuery(task_name=name, statuses=LIVE, limit=MOST_LIVE))
        return [live_run(run) for run in reversed(live)]
