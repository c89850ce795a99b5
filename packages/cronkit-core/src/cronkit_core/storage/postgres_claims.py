"""The claim: what is due is read, planned and written in one transaction.

It does not wait for another transaction in order to read: what somebody else has locked is left
out, with SKIP LOCKED and its like, and is there for the next claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ..runs import LiveRun, Run, Tally
from ..tasks import TaskRecord
from . import postgres_rows as rows
from .base import Claim, Claimed, DueTask, OwedRun, Plan, Snapshot
from .postgres_edits import Edits, Locked
from .postgres_rows import (
    DUE_RUN,
    DUE_TASK,
    LIVE,
    NOT_FULL,
    NOW,
    RUNNING,
    RUNS,
    TASKS,
    Connection,
    Query,
    Rows,
    arrays,
    fetch,
    fetch_together,
)

EXPIRED = f"{RUNNING} AND lease_until <= %s"
ROUNDS = 4
"""How often a claim looks for more of one priority where others have locked what it found."""


@dataclass(slots=True)
class _Taken:
    """What a claim has locked and is to plan."""

    left: int
    """How many pending runs and slots it may still take."""
    full_groups: list[str]
    """Groups to leave alone."""
    tasks: list[TaskRecord] = field(default_factory=list)
    pending: list[tuple[Run, int]] = field(default_factory=list)
    expired: list[tuple[Run, int]] = field(default_factory=list)
    records: dict[str, TaskRecord] = field(default_factory=dict)
    """The tasks that are locked, by name."""
    gone: set[str] = field(default_factory=set)
    """Names without a task that are locked."""
    groups: set[str | None] = field(default_factory=lambda: {None})
    """Groups that are locked."""

    def owed(self, found: Iterable[tuple[Run, int]]) -> list[OwedRun]:
        by_id = {record.id: record for record in self.records.values()}
        return [OwedRun(run, by_id.get(task_id)) for run, task_id in found]

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
        now: datetime | None,
        *,
        owner: str,
        lease: timedelta,
        limit: int,
        full_groups: Sequence[str],
    ) -> Claimed:
        now, taken = await self._take(tx, now, limit, full_groups)
        candidates, running, live_rows = await fetch_together(
            tx,
            self._expired_query(now, limit),
            self._groups_query(),
            self._live_query([record.name for record in taken.tasks]),
        )
        await self._take_expired(tx, taken, now, candidates)
        live: dict[str, list[LiveRun]] = {}
        for name, *row in live_rows:
            live.setdefault(name, []).append(rows.live_run(row))
        snapshot = Snapshot(
            now,
            [DueTask(record, tuple(live.get(record.name, ()))) for record in taken.tasks],
            taken.owed(taken.pending),
            taken.owed(taken.expired),
            dict(running),
        )
        claim = plan(snapshot)
        await self._finish(tx, taken.locked(), claim.finishes, now)
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
        [(now, of_runs, of_tasks)] = await fetch(
            tx,
            f"WITH RECURSIVE {self._priorities('r', self.run_rows, DUE_RUN)}, "
            f"{self._priorities('t', self.task_rows, DUE_TASK)} "
            f"SELECT {NOW}, ARRAY(SELECT v FROM r WHERE v IS NOT NULL), "
            "ARRAY(SELECT v FROM t WHERE v IS NOT NULL)",
            (clock,),
        )
        taken = _Taken(limit, list(full_groups))
        for priority in sorted({*of_runs, *of_tasks}, reverse=True):
            if priority in of_runs:
                await self._take_pending(tx, taken, priority, now)
            if priority in of_tasks:
                await self._take_tasks(tx, taken, priority, now)
        return now, taken

    async def _take_tasks(
        self, tx: Connection, taken: _Taken, priority: int, now: datetime
    ) -> None:
        for _ in range(ROUNDS):
            if taken.left <= 0:
                return
            found = await fetch(
                tx,
                f"SELECT {TASKS} FROM {self.task_rows} WHERE {DUE_TASK} AND priority = %s "
                f"AND next_run_at <= %s AND {NOT_FULL} AND id <> ALL(%s::bigint[]) "
                "ORDER BY next_run_at, id LIMIT %s FOR UPDATE SKIP LOCKED",
                (priority, now, taken.full_groups, [r.id for r in taken.tasks], taken.left),
            )
            records = [rows.task_record(row) for row in found]
            taken.records |= {record.name: record for record in records}
            await self._lock_groups(tx, taken, {record.task_group for record in records})
            ours = [record for record in records if record.task_group in taken.groups]
            taken.tasks += ours
            exhausted = len(found) < taken.left
            taken.left -= len(ours)
            if exhausted:
                return

    async def _take_pending(
        self, tx: Connection, taken: _Taken, priority: int, now: datetime
    ) -> None:
        condition = f"{DUE_RUN} AND priority = %s AND due_at <= %s AND {NOT_FULL}"
        busy: set[str] = set()
        for _ in range(ROUNDS):
            if taken.left <= 0:
                return
            params = (priority, now, taken.full_groups)
            candidates = await fetch(
                tx,
                f"SELECT id, task_name, task_group FROM {self.run_rows} WHERE {condition} "
                "AND task_name <> ALL(%s::text[]) AND id <> ALL(%s::bigint[]) "
                "ORDER BY due_at, id LIMIT %s",
                (*params, sorted(busy), [run.id for run, _ in taken.pending], taken.left),
            )
            await self._lock_groups(tx, taken, {group for *_, group in candidates})
            ours = [(i, name) for i, name, group in candidates if group in taken.groups]
            busy |= await self._try_lock(tx, taken, {name for _, name in ours})
            found = []
            if ids := [run_id for run_id, name in ours if name not in busy]:
                # Whoever had the lock before may have started or ended some of them.
                found = await fetch(
                    tx,
                    f"SELECT {RUNS}, task_id FROM {self.run_rows} WHERE id = ANY(%s::bigint[]) "
                    f"AND {condition} ORDER BY due_at, id",
                    (ids, priority, now, taken.full_groups),
                )
            taken.pending += [(rows.run(row[:-1]), row[-1]) for row in found]
            exhausted = len(candidates) < taken.left
            taken.left -= len(found)
            if exhausted:
                return

    def _expired_query(self, now: datetime, limit: int) -> Query:
        """The runs whose lease is over."""
        return (
            f"SELECT id, task_name FROM {self.run_rows} WHERE {EXPIRED} "
            "ORDER BY lease_until, id LIMIT %s",
            (now, limit),
        )

    def _groups_query(self) -> Query:
        return (
            f"SELECT task_group, count(*) FROM {self.run_rows} "
            f"WHERE {RUNNING} AND task_group IS NOT NULL GROUP BY task_group",
            (),
        )

    def _live_query(self, names: list[str]) -> Query:
        """The live runs of tasks."""
        return (
            "SELECT task_name, id, slot, attempt, status, due_at, triggered_by "
            f"FROM {self.run_rows} WHERE {LIVE} AND task_name = ANY(%s::text[]) ORDER BY id",
            (names,),
        )

    async def _take_expired(
        self, tx: Connection, taken: _Taken, now: datetime, candidates: Rows
    ) -> None:
        """Lock the runs among `candidates` whose lease is over and that nobody else is at."""
        if candidates:
            busy = await self._try_lock(tx, taken, {name for _, name in candidates})
            ids = [run_id for run_id, name in candidates if name not in busy]
            # Locked, since its owner may be about to renew the lease after all.
            found = await fetch(
                tx,
                f"SELECT {RUNS}, task_id FROM {self.run_rows} WHERE id = ANY(%s::bigint[]) "
                f"AND {EXPIRED} ORDER BY lease_until, id FOR UPDATE SKIP LOCKED",
                (ids, now),
            )
            taken.expired = [(rows.run(row[:-1]), row[-1]) for row in found]

    async def _try_lock(self, tx: Connection, taken: _Taken, names: set[str]) -> set[str]:
        """Lock all that belongs to `names`, as far as nobody else has; the answer is the rest."""
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
            locked = await self._try_lock_names(tx, missing, "name")
            # A task of that name which is there now is somebody else's, or new.
            there = await fetch(
                tx,
                f"SELECT name FROM {self.task_rows} WHERE name = ANY(%s::text[])",
                (sorted(locked),),
            )
            taken.gone |= locked - {name for (name,) in there}
        return missing - taken.gone

    async def _lock_groups(
        self, tx: Connection, taken: _Taken, groups: Iterable[str | None]
    ) -> None:
        """Be the only claim that counts the runs of `groups`, until the end of the transaction; a
        group that another one is at is left alone."""
        wanted = {g for g in groups if g is not None} - taken.groups
        if wanted:
            locked = await self._try_lock_names(tx, wanted, "group")
            taken.groups |= locked
            taken.full_groups += wanted - locked

    # --- writing

    async def _advance(self, tx: Connection, claim: Claim) -> dict[int, int]:
        """Move tasks on; the answer has the new revision of each, and of those of which a pending
        run starts."""
        if claim.broken:
            await fetch(
                tx,
                f"UPDATE {self.task_rows} AS t SET broken = b.broken "
                "FROM unnest(%s::bigint[], %s::text[]) AS b (id, broken) WHERE t.id = b.id",
                arrays(claim.broken, 2),
            )
        found = []
        if claim.advances:
            steps = [
                (a.task_id, a.next_slot, a.next_run_at, a.runs_started) for a in claim.advances
            ]
            found += await fetch(
                tx,
                f"UPDATE {self.task_rows} AS t SET next_slot = a.next_slot, "
                "next_run_at = a.next_run_at, runs_started = a.runs_started, "
                "revision = t.revision + 1 FROM unnest(%s::bigint[], %s::timestamptz[], "
                "%s::timestamptz[], %s::bigint[]) AS a (id, next_slot, next_run_at, "
                "runs_started) WHERE t.id = a.id RETURNING t.id, t.revision",
                arrays(steps, 4),
            )
        advanced = {step.task_id for step in claim.advances}
        resumed = {owed.record.id for owed in claim.resumes if owed.record is not None} - advanced
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
        started = await self._insert_rows(
            tx,
            [replace(new, due_at=None) for new in claim.starts],
            f"{RUNS}, task_id",
            epochs=[epochs[new.task_id] for new in claim.starts],
            owner=owner,
            lease_until=lease_until,
            now=now,
        )
        if claim.resumes:
            taken = [(o.run.id, epochs[o.record.id]) for o in claim.resumes if o.record is not None]
            found = await fetch(
                tx,
                f"UPDATE {self.run_rows} AS r SET status = 'running', due_at = NULL, "
                "owner = %s, epoch = n.taken_in, lease_until = %s, started_at = %s "
                "FROM unnest(%s::bigint[], %s::bigint[]) AS n (taken, taken_in) "
                f"WHERE r.id = n.taken AND r.status = 'pending' RETURNING {RUNS}, task_id",
                (owner, lease_until, now, *arrays(taken, 2)),
            )
            by_id = {row[0]: row for row in found}
            started += [by_id[run_id] for run_id, _ in taken if run_id in by_id]
        return [(rows.run(row[:-1]), row[-1]) for row in started]
