"""Rules in plain English."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rrule import RRuleSchedule


def describe(schedule: RRuleSchedule) -> str:
    """`schedule` in plain English."""
    return repr(schedule)
