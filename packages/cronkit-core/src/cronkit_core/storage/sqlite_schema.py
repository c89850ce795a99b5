"""The tables in SQLite, and how they came to be: append-only numbered steps.

The tables' names begin with a prefix, so that they can live beside others in one database. The
columns that datasette-cron documents have its names.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

from ..errors import StorageTooNew


class Statement(NamedTuple):
    """One SQL statement. With `many`, `params` is a sequence of parameter rows, and the SQL has
    `VALUES :rows` where they go: many are written at once, so an UPDATE may not meet a row twice.
    """

    sql: str
    params: Sequence[Any] = ()
    many: bool = False


Rows = list[tuple[Any, ...]]
# A program of statements: it yields each and is sent its rows, and so depends on no driver.
Step = Callable[[str], Generator[Statement, Rows, None]]


def _tables(prefix: str) -> Generator[Statement, Rows, None]:
    yield Statement(f"""
        CREATE TABLE {prefix}tasks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            handler TEXT NOT NULL,
            config TEXT NOT NULL DEFAULT '{{}}',
            schedule_type TEXT NOT NULL,
            schedule_config TEXT NOT NULL,
            timezone TEXT,
            overlap_policy TEXT NOT NULL DEFAULT 'skip',
            retry_max INTEGER NOT NULL DEFAULT 0,
            retry_backoff TEXT NOT NULL DEFAULT 'exponential',
            policies TEXT NOT NULL DEFAULT '{{}}',
            task_group TEXT,
            priority INTEGER NOT NULL DEFAULT 0,
            enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
            next_slot TEXT,
            next_run_at TEXT,
            schedule_since TEXT,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL,
            last_run_at TEXT,
            last_status TEXT CHECK (last_status IN ('success', 'error')),
            last_success_at TEXT,
            failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
            runs_started INTEGER NOT NULL DEFAULT 0 CHECK (runs_started >= 0),
            paused_at TEXT,
            paused_by TEXT,
            paused_note TEXT,
            broken TEXT,
            revision INTEGER NOT NULL DEFAULT 1 CHECK (revision >= 1)
        )""")
    # Holds just the tasks that can come due, in the order in which they do.
    yield Statement(f"""
        CREATE INDEX {prefix}tasks_due ON {prefix}tasks (priority, next_run_at, id, task_group)
        WHERE enabled = 1 AND broken IS NULL AND next_run_at IS NOT NULL""")
    yield Statement(f"""
        CREATE TABLE {prefix}runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            task_id INTEGER NOT NULL,
            task_name TEXT NOT NULL,
            slot TEXT NOT NULL,
            attempt INTEGER NOT NULL DEFAULT 1 CHECK (attempt >= 1),
            status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'success', 'error')),
            triggered_by TEXT NOT NULL
                CHECK (triggered_by IN ('schedule', 'catch-up', 'backfill', 'manual')),
            manual INTEGER NOT NULL DEFAULT 0 CHECK (manual = (triggered_by = 'manual')),
            scheduled_for TEXT NOT NULL,
            due_at TEXT CHECK (due_at IS NULL OR status = 'pending'),
            owner TEXT,
            epoch INTEGER NOT NULL DEFAULT 0,
            lease_until TEXT CHECK ((lease_until IS NULL) = (status <> 'running')),
            started_at TEXT,
            finished_at TEXT CHECK ((finished_at IS NULL) = (status IN ('pending', 'running'))),
            duration_ms INTEGER CHECK (duration_ms >= 0),
            reason TEXT CHECK ((reason IS NULL) = (status <> 'error')),
            error_type TEXT,
            error_message TEXT,
            error_traceback TEXT,
            output TEXT,
            log TEXT,
            progress TEXT,
            config TEXT,
            cancel_requested_by TEXT,
            task_group TEXT,
            priority INTEGER NOT NULL DEFAULT 0,
            CHECK (status <> 'running' OR (owner IS NOT NULL AND started_at IS NOT NULL)),
            UNIQUE (task_name, slot, attempt, manual)
        )""")
    yield Statement(f"CREATE INDEX {prefix}runs_history ON {prefix}runs (task_name, id)")
    yield Statement(f"""
        CREATE INDEX {prefix}runs_due ON {prefix}runs (priority, due_at, id, task_group)
        WHERE status = 'pending' AND due_at IS NOT NULL""")
    yield Statement(f"""
        CREATE INDEX {prefix}runs_live ON {prefix}runs (task_name, status, due_at, slot)
        WHERE status IN ('pending', 'running')""")
    yield Statement(f"""
        CREATE INDEX {prefix}runs_lease ON {prefix}runs (lease_until)
        WHERE status = 'running'""")
    yield Statement(f"""
        CREATE INDEX {prefix}runs_grouped ON {prefix}runs (task_group)
        WHERE status = 'running' AND task_group IS NOT NULL""")
    yield Statement(f"""
        CREATE INDEX {prefix}runs_cancel ON {prefix}runs (owner)
        WHERE status = 'running' AND cancel_requested_by IS NOT NULL""")
    yield Statement(f"""
        CREATE TABLE {prefix}skips (
            id INTEGER PRIMARY KEY,
            task_name TEXT NOT NULL,
            first_slot TEXT NOT NULL,
            last_slot TEXT NOT NULL CHECK (last_slot >= first_slot),
            count INTEGER NOT NULL CHECK (count >= 1),
            reason TEXT NOT NULL
                CHECK (reason IN ('overlap', 'missed', 'disabled', 'edited', 'ended')),
            recorded_at TEXT NOT NULL,
            run_id INTEGER,
            note TEXT
        )""")
    yield Statement(f"CREATE INDEX {prefix}skips_history ON {prefix}skips (task_name, last_slot)")
    yield Statement(f"""
        CREATE UNIQUE INDEX {prefix}skips_run ON {prefix}skips (task_name, reason, run_id)
        WHERE run_id IS NOT NULL""")


def _ended_runs(prefix: str) -> Generator[Statement, Rows, None]:
    # For lists over all tasks, by outcome and by time. A run enters it once, when it has ended.
    yield Statement(f"""
        CREATE INDEX {prefix}runs_ended ON {prefix}runs (status, slot)
        WHERE status IN ('success', 'error')""")
    # For the pruning of what is old.
    yield Statement(f"""
        CREATE INDEX {prefix}runs_finished ON {prefix}runs (task_name, finished_at)
        WHERE status IN ('success', 'error')""")


STEPS: tuple[Step, ...] = (_tables, _ended_runs)


def migrate(prefix: str, where: str) -> Generator[Statement, Rows, None]:
    """Bring the tables with `prefix` up to date; a program for one write transaction.

    `where` names the database in the error of a storage that is too new.
    """
    yield Statement(f"CREATE TABLE IF NOT EXISTS {prefix}schema (version INTEGER NOT NULL)")
    rows = yield Statement(f"SELECT version FROM {prefix}schema")
    version = rows[0][0] if rows else 0
    if version > len(STEPS):
        raise StorageTooNew(where, version, len(STEPS))
    for step in STEPS[version:]:
        yield from step(prefix)
    if version != len(STEPS):
        yield Statement(f"DELETE FROM {prefix}schema")
        yield Statement(f"INSERT INTO {prefix}schema (version) VALUES (?)", (len(STEPS),))
