"""The wall times that a cron expression names: what a clock shows when it fires, on a calendar
without time zones.

A wall time is counted in seconds from 0001-01-01 00:00:00 (see `_local`), so that the search is
integer arithmetic alone: the days come from `cron_days`, and the minutes of the day are 1440 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache

from ._local import DAY, ORIGIN
from .cron_days import LAST_DAY, DaySet
from .cron_parts import CronParts

_date = date.fromordinal


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


@lru_cache(maxsize=256)
def _minutes_of_day(minutes: int, hours: int) -> int:
    """The 60 bits of an hour's minutes, repeated at each of the hours of a day."""
    return sum(minutes << 60 * hour for hour in range(24) if hours >> hour & 1)


class WallTimes:
    """The wall times of an expression, in order, searched from both sides."""

    __slots__ = (
        "_first_second",
        "_first_time",
        "_last_second",
        "_last_time",
        "_minutes",
        "_seconds",
        "_units",
        "days",
    )

    def __init__(self, parts: CronParts) -> None:
        self.days = DaySet(parts)
        self._seconds = parts.second.mask
        self._minutes = _minutes_of_day(parts.minute.mask, parts.hour.mask)
        self._first_second = _lowest(self._seconds)
        self._last_second = self._seconds.bit_length() - 1
        self._first_time = _lowest(self._minutes) * 60 + self._first_second
        self._last_time = (self._minutes.bit_length() - 1) * 60 + self._last_second
        self._units: tuple[list[timedelta], list[timedelta], timedelta] | None = None

    def first_from(self, wall: int) -> int | None:
        """The first matching wall time that is not before `wall`."""
        day = wall // DAY
        try:
            new_year, days = self.days.years[_date(day + 1).year]
        except (ValueError, OverflowError):
            # beyond the calendar, on one of its two sides
            return None if wall > 0 else self.first_from(0)
        days >>= day - new_year
        if days & 1:
            second = wall % DAY
            minute = second // 60
            minutes = self._minutes >> minute
            if minutes & 1 and (seconds := self._seconds >> second % 60):
                return wall + (seconds & -seconds).bit_length() - 1
            if minutes := minutes >> 1:
                minute += (minutes & -minutes).bit_length()
                return day * DAY + minute * 60 + self._first_second
        if days := days >> 1:
            later: int | None = day + (days & -days).bit_length()
        else:
            later = self.days.first_from(day + 1)
        return None if later is None else later * DAY + self._first_time

    def last_upto(self, wall: int) -> int | None:
        """The last matching wall time that is not after `wall`."""
        if wall < 0:
            return None
        wall = min(wall, (LAST_DAY + 1) * DAY - 1)
        day, second = divmod(wall, DAY)
        new_year, days = self.days.years[date.fromordinal(day + 1).year]
        if days >> day - new_year & 1:
            minute, second = divmod(second, 60)
            if self._minutes >> minute & 1 and (seconds := self._seconds & (2 << second) - 1):
                return day * DAY + minute * 60 + seconds.bit_length() - 1
            if rest := self._minutes & (1 << minute) - 1:
                return day * DAY + (rest.bit_length() - 1) * 60 + self._last_second
        earlier = self.days.last_upto(day - 1)
        return None if earlier is None else earlier * DAY + self._last_time

    def count(self, start: int, stop: int) -> int:
        """How many matching wall times there are from `start` to before `stop`."""
        start, stop = max(start, 0), min(stop, (LAST_DAY + 1) * DAY)
        if stop <= start:
            return 0
        first_day, first_second = divmod(start, DAY)
        # stop may be the end of the calendar, which is no day any more
        last_day, last_second = divmod(stop - 1, DAY)
        total = self.days.count(first_day, last_day) * self._count_of_day(DAY)
        if self.days.count(first_day, first_day):
            total -= self._count_of_day(first_second)
        if self.days.count(last_day, last_day):
            total -= self._count_of_day(DAY) - self._count_of_day(last_second + 1)
        return total

    def _count_of_day(self, second: int) -> int:
        """How many of a matching day's times come before `second`, a second of the day."""
        minute, second = divmod(second, 60)
        whole = (self._minutes & (1 << minute) - 1).bit_count() * self._seconds.bit_count()
        if self._minutes >> minute & 1:
            whole += (self._seconds & (1 << second) - 1).bit_count()
        return whole

    def between(self, start: int, stop: int, offset: int) -> Iterator[datetime]:
        """The instants of the matching wall times from `start` to before `stop`, on a clock that
        runs `offset` ahead of UTC. All of the instants must be in the years 1 to 9999."""
        if stop <= start:
            return
        first, last = timedelta(0, start - offset), timedelta(0, stop - 1 - offset)
        first_day, last_day = max(start, 0) // DAY, min((stop - 1) // DAY, LAST_DAY)
        bases, steps, unit = self._times_of_day()
        for day in self.days.between(first_day, last_day):
            midnight = timedelta(day, -offset)
            if first_day < day < last_day:
                begin = ORIGIN + midnight
                for base in bases:
                    hour = begin + base
                    for step in steps:
                        yield hour + step
                continue
            for base in bases:
                if midnight + base + unit <= first:
                    continue
                if midnight + base > last:
                    return
                for step in steps:
                    if first <= (moment := midnight + base + step) <= last:
                        yield ORIGIN + moment

    def _times_of_day(self) -> tuple[list[timedelta], list[timedelta], timedelta]:
        """The times of a day as the sums of each of the first list and each of the second, which
        span one unit, so that neither list is long and iterating is one addition a slot."""
        if self._units is None:
            minutes = [minute for minute in range(1440) if self._minutes >> minute & 1]
            seconds = [second for second in range(60) if self._seconds >> second & 1]
            if len(seconds) > 1:
                bases = [timedelta(minutes=minute) for minute in minutes]
                steps = [timedelta(seconds=second) for second in seconds]
                self._units = bases, steps, timedelta(minutes=1)
            else:
                bases = [timedelta(hours=hour) for hour in sorted({m // 60 for m in minutes})]
                in_hour = sorted({m % 60 for m in minutes})
                steps = [timedelta(minutes=minute, seconds=seconds[0]) for minute in in_hour]
                self._units = bases, steps, timedelta(hours=1)
        return self._units
