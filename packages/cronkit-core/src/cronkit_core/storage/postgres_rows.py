"""How records stand in rows of PostgreSQL, and back.

Many rows travel as one array a column, which `unnest` makes rows of again: the number of
statements does not depend on the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from ..runs import LiveRun, NewRun, Reason, Run, Skip, SkipReason, Status, Trigger
from ..tasks import TaskRecord

if TYPE_CHECKING:
    from psycopg import AsyncConnection, AsyncCursor

Connection: TypeAlias = "AsyncConnection[tuple[Any, ...]]"
Rows = list[tuple[Any, ...]]
Query = tuple[str, Sequence[Any]]
"""A statement and its parameters."""

TASK_COLUMNS = tuple(f.name for f in fields(TaskRecord))
RUN_COLUMNS = tuple(f.name for f in fields(Run))
SKIP_COLUMNS = tuple(f.name for f in fields(Skip))

TASKS = ", ".join(TASK_COLUMNS)
RUNS = ", ".join(RUN_COLUMNS)
SKIPS = ", ".join(SKIP_COLUMNS)

# The conditions of the partial indexes; a statement must have them word for word to use one.
DUE_TASK = "enabled AND broken IS NULL AND next_run_at IS NOT NULL"
DUE_RUN = "status = 'pending' AND due_at IS NOT NULL"
WAITING = "status = 'pending' AND due_at IS NULL"
RUNNING = "status = 'running'"
LIVE = "status IN ('pending', 'running')"
ENDED = "status IN ('success', 'error')"

NOW = "coalesce(%s::timestamptz, now())"
NOT_FULL = "(task_group IS NULL OR task_group <> ALL(%s::text[]))"

_STATUS, _TRIGGER, _REASON = map(RUN_COLUMNS.index, ("status", "triggered_by", "reason"))
_STATUSES = {s.value: s for s in Status}
_TRIGGERS = {t.value: t for t in Trigger}
_REASONS: dict[str | None, Reason | None] = {None: None, **{r.value: r for r in Reason}}
_SKIP_REASON = SKIP_COLUMNS.index("reason")


async def fetch(connection: Connection, sql: str, params: Sequence[Any] = ()) -> Rows:
    """Execute one statement; the answer is the rows that it returns, if any."""
    cursor = await execute(connection, sql, params)
    return await cursor.fetchall() if cursor.description is not None else []


async def fetch_together(connection: Connection, *queries: Query) -> list[Rows]:
    """The rows of some queries, of which none needs another's, in one trip to the server."""
    async with connection.pipeline():
        cursors = [await execute(connection, sql, params) for sql, params in queries]
    return [await cursor.fetchall() for cursor in cursors]


async def execute(
    connection: Connection, sql: str, params: Sequence[Any]
) -> AsyncCursor[tuple[Any, ...]]:
    """Send one statement; in a pipeline, without waiting for what comes of it."""
    values = [_array(value) if isinstance(value, list) else value for value in params]
    return await connection.execute(sql.encode(), values)


def _array(values: Iterable[Any]) -> str:
    """An array as PostgreSQL reads one; the statement says of what type. psycopg can make it, too,
    but element by element in a way that took a third of the time of a burst."""
    return "{" + ",".join([_ELEMENTS.get(type(v), _quoted)(v) for v in values]) + "}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


_ELEMENTS: dict[type, Callable[[Any], str]] = {
    int: str,
    bool: str,
    datetime: datetime.isoformat,
    type(None): lambda _: "NULL",
}


def arrays(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """One list for each of the `width` columns of `rows`."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return columns or [[] for _ in range(width)]


def task_record(row: Sequence[Any]) -> TaskRecord:
    """The record in a row of TASK_COLUMNS."""
    return TaskRecord(*row)


def run(row: Sequence[Any]) -> Run:
    """The run in a row of RUN_COLUMNS."""
    values = list(row)
    values[_STATUS] = _STATUSES[values[_STATUS]]
    values[_TRIGGER] = _TRIGGERS[values[_TRIGGER]]
    # A reason that other hands wrote must not hide the run.
    values[_REASON] = _REASONS.get(values[_REASON], Reason.EXCEPTION)
    return Run(*values)


def live_run(row: Sequence[Any]) -> LiveRun:
    """The live run in a row of id, slot, attempt, status, due_at, triggered_by."""
    run_id, slot, attempt, status, due_at, trigger = row
    running = status == "running"
    waiting = not running and due_at is None
    return LiveRun(run_id, slot, attempt, running, waiting, _TRIGGERS[trigger])


def skip(row: Sequence[Any]) -> Skip:
    """The skip in a row of SKIP_COLUMNS."""
    values = list(row)
    values[_SKIP_REASON] = SkipReason(values[_SKIP_REASON])
    return Skip(*values)


def skip_rows(skips: Iterable[Skip]) -> Rows:
    """Rows of SKIP_COLUMNS, those that belong in one row merged: an INSERT that meets a row of its
    own again is an error."""
    found: dict[object, Skip] = {}
    for n, skip in enumerate(skips):
        key = n if skip.run_id is None else (skip.task_name, skip.reason, skip.run_id)
        before = found.get(key)
        if before is not None:
            skip = replace(
                before,
                first_slot=min(before.first_slot, skip.first_slot),
                last_slot=max(before.last_slot, skip.last_slot),
                count=before.count + skip.count,
            )
        found[key] = skip
    return [tuple(getattr(skip, name) for name in SKIP_COLUMNS) for skip in found.values()]


NEW_RUN_COLUMNS = (
    "task_id",
    "task_name",
    "slot",
    "attempt",
    "triggered_by",
    "scheduled_for",
    "due_at",
    "config",
    "task_group",
    "priority",
)


def new_run_row(new: NewRun) -> tuple[Any, ...]:
    """`new` as a row of NEW_RUN_COLUMNS."""
    return tuple(getattr(new, name) for name in NEW_RUN_COLUMNS)
