"""The operations of a storage in PostgreSQL, each for one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..runs import ENDS, Finish, NewRun, Run, Skip, Status
from ..tasks import TaskRecord
from . import postgres_rows as rows
from .base import (
    NEWEST,
    OVERLAP,
    REMOVED,
    Report,
    Retention,
    RunQuery,
    SkipQuery,
    TaskQuery,
    TaskWrite,
    Wake,
    can_be_stored,
    filters_all_runs,
)
from .postgres_claims import Claims
from .postgres_rows import (
    DUE_RUN,
    DUE_TASK,
    ENDED,
    LIVE,
    NOT_FULL,
    NOW,
    RUNNING,
    RUNS,
    SKIPS,
    TASKS,
    WAITING,
    Connection,
    arrays,
    fetch,
)

# What a save leaves as it is.
KEPT = ("id", "revision", "last_run_at", "last_status", "last_success_at")
SAVED = tuple(c for c in rows.TASK_COLUMNS if c not in KEPT)


class Queries(Claims):
    """What a storage is asked to do with the tables in `schema`."""

    # --- tasks

    async def save_tasks(
        self, tx: Connection, writes: Sequence[TaskWrite], now: datetime | None
    ) -> list[str]:
        found = await fetch(
            tx,
            f"SELECT name, id, revision FROM {self.task_rows} WHERE name = ANY(%s::text[]) "
            "ORDER BY id FOR UPDATE",
            ([write.record.name for write in writes],),
        )
        stored = {name: (task_id, revision) for name, task_id, revision in found}
        accepted: dict[str, TaskWrite] = {}
        for write in writes:
            name = write.record.name
            if name not in accepted and write.expected == stored.get(name):
                accepted[name] = write
        new = [write.record for name, write in accepted.items() if name not in stored]
        inserted = await self._insert_tasks(tx, new)
        for record in new:
            if record.name not in inserted:
                del accepted[record.name]
        old = [write.record for name, write in accepted.items() if name in stored]
        await self._update_tasks(tx, old)
        await self._add_skips(tx, (skip for write in accepted.values() for skip in write.skips))
        dropped = {
            name: write.drop_pending
            for name, write in accepted.items()
            if write.drop_pending is not None
        }
        await self._drop_pending(tx, dropped, now)
        await self._release(tx, dropped, now)
        return [w.record.name for w in writes if accepted.get(w.record.name) is not w]

    async def _insert_tasks(self, tx: Connection, records: Sequence[TaskRecord]) -> set[str]:
        if not records:
            return set()
        names = [record.name for record in records]
        live = await fetch(
            tx,
            "SELECT name FROM unnest(%s::text[]) AS n (name) WHERE EXISTS "
            f"(SELECT FROM {self.run_rows} WHERE task_name = n.name AND {LIVE})",
            (names,),
        )
        if live:
            await self._lock_names(tx, (name for (name,) in live))
        columns = ", ".join(SAVED)
        # In the order of names, so that those who save the same ones at once wait in line.
        inserted = await fetch(
            tx,
            f"INSERT INTO {self.task_rows} ({columns}) SELECT {columns} "
            f"FROM unnest({_SAVED_ARRAYS}) WITH ORDINALITY AS n ({columns}, number) "
            "ORDER BY number ON CONFLICT (name) DO NOTHING RETURNING name",
            _saved(sorted(records, key=lambda record: record.name)),
        )
        return {name for (name,) in inserted}

    async def _update_tasks(self, tx: Connection, records: Sequence[TaskRecord]) -> None:
        if records:
            await fetch(
                tx,
                f"UPDATE {self.task_rows} AS t SET revision = t.revision + 1, "
                + ", ".join(f"{c} = n.{c}" for c in SAVED if c != "name")
                + f" FROM unnest({_SAVED_ARRAYS}) AS n ({', '.join(SAVED)}) "
                "WHERE t.name = n.name",
                _saved(records),
            )

    async def remove_tasks(
        self, tx: Connection, names: Sequence[str], now: datetime | None, *, cancel: bool
    ) -> list[str]:
        found = await fetch(
            tx,
            f"SELECT id, name FROM {self.task_rows} WHERE name = ANY(%s::text[]) "
            "ORDER BY id FOR UPDATE",
            ([name for name in names if can_be_stored(name)],),
        )
        ids, removed = [row[0] for row in found], [row[1] for row in found]
        await fetch(tx, f"DELETE FROM {self.task_rows} WHERE id = ANY(%s::bigint[])", (ids,))
        await self._drop_pending(tx, dict.fromkeys(removed, REMOVED), now, manual=True)
        if cancel:
            running = await fetch(
                tx,
                f"SELECT id FROM {self.run_rows} WHERE task_name = ANY(%s::text[]) AND {RUNNING}",
                (removed,),
            )
            await self._ask_to_cancel(tx, [run_id for (run_id,) in running], REMOVED)
        return removed

    async def tasks(self, tx: Connection, query: TaskQuery) -> list[TaskRecord]:
        names = None if query.names is None else [n for n in query.names if can_be_stored(n)]
        texts = (query.after, query.handler, query.last_status, query.search)
        if not all(can_be_stored(text) for text in texts if text is not None):
            return []
        where, params = _where(
            ("name = ANY(%s::text[])", names),
            ("name > %s", query.after),
            ("handler = %s", query.handler),
            ("enabled = %s", query.enabled),
            ("last_status = %s", query.last_status),
        )
        if query.search:
            fits = 'strpos(lower(%s COLLATE "C"), lower(%%s COLLATE "C")) > 0'
            where += f" AND ({fits % 'name'} OR {fits % 'handler'})"
            params += [query.search, query.search]
        found = await fetch(
            tx,
            f"SELECT {TASKS} FROM {self.task_rows} WHERE {where} ORDER BY name LIMIT %s",
            (*params, query.limit),
        )
        return [rows.task_record(row) for row in found]

    # --- history

    async def runs(self, tx: Connection, query: RunQuery) -> list[Run]:
        if query.task_name is not None and not can_be_stored(query.task_name):
            return []
        if query.statuses is not None and not query.statuses:
            return []
        ids = None if query.ids is None else [i for i in query.ids if abs(i) < 2**63]
        statuses = None if query.statuses is None else [str(s) for s in query.statuses]
        span = (("slot >= %s", query.since), ("slot <= %s", query.until))
        where, params = _where(
            ("id = ANY(%s::bigint[])", ids),
            ("task_name = %s", query.task_name),
            ("status = ANY(%s::text[])", statuses),
            ("id < %s", query.before_id),
            *span,
        )
        select = f"SELECT {RUNS} FROM {self.run_rows} WHERE"
        page = (query.limit, query.offset)
        if not filters_all_runs(query):
            sql = f"{select} {where} ORDER BY id DESC LIMIT %s OFFSET %s"
            return [rows.run(row) for row in await fetch(tx, sql, (*params, *page))]
        found = await fetch(
            tx,
            f"{select} {where} AND id > coalesce(%s, (SELECT max(id) FROM {self.run_rows})) - %s "
            "ORDER BY id DESC LIMIT %s OFFSET %s",
            (*params, query.before_id, NEWEST, *page),
        )
        if len(found) < query.limit:
            where, params = _where(("id < %s", query.before_id), *span)
            wanted = sorted(Status if query.statuses is None else set(query.statuses))
            of_each = " UNION ALL ".join(
                f"SELECT id FROM {self.run_rows} "
                f"WHERE {ENDED if status in ENDS else LIVE} AND status = '{status}' AND {where}"
                for status in wanted
            )
            found = await fetch(
                tx,
                f"{select} id IN (SELECT id FROM ({of_each}) AS of_each "
                "ORDER BY id + 0 DESC LIMIT %s OFFSET %s) ORDER BY id DESC",
                (*params * len(wanted), *page),
            )
        return [rows.run(row) for row in found]

    async def skips(self, tx: Connection, query: SkipQuery) -> list[Skip]:
        if not can_be_stored(query.task_name):
            return []
        where, params = _where(
            ("task_name = %s", query.task_name),
            ("last_slot >= %s", query.since),
            ("first_slot <= %s", query.until),
        )
        found = await fetch(
            tx,
            f"SELECT {SKIPS} FROM {self.skip_rows} WHERE {where} "
            "ORDER BY last_slot DESC, id DESC LIMIT %s",
            (*params, query.limit),
        )
        return [rows.skip(row) for row in found]

    async def counts(self, tx: Connection) -> Mapping[str, int]:
        [(tasks, running, pending, retries, queued)] = await fetch(
            tx,
            f"SELECT (SELECT count(*) FROM {self.task_rows}), "
            f"count(*) FILTER (WHERE {RUNNING}), count(*) FILTER (WHERE NOT {RUNNING}), "
            f"count(*) FILTER (WHERE NOT {RUNNING} AND attempt > 1), "
            f"count(*) FILTER (WHERE {WAITING}) "
            f"FROM {self.run_rows} WHERE {LIVE}",
        )
        return {
            "tasks": tasks,
            "running": running,
            "pending": pending,
            "retries": retries,
            "queued": queued,
        }

    async def prune(self, tx: Connection, retentions: Sequence[Retention], limit: int) -> int:
        left = limit
        for rule in retentions:
            if left > 0 and rule.keep is not None:
                # The newest `keep` end before this id; finding it reads `keep` index entries.
                edge = await fetch(
                    tx,
                    f"SELECT id FROM {self.run_rows} WHERE task_name = %s "
                    "ORDER BY id DESC LIMIT 1 OFFSET %s",
                    (rule.task_name, rule.keep),
                )
                for (run_id,) in edge:
                    left -= await self._delete_runs(
                        tx, "id <= %s", rule.task_name, run_id, order="id", limit=left
                    )
            if left > 0 and rule.before is not None:
                left -= await self._delete_runs(
                    tx,
                    "finished_at < %s",
                    rule.task_name,
                    rule.before,
                    order="finished_at, id",
                    limit=left,
                )
            if left > 0 and rule.keep is not None:
                edge = await fetch(
                    tx,
                    f"SELECT last_slot, id FROM {self.skip_rows} WHERE task_name = %s "
                    "ORDER BY last_slot DESC, id DESC LIMIT 1 OFFSET %s",
                    (rule.task_name, rule.keep),
                )
                for bounds in edge:
                    left -= await self._delete_skips(
                        tx, "(last_slot, id) <= (%s, %s)", rule.task_name, *bounds, limit=left
                    )
            if left > 0 and rule.before is not None:
                left -= await self._delete_skips(
                    tx, "last_slot < %s", rule.task_name, rule.before, limit=left
                )
        return limit - left

    async def _delete_runs(
        self, tx: Connection, condition: str, *params: object, order: str, limit: int
    ) -> int:
        """Delete the first ended runs of a task for which `condition` holds; how many."""
        # What somebody else is deleting is left to them.
        deleted = await fetch(
            tx,
            f"DELETE FROM {self.run_rows} WHERE id = ANY(ARRAY(SELECT id FROM {self.run_rows} "
            f"WHERE task_name = %s AND {condition} AND {ENDED} ORDER BY {order} LIMIT %s "
            "FOR UPDATE SKIP LOCKED)) RETURNING 1",
            (*params, limit),
        )
        return len(deleted)

    async def _delete_skips(
        self, tx: Connection, condition: str, *params: object, limit: int
    ) -> int:
        """Delete the oldest skips of a task for which `condition` holds; how many."""
        deleted = await fetch(
            tx,
            f"DELETE FROM {self.skip_rows} WHERE id = ANY(ARRAY(SELECT id FROM {self.skip_rows} "
            f"WHERE task_name = %s AND {condition} ORDER BY last_slot, id LIMIT %s "
            "FOR UPDATE SKIP LOCKED)) RETURNING 1",
            (*params, limit),
        )
        return len(deleted)

    async def names_with_history(self, tx: Connection, after: str, limit: int) -> list[str]:
        names: set[str] = set()
        for table in (self.run_rows, self.skip_rows):
            # One seek of an index a name, however many rows there are of it.
            seek = f"(SELECT task_name FROM {table} WHERE task_name > %s ORDER BY 1 LIMIT 1)"
            next_seek = seek.replace("%s", "names.name")
            found = await fetch(
                tx,
                f"WITH RECURSIVE names (name) AS (SELECT {seek} UNION ALL "
                f"SELECT {next_seek} FROM names WHERE names.name IS NOT NULL) "
                "SELECT name FROM names WHERE name IS NOT NULL LIMIT %s",
                (after, limit),
            )
            names |= {name for (name,) in found}
        return sorted(names)[:limit]

    # --- the engine

    async def wake(
        self, tx: Connection, now: datetime | None, owner: str, full_groups: Sequence[str]
    ) -> Wake:
        def first(priorities: str, table: str, condition: str, time: str) -> str:
            return (
                f"(SELECT min(at) FROM {priorities} CROSS JOIN LATERAL (SELECT {time} AS at "
                f"FROM {table} WHERE {condition} AND priority = {priorities}.v AND {NOT_FULL} "
                f"ORDER BY {time}, id LIMIT 1) AS first)"
            )

        full = list(full_groups)
        [(seen, at, cancels)] = await fetch(
            tx,
            f"WITH RECURSIVE {self._priorities('t', self.task_rows, DUE_TASK)}, "
            f"{self._priorities('r', self.run_rows, DUE_RUN)} SELECT {NOW}, "
            f"least({first('t', self.task_rows, DUE_TASK, 'next_run_at')}, "
            f"{first('r', self.run_rows, DUE_RUN, 'due_at')}, "
            f"(SELECT min(lease_until) FROM {self.run_rows} WHERE {RUNNING})), "
            f"ARRAY(SELECT id FROM {self.run_rows} WHERE {RUNNING} "
            "AND cancel_requested_by IS NOT NULL AND owner = %s ORDER BY id)",
            (now, full, full, owner),
        )
        return Wake(seen, at, cancels)

    async def finish(
        self, tx: Connection, finishes: Sequence[Finish], now: datetime | None
    ) -> list[int]:
        names = {finish.task_name for finish in finishes}
        locked = await self._lock(tx, names)
        refused = await self._finish(tx, locked, finishes, now)
        await self._release(tx, names, now)
        return refused

    async def renew(
        self,
        tx: Connection,
        owner: str,
        now: datetime | None,
        lease: timedelta,
        reports: Sequence[Report],
    ) -> list[tuple[Run, int]]:
        values = [(r.run_id, r.epoch, r.progress, r.log) for r in reports]
        found = await fetch(
            tx,
            f"WITH mine AS (SELECT id, epoch FROM {self.run_rows} "
            f"WHERE {RUNNING} AND owner = %s ORDER BY id FOR UPDATE) "
            f"UPDATE {self.run_rows} AS r SET lease_until = {NOW} + %s, "
            "progress = coalesce(said.progress, r.progress), log = coalesce(said.log, r.log) "
            "FROM mine LEFT JOIN unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[]) "
            "AS said (id, epoch, progress, log) ON said.id = mine.id AND said.epoch = mine.epoch "
            "WHERE r.id = mine.id RETURNING "
            + ", ".join(f"r.{c}" for c in (*rows.RUN_COLUMNS, "task_id")),
            (owner, now, lease, *arrays(values, 4)),
        )
        return [(rows.run(row[:-1]), row[-1]) for row in sorted(found)]

    async def enqueue(
        self,
        tx: Connection,
        runs: Sequence[NewRun],
        now: datetime,
        *,
        revision: int,
        replaced: Sequence[int],
        cancels: Sequence[int],
        skips: Sequence[Skip],
        database_clock: bool,
    ) -> list[int] | None:
        found = await fetch(
            tx,
            f"UPDATE {self.task_rows} SET revision = revision + 1 WHERE id = %s AND revision = %s "
            "RETURNING name, now()",
            (runs[0].task_id, revision),
        )
        if not found:
            return None
        [(name, here)] = found
        if database_clock:
            # What is due for the caller is due, whatever its clock says.
            runs = [
                replace(new, due_at=here) if new.due_at is not None and new.due_at <= now else new
                for new in runs
            ]
            now = here
        await self._replace(tx, replaced)
        await self._ask_to_cancel(tx, cancels)
        await self._end_pending(tx, cancels, OVERLAP, now)
        await self._add_skips(tx, skips)
        ids = await self._insert(tx, runs)
        await self._release(tx, [name], now)
        return ids

    async def cancel(
        self, tx: Connection, run_id: int, now: datetime | None, by: str
    ) -> Run | None:
        found = await self.runs(tx, RunQuery(ids=[run_id]))
        if not found:
            return None
        await self._lock(tx, [found[0].task_name])
        before = await self.runs(tx, RunQuery(ids=[run_id]))
        if not before:
            return None
        await self._ask_to_cancel(tx, [run_id], by)
        await self._end_pending(tx, [run_id], by, now)
        await self._release(tx, [before[0].task_name], now)
        return before[0]


_SAVED_TYPES = {
    "retry_max": "integer",
    "priority": "integer",
    "enabled": "boolean",
    "failures": "bigint",
    "runs_started": "bigint",
    **{c: "timestamptz" for c in SAVED if c.endswith("_at")},
    "next_slot": "timestamptz",
    "schedule_since": "timestamptz",
}
_SAVED_ARRAYS = ", ".join(f"%s::{_SAVED_TYPES.get(c, 'text')}[]" for c in SAVED)


def _saved(records: Sequence[TaskRecord]) -> list[list[Any]]:
    return [[getattr(record, column) for record in records] for column in SAVED]


def _where(*conditions: tuple[str, Any]) -> tuple[str, list[Any]]:
    """The conditions whose parameter is not None, joined, and those parameters."""
    used = [(sql, param) for sql, param in conditions if param is not None]
    return " AND ".join(["true", *(sql for sql, _ in used)]), [param for _, param in used]
