"""What is probably not meant in a recurrence rule."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ._local import ORIGIN
from .base import Schedule
from .linting import Warning  # noqa: A004
from .linting_clock import clock_warnings
from .rrule import RRuleSchedule
from .rrule_compile import compile_rule
from .rrule_rule import Rule

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_UNITS = {"DAILY": "days", "WEEKLY": "weeks", "MONTHLY": "months", "YEARLY": "years"}
_DAY = timedelta(days=1)


def until_of(schedule: Schedule) -> str | None:
    """The last UNTIL, when every rule of `schedule` has one."""
    assert isinstance(schedule, RRuleSchedule)
    ends = [rule.until for rule in schedule.rules]
    written = [until.isoformat() for until in ends if until is not None]
    return max(written) if written and len(written) == len(ends) else None


def rrule_warnings(schedule: Schedule, after: datetime) -> Iterator[Warning]:
    """The warnings for a set of recurrence rules that fires at some time."""
    assert isinstance(schedule, RRuleSchedule)
    for rule in schedule.rules:
        if rule.interval > 1 and rule.dtstart is None and not rule.sub_daily:
            yield Warning(
                "no-dtstart",
                f"every {rule.interval} {_UNITS[rule.freq]} without DTSTART: counted from "
                f"1970-01-01",
                "give it a DTSTART, the first date that is meant",
            )
        yield from _some_months(rule)
        if not rule.sub_daily or rule.byhour:
            yield from _clock(schedule, rule, after)


def _some_months(rule: Rule) -> Iterator[Warning]:
    if rule.skip != "OMIT" or rule.freq == "WEEKLY" or rule.sub_daily:
        return
    days = _days_of_month(rule)
    months = _months(rule)
    if days and not any(_fits(day, 28) for day in days):
        written = ",".join(map(str, days))
        missing = [m for m in months if not any(_fits(day, _LENGTHS[m - 1]) for day in days)]
        if missing and missing != months:
            names = ", ".join(_MONTHS[m - 1] for m in missing)
            yield Warning(
                "some-months",
                f"day {written} of the month: does not fire in {names}",
                "for the last day of every month write BYMONTHDAY=-1",
            )
        elif 2 in months:
            yield Warning(
                "some-months",
                f"day {written} of the month: fires in February of leap years only",
                "for the last day of February write BYMONTHDAY=-1",
            )
    monthly = rule.freq == "MONTHLY" or rule.bymonth
    if monthly and rule.byday and all(abs(number) == 5 for number, _ in rule.byday):
        yield Warning(
            "some-months",
            "BYDAY with 5: not every month has a fifth one",
            "for the last one of every month write -1, as in BYDAY=-1FR",
        )


def _days_of_month(rule: Rule) -> tuple[int, ...]:
    """The days of the month that are meant, DTSTART's where the rule leaves them to it."""
    if rule.bymonthday or rule.freq == "DAILY":
        return rule.bymonthday
    if rule.byday or rule.byyearday or rule.byweekno or rule.dtstart is None:
        return ()
    return (rule.dtstart.day,)


def _months(rule: Rule) -> list[int]:
    if rule.bymonth:
        return list(rule.bymonth)
    if rule.freq == "YEARLY" and not rule.bymonthday and rule.dtstart is not None:
        return [rule.dtstart.month]
    return list(range(1, 13))


def _fits(day: int, length: int) -> bool:
    return abs(day) <= length


def _clock(schedule: RRuleSchedule, rule: Rule, after: datetime) -> Iterator[Warning]:
    plan = compile_rule(rule)
    if plan is None:
        return

    def first_from(wall: int) -> int | None:
        """The rule's wall time, as long as the schedule has not ended."""
        found = plan.next(wall)
        about = ORIGIN + timedelta(seconds=wall) - _DAY
        return found if schedule.next_after(about) is not None else None

    if rule.sub_daily:
        gap, overlap = "it does not run then", "it runs both times"
        remedy = "write FREQ=DAILY"
    else:
        skip = schedule.to_dict().get("nonexistent") == "skip"
        gap = "it does not run then" if skip else "it runs later by the width of the gap"
        overlap, remedy = "it runs the first time only", "write FREQ=HOURLY for both"
    yield from clock_warnings(
        first_from,
        schedule.timezone,
        after,
        gap=(gap, 'choose with "nonexistent": "shift" or "skip"' if not rule.sub_daily else remedy),
        overlap=(overlap, remedy),
    )
