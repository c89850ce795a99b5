"""What is probably not meant in a cron expression, or a calendar event."""

from __future__ import annotations

from calendar import isleap
from collections.abc import Iterator
from datetime import datetime

from .base import Schedule
from .calendar import CalendarSchedule
from .cron import CronSchedule
from .cron_parts import CronField, CronItem, CronParts
from .cron_times import WallTimes
from .english import MONTH_LENGTHS, MONTHS
from .linting import Warning  # noqa: A004
from .linting_clock import clock_warnings, why_never_shown
from .linting_limits import Limits

_ALL_HOURS = (1 << 24) - 1
_FIELD_ENDS = {"second": 60, "minute": 60, "hour": 24, "month": 12, "day-of-week": 7}


def parts_of(schedule: Schedule) -> CronParts:
    """The parts of a cron expression or calendar event."""
    if isinstance(schedule, CalendarSchedule):
        return schedule.cron.parts
    assert isinstance(schedule, CronSchedule)
    return schedule.parts


def cron_warnings(schedule: Schedule, after: datetime, limits: Limits) -> Iterator[Warning]:
    """The warnings for a cron expression or calendar event that fires at some time."""
    parts = parts_of(schedule)
    yield from _both_days(parts)
    yield from _some_months(parts, "*-*~1" if schedule.kind == "calendar" else "L")
    for field in (parts.second, parts.minute, parts.hour, parts.day, parts.month, parts.weekday):
        yield from _uneven_step(field)
    if schedule.kind == "cron" and parts.has_seconds and not parts.has_year:
        yield Warning(
            "six-fields",
            f"{parts.text!r} has six fields, of which the first is the second; croniter and others "
            f"read the last one so",
            "if the seconds stand last in it, move them to the front",
        )
    if parts.fixed_time or parts.hour.mask != _ALL_HOURS:
        yield from clock_warnings(
            WallTimes(parts).first_from,
            lambda wall, instant: True,
            parts.timezone,
            after,
            limits,
            gap=_GAP[parts.gap],
            overlap=_OVERLAP[parts.overlap],
            late=parts.gap == "after",
            twice=parts.overlap == "both",
        )


_GAP = {
    "after": ("it runs at the first instant after the gap", 'say "gap": "skip" to leave it out'),
    "skip": ("it does not run then", 'say "gap": "after" to run after the gap'),
}
_OVERLAP = {
    "first": ("it runs the first time only", 'say "overlap": "both" to run both times'),
    "both": ("it runs both times", 'say "overlap": "first" to run the first time only'),
}


# Days


def never(schedule: Schedule) -> Warning:
    """Why an expression never fires: "names no day: 30 February"."""
    parts = parts_of(schedule)
    wall = WallTimes(parts).first_from(0)
    if wall is None:
        return Warning("never", _names_no_day(parts), "name a day that exists")
    return Warning("never", *why_never_shown(wall, parts.timezone))


def _names_no_day(parts: CronParts) -> str:
    leap = any(isleap(year) for year in range(1, 10_000) if parts.year.mask >> year & 1)
    months = [m for m in range(1, 13) if parts.month.mask >> m & 1]
    days = [d for d in range(1, 32) if parts.day.mask >> d & 1]
    missing = [
        f"{d} {MONTHS[m - 1]}"
        for m in months
        for d in days
        if d > (28 if m == 2 and not leap else MONTH_LENGTHS[m - 1])
    ]
    if len(missing) == len(months) * len(days) <= 3 and not parts.day.rules:
        year = "" if parts.year.text == "*" else f" in {parts.year.text}"
        return f"names no day: {', '.join(missing)}{year}"
    words = [f"{field.name} {field.text!r}" for field in parts.fields[3:] if field.text != "*"]
    return "names no day: " + ", ".join(words)


def _both_days(parts: CronParts) -> Iterator[Warning]:
    if parts.either_day:
        yield Warning(
            "both-days",
            f"day-of-month {parts.day.text!r} and day-of-week {parts.weekday.text!r}: a day that "
            f"matches either of them is enough",
            'write * for one of them, or "days": "both" if a day must match both',
        )
    elif parts.days == "either" and _restricts(parts.day) and _restricts(parts.weekday):
        yield Warning(
            "both-days",
            f"day-of-month {parts.day.text!r} and day-of-week {parts.weekday.text!r}: one of them "
            f"starts with *, so a day must match both",
            'write * for one of them, or "days": "both" to say that it is meant',
        )


def _restricts(field: CronField) -> bool:
    low, high = (1, 31) if field.name == "day-of-month" else (0, 6)
    return field.mask != (2 << high) - (1 << low)


def _some_months(parts: CronParts, last_day: str) -> Iterator[Warning]:
    """For days that not all of the months have; a weekday that is enough fills them."""
    if parts.either_day:
        return
    months = [m for m in range(1, 13) if parts.month.mask >> m & 1]
    missing = [m for m in months if not _has_day(parts.day, MONTH_LENGTHS[m - 1])]
    if missing and missing != months:
        names = ", ".join(MONTHS[m - 1][:3] for m in missing)
        yield Warning(
            "some-months",
            f"day-of-month {parts.day.text!r}: does not fire in {names}",
            f"for the last day of every month write {last_day}",
        )
    elif 2 in months and not _has_day(parts.day, 28):
        yield Warning(
            "some-months",
            f"day-of-month {parts.day.text!r}: fires in February of leap years only",
            f"for the last day of February write {last_day.replace('*-*', '*-02')}",
        )
    fifth = parts.weekday.rules
    if fifth and not parts.weekday.mask and all(item.nth == 5 for item in fifth):
        yield Warning(
            "some-months",
            f"day-of-week {parts.weekday.text!r}: not every month has a fifth one",
            "for the last one of every month write L, as in 5L",
        )


def _has_day(field: CronField, length: int) -> bool:
    """Whether a month of `length` days has a day of `field`."""
    return bool(field.mask & (2 << length) - 2) or any(_fits(r, length) for r in field.rules)


def _fits(rule: CronItem, length: int) -> bool:
    if rule.kind == "last-day":
        return rule.before < length
    return rule.kind != "nearest-weekday" or rule.first <= length


# Steps


def _uneven_step(field: CronField) -> Iterator[Warning]:
    """For a step that starts over at the end of the field before it is through."""
    if len(field.items) != 1 or field.rules:
        return
    item = field.items[0]
    if item.step == 1 or item.hashed:
        return
    if field.name == "day-of-month":
        if item.last == 31:
            yield Warning(
                "uneven-step",
                f"day-of-month {field.text!r} starts over with each month: from the last one to "
                f"the first is not {item.step} days",
                f"for every {item.step} days, an RRULE with DTSTART and "
                f"FREQ=DAILY;INTERVAL={item.step}",
            )
        return
    size = _FIELD_ENDS[field.name]
    low = 1 if field.name == "month" else 0
    numbers = [n for n in range(low, low + size) if field.mask >> n & 1]
    last = item.last if item.last >= item.first else item.last + size
    if size % item.step == 0 or last + item.step < low + size or not numbers:
        return  # even, or a part of the field is meant
    around = numbers[0] + size - numbers[-1]
    if len(numbers) == 1:
        message = f"the step of {field.name} {field.text!r} never comes to a second value"
    else:
        message = (
            f"{field.name} {field.text!r} is uneven: {item.step} from one to the next, but "
            f"{around} from {numbers[-1]} to {numbers[0]}"
        )
    yield Warning("uneven-step", message, _even(field.name, size, item.step))


def _even(name: str, size: int, step: int) -> str:
    divisors = [n for n in range(1, size) if size % n == 0]
    near = sorted(sorted(divisors, key=lambda n: abs(n - step))[:2])
    steps = f"a step that divides {size}, such as " + " or ".join(map(str, near))
    units = {"second": "s", "minute": "m", "hour": "h"}
    return f"{steps}, or the interval '{step}{units[name]}'" if name in units else steps
