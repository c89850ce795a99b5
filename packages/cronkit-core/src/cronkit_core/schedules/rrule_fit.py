"""Days that fit: by the month, its days and the year's days, by weekday, and every so many days."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache

from .rrule_days import (
    CYCLE_DAYS,
    CYCLE_YEARS,
    LAST_DAY,
    LAST_YEAR,
    Days,
    shape_of,
    year_of,
    year_start,
)
from .rrule_residues import Pattern, Repeat, Weights

_YEARS = 2  # how many a search looks at one by one
_WIDE = 1024  # how many days a search looks at together, and four times as many each time on
_WEEK = frozenset(range(7))


class Fit:
    """The days of a year that BYMONTH, BYMONTHDAY and BYYEARDAY name, on some weekdays."""

    def __init__(
        self, of_year: Callable[[bool], int] | None = None, weekdays: Collection[int] = _WEEK
    ) -> None:
        """`of_year` gives the days of a leap year, and of another, as bits; None: all."""
        self._of_year = of_year
        self._weekdays = _week(frozenset(weekdays))
        self.every_day = of_year is None and len(weekdays) == 7
        self._of_length: dict[bool, int] = {}
        self._of_shape: dict[tuple[bool, int], int] = {}
        self._cycle: Repeat | None = None

    def of_year(self, year: int) -> int:
        """The days that fit in `year`."""
        return self._shaped(*shape_of(year))

    def _shaped(self, leap: bool, first: int) -> int:
        found = self._of_shape.get((leap, first))
        if found is None:
            found = self._long(leap) & self._weekdays.window(first, 366)
            self._of_shape[leap, first] = found
        return found

    def _long(self, leap: bool) -> int:
        """The days that fit on any weekday in a year that is a leap year or not."""
        found = self._of_length.get(leap)
        if found is None:
            found = (1 << 365 + leap) - 1
            if self._of_year is not None:
                found &= self._of_year(leap)
            self._of_length[leap] = found
        return found

    def possible(self) -> bool:
        """Whether any year, of all the fourteen shapes, has a day that fits."""
        return any(self._shaped(leap, first) for leap in (False, True) for first in range(7))

    def window(self, first: int, days: int) -> int:
        """The days from `first` on as bits, of which `days` are right."""
        if self._of_year is None:
            return self._weekdays.window(first, days)
        if self._cycle is None:
            self._cycle = self._cycle_of_years()
        return self._cycle.window(first, days)

    def _cycle_of_years(self) -> Repeat:
        common, leap = self._long(False), self._long(True)
        four, shorter = _joined([common] * 3 + [leap], 365), _joined([common] * 4, 365)
        century = Repeat(four, 1461).window(0, 36_525) & (1 << 36_525) - 1
        short = century & (1 << 24 * 1461) - 1 | shorter << 24 * 1461
        days = _joined([short, short, short, century], 36_524)
        # 400 years are a whole number of weeks
        return Repeat(days & self._weekdays.window(0, CYCLE_DAYS), CYCLE_DAYS)


@lru_cache(maxsize=127)
def _week(weekdays: frozenset[int]) -> Repeat:
    """The days on some weekdays: day 0 is a Monday."""
    return Repeat(sum(1 << weekday for weekday in weekdays), 7)


def _joined(parts: list[int], days: int) -> int:
    """The parts in a row, of so many days each; the last may be longer."""
    return sum(part << i * days for i, part in enumerate(parts))


EVERY_DAY = Fit()
ALL = Repeat(1, 1)


class FittingDays(Days):
    """The days of a pattern that fit."""

    def __init__(self, fit: Fit, pattern: Pattern = ALL) -> None:
        super().__init__(pattern.period, CYCLE_YEARS)
        self._fit = fit
        self._pattern = pattern
        self._period = pattern.period
        # before and after which it is known that there are none
        self._first, self._last = 0, LAST_DAY

    @property
    def by_kind(self) -> bool:
        return 7 % self._period == 0

    def outline(self) -> FittingDays:
        return FittingDays(self._fit)

    def _mask(self, year: int) -> int:
        mask = self._fit.of_year(year)
        if self._period == 1 or not mask:
            return mask
        return self._pattern.among(year_start(year), mask)

    def _some(self) -> bool:
        return self._fit.possible()

    def _window(self, first: int, days: int) -> int:
        """The days from `first` on, so many of them."""
        fit = self._fitting(first, days)
        return fit if self._period == 1 else self._pattern.among(first, fit)

    def _fitting(self, first: int, days: int) -> int:
        mask = (1 << days) - 1
        return mask if self._fit.every_day else mask & self._fit.window(first, days)

    def count(self, first: int, last: int) -> int:
        if first >= last or not self.possible():
            return 0
        year = year_of(first)
        start = year_start(year)
        if last <= year_start(year + 1):
            return (self.mask(year) >> first - start & (1 << last - first) - 1).bit_count()
        return self.weigh(first, last, [(1, self._pattern)])

    def weigh(self, first: int, last: int, weights: Weights) -> int:
        """How many days of each pattern there are from `first` to before `last` that fit, each
        pattern with its weight."""
        if self._fit.every_day:
            return sum(weight * _repeated(first, last, days) for weight, days in weights)
        total = 0
        for day in range(first, last, CYCLE_DAYS):
            fit = self._fitting(day, min(CYCLE_DAYS, last - day))
            total += sum(weight * days.among(day, fit).bit_count() for weight, days in weights)
        return total

    def among(self, first: int, days: int) -> int:
        if first < 0:
            return super().among(first, days)
        return days & self._window(first, days.bit_length()) if self.possible() else 0

    def next(self, day: int) -> int | None:
        if day > self._last or not self.possible():
            return None
        year = year_of(day)
        for _ in range(_YEARS):
            start = year_start(year)
            mask = self.mask(year) >> max(day - start, 0) if year <= LAST_YEAR else 0
            if mask:
                return max(day, start) + (mask & -mask).bit_length() - 1
            year += 1
        at, wide = max(day, year_start(year)), _WIDE
        end = min(self._last, at + self.cycle) + 1
        while at < end:
            wide = min(wide, end - at)
            if found := self._window(at, wide):
                return at + (found & -found).bit_length() - 1
            at += wide
            wide = min(4 * wide, CYCLE_DAYS)
        self._last = day - 1
        return None

    def previous(self, day: int) -> int | None:
        if day < self._first or not self.possible():
            return None
        year = year_of(day)
        for _ in range(_YEARS):
            start = year_start(year)
            mask = self.mask(year) & (1 << max(day - start + 1, 0)) - 1 if year else 0
            if mask:
                return start + mask.bit_length() - 1
            year -= 1
        at, wide = min(day + 1, year_start(year + 1)), _WIDE
        begin = max(self._first, at - self.cycle)
        while at > begin:
            wide = min(wide, at - begin)
            at -= wide
            if found := self._window(at, wide):
                return at + found.bit_length() - 1
            wide = min(4 * wide, CYCLE_DAYS)
        self._first = day + 1
        return None


def _repeated(first: int, last: int, pattern: Pattern) -> int:
    """How many days of a pattern there are from `first` to before `last`."""
    total = 0
    if isinstance(pattern, Repeat):
        periods, rest = divmod(last - first, pattern.period)
        total = periods * pattern.residues.bit_count()
        last = first + rest
    for day in range(first, last, CYCLE_DAYS):
        total += pattern.among(day, (1 << min(CYCLE_DAYS, last - day)) - 1).bit_count()
    return total
