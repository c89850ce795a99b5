"""The limits: what the machine does when nothing but the necessary is done. The same claim, start
and finish in batches of 500, without policies, handlers, leases or checks."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from worker import Counter, Figures, main

BATCH = 500
DUE = "2026-01-01T00:00:00.000000+00:00"
NOW = "2026-01-01T01:00:00.000000+00:00"
NEXT = "2026-01-01T02:00:00.000000+00:00"


async def sqlite(count: int, synchronous: str = "NORMAL", **options: Any) -> Figures:
    """The least that it takes: six columns, and one index."""
    with tempfile.TemporaryDirectory() as folder:
        connection = opened(Path(folder, "raw.db"), synchronous)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            """
            CREATE TABLE tasks (id INTEGER PRIMARY KEY, name TEXT UNIQUE, next_run_at TEXT);
            CREATE INDEX tasks_due ON tasks (next_run_at);
            CREATE TABLE runs (id INTEGER PRIMARY KEY, task_id INTEGER, slot TEXT, status TEXT,
                started_at TEXT, finished_at TEXT, UNIQUE (task_id, slot));
            """
        )
        fill = "INSERT INTO tasks (name, next_run_at) VALUES (?, ?)"
        tasks = ((f"task {i}", DUE) for i in range(count))
        return timed(connection, fill, tasks, count, BARE)


async def sqlite_same_rows(count: int, synchronous: str = "NORMAL", **options: Any) -> Figures:
    """The rows that cronkit writes, into its tables with all of their indexes and checks."""
    from cronkit_core import SQLiteStorage

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "raw.db")
        storage = SQLiteStorage(path)
        await storage.open()
        await storage.close()
        fill = (
            "INSERT INTO cronkit_tasks (name, handler, schedule_type, schedule_config, next_slot, "
            "next_run_at, schedule_since, created_at, updated_at) "
            "VALUES (?, 'noop', 'interval', '{\"interval\": 3600}', ?, ?, ?, ?, ?)"
        )
        tasks = ((f"task {i:07}", DUE, DUE, DUE, DUE, DUE) for i in range(count))
        return timed(opened(path, synchronous), fill, tasks, count, SAME)


Due = list[tuple[int, Any]]
"""Ids for runs, and the rows of the tasks."""
Writes = list[tuple[str, list[tuple[Any, ...]]]]


class Work(NamedTuple):
    """How a claim finds what is due, and what it and the ends write."""

    due: str
    claim: Callable[[Due], Writes]
    end: Callable[[Due], Writes]


BARE = Work(
    "SELECT id, next_run_at FROM tasks WHERE next_run_at <= ? ORDER BY next_run_at LIMIT ?",
    lambda due: [
        (
            "UPDATE tasks SET next_run_at = ? WHERE id = ?",
            [(NEXT, task) for _, (task, _) in due],
        ),
        (
            "INSERT INTO runs (id, task_id, slot, status, started_at) "
            "VALUES (?, ?, ?, 'running', ?)",
            [(run, task, slot, NOW) for run, (task, slot) in due],
        ),
    ],
    lambda due: [
        (
            "UPDATE runs SET status = 'success', finished_at = ? WHERE id = ?",
            [(NOW, run) for run, _ in due],
        )
    ],
)
SAME = Work(
    "SELECT * FROM cronkit_tasks WHERE enabled = 1 AND broken IS NULL AND priority = 0 "
    "AND next_run_at <= ? ORDER BY next_run_at, id LIMIT ?",
    lambda due: [
        (
            "UPDATE cronkit_tasks SET next_slot = ?, next_run_at = ?, runs_started = 1, "
            "revision = revision + 1 WHERE id = ?",
            [(NEXT, NEXT, task[0]) for _, task in due],
        ),
        (
            "INSERT INTO cronkit_runs (id, task_id, task_name, slot, triggered_by, scheduled_for, "
            "epoch, status, owner, lease_until, started_at) "
            "VALUES (?, ?, ?, ?, 'schedule', ?, 2, 'running', 'raw:1:00000000', ?, ?)",
            [(run, task[0], task[1], DUE, DUE, NEXT, NOW) for run, task in due],
        ),
    ],
    lambda due: [
        (
            "UPDATE cronkit_runs SET status = 'success', finished_at = ?, duration_ms = 0, "
            "lease_until = NULL WHERE id = ? AND epoch = 2 AND status = 'running'",
            [(NOW, run) for run, _ in due],
        ),
        (
            "UPDATE cronkit_tasks SET revision = revision + 1, last_run_at = ?, "
            "last_status = 'success', last_success_at = ? WHERE id = ?",
            [(NOW, NOW, task[0]) for _, task in due],
        ),
    ],
)


def opened(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection


def timed(
    connection: sqlite3.Connection,
    fill: str,
    tasks: Iterable[tuple[Any, ...]],
    count: int,
    work: Work,
) -> Figures:
    """A loop on sqlite3, in this thread, from the first claim to the last end."""
    execute, many = connection.execute, connection.executemany
    execute("BEGIN")
    many(fill, tasks)
    execute("COMMIT")
    began, first = time.perf_counter(), 1
    while True:
        execute("BEGIN IMMEDIATE")
        due = list(enumerate(execute(work.due, (NOW, BATCH)).fetchall(), first))
        for sql, rows in work.claim(due):
            many(sql, rows)
        execute("COMMIT")
        if not due:
            break
        execute("BEGIN IMMEDIATE")
        for sql, rows in work.end(due):
            many(sql, rows)
        execute("COMMIT")
        first += len(due)
    took = time.perf_counter() - began
    connection.close()
    return {"seconds": took, "per_second": count / took}


async def create_task(count: int, **options: Any) -> Figures:
    """asyncio alone: a task for each no-op, at most 1,000 at once."""
    counter = Counter(count)

    async def noop() -> None:
        counter()

    began = time.perf_counter()
    for i in range(0, count, 1_000):
        await asyncio.gather(*(asyncio.create_task(noop()) for _ in range(min(1_000, count - i))))
    took = time.perf_counter() - began
    return {"seconds": took, "per_second": count / took}


async def postgres(count: int, dsn: str, schema: str, **options: Any) -> Figures:
    """Three statements with arrays a batch, in two transactions, on one connection."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        execute = connection.execute
        execute(f"CREATE SCHEMA {schema}")
        execute(f"SET search_path = {schema}")
        execute(
            "CREATE TABLE tasks (id bigint PRIMARY KEY, name text UNIQUE, next_run_at timestamptz)"
        )
        execute("CREATE INDEX tasks_due ON tasks (next_run_at)")
        execute(
            "CREATE TABLE runs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
            "task_id bigint, slot timestamptz, status text, started_at timestamptz, "
            "finished_at timestamptz, UNIQUE (task_id, slot))"
        )
        execute(
            "INSERT INTO tasks SELECT i, 'task ' || i, %s FROM generate_series(1, %s) AS i",
            (DUE, count),
        )
        began = time.perf_counter()
        while True:
            with connection.transaction():
                due = execute(
                    "SELECT id, next_run_at FROM tasks WHERE next_run_at <= %s "
                    "ORDER BY next_run_at LIMIT %s FOR UPDATE SKIP LOCKED",
                    (NOW, BATCH),
                ).fetchall()
                tasks = [task for task, _ in due]
                execute("UPDATE tasks SET next_run_at = %s WHERE id = ANY(%s)", (NEXT, tasks))
                started = execute(
                    "INSERT INTO runs (task_id, slot, status, started_at) SELECT i, slot, "
                    "'running', %s FROM unnest(%s::bigint[], %s::timestamptz[]) AS n (i, slot) "
                    "RETURNING id",
                    (NOW, tasks, [slot for _, slot in due]),
                ).fetchall()
            if not due:
                break
            execute(
                "UPDATE runs SET status = 'success', finished_at = %s WHERE id = ANY(%s)",
                (NOW, [run for (run,) in started]),
            )
        took = time.perf_counter() - began
    return {"seconds": took, "per_second": count / took}


if __name__ == "__main__":
    main(sqlite, sqlite_same_rows, create_task, postgres)
