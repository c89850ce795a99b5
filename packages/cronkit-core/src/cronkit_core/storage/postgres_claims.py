"""The claim: what is due is read, planned and written in one transaction.

It never waits for another transaction to read: what somebody else has locked is left out, with
SKIP LOCKED and its like, and is there for the next claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from ..runs import LiveRun, NewRun, Run, Tally
from ..tasks import TaskRecord
from . import postgres_rows as rows
from .base import Advance, Claim, Claimed, DueTask, OwedRun, Plan, Snapshot
from .postgres_edits import Edits, Locked
from .postgres_rows import (
    DUE_RUN,
    DUE_TASK,
    LIVE,
    NEW_RUN_COLUMNS,
    NOT_FULL,
    NOW,
    RUN_COLUMNS,
    RUNNING,
    TASK_COLUMNS,
    Connection,
    arrays,
    fetch,
)

TASKS = ", ".join(TASK_COLUMNS)
RUNS = ", ".join(RUN_COLUMNS)


class _Taken:
    """What a claim has locked and may plan."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tasks: list[TaskRecord] = []
        self.pending: list[tuple[Run, int]] = []
        self.expired: list[tuple[Run, int]] = []
        self.records: dict[str, TaskRecord] = {}
        """The tasks that are locked, by name."""
        self.gone: set[str] = set()
        """Names without a task that are locked."""

    @property
    def left(self) -> int:
        return self.room - len(self.tasks) - len(self.pending)

    def owed(self, found: Sequence[tuple[Run, int]]) -> list[OwedRun]:
        by_id = {record.id: record for record in self.records.values()}
        return [OwedRun(run, by_id.get(task_id)) for run, task_id in found]

    @property
    def locked(self) -> Locked:
        return {
            r.id: (
                r.name,
                Tally(r.enabled, r.failures, r.last_run_at, r.last_status, r.last_success_at),
            )
            for r in self.records.values()
        }


class Claims(Edits):
    """The transactions that find and take what is due."""

    async def claim(
        self,
        tx: Connection,
        plan: Plan,
        clock: datetime | None,
        *,
        owner: str,
        lease: timedelta,
        limit: int,
        full_groups: Sequence[str],
    ) -> Claimed:
        now, taken = await self._take(tx, clock, limit, full_groups)
        running = await fetch(
            tx,
            f"SELECT task_group, count(*) FROM {self.run_rows} "
            f"WHERE {RUNNING} AND task_group IS NOT NULL GROUP BY task_group",
        )
        live = await self._live_runs(tx, [record.name for record in taken.tasks])
        snapshot = Snapshot(
            now,
            [DueTask(record, tuple(live.get(record.name, ()))) for record in taken.tasks],
            taken.owed(taken.pending),
            taken.owed(taken.expired),
            dict(running),
        )
        claim = plan(snapshot)
        await self._finish(tx, taken.locked, claim.finishes, now)
        await self._replace(tx, claim.replaced)
        await self._ask_to_cancel(tx, claim.cancels)
        epochs = await self._advance(tx, claim)
        await self._add_skips(tx, claim.skips)
        await self._insert(tx, claim.waits)
        started = await self._start(tx, claim, epochs, owner, now, now + lease)
        names = {f.task_name for f in claim.finishes} | {w.task_name for w in claim.waits}
        await self._release(tx, names, now)
        return Claimed(now, started, more=taken.left <= 0)

    # --- reading

    async def _take(
        self, tx: Connection, clock: datetime | None, limit: int, full_groups: Sequence[str]
    ) -> tuple[datetime, _Taken]:
        """Lock what is due, in the order of priority, pending runs first and then by time."""
        taken = _Taken(limit)
        [(now, of_runs, of_tasks)] = await fetch(
            tx,
            f"WITH RECURSIVE {self._priorities('r', self.run_rows, DUE_RUN)}, "
            f"{self._priorities('t', self.task_rows, DUE_TASK)} "
            f"SELECT {NOW}, ARRAY(SELECT v FROM r WHERE v IS NOT NULL), "
            "ARRAY(SELECT v FROM t WHERE v IS NOT NULL)",
            (clock,),
        )
        full = list(full_groups)
        for priority in sorted({*of_runs, *of_tasks}, reverse=True):
            if taken.left > 0 and priority in of_runs:
                await self._take_pending(tx, taken, priority, now, full)
            if taken.left > 0 and priority in of_tasks:
                await self._take_tasks(tx, taken, priority, now, full)
        await self._take_expired(tx, taken, now, limit)
        await self._leave_others_groups(tx, taken)
        return now, taken

    async def _take_tasks(
        self, tx: Connection, taken: _Taken, priority: int, now: datetime, full: list[str]
    ) -> None:
        found = await fetch(
            tx,
            f"SELECT {TASKS} FROM {self.task_rows} WHERE {DUE_TASK} AND priority = %s "
            f"AND next_run_at <= %s AND {NOT_FULL} ORDER BY next_run_at, id LIMIT %s "
            "FOR UPDATE SKIP LOCKED",
            (priority, now, full, taken.left),
        )
        for record in map(rows.task_record, found):
            taken.tasks.append(record)
            taken.records[record.name] = record

    async def _take_pending(
        self, tx: Connection, taken: _Taken, priority: int, now: datetime, full: list[str]
    ) -> None:
        condition = f"{DUE_RUN} AND priority = %s AND due_at <= %s AND {NOT_FULL}"
        params = (priority, now, full)
        busy: list[str] = []
        while taken.left > 0:
            candidates = await fetch(
                tx,
                f"SELECT id, task_name FROM {self.run_rows} WHERE {condition} "
                "AND task_name <> ALL(%s::text[]) AND id <> ALL(%s::bigint[]) "
                "ORDER BY due_at, id LIMIT %s",
                (*params, busy, [run.id for run, _ in taken.pending], taken.left),
            )
            names = {name for _, name in candidates}
            others = await self._try_lock(tx, taken, names)
            ids = [run_id for run_id, name in candidates if name not in others]
            if ids:
                # Whoever had the lock before may have started or ended one meanwhile.
                found = await fetch(
                    tx,
                    f"SELECT {RUNS}, task_id FROM {self.run_rows} WHERE id = ANY(%s::bigint[]) "
                    f"AND {condition} ORDER BY due_at, id",
                    (ids, *params),
                )
                taken.pending += [(rows.run(row[:-1]), row[-1]) for row in found]
            if len(candidates) < taken.left or not others:
                return
            busy += others

    async def _take_expired(
        self, tx: Connection, taken: _Taken, now: datetime, limit: int
    ) -> None:
        condition = f"{RUNNING} AND lease_until <= %s"
        candidates = await fetch(
            tx,
            f"SELECT id, task_name FROM {self.run_rows} WHERE {condition} "
            "ORDER BY lease_until, id LIMIT %s",
            (now, limit),
        )
        if candidates:
            others = await self._try_lock(tx, taken, {name for _, name in candidates})
            found = await fetch(
                tx,
                f"SELECT {RUNS}, task_id FROM {self.run_rows} WHERE id = ANY(%s::bigint[]) "
                f"AND {condition} ORDER BY lease_until, id FOR UPDATE SKIP LOCKED",
                ([run_id for run_id, name in candidates if name not in others], now),
            )
            taken.expired = [(rows.run(row[:-1]), row[-1]) for row in found]

    async def _try_lock(self, tx: Connection, taken: _Taken, names: set[str]) -> set[str]:
        """Lock all that belongs to `names`, where nobody else has; the answer is the others."""
        wanted = sorted(names - taken.records.keys() - taken.gone)
        if not wanted:
            return set()
        found = await fetch(
            tx,
            f"SELECT {TASKS} FROM {self.task_rows} WHERE name = ANY(%s::text[]) ORDER BY id "
            "FOR UPDATE SKIP LOCKED",
            (wanted,),
        )
        taken.records |= {record.name: record for record in map(rows.task_record, found)}
        missing = set(wanted) - taken.records.keys()
        if missing:
            locked = await fetch(
                tx,
                "SELECT name FROM unnest(%s::text[]) AS n (name) "
                "WHERE pg_try_advisory_xact_lock(hashtextextended(%s || name, 0))",
                (sorted(missing), f"cronkit {self.schema} "),
            )
            # A task of that name that is there now was locked by somebody, or is new.
            there = await fetch(
                tx,
                f"SELECT name FROM {self.task_rows} WHERE name = ANY(%s::text[])",
                (sorted(missing),),
            )
            taken.gone |= {name for (name,) in locked} - {name for (name,) in there}
        return missing - taken.gone

    async def _leave_others_groups(self, tx: Connection, taken: _Taken) -> None:
        """Who counts the running runs of a group must be alone at it until the end of the
        transaction: what belongs to a group that another claim is at is left to that one."""
        groups = {record.task_group for record in taken.tasks}
        groups |= {run.task_group for run, _ in taken.pending}
        if wanted := sorted(group for group in groups if group is not None):
            locked = await fetch(
                tx,
                "SELECT name FROM unnest(%s::text[]) AS n (name) "
                "WHERE pg_try_advisory_xact_lock(hashtextextended(%s || name, 1))",
                (wanted, f"cronkit {self.schema} "),
            )
            free = {None, *(name for (name,) in locked)}
            taken.tasks = [r for r in taken.tasks if r.task_group in free]
            taken.pending = [(r, i) for r, i in taken.pending if r.task_group in free]

    async def _live_runs(
        self, tx: Connection, names: Sequence[str]
    ) -> dict[str, list[LiveRun]]:
        live: dict[str, list[LiveRun]] = {}
        if names:
            found = await fetch(
                tx,
                "SELECT task_name, id, slot, attempt, status, due_at, triggered_by "
                f"FROM {self.run_rows} WHERE {LIVE} AND task_name = ANY(%s::text[]) ORDER BY id",
                (list(names),),
            )
            for name, *row in found:
                live.setdefault(name, []).append(rows.live_run(row))
        return live

    # --- writing

    async def _advance(self, tx: Connection, claim: Claim) -> dict[int, int]:
        """Move tasks on; the answer is the new revision of each, and of those that resume."""
        if claim.broken:
            await fetch(
                tx,
                f"UPDATE {self.task_rows} AS t SET broken = b.broken "
                "FROM unnest(%s::bigint[], %s::text[]) AS b (id, broken) WHERE t.id = b.id",
                arrays(claim.broken, 2),
            )
        found = []
        if claim.advances:
            found += await fetch(
                tx,
                f"UPDATE {self.task_rows} AS t SET next_slot = a.next_slot, "
                "next_run_at = a.next_run_at, runs_started = a.runs_started, "
                "revision = t.revision + 1 FROM unnest(%s::bigint[], %s::timestamptz[], "
                "%s::timestamptz[], %s::bigint[]) AS a (id, next_slot, next_run_at, "
                "runs_started) WHERE t.id = a.id RETURNING t.id, t.revision",
                arrays(map(_advance_row, claim.advances), 4),
            )
        advanced = {step.task_id for step in claim.advances}
        resumed = {owed.record.id for owed in claim.resumes if owed.record} - advanced
        if resumed:
            found += await fetch(
                tx,
                f"UPDATE {self.task_rows} SET revision = revision + 1 "
                "WHERE id = ANY(%s::bigint[]) RETURNING id, revision",
                (sorted(resumed),),
            )
        return dict(found)

    async def _start(
        self,
        tx: Connection,
        claim: Claim,
        epochs: dict[int, int],
        owner: str,
        now: datetime,
        lease_until: datetime,
    ) -> list[tuple[Run, int]]:
        """Insert or take the runs that start; the answer holds those that are really ours."""
        started: list[tuple[Any, ...]] = []
        if claim.starts:
            columns = ", ".join(NEW_RUN_COLUMNS)
            values = [
                (*rows.new_run_row(new)[:-1], new.priority, epochs[new.task_id])
                for new in claim.starts
            ]
            found = await fetch(
                tx,
                f"INSERT INTO {self.run_rows} ({columns}, epoch, status, owner, lease_until, "
                f"started_at) SELECT {columns}, epoch, 'running', %s, %s, %s "
                f"FROM unnest({_NEW_RUN_ARRAYS}, %s::bigint[]) WITH ORDINALITY "
                f"AS n ({columns}, epoch, number) ORDER BY number "
                "ON CONFLICT (task_name, slot, attempt, manual) DO NOTHING "
                f"RETURNING {RUNS}, task_id",
                (owner, lease_until, now, *arrays(values, len(NEW_RUN_COLUMNS) + 1)),
            )
            started += sorted(found)
        return started
