"""The transactions of a storage in SQLite, as programs of statements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ..runs import ENDS, Finish, NewRun, Run, Skip, Status
from ..tasks import TaskRecord
from . import sqlite_rows as rows
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
from .sqlite_claims import Claims
from .sqlite_edits import ANY, DUE_RUN, DUE_TASK, ENDED, LIVE, NOT_FULL, Program
from .sqlite_rows import RUN_COLUMNS, SKIP_COLUMNS, TASK_COLUMNS, optional_text, text
from .sqlite_schema import Statement


class Programs(Claims):
    """The programs for the tables whose names begin with `prefix`."""

    # --- tasks

    def save_tasks(self, writes: Sequence[TaskWrite], now: datetime) -> Program[list[str]]:
        names = json.dumps([write.record.name for write in writes])
        found = yield Statement(
            f"SELECT name, id, revision FROM {self.task_rows} WHERE name IN {ANY}", (names,)
        )
        stored = {name: (task_id, revision) for name, task_id, revision in found}
        accepted, refused = [], []
        for write in writes:
            name = write.record.name
            if write.expected == stored.get(name):
                accepted.append(write)
                stored[name] = (0, 0)  # a name that comes twice is written once
            else:
                refused.append(name)
        kept = ("last_run_at", "last_status", "last_success_at")
        columns = [c for c in TASK_COLUMNS if c not in ("id", "revision", *kept)]
        values = [dict(zip(TASK_COLUMNS, rows.task_row(w.record), strict=True)) for w in accepted]
        yield Statement(
            f"INSERT INTO {self.task_rows} ({', '.join(columns)}) "
            "VALUES :rows ON CONFLICT (name) DO UPDATE SET "
            + ", ".join(f"{c} = excluded.{c}" for c in columns if c != "name")
            + ", revision = revision + 1",
            [tuple(value[c] for c in columns) for value in values],
            many=True,
        )
        yield from self._add_skips(skip for write in accepted for skip in write.skips)
        dropped = {w.record.name: w.drop_pending for w in accepted if w.drop_pending is not None}
        yield from self._drop_pending(dropped, now)
        yield from self._release(dropped, now)
        return refused

    def remove_tasks(
        self, names: Sequence[str], now: datetime, *, cancel: bool
    ) -> Program[list[str]]:
        wanted = _json_texts(names)
        found = yield Statement(f"SELECT name FROM {self.task_rows} WHERE name IN {ANY}", (wanted,))
        removed = [name for (name,) in found]
        yield Statement(f"DELETE FROM {self.task_rows} WHERE name IN {ANY}", (wanted,))
        yield from self._drop_pending(dict.fromkeys(removed, REMOVED), now, manual=True)
        if cancel:
            yield Statement(
                f"UPDATE {self.run_rows} SET cancel_requested_by = "
                f"coalesce(cancel_requested_by, ?) WHERE {LIVE} AND task_name IN {ANY}",
                (REMOVED, json.dumps(removed)),
            )
        return removed

    def tasks(self, query: TaskQuery) -> Program[list[TaskRecord]]:
        texts = (query.after, query.handler, query.last_status, query.search)
        if not all(can_be_stored(value) for value in texts if value is not None):
            return []
        where, params = _where(
            (f"name IN {ANY}", None if query.names is None else _json_texts(query.names)),
            ("name > ?", query.after),
            ("handler = ?", query.handler),
            ("enabled = ?", None if query.enabled is None else int(query.enabled)),
            ("last_status = ?", query.last_status),
        )
        if query.search:
            where += " AND (instr(lower(name), lower(?)) OR instr(lower(handler), lower(?)))"
            params += [query.search, query.search]
        limit = -1 if query.limit is None else query.limit
        found = yield Statement(
            f"SELECT {', '.join(TASK_COLUMNS)} FROM {self.task_rows} "
            f"WHERE {where} ORDER BY name LIMIT ?",
            (*params, limit),
        )
        return [rows.task_record(row) for row in found]

    # --- history

    def runs(self, query: RunQuery) -> Program[list[Run]]:
        if query.task_name is not None and not can_be_stored(query.task_name):
            return []
        if query.statuses is not None and not query.statuses:
            return []
        span = (
            ("slot >= ?", optional_text(query.since)),
            ("slot <= ?", optional_text(query.until)),
        )
        where, params = _where(
            ("id IN (SELECT value FROM json_each(?))", _json(query.ids)),
            ("task_name = ?", query.task_name),
            ("status IN (SELECT value FROM json_each(?))", _json(query.statuses)),
            ("id < ?", query.before_id),
            *span,
        )
        select = f"SELECT {', '.join(RUN_COLUMNS)} FROM {self.run_rows} WHERE"
        if not filters_all_runs(query):
            found = yield Statement(
                f"{select} {where} ORDER BY id DESC LIMIT ? OFFSET ?",
                (*params, query.limit, query.offset),
            )
            return [rows.run(row) for row in found]
        found = yield Statement(
            f"{select} {where} AND id > coalesce(?, (SELECT max(id) FROM {self.run_rows})) - ? "
            "ORDER BY id DESC LIMIT ? OFFSET ?",
            (*params, query.before_id, NEWEST, query.limit, query.offset),
        )
        if len(found) < query.limit:
            where, params = _where(("id < ?", query.before_id), *span)
            statuses = sorted(Status if query.statuses is None else set(query.statuses))
            ids = " UNION ALL ".join(
                f"SELECT id FROM {self.run_rows} "
                f"WHERE {ENDED if status in ENDS else LIVE} AND status = '{status}' AND {where}"
                for status in statuses
            )
            found = yield Statement(
                f"{select} id IN (SELECT id FROM ({ids}) ORDER BY +id DESC LIMIT ? OFFSET ?) "
                "ORDER BY id DESC",
                (*params * len(statuses), query.limit, query.offset),
            )
        return [rows.run(row) for row in found]

    def skips(self, query: SkipQuery) -> Program[list[Skip]]:
        if not can_be_stored(query.task_name):
            return []
        where, params = _where(
            ("task_name = ?", query.task_name),
            ("last_slot >= ?", optional_text(query.since)),
            ("first_slot <= ?", optional_text(query.until)),
        )
        found = yield Statement(
            f"SELECT {', '.join(SKIP_COLUMNS)} FROM {self.skip_rows} "
            f"WHERE {where} ORDER BY last_slot DESC, id DESC LIMIT ?",
            (*params, query.limit),
        )
        return [rows.skip(row) for row in found]

    def counts(self) -> Program[Mapping[str, int]]:
        [(tasks, running)] = yield Statement(
            f"SELECT (SELECT count(*) FROM {self.task_rows}), "
            f"(SELECT count(*) FROM {self.run_rows} WHERE status = 'running')"
        )
        [(pending, retries, queued)] = yield Statement(
            "SELECT count(*), count(*) FILTER (WHERE attempt > 1), "
            f"count(*) FILTER (WHERE due_at IS NULL) FROM {self.run_rows} "
            f"WHERE status = 'pending' AND {LIVE}"
        )
        return {
            "tasks": tasks,
            "running": running,
            "pending": pending,
            "retries": retries,
            "queued": queued,
        }

    def prune(self, retentions: Sequence[Retention], limit: int) -> Program[int]:
        left = limit
        for rule in retentions:
            if left > 0 and rule.keep is not None:
                # The newest `keep` end before this id; finding it reads `keep` index entries.
                edge = yield Statement(
                    f"SELECT id FROM {self.run_rows} WHERE task_name = ? "
                    f"ORDER BY id DESC LIMIT 1 OFFSET ?",
                    (rule.task_name, rule.keep),
                )
                for (run_id,) in edge:
                    left -= yield from self._delete_runs(
                        "id <= ?", rule.task_name, run_id, order="id", limit=left
                    )
            if left > 0 and rule.before is not None:
                left -= yield from self._delete_runs(
                    "finished_at < ?",
                    rule.task_name,
                    text(rule.before),
                    order="finished_at, id",
                    limit=left,
                )
            if left > 0 and rule.keep is not None:
                edge = yield Statement(
                    f"SELECT last_slot, id FROM {self.skip_rows} WHERE task_name = ? "
                    f"ORDER BY last_slot DESC, id DESC LIMIT 1 OFFSET ?",
                    (rule.task_name, rule.keep),
                )
                for last_slot, skip_id in edge:
                    left -= yield from self._delete_skips(
                        "(last_slot, id) <= (?, ?)", rule.task_name, last_slot, skip_id, limit=left
                    )
            if left > 0 and rule.before is not None:
                left -= yield from self._delete_skips(
                    "last_slot < ?", rule.task_name, text(rule.before), limit=left
                )
        return limit - left

    def _delete_runs(
        self, condition: str, *params: str | int, order: str, limit: int
    ) -> Program[int]:
        """Delete the first ended runs of a task for which `condition` holds; how many."""
        deleted = yield Statement(
            f"DELETE FROM {self.run_rows} WHERE id IN (SELECT id FROM {self.run_rows} WHERE "
            f"task_name = ? AND {condition} AND {ENDED} ORDER BY {order} LIMIT ?) RETURNING 1",
            (*params, limit),
        )
        return len(deleted)

    def _delete_skips(self, condition: str, *params: str | int, limit: int) -> Program[int]:
        """Delete the oldest skips of a task for which `condition` holds; how many."""
        deleted = yield Statement(
            f"DELETE FROM {self.skip_rows} WHERE id IN (SELECT id FROM {self.skip_rows} "
            f"WHERE task_name = ? AND {condition} ORDER BY last_slot, id LIMIT ?) RETURNING 1",
            (*params, limit),
        )
        return len(deleted)

    def names_with_history(self, after: str, limit: int) -> Program[list[str]]:
        names: set[str] = set()
        for table in (self.run_rows, self.skip_rows):
            # One seek of an index a name, however many rows there are of it.
            next_name = f"(SELECT min(task_name) FROM {table} WHERE task_name > %s)"
            found = yield Statement(
                f"WITH RECURSIVE names (name) AS (SELECT {next_name % '?'} UNION ALL "
                f"SELECT {next_name % 'names.name'} FROM names WHERE names.name IS NOT NULL) "
                "SELECT name FROM names WHERE name IS NOT NULL LIMIT ?",
                (after, limit),
            )
            names |= {name for (name,) in found}
        return sorted(names)[:limit]

    # --- the engine

    def wake(self, now: datetime, owner: str, full_groups: Sequence[str] = ()) -> Program[Wake]:
        full = json.dumps(list(full_groups))
        found = yield Statement(
            f"WITH RECURSIVE {self._priorities('t', self.task_rows, DUE_TASK)}, "
            f"{self._priorities('r', self.run_rows, DUE_RUN)} "
            f"SELECT 'at', (SELECT next_run_at FROM {self.task_rows} WHERE {DUE_TASK} "
            f"AND priority = t.v AND {NOT_FULL} ORDER BY next_run_at LIMIT 1) "
            f"FROM t WHERE v IS NOT NULL "
            f"UNION ALL SELECT 'at', (SELECT due_at FROM {self.run_rows} WHERE {DUE_RUN} "
            f"AND priority = r.v AND {NOT_FULL} ORDER BY due_at LIMIT 1) "
            f"FROM r WHERE v IS NOT NULL "
            f"UNION ALL SELECT 'at', min(lease_until) FROM {self.run_rows} "
            "WHERE status = 'running' "
            f"UNION ALL SELECT 'cancel', id FROM {self.run_rows} "
            f"WHERE status = 'running' AND cancel_requested_by IS NOT NULL AND owner = ?",
            (full, full, owner),
        )
        times = (value for kind, value in found if kind == "at" and value is not None)
        known = (at for value in times if (at := rows.parse_or(value, now)) is not None)
        cancels = [value for kind, value in found if kind == "cancel"]
        return Wake(now, min(known, default=None), cancels)

    def finish(self, finishes: Sequence[Finish], now: datetime) -> Program[list[int]]:
        refused = yield from self._finish(finishes, now)
        yield from self._release({finish.task_name for finish in finishes}, now)
        return refused

    def renew(
        self, owner: str, now: datetime, lease: timedelta, reports: Sequence[Report] = ()
    ) -> Program[list[tuple[Run, int]]]:
        if reports:
            yield Statement(
                "WITH new (progress, log, id, owner, epoch) AS (VALUES :rows) "
                f"UPDATE {self.run_rows} AS run SET log = coalesce(new.log, run.log), "
                "progress = coalesce(new.progress, run.progress) FROM new "
                "WHERE run.id = new.id AND run.owner = new.owner AND run.epoch = new.epoch "
                "AND run.status = 'running'",
                [(r.progress, r.log, r.run_id, owner, r.epoch) for r in reports],
                many=True,
            )
        found = yield Statement(
            f"UPDATE {self.run_rows} SET lease_until = ? WHERE status = 'running' AND owner = ? "
            f"RETURNING {', '.join(RUN_COLUMNS)}, task_id",
            (text(now + lease), owner),
        )
        return [(rows.run(row[:-1]), row[-1]) for row in found]

    def enqueue(
        self,
        runs: Sequence[NewRun],
        now: datetime,
        *,
        revision: int,
        replaced: Sequence[int] = (),
        cancels: Sequence[int] = (),
        skips: Sequence[Skip] = (),
    ) -> Program[list[int] | None]:
        task_id = runs[0].task_id
        found = yield Statement(
            f"UPDATE {self.task_rows} SET revision = revision + 1 WHERE id = ? AND revision = ? "
            "RETURNING name",
            (task_id, revision),
        )
        if not found:
            return None
        yield from self._replace(replaced)
        yield from self._ask_to_cancel(cancels)
        yield from self._end_pending(cancels, OVERLAP, now)
        yield from self._add_skips(skips)
        ids = yield from self._insert(runs)
        yield from self._release({found[0][0]}, now)
        return ids

    def cancel(self, run_id: int, now: datetime, by: str) -> Program[Run | None]:
        before = yield from self.runs(RunQuery(ids=[run_id]))
        if not before:
            return None
        yield from self._ask_to_cancel([run_id], by)
        yield from self._end_pending([run_id], by, now)
        yield from self._release({before[0].task_name}, now)
        return before[0]


def _where(*conditions: tuple[str, Any]) -> tuple[str, list[Any]]:
    """The conditions whose parameter is not None, joined, and those parameters."""
    used = [(sql, param) for sql, param in conditions if param is not None]
    return " AND ".join(["1", *(sql for sql, _ in used)]), [param for _, param in used]


def _json_texts(texts: Sequence[str]) -> str:
    """Those of `texts` that can be stored: SQLite would read others as far as their NUL."""
    return json.dumps([text for text in texts if can_be_stored(text)])


def _json(values: Sequence[Any] | None) -> str | None:
    return None if values is None else json.dumps(list(values))
