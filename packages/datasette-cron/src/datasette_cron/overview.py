"""What the pages ask of the tables: much at once, in few looks at an index, however much there is.

Each is a program of statements for `InternalStorage.read`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cronkit_core.definition import decode_leniently
from cronkit_core.runs import Run, Skip, SkipReason
from cronkit_core.storage.base import can_be_stored
from cronkit_core.storage.sqlite_edits import DUE_TASK, LIVE, Program
from cronkit_core.storage.sqlite_rows import (
    RUN_COLUMNS,
    SKIP_COLUMNS,
    TASK_COLUMNS,
    parse,
    run,
    skip,
    task_record,
    text,
)
from cronkit_core.storage.sqlite_schema import Statement
from cronkit_core.tasks import Task

from .migrations import PREFIX

TASKS, RUNS, SKIPS = f"{PREFIX}tasks", f"{PREFIX}runs", f"{PREFIX}skips"
OVERDUE = timedelta(minutes=1)
"""How late a slot may be before somebody should look into it."""
FEW = 5
"""How many of what is running, failing and next are named."""
MOST_HANDLERS = 200
MOST_LIVE = 1_000
"""How many runs of a task that have not ended are counted."""
LONGEST_ERROR = 300
"""Characters of an error in a list."""

SORTS = {
    "name": "name",
    "-name": "name DESC",
    "next": f"CASE WHEN {DUE_TASK} THEN next_run_at END IS NULL, next_run_at, name",
    "-next": f"CASE WHEN {DUE_TASK} THEN next_run_at END DESC, name",
    "last": "last_run_at IS NULL, last_run_at, name",
    "-last": "last_run_at DESC, name",
    "-failures": "failures DESC, last_run_at DESC, name",
}
STATES = {
    "running": f"name IN (SELECT task_name FROM {RUNS} WHERE status = 'running')",
    "failing": "last_status = 'error'",
    "late": f"{DUE_TASK} AND next_run_at < ?",
    "scheduled": DUE_TASK,
    "paused": "enabled = 0",
    "over": "enabled = 1 AND broken IS NULL AND next_run_at IS NULL",
    "broken": "broken IS NOT NULL",
}

# The texts of a run that may be long are not read for lists.
_SHORT = {
    **dict.fromkeys(("error_traceback", "output", "log", "config"), "NULL"),
    "error_message": f"substr(error_message, 1, {LONGEST_ERROR})",
}
RUN_IN_SHORT = ", ".join(_SHORT.get(column, column) for column in RUN_COLUMNS)
_NAMES = "(SELECT value AS name FROM json_each(?1))"


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks to show, and in what order. What is None matters not."""

    search: str | None = None
    """Part of the name or of the handler's, in any case (of ASCII letters)."""
    handler: str | None = None
    state: str | None = None
    """A key of STATES."""
    sort: str = "name"
    """A key of SORTS."""
    offset: int = 0
    limit: int = 25

    @property
    def narrows(self) -> bool:
        """Whether it leaves any task out."""
        return not (self.search is None and self.handler is None and self.state is None)


@dataclass(slots=True)
class Summary:
    """All tasks, in numbers."""

    tasks: int = 0
    states: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    handlers: list[str] = field(default_factory=list)
    """The names of handlers that tasks have, the first MOST_HANDLERS of them."""
    running: list[Run] = field(default_factory=list)
    failing: list[Task] = field(default_factory=list)
    failures: dict[str, Run] = field(default_factory=dict)
    """The newest run that failed of each task in `failing`, by the task's name."""
    next: list[Task] = field(default_factory=list)
    lost: int = 0
    """Running runs whose lease is over: their process is gone, or does not come to renew it."""


def summary(now: datetime) -> Program[Summary]:
    """All tasks, in numbers, and the first few of those that matter most."""
    found = Summary()
    counted = [state for state in STATES if state != "running"]
    sums = ", ".join(f"count(CASE WHEN {STATES[state]} THEN 1 END)" for state in counted)
    rows = yield Statement(
        f"SELECT handler, count(*), {sums} FROM {TASKS} GROUP BY handler ORDER BY handler",
        (text(now - OVERDUE),),
    )
    for handler, tasks, *numbers in rows:
        found.tasks += tasks
        for state, number in zip(counted, numbers, strict=True):
            found.states[state] += number
        if len(found.handlers) < MOST_HANDLERS and isinstance(handler, str):
            found.handlers.append(handler)
    [(running, lost)] = yield Statement(
        f"SELECT count(*), count(CASE WHEN lease_until < ? THEN 1 END) FROM {RUNS} "
        "WHERE status = 'running'",
        (text(now),),
    )
    found.states["running"], found.lost = running, lost
    if running:
        rows = yield Statement(
            f"SELECT {RUN_IN_SHORT} FROM {RUNS} WHERE status = 'running' "
            "ORDER BY started_at LIMIT ?",
            (FEW,),
        )
        found.running = [run(row) for row in rows]
    if found.states["failing"]:
        found.failing = yield from _tasks(
            "last_status = 'error' ORDER BY last_run_at DESC, name LIMIT ?", (FEW,)
        )
        found.failures = yield from _newest_failures([task.name for task in found.failing])
    found.next = yield from _tasks(f"{DUE_TASK} ORDER BY next_run_at, name LIMIT ?", (FEW,))
    return found


def _newest_failures(names: Sequence[str]) -> Program[dict[str, Run]]:
    rows = yield Statement(
        f"SELECT {RUN_IN_SHORT} FROM {_NAMES} AS task CROSS JOIN {RUNS} AS runs "
        f"ON runs.id = (SELECT id FROM {RUNS} WHERE task_name = task.name "
        "AND status = 'error' ORDER BY id DESC LIMIT 1)",
        (json.dumps(list(names)),),
    )
    return {one.task_name: one for one in (run(row) for row in rows)}


def tasks_shown(query: TaskFilter, now: datetime) -> Program[tuple[list[Task], int]]:
    """The page of tasks that `query` describes, and how many there are on all pages."""
    if not all(can_be_stored(value) for value in (query.search, query.handler) if value):
        return [], 0
    where, values = "1", []
    if query.search:
        where += " AND (instr(lower(name), lower(?)) OR instr(lower(handler), lower(?)))"
        values += [query.search, query.search]
    if query.handler is not None:
        where += " AND handler = ?"
        values.append(query.handler)
    if query.state is not None:
        where += f" AND {STATES[query.state]}"
        values += [text(now - OVERDUE)] * STATES[query.state].count("?")
    [(total,)] = yield Statement(f"SELECT count(*) FROM {TASKS} WHERE {where}", values)
    rows = yield Statement(
        f"SELECT {', '.join(TASK_COLUMNS)} FROM {TASKS} WHERE {where} "
        f"ORDER BY {SORTS[query.sort]} LIMIT ? OFFSET ?",
        (*values, query.limit, query.offset),
    )
    return [decode_leniently(task_record(row)) for row in rows], total


def newest_runs(names: Sequence[str], number: int) -> Program[dict[str, list[Run]]]:
    """Of each of those tasks, its newest runs that have started, newest first."""
    rows = yield Statement(
        f"SELECT {RUN_IN_SHORT} FROM {_NAMES} AS task CROSS JOIN {RUNS} AS runs "
        f"ON runs.id IN (SELECT id FROM {RUNS} WHERE task_name = task.name "
        "AND status <> 'pending' ORDER BY id DESC LIMIT ?2)",
        (json.dumps(list(names)), number),
    )
    found: dict[str, list[Run]] = {name: [] for name in names}
    for one in sorted((run(row) for row in rows), key=lambda one: -one.id):
        found[one.task_name].append(one)
    return found


def live_runs(names: Sequence[str]) -> Program[list[Run]]:
    """The runs of those tasks that have not ended, newest first; `MOST_LIVE` of them at most."""
    rows = yield Statement(
        f"SELECT {RUN_IN_SHORT} FROM {RUNS} WHERE {LIVE} "
        f"AND task_name IN {_NAMES} ORDER BY id DESC LIMIT {MOST_LIVE}",
        (json.dumps(list(names)),),
    )
    return [run(row) for row in rows]


@dataclass(slots=True)
class Activity:
    """What became of a task's slots: one in each ten minutes in which there was one of a kind."""

    ran: list[datetime] = field(default_factory=list)
    failed: list[datetime] = field(default_factory=list)
    skips: list[tuple[datetime, datetime, SkipReason]] = field(default_factory=list)
    """First slot, last slot, and why they did not run."""


# The first sixteen characters but one of a time: all times of the same ten minutes begin so. What
# begins with that and "~" comes after them.
_TEN_MINUTES = 15


def activity(
    names: Sequence[str], since: datetime, until: datetime
) -> Program[dict[str, Activity]]:
    """What became of the slots of those tasks between two instants.

    Reads at most one index entry for each task, kind and ten minutes, however many runs there are.
    """
    found = {name: Activity() for name in names}
    given = (json.dumps(list(names)), text(since), text(until))
    for name, slot in (yield Statement(_leaps(RUNS, "slot", "1", "slot"), given)):
        found[name].ran.append(parse(slot))
    for name, slot in (yield Statement(_leaps(RUNS, "slot", "status = 'error'", "slot"), given)):
        found[name].failed.append(parse(slot))
    columns = "last_slot, first_slot, reason"
    skips = yield Statement(_leaps(SKIPS, "last_slot", "1", columns), (*given[:2], "~"))
    for name, last, first, reason in skips:
        if parse(first) < until:
            found[name].skips.append((parse(first), parse(last), SkipReason(reason)))
    return found


def _leaps(table: str, time: str, condition: str, columns: str) -> str:
    """Of each of the tasks ?1, the first row after ?2 and before ?3 in each ten minutes in which
    there is one."""
    row = (
        f"(SELECT rowid FROM {table} WHERE task_name = {{}} AND {condition} "
        f"AND {time} > {{}} AND {time} < ?3 ORDER BY {time} LIMIT 1)"
    )
    begin = row.format("task.name", "?2")
    leap = row.format("leap.name", f"substr(at.{time}, 1, {_TEN_MINUTES}) || '~'")
    at = f"CROSS JOIN {table} AS at ON at.rowid = leap.id"
    return (
        f"WITH RECURSIVE leap (name, id) AS (SELECT name, {begin} FROM {_NAMES} AS task "
        f"UNION ALL SELECT leap.name, {leap} FROM leap {at}) "
        f"SELECT leap.name, {columns} FROM leap {at}"
    )


def history(name: str, before_id: int | None, limit: int) -> Program[list[Run]]:
    """The runs of a task, newest first: those before the run `before_id`."""
    if not can_be_stored(name):
        return []
    rows = yield Statement(
        f"SELECT {RUN_IN_SHORT} FROM {RUNS} WHERE task_name = ? AND id < ? "
        "ORDER BY id DESC LIMIT ?",
        (name, 2**63 - 1 if before_id is None else before_id, limit),
    )
    return [run(row) for row in rows]


def skips_between(
    name: str, after: datetime | None, until: datetime | None, limit: int
) -> Program[list[Skip]]:
    """The skips of a task whose last slot is after `after` and not after `until`, latest first."""
    if not can_be_stored(name):
        return []
    rows = yield Statement(
        f"SELECT {', '.join(SKIP_COLUMNS)} FROM {SKIPS} WHERE task_name = ? "
        "AND last_slot > ? AND last_slot <= ? ORDER BY last_slot DESC, id DESC LIMIT ?",
        (name, "" if after is None else text(after), "~" if until is None else text(until), limit),
    )
    return [skip(row) for row in rows]


def _tasks(where: str, values: Iterable[object]) -> Program[list[Task]]:
    rows = yield Statement(
        f"SELECT {', '.join(TASK_COLUMNS)} FROM {TASKS} WHERE {where}", tuple(values)
    )
    return [decode_leniently(task_record(row)) for row in rows]
