"""Making the tasks in the internal database those that datasette.yaml describes.

Which tasks came from there is remembered by their ids, in a table of its own. All of it is one
transaction, so that several processes can do it at once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from datasette.utils import StartupError
from datasette.utils.asgi import Base400

from cronkit_core import changes
from cronkit_core.changes import Definition
from cronkit_core.errors import HandlerNotFound, InvalidTask
from cronkit_core.events import (
    Event,
    TaskAdded,
    TaskDisabled,
    TaskEnabled,
    TaskRemoved,
    TaskUpdated,
)
from cronkit_core.storage.base import TaskQuery, TaskWrite
from cronkit_core.storage.sqlite_base import SQLStorage
from cronkit_core.storage.sqlite_edits import Program
from cronkit_core.storage.sqlite_programs import Programs
from cronkit_core.storage.sqlite_schema import Statement

from .audit import requested_by
from .config import SECTION, Config, ConfiguredTask, place
from .migrations import PREFIX
from .requirements import check_config

if TYPE_CHECKING:
    from .scheduler import Scheduler

logger = logging.getLogger("datasette_cron")

BY = "datasette.yaml"
"""Who makes these changes, in the audit trail and as who pauses a task."""
TABLE = f"{PREFIX}configured"


@dataclass(frozen=True, slots=True)
class Changes:
    """What was done."""

    events: list[Event] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    """Names of configured tasks that are somebody else's; because of them nothing was written."""


async def apply_config(scheduler: Scheduler, config: Config) -> None:
    """Add, change and remove tasks, so that those of the configuration are as it says.

    Tasks that were made elsewhere stay as they are. Raises StartupError for a task that cannot be,
    with nothing written.
    """
    storage, tasks = scheduler.internal_storage, config.tasks
    if tasks is None:
        await _tell_left(storage)
        return
    await _check(scheduler, tasks)
    now = scheduler.clock.now()
    definitions = {name: changes.define(now, **task.wish) for name, task in tasks.items()}
    enabled = {name: task.enabled for name, task in tasks.items() if task.enabled is not None}
    done = await storage.write(_reconcile(storage.programs, definitions, enabled, now))
    if done.taken:
        raise StartupError(
            "\n".join(
                f"{place('tasks', name)}: there is a task of that name that was not made by the "
                f"configuration: delete it, or give this one another name"
                for name in done.taken
            )
        )
    for event in done.events:
        logger.info("configuration: %s: %s", type(event).__name__, event.task_name)
        scheduler.events.emit(event)
    scheduler.wake()


async def _check(scheduler: Scheduler, tasks: Mapping[str, ConfiguredTask]) -> None:
    mistakes = []
    for name, task in tasks.items():
        try:
            await check_config(scheduler, task.wish["handler"], task.wish.get("config") or {})
        except HandlerNotFound as error:
            mistakes.append(f"{place('tasks', name, 'handler')}: {error}")
        except (InvalidTask, Base400) as error:
            mistakes.append(f"{place('tasks', name, 'config')}: {error}")
    if mistakes:
        raise StartupError("\n".join(mistakes))


def _reconcile(
    programs: Programs,
    wanted: Mapping[str, Definition],
    enabled: Mapping[str, bool],
    now: datetime,
) -> Program[Changes]:
    with requested_by({"id": BY}):
        return (yield from _change(programs, wanted, enabled, now))


def _change(
    programs: Programs,
    wanted: Mapping[str, Definition],
    enabled: Mapping[str, bool],
    now: datetime,
) -> Program[Changes]:
    yield Statement(f"CREATE TABLE IF NOT EXISTS {TABLE} (task_id INTEGER PRIMARY KEY)")
    ours = yield from _ours(programs)
    query = TaskQuery(names=list(wanted), limit=None)
    old = {record.name: record for record in (yield from programs.tasks(query))}
    taken = sorted(old.keys() - ours)
    if taken:
        return Changes(taken=taken)
    done = Changes()
    writes = {
        name: changes.save(old.get(name), definition, now, keep_earlier=True)
        for name, definition in wanted.items()
    }
    yield from _save(programs, [w for w in writes.values() if w is not None], now)
    for name, write in writes.items():
        if write is not None:
            done.events.append(TaskUpdated(name) if name in old else TaskAdded(name))
    yield Statement(
        f"INSERT OR IGNORE INTO {TABLE} (task_id) SELECT id FROM {programs.task_rows} "
        "WHERE name IN (SELECT value FROM json_each(?))",
        (json.dumps(list(wanted)),),
    )
    gone = sorted(ours - wanted.keys())
    yield from programs.remove_tasks(gone, now, cancel=True)
    done.events.extend(TaskRemoved(name) for name in gone)
    yield Statement(
        f"DELETE FROM {TABLE} WHERE task_id NOT IN (SELECT id FROM {programs.task_rows})"
    )
    done.events.extend((yield from _switch(programs, enabled, now)))
    return done


def _switch(programs: Programs, enabled: Mapping[str, bool], now: datetime) -> Program[list[Event]]:
    """Enable and disable tasks, where they are not so already."""
    writes: list[TaskWrite | None] = []
    events: list[Event] = []
    for record in (yield from programs.tasks(TaskQuery(names=list(enabled), limit=None))):
        if record.enabled == enabled[record.name]:
            continue
        if record.enabled:
            writes.append(changes.disable(record, now, None, BY))
            events.append(TaskDisabled(record.name, BY, None))
        else:
            writes.append(changes.enable(record, now))
            events.append(TaskEnabled(record.name))
    yield from _save(programs, [w for w in writes if w is not None], now)
    return events


def _save(programs: Programs, writes: list[TaskWrite], now: datetime) -> Program[None]:
    refused = yield from programs.save_tasks(writes, now)
    assert not refused, f"{refused} changed within a transaction"


def _ours(programs: Programs) -> Program[set[str]]:
    """The names of the tasks that a configuration made."""
    there = yield Statement(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (TABLE,)
    )
    if not there:
        return set()
    found = yield Statement(
        f"SELECT name FROM {programs.task_rows} WHERE id IN (SELECT task_id FROM {TABLE})"
    )
    return {name for (name,) in found}


async def configured(storage: SQLStorage) -> set[str]:
    """The names of the tasks that a configuration made."""
    return await storage.read(_ours(storage.programs))


async def _tell_left(storage: SQLStorage) -> None:
    left = sorted(await configured(storage))
    if left:
        logger.warning(
            "%d tasks of an earlier configuration go on, since this one has no %s: %s. "
            "To remove them, configure `tasks: {}`",
            len(left),
            SECTION,
            ", ".join(left),
        )
