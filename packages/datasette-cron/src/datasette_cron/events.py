"""What happens to tasks, as events of Datasette: plugins get them in their `track_event` hook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from datasette.events import Event

from cronkit_core import events
from cronkit_core.runs import Reason

if TYPE_CHECKING:
    from .scheduler import Scheduler

_actor: ContextVar[Mapping[str, Any] | None] = ContextVar("datasette_cron_actor", default=None)


@dataclass
class CronEvent(Event):  # type: ignore[misc]  # Datasette has no types
    """Something that happened to a scheduled task.

    :ivar task: The name of the task.
    :type task: str
    """

    task: str


@dataclass
class CronTaskCreated(CronEvent):
    """
    Event name: ``cron-task-created``

    A task was made.
    """

    name = "cron-task-created"


@dataclass
class CronTaskUpdated(CronEvent):
    """
    Event name: ``cron-task-updated``

    The definition of a task was changed.
    """

    name = "cron-task-updated"


@dataclass
class CronTaskDeleted(CronEvent):
    """
    Event name: ``cron-task-deleted``

    A task was deleted. Its history stays until it is pruned.
    """

    name = "cron-task-deleted"


@dataclass
class CronTaskTriggered(CronEvent):
    """
    Event name: ``cron-task-triggered``

    Somebody asked for a run of a task out of its schedule.

    :ivar run_id: The id of the run.
    :type run_id: int
    """

    name = "cron-task-triggered"
    run_id: int


@dataclass
class CronTaskEnabled(CronEvent):
    """
    Event name: ``cron-task-enabled``

    A paused task goes on.
    """

    name = "cron-task-enabled"


@dataclass
class CronTaskDisabled(CronEvent):
    """
    Event name: ``cron-task-disabled``

    A task was paused.

    :ivar by: Who or what paused it, as far as that is known.
    :type by: str or None
    :ivar note: Why, as far as that is known.
    :type note: str or None
    """

    name = "cron-task-disabled"
    by: str | None
    note: str | None


@dataclass
class CronRunFailed(CronEvent):
    """
    Event name: ``cron-run-failed``

    A run ended as an error.

    :ivar run_id: The id of the run.
    :type run_id: int
    :ivar reason: ``exception``, ``timeout``, ``cancelled``, ``lost``, ``interrupted``,
        ``no-handler`` or ``broken``.
    :type reason: str
    :ivar message: What the error said.
    :type message: str
    :ivar retry_at: When it is tried again, in UTC and ISO 8601; ``None``: not at all.
    :type retry_at: str or None
    """

    name = "cron-run-failed"
    run_id: int
    reason: str
    message: str
    retry_at: str | None


EVENTS: tuple[type[CronEvent], ...] = (
    CronTaskCreated,
    CronTaskUpdated,
    CronTaskDeleted,
    CronTaskTriggered,
    CronTaskEnabled,
    CronTaskDisabled,
    CronRunFailed,
)


@contextmanager
def acting_as(actor: Mapping[str, Any] | None) -> Iterator[None]:
    """What the code in this context does to tasks is done by `actor`; so say its events."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def forward_events(scheduler: Scheduler) -> None:
    """Have what happens to the tasks of `scheduler` tracked by its Datasette."""

    async def track(event: events.Event) -> None:
        # Called in the context of whoever did it.
        made = _translated(event, _actor.get())
        if made is not None:
            await scheduler.datasette.track_event(made)

    for kind in _KINDS:
        scheduler.on(kind, track)


_KINDS = (
    events.TaskAdded,
    events.TaskUpdated,
    events.TaskRemoved,
    events.TaskTriggered,
    events.TaskEnabled,
    events.TaskDisabled,
    events.RunFailed,
    events.RunLost,
)


def _translated(event: events.Event, actor: Any) -> CronEvent | None:
    match event:
        case events.TaskAdded(task):
            return CronTaskCreated(actor, task)
        case events.TaskUpdated(task):
            return CronTaskUpdated(actor, task)
        case events.TaskRemoved(task):
            return CronTaskDeleted(actor, task)
        case events.TaskTriggered(task, run_id):
            return CronTaskTriggered(actor, task, run_id)
        case events.TaskEnabled(task):
            return CronTaskEnabled(actor, task)
        case events.TaskDisabled(task, by, note):
            return CronTaskDisabled(actor, task, by, note)
        case events.RunFailed(task, run, reason, message, retry_at):
            return CronRunFailed(actor, task, run.id, reason.value, message, _iso(retry_at))
        case events.RunLost(task, run_id, retry_at):
            message = "the process that ran this is gone"
            return CronRunFailed(actor, task, run_id, Reason.LOST.value, message, _iso(retry_at))
    return None


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
