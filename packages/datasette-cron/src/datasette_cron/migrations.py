"""The tables in Datasette's internal database, and the take-over of what datasette-cron 0.0.1a2
wrote there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from cronkit_core.changes import anchor_of
from cronkit_core.definition import check_config, decode, dump_schedule
from cronkit_core.errors import CronkitError, StorageTooNew
from cronkit_core.schedules.base import Schedule
from cronkit_core.schedules.parse import parse_schedule
from cronkit_core.storage.sqlite_edits import Program
from cronkit_core.storage.sqlite_rows import TASK_COLUMNS, parse, task_row, text
from cronkit_core.storage.sqlite_schema import Statement, migrate
from cronkit_core.tasks import TaskRecord

from . import audit

PREFIX = "datasette_cron_"


def _index_failures(prefix: str) -> Program[None]:
    # For the timeline of a task: where its failures are, among however many runs.
    yield Statement(
        f"CREATE INDEX {prefix}runs_failed ON {prefix}runs (task_name, slot) WHERE status = 'error'"
    )


STEPS: tuple[Callable[[str], Program[None]], ...] = (audit.make_table, _index_failures)
"""How the tables beside the core's came to be: append-only."""

_OWN_SCHEMA = f"{PREFIX}adapter_schema"
_OLD_TASKS = f"{PREFIX}alpha_tasks"
_OLD_RUNS = f"{PREFIX}alpha_runs"
_STORED = tuple(c for c in TASK_COLUMNS if c not in ("id", "revision"))
_MICROSECOND = timedelta(microseconds=1)
_MAX_JITTER = timedelta(seconds=5)
_LOST = "lost: the process that ran this is gone"


class TakenOver(NamedTuple):
    """How much there was of the alpha."""

    tasks: int
    runs: int


def bring_up_to_date(where: str, now: datetime) -> Program[TakenOver | None]:
    """Make the tables, or bring them up to date; a program for one write transaction.

    `where` names the database in errors. The answer is None unless the alpha's tables were found.
    """
    alpha = yield from _set_aside()
    yield from migrate(PREFIX, where)
    yield from _migrate_own(where)
    return (yield from _take_over(now)) if alpha else None


def _migrate_own(where: str) -> Program[None]:
    """Make the tables that the core knows nothing of, or bring them up to date."""
    yield Statement(f"CREATE TABLE IF NOT EXISTS {_OWN_SCHEMA} (version INTEGER NOT NULL)")
    found = yield Statement(f"SELECT version FROM {_OWN_SCHEMA}")
    version = found[0][0] if found else 0
    if version > len(STEPS):
        raise StorageTooNew(where, version, len(STEPS))
    for step in STEPS[version:]:
        yield from step(PREFIX)
    if version != len(STEPS):
        yield Statement(f"DELETE FROM {_OWN_SCHEMA}")
        yield Statement(f"INSERT INTO {_OWN_SCHEMA} (version) VALUES (?)", (len(STEPS),))


def _set_aside() -> Program[bool]:
    """Give the alpha's tables other names; the answer is whether there were any."""
    found = yield Statement(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN (?, ?, ?)",
        (f"{PREFIX}tasks", f"{PREFIX}runs", f"{PREFIX}schema"),
    )
    if {name for (name,) in found} != {f"{PREFIX}tasks", f"{PREFIX}runs"}:
        return False
    yield Statement(f"ALTER TABLE {PREFIX}tasks RENAME TO {_OLD_TASKS}")
    yield Statement(f"ALTER TABLE {PREFIX}runs RENAME TO {_OLD_RUNS}")
    return True


def _take_over(now: datetime) -> Program[TakenOver]:
    tasks = yield Statement(
        "SELECT name, handler, config, schedule_type, schedule_config, timezone, overlap_policy, "
        "retry_max, retry_backoff, enabled, next_run_at, last_run_at, last_status, created_at, "
        f"updated_at, (SELECT max(finished_at) FROM {_OLD_RUNS} WHERE task_name = name "
        f"AND status = 'success') FROM {_OLD_TASKS} ORDER BY created_at, name"
    )
    yield Statement(
        f"INSERT INTO {PREFIX}tasks ({', '.join(_STORED)}) VALUES :rows",
        [_stored(_AlphaTask(*row).record(now)) for row in tasks],
        many=True,
    )
    yield Statement(_COPY_RUNS, (text(now), _LOST))
    runs = yield Statement(f"SELECT count(*) FROM {_OLD_RUNS}")
    yield Statement(f"DROP TABLE {_OLD_RUNS}")
    yield Statement(f"DROP TABLE {_OLD_TASKS}")
    return TakenOver(len(tasks), runs[0][0])


# The alpha kept no slots: a run's start stands for it, told apart by microseconds where several
# began in one millisecond.
_COPY_RUNS = f"""
    WITH old AS (
        SELECT *,
            coalesce(
                strftime('%Y-%m-%dT%H:%M:%f', started_at),
                strftime('%Y-%m-%dT%H:%M:%f', finished_at),
                substr(?1, 1, 23)
            ) AS began,
            strftime('%Y-%m-%dT%H:%M:%f', finished_at) AS ended,
            max(attempt, 1) AS try
        FROM {_OLD_RUNS}
    ), numbered AS (
        SELECT *, row_number() OVER (PARTITION BY task_name, began, try ORDER BY id) - 1 AS n
        FROM old
    )
    INSERT INTO {PREFIX}runs (id, task_id, task_name, slot, attempt, status, triggered_by,
        scheduled_for, started_at, finished_at, duration_ms, reason, error_message)
    SELECT
        o.id, coalesce(t.id, 0), o.task_name, began || printf('%03d', n) || '+00:00', try,
        CASE o.status WHEN 'success' THEN 'success' ELSE 'error' END,
        'schedule', began || '000+00:00', began || '000+00:00',
        CASE o.status WHEN 'running' THEN ?1 ELSE coalesce(ended, began) || '000+00:00' END,
        CASE WHEN o.duration_ms >= 0 THEN o.duration_ms END,
        CASE o.status WHEN 'success' THEN NULL WHEN 'running' THEN 'lost'
            ELSE CASE o.error_message WHEN 'Cancelled' THEN 'cancelled' ELSE 'exception' END END,
        CASE o.status WHEN 'running' THEN ?2 ELSE o.error_message END
    FROM numbered o LEFT JOIN {PREFIX}tasks t ON t.name = o.task_name
    ORDER BY o.id"""


class _AlphaTask(NamedTuple):
    """A row of the alpha's table of tasks."""

    name: str
    handler: str
    config: str
    schedule_type: str
    schedule_config: str
    timezone: str | None
    overlap_policy: str
    retry_max: int
    retry_backoff: str
    enabled: int
    next_run_at: str | None
    last_run_at: str | None
    last_status: str | None
    created_at: str
    updated_at: str
    last_success_at: str | None

    def record(self, now: datetime) -> TaskRecord:
        """The task as ours. What our parser refuses is kept as it was, and marked broken."""
        kept = TaskRecord(
            name=self.name,
            handler=self.handler,
            config=self.config,
            schedule_type=self.schedule_type,
            schedule_config=self.schedule_config,
            timezone=self.timezone or None,
            overlap_policy=self.overlap_policy,
            retry_max=self.retry_max,
            retry_backoff=self.retry_backoff,
            policies="{}",
            task_group=None,
            priority=0,
            enabled=bool(self.enabled),
            next_slot=_time(self.next_run_at),
            next_run_at=_time(self.next_run_at),
            schedule_since=None,
            created_at=_time(self.created_at) or now,
            updated_at=_time(self.updated_at) or now,
            last_run_at=_time(self.last_run_at),
            last_status=self.last_status if self.last_status in ("success", "error") else None,
            last_success_at=_time(self.last_success_at),
        )
        try:
            schedule = parse_schedule(
                _spec(self.schedule_type, json.loads(self.schedule_config)),
                kept.timezone,
                anchor=anchor_of(kept.created_at),
                seed=self.name,
            )
            record = replace(
                kept,
                config=check_config(json.loads(self.config)),
                schedule_type=schedule.kind,
                schedule_config=dump_schedule(schedule, kept.timezone),
            )
            decode(record)
            at = None if self.next_run_at is None else parse(self.next_run_at)
        except Exception as error:  # noqa: BLE001  # no row may keep Datasette from starting
            said = str(error) if isinstance(error, CronkitError) else repr(error)
            return replace(kept, broken=f"written by datasette-cron 0.0.1a2: {said}")
        return _begin(record, schedule, at)


def _spec(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """The alpha's `schedule_config` as `parse_schedule` takes it."""
    match kind:
        case "cron":
            return {"cron": _seconds_first(config["expression"])}
        case "interval":
            # Its anchor has no offset, and is in UTC.
            anchor = config.get("anchor")
            spec = {"interval": config["seconds"]}
            return spec if anchor is None else {**spec, "anchor": text(parse(anchor))}
        case "rrule":
            return {"rrule": config["rrule"]}
        case _:
            raise ValueError(f"unknown schedule_type {kind!r}")


def _seconds_first(expression: str) -> str:
    """An expression in croniter's order of fields (seconds sixth, year seventh) in ours."""
    fields = expression.split()
    if len(fields) < 6:
        return expression
    return " ".join([fields[5], *fields[:5], *fields[6:]])


def _begin(record: TaskRecord, schedule: Schedule, at: datetime | None) -> TaskRecord:
    """`record` with `at`, the alpha's jittered time, as its next slot.

    That stands for the nearest slot of the schedule; those after it follow.
    """
    if at is None:
        return record  # the alpha would not have run it again
    before, after = schedule.previous_before(at + _MICROSECOND), schedule.next_after(at)
    if after is None and (before is None or before < at - _MAX_JITTER):
        # The schedule is over; the alpha would have gone on.
        return replace(record, next_slot=None, next_run_at=None)
    since = at
    if before is not None and after is not None and after - at < at - before:
        since = after
    return replace(record, next_slot=at, next_run_at=at, schedule_since=since)


def _time(value: str | None) -> datetime | None:
    """A time of the alpha's: without an offset, and in UTC. One that cannot be read is None."""
    if value is None:
        return None
    try:
        return parse(value)
    except (ValueError, TypeError):
        return None


def _stored(record: TaskRecord) -> tuple[Any, ...]:
    row = dict(zip(TASK_COLUMNS, task_row(record), strict=True))
    return tuple(row[column] for column in _STORED)
