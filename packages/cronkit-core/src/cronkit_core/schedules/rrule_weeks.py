"""The days of every so many weeks, where BYSETPOS chooses among those of each week."""

from __future__ import annotations

from math import gcd

from .rrule_days import (
    CYCLE_DAYS,
    CYCLE_YEARS,
    LAST_DAY,
    LAST_YEAR,
    Picks,
    bits,
    size_of,
    year_of,
    year_start,
)
from .rrule_fit import Fit, FittingDays
from .rrule_periods import Chosen, Positioned, Positions, length_of, merge
from .rrule_residues import Repeat


class WeeklyDays(Positioned):
    """Days of every `interval`-th week that fit a year's shape, where BYSETPOS chooses among those
    of each week."""

    def __init__(self, interval: int, start: int, fit: Fit, positions: Positions) -> None:
        """`start` is the first day of a week that counts."""
        period = 7 * interval
        steps = period // gcd(period, CYCLE_DAYS) * CYCLE_YEARS
        super().__init__(positions, period, min(steps, LAST_YEAR) + 1)
        self._start = start
        self._period = period
        self._fit = fit
        self._fitting = FittingDays(fit)
        self._weeks: dict[int, Chosen] = {}
        self._alone = positions.times.size == 1

    def _some(self) -> bool:
        if self._period == 7:
            # these have all shapes of two years in a row
            return any(self._choose(year)[0] for year in range(2001, 2029))
        return WeeklyDays(1, self._start, self._fit, self._positions).possible()

    @property
    def by_kind(self) -> bool:
        return self._period == 7

    def outline(self) -> FittingDays:
        return self._fitting

    def _of_week(self, mask: int) -> Chosen:
        found = self._weeks.get(mask)
        if found is None:
            found = self._weeks[mask] = self._positions.choose(mask)
        return found

    def _choose(self, year: int) -> Chosen:
        start, length = year_start(year), length_of(year)
        # the year with the six days before and after it, which share weeks with it
        whole = self._fitting.mask(year) << 6
        if year > 1:
            whole |= self._fitting.mask(year - 1) >> (length_of(year - 1) - 6)
        if year < LAST_YEAR:
            whole |= (self._fitting.mask(year + 1) & 63) << (length + 6)
        mask = 0
        picks: Picks | None = None
        if self._positions.times.size > 1:
            picks = {}
        first = (self._start - start + 6) % self._period
        for day in range(first, length + 6, self._period):
            found, chosen = self._of_week(whole >> day & 127)
            mask |= found << day
            if picks is not None and chosen is not None:
                merge(picks, chosen, day - 6)
        if picks is not None:
            picks = {day: times for day, times in picks.items() if 0 <= day < length}
        return mask >> 6 & ((1 << length) - 1), picks

    def count(self, first: int, last: int) -> int:
        return self._in_weeks(first, last) if self._alone else super().count(first, last)

    def picked(self, first: int, last: int) -> int:
        return self._in_weeks(first, last)

    def _in_weeks(self, first: int, last: int) -> int:
        """How many times BYSETPOS left on the days from `first` to before `last`."""
        week = first + (self._start - first) % self._period
        total = 0
        if week - self._period + 7 > first:
            total += self._in_week(week - self._period, first, last)
        whole = max((last - 7 - week) // self._period + 1, 0)
        some = max(CYCLE_DAYS // self._period, 1)
        for start in range(0, whole, some):
            total += self._in_whole(week + start * self._period, min(some, whole - start))
        week += whole * self._period
        return total + (self._in_week(week, first, last) if week < last else 0)

    def _in_week(self, week: int, first: int, last: int) -> int:
        begin, end = max(week, 0), min(week + 7, LAST_DAY + 1)
        mask = self._fitting.among(begin, (1 << end - begin) - 1) << begin - week
        found, chosen = self._of_week(mask)
        days = range(first - week, last - week)
        return sum(1 if chosen is None else len(chosen[day]) for day in bits(found) if day in days)

    def _in_whole(self, week: int, weeks: int) -> int:
        """How many times BYSETPOS left in so many whole weeks from the day `week` on: that depends
        on how many days each has that fit, and for all weeks these are added up at once."""
        length = (weeks - 1) * self._period + 7
        days = self._fitting.among(week, (1 << length) - 1)
        starts = Repeat(1, self._period).window(0, length) & (1 << length - 6) - 1
        ones = twos = fours = 0
        for weekday in range(7):
            more = days >> weekday & starts
            twos, carry = twos ^ ones & more, twos & ones & more
            ones ^= more
            fours |= carry
        total = 0
        for number in range(1, 8):
            some = starts
            for digit, on in enumerate((ones, twos, fours)):
                some &= on if number >> digit & 1 else ~on
            found, chosen = self._of_week((1 << number) - 1)
            total += some.bit_count() * size_of(found, chosen)
        return total

    def year_after(self, year: int) -> int:
        end = year_start(year + 1)
        week = end - 6 + (self._start - end + 6) % self._period
        return max(year_of(min(week, LAST_DAY)), year + 1) if week <= LAST_DAY else LAST_YEAR + 1

    def year_before(self, year: int) -> int:
        day = year_start(year) - 1
        week = day - (day - self._start) % self._period + 6
        return min(year_of(week), year - 1) if week >= 0 else 0
