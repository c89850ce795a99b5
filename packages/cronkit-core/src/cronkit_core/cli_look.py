"""`cronkit tasks module:scheduler` and `cronkit runs module:scheduler`: what a storage holds. They
change no task and no run; opening a storage makes or updates its tables, as it does elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .cli_common import LOCATION, positive, print_json
from .cli_run import find, made
from .runs import Status

if TYPE_CHECKING:
    from .storage.base import Storage

# The scheduler and the storages are loaded by these commands alone, and not by the others.

OK, NOTHING = 0, 1
Read = Callable[["Storage", argparse.Namespace], Awaitable[list[dict[str, Any]]]]


def add_look_commands(commands: Any) -> None:
    """Add the commands to the sub-commands of an argument parser."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("scheduler", metavar="MODULE:NAME", help=LOCATION)
    common.add_argument("-n", type=positive, default=50, metavar="N", help="how many (default: 50)")
    common.add_argument("--json", action="store_true", help="print JSON")

    command: argparse.ArgumentParser = commands.add_parser(
        "tasks", parents=[common], help="the tasks that a scheduler's storage holds, by name"
    )
    command.add_argument("--search", metavar="TEXT", help="only names and handlers with this part")
    command.set_defaults(run=lambda arguments: _look(arguments, _tasks))

    command = commands.add_parser(
        "runs", parents=[common], help="the runs that a scheduler's storage holds, newest first"
    )
    command.add_argument("--task", metavar="NAME", help="only runs of this task")
    command.add_argument("--status", choices=list(Status), help="only runs with this status")
    command.set_defaults(run=lambda arguments: _look(arguments, _runs))


def _look(arguments: argparse.Namespace, read: Read) -> int:
    found = find(arguments.scheduler)
    rows = asyncio.run(_read(found, arguments, read))
    if arguments.json:
        print_json([{key: _plain(value) for key, value in row.items()} for row in rows])
    elif rows:
        print("\n".join(_table(rows)))
    else:
        print("cronkit: the storage has nothing that fits", file=sys.stderr)
    return OK if rows else NOTHING


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


async def _read(found: Any, arguments: argparse.Namespace, read: Read) -> list[dict[str, Any]]:
    scheduler = await made(found, arguments.scheduler)
    # Not `scheduler.open`, which adds the tasks that are declared.
    await scheduler.storage.open()
    try:
        return await read(scheduler.storage, arguments)
    finally:
        await scheduler.storage.close()


async def _tasks(storage: Storage, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from .definition import decode_leniently
    from .storage.base import TaskQuery

    records = await storage.tasks(TaskQuery(limit=arguments.n, search=arguments.search))
    rows = []
    for record in records:
        task = decode_leniently(record)
        schedule = record.schedule_config if task.schedule is None else task.schedule.describe()
        rows.append(
            {
                "task": record.name,
                "enabled": record.enabled,
                "schedule": schedule,
                "next_run_at": record.next_run_at if record.enabled else None,
                "last_run_at": record.last_run_at,
                "last_status": record.last_status,
                "note": task.broken or record.paused_note,
            }
        )
    return rows


async def _runs(storage: Storage, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from .storage.base import RunQuery

    statuses = None if arguments.status is None else [Status(arguments.status)]
    query = RunQuery(task_name=arguments.task, statuses=statuses, limit=arguments.n)
    return [
        {
            "run": run.id,
            "task": run.task_name,
            "slot": run.slot,
            "attempt": run.attempt,
            "status": run.status.value,
            "started_at": run.started_at,
            "duration_ms": run.duration_ms,
            "error": run.error_message,
        }
        for run in await storage.runs(query)
    ]


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows in columns, under their names; a time to the second, in UTC."""
    from .announcer import one_line

    def cell(value: object) -> str:
        match value:
            case None:
                return "-"
            case bool():
                return "yes" if value else "no"
            case datetime():
                return f"{value:%Y-%m-%dT%H:%M:%SZ}"
            case _:
                return one_line(str(value).partition("\n")[0])[:80]

    lines = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
