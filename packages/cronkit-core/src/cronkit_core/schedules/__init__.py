"""Schedules: pure rules that name instants.

Nothing here reads a clock, does I/O or needs an event loop. A kind of schedule is imported when a
spec asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import InvalidSchedule
from .base import Schedule
from .parse import parse_schedule

if TYPE_CHECKING:
    from .calendar import CalendarSchedule
    from .combine import Bounded, Union
    from .cron import CronSchedule
    from .crontab import CrontabEntry, parse_crontab
    from .exclude import Except
    from .foreign import CroniterSchedule
    from .interval import IntervalSchedule
    from .linting import Warning, lint  # noqa: A004
    from .once import OnceSchedule
    from .rrule import RRuleSchedule

__all__ = [
    "Bounded",
    "CalendarSchedule",
    "CronSchedule",
    "CroniterSchedule",
    "CrontabEntry",
    "Except",
    "IntervalSchedule",
    "InvalidSchedule",
    "OnceSchedule",
    "RRuleSchedule",
    "Schedule",
    "Union",
    "Warning",
    "lint",
    "parse_crontab",
    "parse_schedule",
]

_MODULES = {
    "Bounded": "combine",
    "CalendarSchedule": "calendar",
    "CronSchedule": "cron",
    "CroniterSchedule": "foreign",
    "CrontabEntry": "crontab",
    "Except": "exclude",
    "IntervalSchedule": "interval",
    "OnceSchedule": "once",
    "RRuleSchedule": "rrule",
    "Union": "combine",
    "Warning": "linting",
    "lint": "linting",
    "parse_crontab": "crontab",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
