"""What every writing transaction is made of: edits of rows in the tables in PostgreSQL.

The row of a task stands for all that belongs to its name: who changes the task, or which of its
runs are pending, has locked that row. Rows of tasks are locked before those of runs, each in the
order of ids, so that two transactions do not wait for each other. READ COMMITTED is enough: once
the lock is held, the next statement sees all that its last holder did.

A task that was removed has no row, but may have runs that are still running. Whoever records their
ends locks the name instead (an advisory lock until the end of the transaction), and so does who
makes a new task of a name that has such runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from ..runs import Finish, NewRun, Skip, Tally, Trigger, tally
from . import postgres_rows as rows
from .base import DISABLED, OVERLAP, PAUSED_BY_FAILURES
from .postgres_rows import (
    DUE_RUN,
    NEW_RUN_COLUMNS,
    NOW,
    RUNNING,
    SKIP_COLUMNS,
    WAITING,
    Connection,
    Rows,
    arrays,
    fetch,
)

# Tasks whose rows are locked: their names and tallies by their ids.
Locked = dict[int, tuple[str, Tally]]


class Edits:
    """Edits of the tables in `schema`. Where `now` is None, the database's clock tells."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.task_rows = f'"{schema}".tasks'
        self.run_rows = f'"{schema}".runs'
        self.skip_rows = f'"{schema}".skips'

    def _priorities(self, name: str, table: str, condition: str) -> str:
        """A CTE `name (v)` of the priorities that occur, highest first: one seek of an index each.

        With it, what is due comes in the order of priority and time without being sorted."""
        first = f"SELECT priority FROM {table} WHERE {condition}"
        return (
            f"{name} (v) AS (SELECT ({first} ORDER BY priority DESC LIMIT 1) "
            f"UNION ALL SELECT ({first} AND priority < {name}.v ORDER BY priority DESC LIMIT 1) "
            f"FROM {name} WHERE {name}.v IS NOT NULL)"
        )

    # --- locks

    async def _lock(self, tx: Connection, names: Iterable[str]) -> Locked:
        """Take all that belongs to `names`; the answer has those that are tasks."""
        wanted = sorted(set(names))
        query = (
            "SELECT id, name, enabled, failures, last_run_at, last_status, last_success_at "
            f"FROM {self.task_rows} WHERE name = ANY(%s::text[]) ORDER BY id FOR UPDATE"
        )
        found = await fetch(tx, query, (wanted,))
        missing = sorted(set(wanted) - {row[1] for row in found})
        if missing:
            await self._lock_names(tx, missing)
            found += await fetch(tx, query, (missing,))
        return {task_id: (name, Tally(*state)) for task_id, name, *state in found}

    async def _lock_names(self, tx: Connection, names: Iterable[str]) -> None:
        await fetch(
            tx,
            "SELECT pg_advisory_xact_lock(hashtextextended(%s || name, 0)) "
            "FROM unnest(%s::text[]) AS n (name)",
            (f"cronkit name {self.schema} ", sorted(names)),
        )

    async def _try_lock_names(self, tx: Connection, names: Iterable[str], what: str) -> set[str]:
        """Lock names, or groups, without waiting; the answer is those that are locked."""
        found = await fetch(
            tx,
            "SELECT name FROM unnest(%s::text[]) AS n (name) "
            "WHERE pg_try_advisory_xact_lock(hashtextextended(%s || name, 0))",
            (sorted(names), f"cronkit {what} {self.schema} "),
        )
        return {name for (name,) in found}

    # --- ends

    async def _finish(
        self, tx: Connection, locked: Locked, finishes: Sequence[Finish], now: datetime | None
    ) -> list[int]:
        """Record ends of runs of the tasks in `locked`, or of removed ones; answers with the ids of
        those that were refused."""
        if not finishes:
            return []
        found = await fetch(
            tx,
            f"SELECT id, owner, epoch, status, reason, manual FROM {self.run_rows} "
            "WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE",
            ([finish.run_id for finish in finishes],),
        )
        states = {row[0]: row[1:] for row in found}
        accepted, refused = [], []
        for finish in finishes:
            owner, epoch, status, reason, *_ = states.get(finish.run_id, (None, -1, None, None))
            expected = "pending" if finish.owner is None else "running"
            if (owner, epoch) != (finish.owner, finish.epoch):
                refused.append(finish.run_id)
            elif status == expected:
                accepted.append(finish)
                after = (owner, epoch, finish.status, finish.reason)
                states[finish.run_id] = (*after, states[finish.run_id][-1])
            elif (status, reason) != (finish.status, finish.reason):
                refused.append(finish.run_id)
        if accepted:
            await self._end(tx, accepted)
            manual = {run_id for run_id, state in states.items() if state[-1]}
            await self._note_outcomes(tx, locked, accepted, manual, now)
        return refused

    async def _end(self, tx: Connection, finishes: Sequence[Finish]) -> None:
        values = [
            (
                f.run_id,
                f.status.value,
                f.finished_at,
                f.duration_ms,
                None if f.reason is None else f.reason.value,
                f.error_type,
                f.error_message,
                f.error_traceback,
                f.output,
                f.log,
                f.progress,
            )
            for f in finishes
        ]
        await fetch(
            tx,
            f"UPDATE {self.run_rows} AS r SET status = f.status, finished_at = f.finished_at, "
            "duration_ms = f.duration_ms, reason = f.reason, error_type = f.error_type, "
            "error_message = f.error_message, error_traceback = f.error_traceback, "
            "output = f.output, log = coalesce(f.log, r.log), "
            "progress = coalesce(f.progress, r.progress), lease_until = NULL, due_at = NULL "
            "FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::bigint[], %s::text[], "
            "%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) "
            "AS f (id, status, finished_at, duration_ms, reason, error_type, error_message, "
            "error_traceback, output, log, progress) WHERE r.id = f.id",
            arrays(values, 11),
        )

    async def _note_outcomes(
        self,
        tx: Connection,
        locked: Locked,
        finishes: Sequence[Finish],
        manual: set[int],
        now: datetime | None,
    ) -> None:
        """What the ends of runs change in their tasks, and the retries that follow."""
        ended = {finish.task_id for finish in finishes}
        tallies = {task_id: locked[task_id][1] for task_id in ended & locked.keys()}
        retries = []
        for finish in finishes:
            before = tallies.get(finish.task_id)
            if before is None:
                continue
            if finish.retry is not None and not before.enabled and finish.run_id not in manual:
                finish = replace(finish, retry=None)
            if finish.retry is not None:
                retries.append(finish.retry)
            tallies[finish.task_id] = tally(before, finish)
        values = [
            (task_id, t.failures, t.last_run_at, t.last_status, t.last_success_at, t.pauses)
            for task_id, t in tallies.items()
        ]
        await fetch(
            tx,
            f"UPDATE {self.task_rows} AS t SET revision = revision + 1, failures = n.failures, "
            "last_run_at = n.last_run_at, last_status = n.last_status, "
            "last_success_at = n.last_success_at, enabled = t.enabled AND NOT n.pauses, "
            f"paused_at = CASE WHEN n.pauses THEN {NOW} ELSE t.paused_at END, "
            "paused_by = CASE WHEN n.pauses THEN %s ELSE t.paused_by END, "
            "paused_note = CASE WHEN n.pauses THEN n.failures || ' slots failed in a row' "
            "ELSE t.paused_note END "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::text[], "
            "%s::timestamptz[], %s::boolean[]) AS n (id, failures, last_run_at, last_status, "
            "last_success_at, pauses) WHERE t.id = n.id",
            (now, PAUSED_BY_FAILURES, *arrays(values, 6)),
        )
        await self._insert(tx, retries)
        paused = [locked[task_id][0] for task_id, t in tallies.items() if t.pauses]
        await self._drop_pending(tx, dict.fromkeys(paused, DISABLED), now)

    # --- runs

    async def _insert(self, tx: Connection, runs: Sequence[NewRun]) -> list[int]:
        """Insert pending runs; the answer has the ids of those that were not there."""
        found: Rows = []
        together: list[NewRun] = []
        for new in runs:
            if new.triggered_by is Trigger.MANUAL and new.attempt == 1:
                # Its place depends on those before it.
                found += await self._insert_rows(tx, together, "id")
                together = []
                new = replace(new, slot=await self._free_manual_slot(tx, new))
            together.append(new)
        found += await self._insert_rows(tx, together, "id")
        return [run_id for (run_id,) in found]

    async def _insert_rows(
        self,
        tx: Connection,
        runs: Sequence[NewRun],
        returning: str,
        *,
        epochs: Sequence[int] = (),
        owner: str | None = None,
        lease_until: datetime | None = None,
        now: datetime | None = None,
    ) -> Rows:
        """Insert runs, running ones where there is an owner; rows that begin with the id, in order,
        of those that were not there."""
        if not runs:
            return []
        columns = ", ".join(NEW_RUN_COLUMNS)
        values = arrays(map(rows.new_run_row, runs), len(NEW_RUN_COLUMNS))
        status = "pending" if owner is None else "running"
        found = await fetch(
            tx,
            f"INSERT INTO {self.run_rows} ({columns}, epoch, status, owner, lease_until, "
            f"started_at) SELECT {columns}, epoch, %s, %s, %s::timestamptz, %s::timestamptz "
            "FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::integer[], %s::text[], "
            "%s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[], %s::integer[], "
            f"%s::bigint[]) WITH ORDINALITY AS n ({columns}, epoch, number) "
            # Of a slot that has a later attempt, the earlier ones may be pruned: it is not new. An
            # EXISTS might become a join, and that reads the index from end to end.
            f"WHERE n.attempt > coalesce((SELECT max(r.attempt) FROM {self.run_rows} AS r "
            "WHERE r.task_name = n.task_name AND r.slot = n.slot "
            "AND r.manual = (n.triggered_by = 'manual')), 0) ORDER BY number "
            "ON CONFLICT (task_name, slot, attempt, manual) DO NOTHING "
            f"RETURNING {returning}",
            (status, owner, lease_until, now, *values, list(epochs) or [0] * len(runs)),
        )
        return sorted(found)

    async def _free_manual_slot(self, tx: Connection, new: NewRun) -> datetime:
        [(slot,)] = await fetch(
            tx,
            "WITH RECURSIVE taken (slot) AS (SELECT %s::timestamptz UNION ALL "
            "SELECT taken.slot + interval '1 microsecond' FROM taken "
            f"WHERE EXISTS (SELECT FROM {self.run_rows} AS r WHERE r.task_name = %s "
            "AND r.slot = taken.slot AND r.manual)) "
            "SELECT max(slot) FROM taken",
            (new.slot, new.task_name),
        )
        return slot  # type: ignore[no-any-return]

    async def _replace(self, tx: Connection, run_ids: Sequence[int]) -> None:
        if run_ids:
            await fetch(
                tx,
                f"DELETE FROM {self.run_rows} WHERE id = ANY(%s::bigint[]) AND status = 'pending'",
                (list(run_ids),),
            )

    async def _ask_to_cancel(
        self, tx: Connection, run_ids: Sequence[int], by: str = OVERLAP
    ) -> None:
        if run_ids:
            await fetch(
                tx,
                f"WITH found AS (SELECT id FROM {self.run_rows} WHERE id = ANY(%s::bigint[]) "
                f"AND {RUNNING} ORDER BY id FOR UPDATE) "
                f"UPDATE {self.run_rows} AS r "
                "SET cancel_requested_by = coalesce(cancel_requested_by, %s) "
                "FROM found WHERE r.id = found.id",
                (list(run_ids), by),
            )

    async def _end_pending(
        self, tx: Connection, run_ids: Sequence[int], by: str, now: datetime | None
    ) -> None:
        if run_ids:
            await fetch(
                tx,
                f"UPDATE {self.run_rows} SET {_cancelled('%s')} "
                "WHERE id = ANY(%s::bigint[]) AND status = 'pending'",
                (f"cancelled by {by}", now, list(run_ids)),
            )

    async def _drop_pending(
        self, tx: Connection, why: dict[str, str], now: datetime | None, *, manual: bool = False
    ) -> None:
        """End the pending runs of the tasks that `why` names as cancelled by what it says."""
        if why:
            await fetch(
                tx,
                f"UPDATE {self.run_rows} AS r SET {_cancelled('w.message')} "
                "FROM unnest(%s::text[], %s::text[]) AS w (name, message) "
                "WHERE r.task_name = w.name AND r.status = 'pending' AND (%s OR NOT r.manual)",
                (now, list(why), [f"cancelled by {by}" for by in why.values()], manual),
            )

    async def _release(self, tx: Connection, names: Iterable[str], now: datetime | None) -> None:
        """Let the oldest waiting run of each task that has nothing running or due be due."""
        wanted = sorted(set(names))
        if wanted:
            runs = f"FROM {self.run_rows} WHERE task_name = n.name"
            await fetch(
                tx,
                f"UPDATE {self.run_rows} AS r SET due_at = {NOW} FROM (SELECT (SELECT id {runs} "
                f"AND {WAITING} ORDER BY due_at, slot, id LIMIT 1) AS id "
                f"FROM unnest(%s::text[]) AS n (name) WHERE NOT EXISTS (SELECT {runs} "
                f"AND {RUNNING}) AND NOT EXISTS (SELECT {runs} AND {DUE_RUN})) AS first "
                "WHERE r.id = first.id",
                (now, wanted),
            )

    # --- skips

    async def _add_skips(self, tx: Connection, skips: Iterable[Skip]) -> None:
        values = rows.skip_rows(skips)
        if values:
            columns = ", ".join(SKIP_COLUMNS)
            await fetch(
                tx,
                f"INSERT INTO {self.skip_rows} AS s ({columns}) SELECT {columns} FROM "
                "unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], %s::bigint[], "
                "%s::text[], %s::timestamptz[], %s::bigint[], %s::text[]) "
                f"WITH ORDINALITY AS n ({columns}, number) ORDER BY number "
                "ON CONFLICT (task_name, reason, run_id) WHERE run_id IS NOT NULL DO UPDATE SET "
                "first_slot = least(s.first_slot, excluded.first_slot), "
                "last_slot = greatest(s.last_slot, excluded.last_slot), "
                "count = s.count + excluded.count",
                arrays(values, len(SKIP_COLUMNS)),
            )


def _cancelled(message: str) -> str:
    return (
        f"status = 'error', reason = 'cancelled', error_message = {message}, "
        f"finished_at = {NOW}, due_at = NULL"
    )
