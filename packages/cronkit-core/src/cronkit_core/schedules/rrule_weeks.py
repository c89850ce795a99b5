"""The days of every so many weeks, where BYSETPOS chooses among those of each week."""

from __future__ import annotations

from math import gcd

from .rrule_days import CYCLE_DAYS, CYCLE_YEARS, LAST_DAY, LAST_YEAR, Picks, year_of, year_start
from .rrule_fit import Fit, FittingDays
from .rrule_periods import Chosen, Positioned, Positions, length_of, merge


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

    def year_after(self, year: int) -> int:
        end = year_start(year + 1)
        week = end - 6 + (self._start - end + 6) % self._period
        return max(year_of(min(week, LAST_DAY)), year + 1) if week <= LAST_DAY else LAST_YEAR + 1

    def year_before(self, year: int) -> int:
        day = year_start(year) - 1
        week = day - (day - self._start) % self._period + 6
        return min(year_of(week), year - 1) if week >= 0 else 0
