"""What every writing program is made of: edits of rows in the tables of a storage in SQLite.

A program yields each statement and is sent its rows. It does not know who runs it: a thread of the
core's, or Datasette's write thread in the adapter. A driver runs a writing program between BEGIN
IMMEDIATE and COMMIT, so nothing that it has read changes before it writes.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from ..runs import Finish, NewRun, Skip, Tally, Trigger, tally
from . import sqlite_rows as rows
from .base import DISABLED, OVERLAP, PAUSED_BY_FAILURES
from .sqlite_rows import SKIP_COLUMNS, optional_text, text
from .sqlite_schema import Rows, Statement

T = TypeVar("T")
Program = Generator[Statement, Rows, T]

DUE_TASK = "enabled = 1 AND broken IS NULL AND next_run_at IS NOT NULL"
DUE_RUN = "status = 'pending' AND due_at IS NOT NULL"
LIVE = "status IN ('pending', 'running')"
ENDED = "status IN ('success', 'error')"
NOT_FULL = "(task_group IS NULL OR task_group NOT IN (SELECT value FROM json_each(?)))"
ANY = "(SELECT value FROM json_each(?))"
MICROSECOND = timedelta(microseconds=1)


class Edits:
    """Edits of the tables whose names begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.task_rows = f"{prefix}tasks"
        self.run_rows = f"{prefix}runs"
        self.skip_rows = f"{prefix}skips"

    def _finish(self, finishes: Sequence[Finish], now: datetime) -> Program[list[int]]:
        if not finishes:
            return []
        found = yield Statement(
            f"SELECT id, owner, epoch, status, reason, manual FROM {self.run_rows} "
            f"WHERE id IN {ANY}",
            (json.dumps([finish.run_id for finish in finishes]),),
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
                state = (owner, epoch, finish.status, finish.reason)
                states[finish.run_id] = (*state, *states[finish.run_id][4:])
            elif (status, reason) != (finish.status, finish.reason):
                refused.append(finish.run_id)
        if not accepted:
            return refused
        yield Statement(
            "WITH new (status, finished_at, duration_ms, reason, error_type, error_message, "
            "error_traceback, output, log, progress, id, epoch) AS (VALUES :rows) "
            f"UPDATE {self.run_rows} AS run SET status = new.status, "
            "finished_at = new.finished_at, duration_ms = new.duration_ms, reason = new.reason, "
            "error_type = new.error_type, error_message = new.error_message, "
            "error_traceback = new.error_traceback, output = new.output, "
            "log = coalesce(new.log, run.log), progress = coalesce(new.progress, run.progress), "
            "lease_until = NULL, due_at = NULL FROM new "
            "WHERE run.id = new.id AND run.epoch = new.epoch "
            "AND run.status IN ('pending', 'running')",
            [
                (
                    f.status.value,
                    text(f.finished_at),
                    f.duration_ms,
                    None if f.reason is None else f.reason.value,
                    f.error_type,
                    f.error_message,
                    f.error_traceback,
                    f.output,
                    f.log,
                    f.progress,
                    f.run_id,
                    f.epoch,
                )
                for f in accepted
            ],
            many=True,
        )
        manual = {run_id for run_id, state in states.items() if state[4]}
        yield from self._note_outcomes(accepted, manual, now)
        return refused

    def _note_outcomes(
        self, finishes: Sequence[Finish], manual: set[int], now: datetime
    ) -> Program[None]:
        """What the ends of runs change in their tasks, and the retries that follow."""
        found = yield Statement(
            f"SELECT id, name, enabled, failures, last_run_at, last_status, last_success_at "
            f"FROM {self.task_rows} WHERE id IN {ANY}",
            (json.dumps(sorted({finish.task_id for finish in finishes})),),
        )
        tallies = {
            task_id: Tally(
                bool(enabled), failures, _optional_time(ran), status, _optional_time(succeeded)
            )
            for task_id, _, enabled, failures, ran, status, succeeded in found
        }
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
        yield Statement(
            "WITH new (failures, last_run_at, last_status, last_success_at, id) "
            f"AS (VALUES :rows) UPDATE {self.task_rows} AS task SET revision = revision + 1, "
            "failures = new.failures, last_run_at = new.last_run_at, "
            "last_status = new.last_status, last_success_at = new.last_success_at "
            "FROM new WHERE task.id = new.id",
            [
                (
                    t.failures,
                    optional_text(t.last_run_at),
                    t.last_status,
                    optional_text(t.last_success_at),
                    task_id,
                )
                for task_id, t in tallies.items()
            ],
            many=True,
        )
        yield from self._insert(retries)
        paused = [(t.failures, task_id) for task_id, t in tallies.items() if t.pauses]
        if paused:
            yield Statement(
                "WITH new (at, by, note, id) AS (VALUES :rows) "
                f"UPDATE {self.task_rows} AS task SET enabled = 0, paused_at = new.at, "
                "paused_by = new.by, paused_note = new.note FROM new WHERE task.id = new.id",
                [
                    (text(now), PAUSED_BY_FAILURES, f"{failures} slots failed in a row", task_id)
                    for failures, task_id in paused
                ],
                many=True,
            )
            names = {task_id: name for task_id, name, *_ in found}
            why = {names[task_id]: DISABLED for _, task_id in paused}
            yield from self._drop_pending(why, now)

    def _insert(self, runs: Sequence[NewRun]) -> Program[list[int]]:
        """Insert pending runs; the answer has the ids of those that were not there."""
        inserted: list[tuple[int, NewRun]] = []
        together: list[NewRun] = []
        for new in runs:
            if new.triggered_by is Trigger.MANUAL and new.attempt == 1:
                # Its place depends on those before it.
                inserted += yield from self._insert_rows(together)
                slot = yield from self._free_manual_slot(new.task_name, new.slot)
                together = [replace(new, slot=slot)]
            else:
                together.append(new)
        inserted += yield from self._insert_rows(together)
        return [run_id for run_id, _ in inserted]

    def _insert_rows(
        self,
        runs: Sequence[NewRun],
        *,
        epochs: Sequence[int] = (),
        owner: str | None = None,
        lease_until: datetime | None = None,
        now: datetime | None = None,
    ) -> Program[list[tuple[int, NewRun]]]:
        """Insert runs, running ones where there is an owner; the answer has those that were not
        there, with their ids."""
        if not runs:
            return []
        found = yield Statement("SELECT seq FROM sqlite_sequence WHERE name = ?", (self.run_rows,))
        first = 1 + (found[0][0] if found else 0)
        status = "pending" if owner is None else "running"
        times = (optional_text(lease_until), optional_text(now))
        numbered = list(enumerate(runs, first))
        # With ids of our own: RETURNING would be a row to read for each run.
        yield Statement(
            f"INSERT INTO {self.run_rows} (id, task_id, task_name, slot, attempt, triggered_by, "
            "manual, scheduled_for, due_at, config, task_group, priority, epoch, status, owner, "
            "lease_until, started_at) VALUES :rows "
            "ON CONFLICT (task_name, slot, attempt, manual) DO NOTHING",
            [
                (
                    run_id,
                    new.task_id,
                    new.task_name,
                    text(new.slot),
                    new.attempt,
                    new.triggered_by.value,
                    int(new.triggered_by is Trigger.MANUAL),
                    text(new.scheduled_for),
                    optional_text(new.due_at) if owner is None else None,
                    new.config,
                    new.task_group,
                    new.priority,
                    epoch,
                    status,
                    owner,
                    *times,
                )
                for (run_id, new), epoch in zip(numbered, epochs or [0] * len(runs), strict=True)
            ],
            many=True,
        )
        # Of a slot that has a later attempt, the earlier ones may be pruned: it is not new. Asked
        # for all at once, that costs a twentieth of the INSERT; within it, as much as its half.
        this, later = self.run_rows, f"{self.run_rows} AS later"
        is_late = (
            f"EXISTS (SELECT 1 FROM {later} WHERE later.task_name = {this}.task_name "
            f"AND later.slot = {this}.slot AND later.attempt > {this}.attempt "
            f"AND later.manual = {this}.manual AND later.id < {this}.id)"
        )
        [(stored, late)] = yield Statement(
            f"SELECT count(*), count(*) FILTER (WHERE {is_late}) FROM {this} WHERE id >= ?",
            (first,),
        )
        if late:
            yield Statement(f"DELETE FROM {this} WHERE id >= ? AND {is_late}", (first,))
        if stored - late == len(runs):
            return numbered
        found = yield Statement(f"SELECT id FROM {this} WHERE id >= ?", (first,))
        ids = {run_id for (run_id,) in found}
        return [(run_id, new) for run_id, new in numbered if run_id in ids]

    def _free_manual_slot(self, name: str, slot: datetime) -> Program[datetime]:
        while True:
            taken = yield Statement(
                f"SELECT 1 FROM {self.run_rows} "
                "WHERE task_name = ? AND slot = ? AND manual = 1 LIMIT 1",
                (name, text(slot)),
            )
            if not taken:
                return slot
            slot += MICROSECOND

    def _add_skips(self, skips: Iterable[Skip]) -> Program[None]:
        values = [rows.skip_row(skip) for skip in skips]
        if values:
            yield Statement(
                f"INSERT INTO {self.skip_rows} ({', '.join(SKIP_COLUMNS)}) "
                "VALUES :rows "
                "ON CONFLICT (task_name, reason, run_id) WHERE run_id IS NOT NULL DO UPDATE SET "
                "first_slot = min(first_slot, excluded.first_slot), "
                "last_slot = max(last_slot, excluded.last_slot), count = count + excluded.count",
                values,
                many=True,
            )

    def _replace(self, run_ids: Sequence[int]) -> Program[None]:
        if run_ids:
            yield Statement(
                f"DELETE FROM {self.run_rows} WHERE id IN {ANY} AND status = 'pending'",
                (json.dumps(list(run_ids)),),
            )

    def _ask_to_cancel(self, run_ids: Sequence[int], by: str = OVERLAP) -> Program[None]:
        if run_ids:
            yield Statement(
                f"UPDATE {self.run_rows} "
                "SET cancel_requested_by = coalesce(cancel_requested_by, ?) "
                f"WHERE id IN {ANY} AND status = 'running'",
                (by, json.dumps(list(run_ids))),
            )

    def _end_pending(self, run_ids: Sequence[int], by: str, now: datetime) -> Program[None]:
        if run_ids:
            yield Statement(
                f"UPDATE {self.run_rows} SET {_cancelled('?', '?')} "
                f"WHERE id IN {ANY} AND status = 'pending'",
                (f"cancelled by {by}", text(now), json.dumps(list(run_ids))),
            )

    def _drop_pending(
        self, why: Mapping[str, str], now: datetime, *, manual: bool = False
    ) -> Program[None]:
        """End the pending runs of the tasks that `why` names as cancelled by what it says."""
        if why:
            yield Statement(
                "WITH new (message, at, name) AS (VALUES :rows) "
                f"UPDATE {self.run_rows} INDEXED BY {self.prefix}runs_live "
                f"SET {_cancelled('new.message', 'new.at')} FROM new "
                f"WHERE task_name = new.name AND {LIVE} AND status = 'pending'"
                + ("" if manual else " AND manual = 0"),
                [(f"cancelled by {by}", text(now), name) for name, by in why.items()],
                many=True,
            )

    def _release(self, names: Iterable[str], now: datetime) -> Program[None]:
        """Let the oldest waiting run of each task that has nothing running or due be due."""
        wanted = sorted(set(names))
        if wanted:
            # A few seeks of one index for each name, however many runs wait, or have ended. That it
            # is also one of LIVE must be said last: what is said first decides how SQLite seeks.
            runs = f"FROM {self.run_rows} INDEXED BY {self.prefix}runs_live WHERE task_name = value"
            yield Statement(
                f"UPDATE {self.run_rows} SET due_at = ? WHERE id IN (SELECT (SELECT id {runs} "
                f"AND status = 'pending' AND due_at IS NULL AND {LIVE} ORDER BY slot, id LIMIT 1) "
                "FROM json_each(?) "
                f"WHERE NOT EXISTS (SELECT 1 {runs} AND status = 'running' AND {LIVE}) "
                f"AND NOT EXISTS (SELECT 1 {runs} AND {DUE_RUN} AND {LIVE}))",
                (text(now), json.dumps(wanted)),
            )


def _cancelled(message: str, at: str) -> str:
    """The assignments that end a pending run as cancelled."""
    return (
        f"status = 'error', reason = 'cancelled', error_message = {message}, finished_at = {at}, "
        "due_at = NULL"
    )


def _optional_time(value: str | None) -> datetime | None:
    return None if value is None else rows.parse(value)
