"""Everything in dictionaries of one process: the reference for the other storages. Nothing survives
the process.

No method awaits anything between its first read and its last write, so each is a transaction.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..runs import Finish, NewRun, Run, Skip, Status, Tally, tally
from ..tasks import TaskRecord
from .base import (
    DISABLED,
    PAUSED_BY_FAILURES,
    REMOVED,
    Claim,
    Claimed,
    DueTask,
    OwedRun,
    Plan,
    Report,
    Retention,
    RunQuery,
    SkipQuery,
    Snapshot,
    TaskQuery,
    TaskWrite,
    Wake,
)
from .memory_filters import ended_before, run_fits, task_fits
from .memory_ledger import MICROSECOND, Ledger, changed


class MemoryStorage(Ledger):
    """A storage in the memory of this process."""

    precision = MICROSECOND

    async def open(self) -> None:
        """Nothing to do: there is no schema."""

    async def close(self) -> None:
        """Nothing to give back."""

    def subscribe(self, changed: Callable[[], None]) -> None:
        """There is no other process."""

    # --- tasks

    async def save_tasks(self, writes: Sequence[TaskWrite], now: datetime) -> list[str]:
        refused = []
        for write in writes:
            record = write.record
            old = self._tasks.get(record.name)
            if write.expected != (None if old is None else (old.id, old.revision)):
                refused.append(record.name)
                continue
            record = replace(
                record,
                id=next(self._task_ids) if old is None else old.id,
                revision=record.revision + 1,
                last_run_at=None if old is None else old.last_run_at,
                last_status=None if old is None else old.last_status,
                last_success_at=None if old is None else old.last_success_at,
            )
            self._by_id[record.id] = record.name
            self._put_task(record)
            self._add_skips(write.skips)
            if write.drop_pending is not None:
                self._drop_pending(record.name, write.drop_pending, now, manual=False)
                self._release(record.name, now)
        return refused

    async def remove_tasks(self, names: Sequence[str], now: datetime, *, cancel: bool) -> list[str]:
        removed = []
        for name in names:
            record = self._tasks.pop(name, None)
            if record is None:
                continue
            removed.append(name)
            del self._by_id[record.id]
            self._drop_pending(name, REMOVED, now, manual=True)
            if cancel:
                for run_id in list(self._live.get(name, ())):
                    self._cancel(self._runs[run_id], now, REMOVED)
        return removed

    async def tasks(self, query: TaskQuery) -> list[TaskRecord]:
        names = self._tasks if query.names is None else query.names
        found = (self._tasks[name] for name in sorted(set(names)) if name in self._tasks)
        return list(itertools.islice((t for t in found if task_fits(t, query)), query.limit))

    # --- history

    async def runs(self, query: RunQuery) -> list[Run]:
        ids: Iterable[int]
        if query.ids is not None:
            ids = sorted((i for i in set(query.ids) if i in self._runs), reverse=True)
        elif query.task_name is not None:
            ids = reversed(self._of_task.get(query.task_name, ()))
        else:
            ids = reversed(self._runs)
        fits = (run for run in map(self._runs.__getitem__, ids) if run_fits(run, query))
        return list(itertools.islice(fits, query.offset, query.offset + query.limit))

    async def skips(self, query: SkipQuery) -> list[Skip]:
        found = [
            skip
            for skip in reversed(self._skips.get(query.task_name, ()))
            if (query.since is None or skip.last_slot >= query.since)
            and (query.until is None or skip.first_slot <= query.until)
        ]
        found.sort(key=lambda skip: skip.last_slot, reverse=True)
        return found[: query.limit]

    async def counts(self) -> Mapping[str, int]:
        live = [self._runs[run_id] for ids in self._live.values() for run_id in ids]
        pending = [run for run in live if run.status is Status.PENDING]
        return {
            "tasks": len(self._tasks),
            "running": len(self._running),
            "pending": len(pending),
            "retries": sum(run.attempt > 1 for run in pending),
            "queued": sum(run.due_at is None for run in pending),
        }

    async def prune(self, retentions: Sequence[Retention], limit: int) -> int:
        left = limit
        for rule in retentions:
            name, before = rule.task_name, rule.before
            ids, live = self._of_task.get(name, []), self._live.get(name, ())
            over = 0 if rule.keep is None else len(ids) - rule.keep
            doomed = dict.fromkeys(i for i in ids[: max(over, 0)] if i not in live)
            if before is not None:
                old = [run for i in ids if ended_before(run := self._runs[i], before)]
                old.sort(key=lambda run: (run.finished_at or before, run.id))
                doomed |= dict.fromkeys(run.id for run in old)
            for run_id in list(doomed)[:left]:
                self._delete_run(run_id)
                left -= 1
            skips = sorted(self._skips.pop(name, ()), key=lambda skip: skip.last_slot)
            over = 0 if rule.keep is None else len(skips) - rule.keep
            while left > 0 and skips and (over > 0 or (before and skips[0].last_slot < before)):
                del skips[0]
                over -= 1
                left -= 1
            if skips:
                self._skips[name] = skips
        return limit - left

    async def names_with_history(self, after: str, limit: int) -> list[str]:
        names = {name for name, ids in self._of_task.items() if ids} | self._skips.keys()
        return sorted(name for name in names if name > after)[:limit]

    # --- the engine

    async def wake(self, now: datetime, owner: str, full_groups: Sequence[str] = ()) -> Wake:
        leases = (lease for i in self._running if (lease := self._runs[i].lease_until))
        earliest = [
            at
            for at in (
                self._slots_due.first(full_groups),
                self._runs_due.first(full_groups),
                min(leases, default=None),
            )
            if at is not None
        ]
        mine = (r for r in map(self._runs.__getitem__, self._running) if r.owner == owner)
        asked = [run.id for run in mine if run.cancel_requested_by is not None]
        return Wake(now, min(earliest, default=None), asked)

    async def claim(
        self,
        plan: Plan,
        now: datetime,
        *,
        owner: str,
        lease: timedelta,
        limit: int,
        full_groups: Sequence[str] = (),
    ) -> Claimed:
        pending: list[OwedRun] = []
        due: list[DueTask] = []
        for priority in sorted(self._runs_due.priorities | self._slots_due.priorities)[::-1]:
            left = limit - len(pending) - len(due)
            run_ids = self._runs_due.due(priority, now, left, full_groups)
            pending += [self._owed(self._runs[run_id]) for run_id in run_ids]
            task_ids = self._slots_due.due(priority, now, left - len(run_ids), full_groups)
            records = [self._tasks[self._by_id[task_id]] for task_id in task_ids]
            due += [DueTask(record, self._live_runs(record.name)) for record in records]
        leases = [
            (run.lease_until, run.id)
            for run in map(self._runs.__getitem__, self._running)
            if run.lease_until is not None and run.lease_until <= now
        ]
        expired = [self._owed(self._runs[run_id]) for _, run_id in sorted(leases)[:limit]]
        groups = Counter(g for i in self._running if (g := self._runs[i].task_group) is not None)
        claim = plan(Snapshot(now, due, pending, expired, groups))
        runs = self._apply(claim, now, owner, now + lease)
        return Claimed(now, runs, more=len(pending) + len(due) >= limit)

    def _apply(
        self, claim: Claim, now: datetime, owner: str, lease_until: datetime
    ) -> list[tuple[Run, int]]:
        for finish in claim.finishes:
            self._finish(finish, now)
        self._replace(claim.replaced)
        self._ask_to_cancel(claim.cancels, now)
        for step in claim.advances:
            record = self._tasks[self._by_id[step.task_id]]
            self._put_task(
                changed(
                    record,
                    next_slot=step.next_slot,
                    next_run_at=step.next_run_at,
                    runs_started=step.runs_started,
                    revision=record.revision + 1,
                )
            )
        for task_id, reason in claim.broken:
            self._put_task(replace(self._tasks[self._by_id[task_id]], broken=reason))
        self._add_skips(claim.skips)
        for new in claim.waits:
            self._insert(new)
        moved = {step.task_id for step in claim.advances}
        taken: dict[str, Any] = {"status": Status.RUNNING, "due_at": None, "owner": owner}
        taken |= {"lease_until": lease_until, "started_at": now}
        claimed = []
        for new in claim.starts:
            if (slot := self._free_slot(new)) is not None:
                taken["epoch"] = self._epoch(new.task_id, moved)
                claimed.append((self._add(new, slot, taken), new.task_id))
        for owed in claim.resumes:
            task_id = self._task_of[owed.run.id]
            taken["epoch"] = self._epoch(task_id, moved)
            run = changed(self._runs[owed.run.id], **taken)
            self._put_run(run)
            claimed.append((run, task_id))
        for name in {f.task_name for f in claim.finishes} | {w.task_name for w in claim.waits}:
            self._release(name, now)
        return claimed

    def _epoch(self, task_id: int, moved: set[int]) -> int:
        """The revision of a task of which a run starts: a new one, if it is not in `moved` yet."""
        record = self._tasks[self._by_id[task_id]]
        if task_id not in moved:
            moved.add(task_id)
            record = self._tasks[record.name] = changed(record, revision=record.revision + 1)
        return record.revision

    async def finish(self, finishes: Sequence[Finish], now: datetime) -> list[int]:
        refused = [finish.run_id for finish in finishes if not self._finish(finish, now)]
        for name in {finish.task_name for finish in finishes}:
            self._release(name, now)
        return refused

    def _finish(self, finish: Finish, now: datetime) -> bool:
        run = self._runs.get(finish.run_id)
        if run is None or (run.owner, run.epoch) != (finish.owner, finish.epoch):
            return False
        expected = Status.PENDING if finish.owner is None else Status.RUNNING
        if run.status is not expected:
            return (run.status, run.reason) == (finish.status, finish.reason)
        self._put_run(
            changed(
                run,
                status=finish.status,
                finished_at=finish.finished_at,
                duration_ms=finish.duration_ms,
                reason=finish.reason,
                error_type=finish.error_type,
                error_message=finish.error_message,
                error_traceback=finish.error_traceback,
                output=finish.output,
                log=finish.log if finish.log is not None else run.log,
                progress=finish.progress if finish.progress is not None else run.progress,
                lease_until=None,
                due_at=None,
            )
        )
        name = self._by_id.get(finish.task_id)
        if name is not None:
            self._note_outcome(self._tasks[name], run, finish, now)
        return True

    def _note_outcome(self, record: TaskRecord, run: Run, finish: Finish, now: datetime) -> None:
        """What the end of a run changes in its task."""
        retry = finish.retry if record.enabled or run.manual else None
        after = tally(
            Tally(
                record.enabled,
                record.failures,
                record.last_run_at,
                record.last_status,
                record.last_success_at,
            ),
            finish if retry is finish.retry else replace(finish, retry=retry),
        )
        record = changed(
            record,
            revision=record.revision + 1,
            failures=after.failures,
            last_run_at=after.last_run_at,
            last_status=after.last_status,
            last_success_at=after.last_success_at,
        )
        if after.pauses:
            record = replace(
                record,
                enabled=False,
                paused_at=now,
                paused_by=PAUSED_BY_FAILURES,
                paused_note=f"{after.failures} slots failed in a row",
            )
        self._put_task(record)
        if retry is not None:
            self._insert(retry)
        if after.pauses:
            self._drop_pending(record.name, DISABLED, now, manual=False)

    async def renew(
        self, owner: str, now: datetime, lease: timedelta, reports: Sequence[Report] = ()
    ) -> list[tuple[Run, int]]:
        for run_id in self._running:
            if self._runs[run_id].owner == owner:
                self._runs[run_id] = replace(self._runs[run_id], lease_until=now + lease)
        for report in reports:
            run = self._runs.get(report.run_id)
            if run is None or (run.owner, run.epoch) != (owner, report.epoch):
                continue
            if run.status is Status.RUNNING:
                log = run.log if report.log is None else report.log
                progress = run.progress if report.progress is None else report.progress
                self._runs[run.id] = replace(run, log=log, progress=progress)
        mine = [run for i in self._running if (run := self._runs[i]).owner == owner]
        return [(run, self._task_of[run.id]) for run in mine]

    async def enqueue(
        self,
        runs: Sequence[NewRun],
        now: datetime,
        *,
        revision: int,
        replaced: Sequence[int] = (),
        cancels: Sequence[int] = (),
        skips: Sequence[Skip] = (),
    ) -> list[int] | None:
        name = self._by_id.get(runs[0].task_id) if runs else None
        if name is None or self._tasks[name].revision != revision:
            return None
        self._replace(replaced)
        self._ask_to_cancel(cancels, now)
        self._add_skips(skips)
        ids = [i for new in runs if (i := self._insert(new)) is not None]
        self._tasks[name] = replace(self._tasks[name], revision=revision + 1)
        self._release(name, now)
        return ids

    async def cancel(self, run_id: int, now: datetime, by: str) -> Run | None:
        run = self._runs.get(run_id)
        if run is not None:
            self._cancel(run, now, by)
            self._release(run.task_name, now)
        return run
