"""The claim: what is due is read, planned and written in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..runs import Run, Status
from ..tasks import TaskRecord
from . import sqlite_rows as rows
from .base import Claim, Claimed, DueTask, OwedRun, Plan, Snapshot
from .sqlite_edits import ANY, DUE_RUN, DUE_TASK, LIVE, NOT_FULL, Edits, Program
from .sqlite_rows import RUN_COLUMNS, TASK_COLUMNS, optional_text, text
from .sqlite_schema import Rows, Statement


class Claims(Edits):
    """The programs that find and take what is due."""

    def claim(
        self,
        plan: Plan,
        now: datetime,
        *,
        owner: str,
        lease: timedelta,
        limit: int,
        full_groups: Sequence[str] = (),
    ) -> Program[Claimed]:
        snapshot, broken = yield from self._snapshot(now, limit, full_groups)
        claim = plan(snapshot)
        claim.broken += broken
        yield from self._finish(claim.finishes, now)
        yield from self._replace(claim.replaced)
        yield from self._ask_to_cancel(claim.cancels)
        yield from self._advance(claim)
        yield from self._add_skips(claim.skips)
        yield from self._insert(claim.waits)
        epochs = yield from self._epochs(claim, snapshot)
        runs = yield from self._start(claim, epochs, owner, now, now + lease)
        names = {f.task_name for f in claim.finishes} | {w.task_name for w in claim.waits}
        yield from self._release(names, now)
        return Claimed(now, runs, len(snapshot.tasks) + len(snapshot.pending) >= limit)

    def _snapshot(
        self, now: datetime, limit: int, full_groups: Sequence[str]
    ) -> Program[tuple[Snapshot, list[tuple[int, str]]]]:
        at = text(now)
        full = json.dumps(list(full_groups))
        pending, due = yield from self._due(at, full, limit)
        records = [rows.task_record(row) for row in due]
        broken = [(record.id, record.broken) for record in records if record.broken]
        records = [record for record in records if not record.broken]
        expired = yield Statement(
            f"SELECT {', '.join(RUN_COLUMNS)}, task_id FROM {self.run_rows} "
            "WHERE status = 'running' AND lease_until <= ? ORDER BY lease_until, id LIMIT ?",
            (at, limit),
        )
        pending = yield from self._without_unreadable(pending, at)
        expired = yield from self._without_unreadable(expired, at)
        live = yield from self._live_runs(records)
        owners = yield from self._records_of({row[-1] for row in (*pending, *expired)})
        groups = yield Statement(
            f"SELECT task_group, count(*) FROM {self.run_rows} "
            "WHERE status = 'running' AND task_group IS NOT NULL GROUP BY task_group"
        )
        snapshot = Snapshot(
            now,
            [DueTask(record, tuple(live.get(record.name, ()))) for record in records],
            [OwedRun(rows.run(row[:-1]), owners.get(row[-1])) for row in pending],
            [OwedRun(rows.run(row[:-1]), owners.get(row[-1])) for row in expired],
            dict(groups),
        )
        return snapshot, broken

    def _without_unreadable(self, found: Rows, at: str) -> Program[Rows]:
        """`found` without the runs that cannot be read, which other hands wrote: those end here, or
        they would be found again and again."""
        faults = [(fault, row[0]) for row in found if (fault := rows.fault(row)) is not None]
        if faults:
            yield Statement(
                "WITH new (message, at, id) AS (VALUES :rows) "
                f"UPDATE {self.run_rows} AS run SET status = 'error', reason = 'broken', "
                "error_message = new.message, finished_at = new.at, due_at = NULL, "
                "lease_until = NULL FROM new WHERE run.id = new.id",
                [(f"the run cannot be read: {fault}", at, run_id) for fault, run_id in faults],
                many=True,
            )
            unreadable = {run_id for _, run_id in faults}
            found = [row for row in found if row[0] not in unreadable]
        return found

    def _due(self, at: str, full: str, limit: int) -> Program[tuple[Rows, Rows]]:
        """The pending runs and the tasks that are due, in the order of priority."""
        of_runs = (self.run_rows, ", ".join((*RUN_COLUMNS, "task_id")), DUE_RUN, "due_at")
        of_tasks = (self.task_rows, ", ".join(TASK_COLUMNS), DUE_TASK, "next_run_at")
        priorities = yield Statement(
            f"WITH RECURSIVE {self._priorities('r', self.run_rows, DUE_RUN)}, "
            f"{self._priorities('t', self.task_rows, DUE_TASK)} "
            "SELECT v, 0 FROM r WHERE v IS NOT NULL UNION ALL "
            "SELECT v, 1 FROM t WHERE v IS NOT NULL ORDER BY 1 DESC, 2"
        )
        found: tuple[Rows, Rows] = ([], [])
        for priority, kind in priorities:
            left = limit - len(found[0]) - len(found[1])
            if left > 0:
                table, columns, condition, time = (of_runs, of_tasks)[kind]
                found[kind].extend(
                    (
                        yield Statement(
                            f"SELECT {columns} FROM {table} WHERE {condition} AND priority = ? "
                            f"AND {time} <= ? AND {NOT_FULL} ORDER BY {time}, id LIMIT ?",
                            (priority, at, full, left),
                        )
                    )
                )
        return found

    def _live_runs(self, records: Sequence[TaskRecord]) -> Program[dict[str, list[Any]]]:
        if not records:
            return {}
        found = yield Statement(
            f"SELECT task_name, id, slot, attempt, status, due_at, triggered_by "
            f"FROM {self.run_rows} WHERE {LIVE} AND task_name IN {ANY} ORDER BY id",
            (json.dumps([record.name for record in records]),),
        )
        live: dict[str, list[Any]] = {}
        for name, *row in found:
            live.setdefault(name, []).append(rows.live_run(row))
        return live

    def _records_of(self, task_ids: Iterable[int]) -> Program[dict[int, TaskRecord]]:
        ids = sorted(task_ids)
        if not ids:
            return {}
        found = yield Statement(
            f"SELECT {', '.join(TASK_COLUMNS)} FROM {self.task_rows} WHERE id IN {ANY}",
            (json.dumps(ids),),
        )
        records = [rows.task_record(row) for row in found]
        return {record.id: record for record in records}

    def _advance(self, claim: Claim) -> Program[None]:
        if claim.advances:
            yield Statement(
                "WITH new (slot, run_at, started, id) AS (VALUES :rows) "
                f"UPDATE {self.task_rows} AS task SET next_slot = new.slot, "
                "next_run_at = new.run_at, runs_started = new.started, revision = revision + 1 "
                "FROM new WHERE task.id = new.id",
                [
                    (
                        optional_text(step.next_slot),
                        optional_text(step.next_run_at),
                        step.runs_started,
                        step.task_id,
                    )
                    for step in claim.advances
                ],
                many=True,
            )
        advanced = {step.task_id for step in claim.advances}
        resumed = {owed.record.id for owed in claim.resumes if owed.record is not None} - advanced
        if resumed:
            yield Statement(
                f"UPDATE {self.task_rows} SET revision = revision + 1 WHERE id IN {ANY}",
                (json.dumps(sorted(resumed)),),
            )
        if claim.broken:  # a task twice, where it cannot be read and owes a run
            yield Statement(
                "WITH new (reason, id) AS (VALUES :rows) "
                f"UPDATE {self.task_rows} AS task SET broken = new.reason FROM new "
                "WHERE task.id = new.id",
                [(reason, task_id) for task_id, reason in dict(claim.broken).items()],
                many=True,
            )

    def _epochs(self, claim: Claim, snapshot: Snapshot) -> Program[dict[int, int]]:
        """The revisions, by now, of the tasks of which runs may start."""
        records = [due.record for due in snapshot.tasks]
        records += [owed.record for owed in claim.resumes if owed.record is not None]
        if not claim.finishes:  # which are a step of the revision, too
            return {record.id: record.revision + 1 for record in records}
        found = yield Statement(
            f"SELECT id, revision FROM {self.task_rows} WHERE id IN {ANY}",
            (json.dumps([record.id for record in records]),),
        )
        return dict(found)

    def _start(
        self,
        claim: Claim,
        epochs: dict[int, int],
        owner: str,
        now: datetime,
        lease_until: datetime,
    ) -> Program[list[tuple[Run, int]]]:
        """Insert or take the runs that start; the answer holds those that are really ours."""
        inserted = yield from self._insert_rows(
            claim.starts,
            epochs=[epochs[new.task_id] for new in claim.starts],
            owner=owner,
            lease_until=lease_until,
            now=now,
        )
        started = [
            (
                rows.started(
                    new,
                    run_id,
                    owner=owner,
                    epoch=epochs[new.task_id],
                    lease=lease_until,
                    now=now,
                ),
                new.task_id,
            )
            for run_id, new in inserted
        ]
        if claim.resumes:
            taken = [
                replace(
                    owed.run,
                    status=Status.RUNNING,
                    due_at=None,
                    owner=owner,
                    epoch=epochs[owed.record.id],
                    lease_until=lease_until,
                    started_at=now,
                )
                for owed in claim.resumes
                if owed.record is not None
            ]
            yield Statement(
                "WITH new (owner, epoch, lease_until, started_at, id) AS (VALUES :rows) "
                f"UPDATE {self.run_rows} AS run SET status = 'running', due_at = NULL, "
                "owner = new.owner, epoch = new.epoch, lease_until = new.lease_until, "
                "started_at = new.started_at FROM new "
                "WHERE run.id = new.id AND run.status = 'pending'",
                [(owner, run.epoch, text(lease_until), text(now), run.id) for run in taken],
                many=True,
            )
            ids = {o.run.id: o.record.id for o in claim.resumes if o.record is not None}
            started += [(run, ids[run.id]) for run in taken]
        return started

    def _priorities(self, name: str, table: str, condition: str) -> str:
        """A CTE `name (v)` of the priorities that occur, highest first: one seek of an index each.

        With it, what is due comes in the order of priority and time without being sorted."""
        return (
            f"{name} (v) AS (SELECT (SELECT max(priority) FROM {table} WHERE {condition}) "
            f"UNION ALL SELECT (SELECT max(priority) FROM {table} WHERE {condition} "
            f"AND priority < {name}.v) FROM {name} WHERE {name}.v IS NOT NULL)"
        )
