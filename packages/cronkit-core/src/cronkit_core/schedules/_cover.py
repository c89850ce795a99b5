"""How far one schedule takes out all the slots of another: what lets an exclusion jump instead of
walk, and end with a proof.

Sound, not complete: "no further than here" says nothing. Three things are seen: that all slots of
the one are slots of the other, for ever; days on which a cron expression has no time that the other
has not; and stretches in which a schedule has every minute, or every second, that there is.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

from ._local import (
    DAY,
    ORIGIN,
    TABLES_END,
    at_or_after,
    clock_changes,
    instants,
    load_zone,
    minutes_at_changes,
    zone_clock,
)
from .base import Schedule
from .combine import Bounded, Union
from .duration import MINUTE, SECOND
from .interval import EPOCH, IntervalSchedule

if TYPE_CHECKING:
    from .cron_days import DaySet
    from .cron_parts import CronParts

BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)

_MICRO = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_SHORTEST_STEP = timedelta(minutes=1)
_LONGEST_STEP = 146_097 * _DAY

# From here on, all offsets of all zones are whole minutes (Monrovia's was the last that was not).
_WHOLE_MINUTES = datetime(1972, 2, 1, tzinfo=UTC)

# From here on, what zones do is a rule of the calendar, and repeats with it.
_LAST_RULES = ORIGIN + timedelta(seconds=TABLES_END)


def covered_after(schedule: Schedule, by: Schedule, at: datetime) -> datetime:
    """An instant, `at` or later, up to which (included) every slot of `schedule` after `at` is a
    slot of `by`."""
    if covers(schedule, by):
        return END
    if isinstance(by, Union):
        return max(covered_after(schedule, member, at) for member in by.members)
    if isinstance(by, Bounded):
        if by.start is not None and by.start > at:
            return at
        reach = covered_after(schedule, by.schedule, at)
        return reach if by.end is None else max(at, min(reach, by.end - _MICRO))
    if (parts := _same_times(schedule, by)) is not None:
        return _covered_days_after(*parts, at)
    grid = _shared_grid(schedule, by)
    if grid is None or at < _since(schedule, by):
        return at
    end = _end_of_proof(by, at)
    reach, step = at, _DAY
    while step >= _SHORTEST_STEP and reach < end:
        further = reach + min(step, end - reach)
        if by.count_between(reach, further) == _multiples(reach, further, grid):
            reach, step = further, min(step * 2, _LONGEST_STEP)
        else:
            step /= 2
    return END if reach >= end else reach


def covered_before(schedule: Schedule, by: Schedule, at: datetime) -> datetime:
    """An instant, `at` or earlier, from which on (included) every slot of `schedule` before `at`
    is a slot of `by`."""
    if covers(schedule, by):
        return BEGINNING
    if isinstance(by, Union):
        return min(covered_before(schedule, member, at) for member in by.members)
    if isinstance(by, Bounded):
        if by.end is not None and by.end < at:
            return at
        reach = covered_before(schedule, by.schedule, at)
        return reach if by.start is None else min(at, max(reach, by.start))
    if (parts := _same_times(schedule, by)) is not None:
        return _covered_days_before(*parts, at)
    grid = _shared_grid(schedule, by)
    if grid is None:
        return at
    floor = _since(schedule, by)
    reach, step = at, _DAY
    while step >= _SHORTEST_STEP and reach > floor:
        # The instants from `further` on and before `reach`.
        further = reach - min(step, reach - floor)
        start, stop = further - min(_MICRO, further - BEGINNING), reach - _MICRO
        if by.count_between(start, stop) == _multiples(start, stop, grid):
            reach, step = further, min(step * 2, _LONGEST_STEP)
        else:
            step /= 2
    return reach


def covers(schedule: Schedule, by: Schedule) -> bool:
    """Whether all slots of `schedule`, ever, are provably slots of `by`."""
    if schedule == by:
        return True
    if isinstance(by, Union):
        return any(covers(schedule, member) for member in by.members)
    if isinstance(schedule, Union):
        return all(covers(member, by) for member in schedule.members)
    if isinstance(schedule, Bounded):
        return covers(schedule.schedule, by)
    if isinstance(schedule, IntervalSchedule) and isinstance(by, IntervalSchedule):
        return not (schedule.every % by.every or (schedule.anchor - by.anchor) % by.every)
    return False


# Whole days


def _parts(schedule: Schedule) -> CronParts | None:
    """The parts of a cron expression, or of what is answered like one."""
    from .calendar import CalendarSchedule
    from .cron import CronSchedule

    if isinstance(schedule, CalendarSchedule):
        return schedule.cron.parts
    return schedule.parts if isinstance(schedule, CronSchedule) else None


def _same_times(schedule: Schedule, by: Schedule) -> tuple[CronParts, CronParts] | None:
    """Both expressions, when `by` has all times of the day that `schedule` has, so that only their
    days differ; None otherwise."""
    ours, theirs = _parts(schedule), _parts(by)
    if ours is None or theirs is None or ours.timezone != theirs.timezone:
        return None
    for name in ("second", "minute", "hour"):
        if getattr(ours, name).mask & ~getattr(theirs, name).mask:
            return None
    return ours, theirs


@lru_cache(maxsize=64)
def _day_set(parts: CronParts) -> DaySet:
    from .cron_days import DaySet

    return DaySet(parts)


def _days_left(ours: CronParts, theirs: CronParts, year: int) -> tuple[int, int]:
    """The first day of `year` (counted from 0001-01-01), and as bits the days of the year on which
    `ours` may have a slot that `theirs` has not."""
    first, days = _day_set(ours).years[year]
    left = days & ~_day_set(theirs).years[year][1]
    if _differ(ours, theirs):
        left |= days & _changes(ours, year, first)
    return first, left


@lru_cache(maxsize=64)
def _differ(ours: CronParts, theirs: CronParts) -> bool:
    """Whether a change of the clock may bring `ours` a slot that it does not bring `theirs`."""
    gap = ours.gap != theirs.gap and ours.gap == "after"
    overlap = ours.overlap != theirs.overlap and ours.overlap == "both"
    if ours.timezone is None or not (gap or overlap):
        return False
    hours = ours.hour.mask
    minutes = sum(ours.minute.mask << 60 * hour for hour in range(24) if hours >> hour & 1)
    return bool(minutes & minutes_at_changes(load_zone(ours.timezone)))


def _changes(parts: CronParts, year: int, first: int) -> int:
    """The days of `year`, whose first is `first`, on which the clock changes, as bits."""
    assert parts.timezone is not None
    clock, begin = zone_clock(load_zone(parts.timezone)), first * DAY
    bits = 0
    for change in clock_changes(clock, begin - DAY, begin + 367 * DAY):
        for wall in (change.start + change.before, change.start + change.offset):
            if 0 <= wall // DAY - first < 366:
                bits |= 1 << wall // DAY - first
    return bits


@lru_cache(maxsize=64)
def _nothing_left(ours: CronParts, theirs: CronParts) -> bool:
    """Whether no day at all, of any year, is left. Within 28 years every calendar occurs."""
    if ours.has_year or theirs.has_year or _differ(ours, theirs):
        return False
    return not any(_days_left(ours, theirs, year)[1] for year in range(2001, 2029))


def _covered_days_after(ours: CronParts, theirs: CronParts, at: datetime) -> datetime:
    if _nothing_left(ours, theirs):
        return END
    zone = UTC if ours.timezone is None else load_zone(ours.timezone)
    if not BEGINNING + 2 * _DAY < at < END - 2 * _DAY:
        return at
    today = at.astimezone(zone).date()
    midnight = datetime.combine(today, time())
    if at < (instants(midnight, zone) or (at_or_after(midnight, zone),))[-1]:
        return at  # yesterday is not over: midnight comes twice
    ordinal = today.toordinal() - 1
    last = date.max.year
    if not (ours.has_year or theirs.has_year):
        last = min(last, max(today.year, _LAST_RULES.year) + 401)  # then all repeats
    for year in range(today.year, last + 1):
        first, days = _days_left(ours, theirs, year)
        days >>= max(0, ordinal - first)
        if days:
            left = max(first, ordinal) + (days & -days).bit_length() - 1
            midnight = datetime.combine(date.fromordinal(left + 1), time())
            return max(at, at_or_after(midnight, zone) - _MICRO)
    return END


def _covered_days_before(ours: CronParts, theirs: CronParts, at: datetime) -> datetime:
    if _nothing_left(ours, theirs):
        return BEGINNING
    zone = UTC if ours.timezone is None else load_zone(ours.timezone)
    if not BEGINNING + 2 * _DAY < at < END - 2 * _DAY:
        return at
    today = at.astimezone(zone).date()
    if at > at_or_after(datetime.combine(today + _DAY, time()), zone):
        return at  # tomorrow has begun before: midnight comes twice
    ordinal = today.toordinal() - 1
    for year in range(today.year, 0, -1):
        first, days = _days_left(ours, theirs, year)
        days &= (1 << max(0, ordinal + 1 - first)) - 1
        if days:
            left = first + days.bit_length() - 1
            midnight = datetime.combine(date.fromordinal(left + 2), time())
            over = (instants(midnight, zone) or (at_or_after(midnight, zone),))[-1]
            # A time in a gap at midnight runs at the very first instant of the next day.
            return min(at, over + _MICRO)
    return BEGINNING


# Every minute, every second


def _shared_grid(schedule: Schedule, by: Schedule) -> int | None:
    """The grid of `by`, in microseconds, when all slots of `schedule` lie on it. None also where
    `by` would count its slots one by one."""
    if _parts(by) is None and not isinstance(by, IntervalSchedule):
        return None
    coarse, fine = _grid(schedule), _grid(by)
    return fine if coarse % fine == 0 else None


def _grid(schedule: Schedule) -> int:
    """A number of microseconds of which every slot is a multiple, counted from 1970 in UTC (since
    offsets are whole minutes)."""
    if isinstance(schedule, IntervalSchedule):
        return gcd(schedule.every // _MICRO, (schedule.anchor - EPOCH) // _MICRO)
    if isinstance(schedule, Union):
        return gcd(*(_grid(member) for member in schedule.members))
    if isinstance(schedule, Bounded):
        return _grid(schedule.schedule)
    if schedule.kind == "once":
        return 1
    parts = _parts(schedule)
    return MINUTE if parts is not None and parts.second.mask == 1 else SECOND


def _end_of_proof(by: Schedule, at: datetime) -> datetime:
    """The instant up to which `by` must have been looked at, from `at` on, to know the rest."""
    parts = _parts(by)
    if parts is None or parts.has_year:
        return END
    since = max(at, _LAST_RULES)
    return since + min(_LONGEST_STEP + _DAY, END - since)


def _since(schedule: Schedule, by: Schedule) -> datetime:
    """From when on the grids of both are what `_grid` says."""
    return BEGINNING if _in_utc(schedule) and _in_utc(by) else _WHOLE_MINUTES


def _in_utc(schedule: Schedule) -> bool:
    if isinstance(schedule, Union):
        return all(_in_utc(member) for member in schedule.members)
    return schedule.timezone in (None, "UTC")


def _multiples(after: datetime, until: datetime, grid: int) -> int:
    """How many multiples of `grid` lie after `after` and not after `until`."""
    return ((until - EPOCH) // _MICRO) // grid - ((after - EPOCH) // _MICRO) // grid
