"""From a rule to a plan of its wall times: RFC 5545 section 3.3.10's table of what expands and what
limits, each FREQ in a function."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from functools import partial
from math import gcd

from .rrule_days import (
    PAD,
    month_day,
    month_days_mask,
    months_mask,
    nth_weekday,
    nth_weekdays_mask,
    weekdays_mask,
    weeks_mask,
    year_days_mask,
)
from .rrule_expand import DAY, DayPlan, Plan
from .rrule_fit import EVERY_DAY, Fit, FittingDays
from .rrule_periods import MonthlyDays, Positions, YearlyDays
from .rrule_residues import every
from .rrule_rule import Rule
from .rrule_stride import StridePlan
from .rrule_times import Grid, Listed, Times, grid
from .rrule_weeks import WeeklyDays

EPOCH = datetime.combine(date(1970, 1, 1), time())
"""The phase of a rule without DTSTART."""

_ALL_MONTHS = range(1, 13)
_LISTED = 1440  # up to how many times of a day are listed
_UNITS = {"HOURLY": 3600, "MINUTELY": 60, "SECONDLY": 1}


def seconds_of(wall: datetime) -> int:
    """The naive datetime `wall` as whole seconds since 0001-01-01 00:00."""
    return (wall.toordinal() - 1) * DAY + wall.hour * 3600 + wall.minute * 60 + wall.second


def compile_rule(rule: Rule) -> Plan | None:
    """The wall times that `rule` names, without regard to its start, COUNT and UNTIL; None where
    it names none for want of a time of day."""
    start = rule.dtstart or EPOCH
    if rule.sub_daily:
        return _sub_daily(rule, start)
    times = grid(
        rule.byhour or (start.hour,),
        rule.byminute or (start.minute,),
        rule.bysecond or (start.second,),
    )
    assert times is not None
    if rule.freq == "DAILY":
        return _daily(rule, start, times)
    if rule.freq == "WEEKLY":
        return _weekly(rule, start, times)
    if rule.freq == "MONTHLY":
        return _monthly(rule, start, times)
    return _yearly(rule, start, times)


def _daily(rule: Rule, start: datetime, times: Times) -> Plan | None:
    chosen = times.picked(rule.bysetpos) if rule.bysetpos else times
    if chosen is None:
        return None
    day = start.toordinal() - 1
    days = FittingDays(_fitting(rule), every([day % rule.interval], rule.interval))
    return DayPlan(days, chosen)


def _weekly(rule: Rule, start: datetime, times: Times) -> Plan | None:
    day = start.toordinal() - 1
    first = day - (day - rule.wkst) % 7
    weekdays = [weekday for _, weekday in rule.byday] or [day % 7]
    if rule.bysetpos:
        if min(map(abs, rule.bysetpos)) > len(weekdays) * times.size:
            return None
        positions = Positions(times, rule.bysetpos)
        return DayPlan(WeeklyDays(rule.interval, first, _fit(rule, weekdays), positions), times)
    period = 7 * rule.interval
    residues = sorted((first + (weekday - rule.wkst) % 7) % period for weekday in weekdays)
    if period == 7:
        return DayPlan(FittingDays(_fit(rule, weekdays)), times)
    return DayPlan(FittingDays(_fit(rule, ()), every(residues, period)), times)


def _monthly(rule: Rule, start: datetime, times: Times) -> Plan:
    days = MonthlyDays(
        rule.interval,
        start.year * 12 + start.month - 1,
        rule.bymonth or _ALL_MONTHS,
        _MonthShape(rule, start),
        Positions(times, rule.bysetpos),
    )
    return DayPlan(days, times)


def _yearly(rule: Rule, start: datetime, times: Times) -> Plan:
    days = YearlyDays(
        rule.interval,
        start.year,
        _YearShape(rule, start),
        Positions(times, rule.bysetpos),
        spills=bool(rule.byweekno) or (bool(rule.byyearday) and rule.skip != "OMIT"),
    )
    return DayPlan(days, times)


def _sub_daily(rule: Rule, start: datetime) -> Plan | None:
    unit = _UNITS[rule.freq]
    hours: Sequence[int] = rule.byhour or range(24)
    minutes: Sequence[int] = rule.byminute or range(60)
    seconds: Sequence[int] = rule.bysecond or range(60)
    if unit == 3600:
        minutes = rule.byminute or (start.minute,)
    if unit >= 60:
        seconds = rule.bysecond or (start.second,)
    inner: Times | None = grid(
        (0,), minutes if unit == 3600 else (0,), seconds if unit >= 60 else (0,)
    )
    assert inner is not None
    if rule.bysetpos:
        inner = inner.picked(rule.bysetpos)
    if inner is None:
        return None
    fit = _fitting(rule) if _limits_days(rule) else None
    phase = seconds_of(start) // unit * unit
    stride = rule.interval * unit
    if not (rule.bysetpos and unit == 3600):
        if rule.bysetpos and unit == 60:
            seconds = inner.slice(0, inner.size)
        kept = _divided(stride, phase % DAY, unit, hours, minutes, seconds)
        if kept is not None:
            times = grid(*kept)
            return None if times is None else DayPlan(FittingDays(fit or EVERY_DAY), times)
    allowed: Grid | None = None
    if rule.byhour or (rule.byminute and unit < 3600) or (rule.bysecond and unit == 1):
        # what the stride never reaches is left out, so that "never" shows at once
        seconds = _reached(stride, phase, 1, seconds, 60) if unit == 1 else (0,)
        minutes = _reached(stride, phase, 60, minutes, 60) if unit < 3600 else (0,)
        hours = _reached(stride, phase, 3600, hours, 24)
        if not (hours and minutes and seconds):
            return None
        allowed = Grid(hours, minutes, seconds)
    if DAY % stride == 0 and DAY // stride * inner.size <= _LISTED:
        starts = range(phase % stride, DAY, stride)
        units = [u for u in starts if allowed is None or allowed.next(u) == u]
        offsets = inner.slice(0, inner.size)
        listed = [u + offset for u in units for offset in offsets]
        return DayPlan(FittingDays(fit or EVERY_DAY), Listed(listed)) if listed else None
    return StridePlan(
        stride,
        phase,
        unit,
        fit=fit,
        allowed=allowed,
        seconds=inner,
    )


def _divided(
    stride: int,
    phase: int,
    unit: int,
    hours: Sequence[int],
    minutes: Sequence[int],
    seconds: Sequence[int],
) -> tuple[Sequence[int], Sequence[int], Sequence[int]] | None:
    """The hours, minutes and seconds that steps of `stride` from `phase` on reach, where these are
    the same each day and make a grid; else None."""
    hour, minute, second = phase // 3600, phase // 60 % 60, phase % 60
    if unit == 1:
        if 60 % stride == 0:
            return hours, minutes, [s for s in seconds if (s - second) % stride == 0]
        if stride % 60:
            return None
        seconds = [s for s in seconds if s == second]
    if unit <= 60:
        steps = stride // 60
        if 60 % steps == 0:
            return hours, [m for m in minutes if (m - minute) % steps == 0], seconds
        if steps % 60:
            return None
        minutes = [m for m in minutes if m == minute]
    steps = stride // 3600
    if 24 % steps:
        return None
    return [h for h in hours if (h - hour) % steps == 0], minutes, seconds


def _reached(
    stride: int, phase: int, unit: int, values: Sequence[int], cycle: int
) -> Sequence[int]:
    """Those of `values`, which number units of a cycle, that a time at `phase` plus some strides
    may have."""
    common = gcd(stride, unit * cycle)
    return [v for v in values if (phase - v * unit) % common < unit]


def _limits_days(rule: Rule) -> bool:
    return bool(rule.bymonth or rule.bymonthday or rule.byyearday or rule.byday)


def _fitting(rule: Rule) -> Fit:
    return _fit(rule, [weekday for _, weekday in rule.byday])


def _fit(rule: Rule, weekdays: Sequence[int]) -> Fit:
    """The days that the parts leave which limit: BYMONTH, BYMONTHDAY, BYYEARDAY and `weekdays`."""
    of_year = None
    if rule.bymonth or rule.bymonthday or rule.byyearday:
        of_year = partial(_limited, rule)
    return Fit(of_year, frozenset(weekdays or range(7)))


def _limited(rule: Rule, leap: bool) -> int:
    mask = -1
    if rule.bymonth:
        mask &= months_mask(leap, rule.bymonth)
    if rule.bymonthday:
        mask &= month_days_mask(leap, rule.bymonth or _ALL_MONTHS, rule.bymonthday, "OMIT")
    if rule.byyearday:
        mask &= year_days_mask(leap, rule.byyearday, "OMIT")
    return mask >> PAD


class _MonthShape:
    """A month's days under FREQ=MONTHLY."""

    def __init__(self, rule: Rule, start: datetime) -> None:
        self._skip = rule.skip
        self._plain = [weekday for number, weekday in rule.byday if not number]
        self._numbered = [(number, weekday) for number, weekday in rule.byday if number]
        self._numbers = rule.bymonthday or (() if rule.byday else (start.day,))

    def __call__(self, length: int, first: int) -> int:
        mask = -1
        if self._numbers:
            mask = 0
            for number in self._numbers:
                day = month_day(number, length, self._skip)
                if day is not None:
                    mask |= 1 << (day + 1)
        if self._plain or self._numbered:
            weekdays = weekdays_mask((first - 1 - PAD) % 7, self._plain)
            for number, weekday in self._numbered:
                day = nth_weekday(first, length, number, weekday)
                if day is not None:
                    weekdays |= 1 << (day + 1)
            if not self._numbers:
                weekdays &= ((1 << length) - 1) << 1
            mask &= weekdays
        return mask


class _YearShape:
    """A year's days under FREQ=YEARLY."""

    def __init__(self, rule: Rule, start: datetime) -> None:
        self._rule = rule
        self._months: Sequence[int] = rule.bymonth or _ALL_MONTHS
        self._numbers = rule.bymonthday
        self._plain = [weekday for number, weekday in rule.byday if not number]
        self._numbered = [(number, weekday) for number, weekday in rule.byday if number]
        if not (rule.byyearday or rule.bymonthday or rule.byday):
            if rule.byweekno:
                self._plain = [start.weekday()]
            else:
                self._months = rule.bymonth or (start.month,)
                self._numbers = (start.day,)

    def __call__(self, leap: bool, first: int) -> int:
        rule = self._rule
        # only a week and a moved day can lie outside of the year
        mask = -1 if rule.byweekno or rule.byyearday else ((1 << 365 + leap) - 1) << PAD
        if rule.byyearday:
            mask &= year_days_mask(leap, rule.byyearday, rule.skip)
        if rule.byweekno:
            mask &= weeks_mask(leap, first, rule.wkst, rule.byweekno)
        if self._numbers:
            mask &= month_days_mask(leap, self._months, self._numbers, rule.skip)
        elif rule.bymonth:
            mask &= months_mask(leap, rule.bymonth)
        if self._plain or self._numbered:
            weekdays = weekdays_mask(first, self._plain)
            if self._numbered:
                weekdays |= nth_weekdays_mask(leap, first, rule.bymonth, self._numbered)
            mask &= weekdays
        return mask
