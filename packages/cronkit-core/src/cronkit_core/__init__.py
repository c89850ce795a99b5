"""A durable, exact, multi-process-safe scheduler for asyncio, and the schedule math to go with it.

Names load when they are first used: schedule math needs neither asyncio nor a storage.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import Clock, SystemClock
    from .context import ActiveRun, Fail, Retry, current_run
    from .engine import Settings
    from .errors import (
        Conflict,
        CronkitError,
        HandlerNotFound,
        InvalidSchedule,
        InvalidTask,
        NaiveDatetime,
        RunNotFound,
        StorageError,
        StorageTooNew,
        TaskActive,
        TaskNotFound,
    )
    from .events import (
        Event,
        LeaseLost,
        RunFailed,
        RunLost,
        RunStarted,
        RunSucceeded,
        SlotsMissed,
        SlotsSkipped,
        TaskAdded,
        TaskDisabled,
        TaskEnabled,
        TaskRemoved,
        TaskTriggered,
        TaskUpdated,
    )
    from .explain import Explanation, Fate
    from .preview import UpcomingSlot
    from .retry import RetryPolicy
    from .runs import Reason, Run, Skip, SkipReason, Status, Trigger
    from .scheduler import Scheduler, SchedulerStatus
    from .schedules import Schedule, lint, parse_crontab, parse_schedule
    from .storage.base import RunQuery, SkipQuery, Storage, TaskQuery
    from .storage.memory import MemoryStorage
    from .storage.postgres import PostgresStorage
    from .storage.sqlite import SQLiteStorage
    from .tasks import CatchUp, Overlap, Policies, Task

# Public is what stands here.
_HOME = {
    # The scheduler
    "Scheduler": "scheduler",
    "SchedulerStatus": "scheduler",
    "Settings": "engine",
    "Explanation": "explain",
    "Fate": "explain",
    "UpcomingSlot": "preview",
    # What a handler sees
    "ActiveRun": "context",
    "Fail": "context",
    "Retry": "context",
    "current_run": "context",
    # Tasks and runs
    "CatchUp": "tasks",
    "Overlap": "tasks",
    "Policies": "tasks",
    "Task": "tasks",
    "RetryPolicy": "retry",
    "Reason": "runs",
    "Run": "runs",
    "Skip": "runs",
    "SkipReason": "runs",
    "Status": "runs",
    "Trigger": "runs",
    # Schedules
    "Schedule": "schedules",
    "lint": "schedules",
    "parse_crontab": "schedules",
    "parse_schedule": "schedules",
    # Storages
    "RunQuery": "storage.base",
    "SkipQuery": "storage.base",
    "Storage": "storage.base",
    "TaskQuery": "storage.base",
    "MemoryStorage": "storage.memory",
    "PostgresStorage": "storage.postgres",
    "SQLiteStorage": "storage.sqlite",
    # Time
    "Clock": "clock",
    "SystemClock": "clock",
    # Events
    "Event": "events",
    "LeaseLost": "events",
    "RunFailed": "events",
    "RunLost": "events",
    "RunStarted": "events",
    "RunSucceeded": "events",
    "SlotsMissed": "events",
    "SlotsSkipped": "events",
    "TaskAdded": "events",
    "TaskDisabled": "events",
    "TaskEnabled": "events",
    "TaskRemoved": "events",
    "TaskTriggered": "events",
    "TaskUpdated": "events",
    # Errors
    "Conflict": "errors",
    "CronkitError": "errors",
    "HandlerNotFound": "errors",
    "InvalidSchedule": "errors",
    "InvalidTask": "errors",
    "NaiveDatetime": "errors",
    "RunNotFound": "errors",
    "StorageError": "errors",
    "StorageTooNew": "errors",
    "TaskActive": "errors",
    "TaskNotFound": "errors",
}

__all__ = [
    "ActiveRun",
    "CatchUp",
    "Clock",
    "Conflict",
    "CronkitError",
    "Event",
    "Explanation",
    "Fail",
    "Fate",
    "HandlerNotFound",
    "InvalidSchedule",
    "InvalidTask",
    "LeaseLost",
    "MemoryStorage",
    "NaiveDatetime",
    "Overlap",
    "Policies",
    "PostgresStorage",
    "Reason",
    "Retry",
    "RetryPolicy",
    "Run",
    "RunFailed",
    "RunLost",
    "RunNotFound",
    "RunQuery",
    "RunStarted",
    "RunSucceeded",
    "SQLiteStorage",
    "Schedule",
    "Scheduler",
    "SchedulerStatus",
    "Settings",
    "Skip",
    "SkipQuery",
    "SkipReason",
    "SlotsMissed",
    "SlotsSkipped",
    "Status",
    "Storage",
    "StorageError",
    "StorageTooNew",
    "SystemClock",
    "Task",
    "TaskActive",
    "TaskAdded",
    "TaskDisabled",
    "TaskEnabled",
    "TaskNotFound",
    "TaskQuery",
    "TaskRemoved",
    "TaskTriggered",
    "TaskUpdated",
    "Trigger",
    "UpcomingSlot",
    "current_run",
    "lint",
    "parse_crontab",
    "parse_schedule",
]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
