"""The days of every so many years or months."""

from __future__ import annotations

from abc import abstractmethod
from calendar import isleap
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import product
from math import gcd, lcm

from ._local import kind_of, years_by_kind
from .rrule_days import (
    CYCLE_DAYS,
    CYCLE_YEARS,
    LAST_YEAR,
    PAD,
    Days,
    Picks,
    Shape,
    mask_of,
    pick,
    shape_of,
    size_of,
    year_start,
)
from .rrule_residues import Repeat
from .rrule_times import Times

_MONTHS_OF_CYCLE = 12 * CYCLE_YEARS
_LENGTHS = tuple(
    (n, n + (m == 1)) for m, n in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31))
)
_STARTS = tuple(tuple(sum(n[leap] for n in _LENGTHS[:m]) for m in range(12)) for leap in (0, 1))

MonthShape = Callable[[int, int], int]
"""From a month's length and first weekday to its days; bit 0 is the day before the month."""

Chosen = tuple[int, Picks | None]
"""Days as bits, and which times BYSETPOS left on each; None: all."""


class Positions:
    """BYSETPOS: of the days of a period and the times on each, those at some places in order."""

    def __init__(self, times: Times, positions: Sequence[int]) -> None:
        self.times = times
        self.positions = positions

    def choose(self, mask: int) -> Chosen:
        """What stays of the days of `mask`, all in one period."""
        if not self.positions:
            return mask, None
        found = pick(mask, self.times.size, self.positions)
        if self.times.size == 1:
            return mask_of(found), None
        at = self.times.at
        return mask_of(found), {day: tuple(map(at, times)) for day, times in found.items()}


class Positioned(Days):
    """Days of periods, with the times that BYSETPOS left."""

    def __init__(self, positions: Positions, period: int, proof: int) -> None:
        super().__init__(period, proof)
        self._positions = positions
        self._picks: dict[int, Picks] = {}

    @abstractmethod
    def _choose(self, year: int) -> Chosen:
        """The days of `year`, and the times that BYSETPOS left on them."""

    def _mask(self, year: int) -> int:
        return self._choose(year)[0]

    def picks(self, year: int) -> Picks | None:
        if not self._positions.positions or self._positions.times.size == 1:
            return None
        found = self._picks.get(year)
        if found is None:
            if len(self._picks) >= 64:
                self._picks.clear()
            found = self._picks[year] = self._choose(year)[1] or {}
        return found


def merge(picks: Picks, more: Picks, shift: int) -> None:
    """Add `more`, its days shifted, to `picks`."""
    for day, times in more.items():
        day += shift
        picks[day] = tuple(sorted({*picks.get(day, ()), *times}))


class YearlyDays(Positioned):
    """Days of every `interval`-th year, by the year's shape."""

    def __init__(
        self, interval: int, year: int, shape: Shape, positions: Positions, *, spills: bool
    ) -> None:
        """`spills`: whether the days of a year may lie in the one before or after it."""
        steps = CYCLE_YEARS // gcd(interval, CYCLE_YEARS)
        period = CYCLE_DAYS * interval // gcd(interval, CYCLE_YEARS)
        super().__init__(positions, period, 3 * steps + 3 if spills else steps + 1)
        self._interval = interval
        self._year = year
        self._shape = shape
        self._spills = spills
        self._shapes: dict[tuple[bool, int], Chosen] = {}

    @property
    def by_kind(self) -> bool:
        return self._interval == 1

    def outline(self) -> YearlyDays:
        return YearlyDays(1, self._year, self._shape, self._positions, spills=self._spills)

    def _of_shape(self, leap: bool, first: int) -> Chosen:
        found = self._shapes.get((leap, first))
        if found is None:
            found = self._positions.choose(self._shape(leap, first))
            self._shapes[leap, first] = found
        return found

    def _some(self) -> bool:
        return any(self._of_shape(leap, first)[0] for leap in (False, True) for first in range(7))

    def _of_year(self, year: int) -> Chosen:
        if (year - self._year) % self._interval:
            return 0, None
        return self._of_shape(*shape_of(year))

    def _choose(self, year: int) -> Chosen:
        mask, picks = self._of_year(year)
        length = year_start(year + 1) - year_start(year)
        mask >>= PAD
        merged: Picks | None = None
        if picks is not None:
            merged = {}
            merge(merged, picks, -PAD)
        if self._spills:
            for other, shift in ((year - 1, -length_of(year - 1) - PAD), (year + 1, length - PAD)):
                spilled, picks = self._of_year(other)
                mask |= spilled >> -shift if shift < 0 else spilled << shift
                if picks is not None:
                    merged = {} if merged is None else merged
                    merge(merged, picks, shift)
        if merged is None and self._positions.positions and self._positions.times.size > 1:
            merged = {}
        if merged is not None:
            merged = {day: times for day, times in merged.items() if 0 <= day < length}
        return mask & ((1 << length) - 1), merged

    def years_between(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        if self.by_kind or begin >= end:
            yield from super().years_between(begin, end)
            return
        between = (1 << end) - (2 << begin)
        active = Repeat(1 << self._year % self._interval, self._interval).window(0, end)
        around = (active << 1, active, active >> 1) if self._spills else (active,)
        for some in product((True, False), repeat=len(around)):
            group = between if any(some) else 0
            for years, on in zip(around, some, strict=True):
                group &= years if on else ~years
            for kind in years_by_kind() if group else ():
                if years := kind & group:
                    yield (years & -years).bit_length() - 1, years.bit_count()

    def alike(self, year: int) -> Hashable:
        if self._spills:
            around = ((y - self._year) % self._interval == 0 for y in (year - 1, year, year + 1))
            return kind_of(year), *around
        return shape_of(year), (year - self._year) % self._interval == 0

    def year_after(self, year: int) -> int:
        active = year + 1 + (self._year - year - 1) % self._interval
        if not self._spills:
            return active
        around = (active - self._interval + 1, active - 1, active)
        return next(y for y in around if y > year)

    def year_before(self, year: int) -> int:
        active = year - 1 - (year - 1 - self._year) % self._interval
        if not self._spills:
            return active
        around = (active + self._interval - 1, active + 1, active)
        return next(y for y in around if y < year)


def length_of(year: int) -> int:
    """How many days `year` has."""
    return year_start(year + 1) - year_start(year)


class MonthlyDays(Positioned):
    """Days of every `interval`-th month, by the month's length and first weekday."""

    def __init__(
        self,
        interval: int,
        month: int,
        months: Sequence[int],
        shape: MonthShape,
        positions: Positions,
    ) -> None:
        """`month` is the first one, counted from the year 0; `months` are those of BYMONTH."""
        common = gcd(interval, _MONTHS_OF_CYCLE)
        super().__init__(positions, CYCLE_DAYS * interval // common, _MONTHS_OF_CYCLE // common + 1)
        self._interval = interval
        self._month = month
        common = gcd(interval, 12)
        self._months = frozenset(m for m in months if (m - 1 - month) % common == 0)
        self._shape = shape
        self._shapes: dict[tuple[int, int], Chosen] = {}
        self._month_sizes: tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]] = {}, {}

    @property
    def by_kind(self) -> bool:
        return 12 % self._interval == 0

    def outline(self) -> MonthlyDays:
        return MonthlyDays(1, 0, sorted(self._months), self._shape, self._positions)

    def _of_shape(self, length: int, first: int) -> Chosen:
        found = self._shapes.get((length, first))
        if found is None:
            found = self._positions.choose(self._shape(length, first))
            self._shapes[length, first] = found
        return found

    def _some(self) -> bool:
        lengths = {n for m in self._months for n in _LENGTHS[m - 1]}
        return any(self._of_shape(n, first)[0] for n in lengths for first in range(7))

    def _choose(self, year: int) -> Chosen:
        first = (self._month - 12 * year) % self._interval
        start = year_start(year)
        leap = length_of(year) == 366
        mask = 0
        picks: Picks | None = None
        if self._positions.positions and self._positions.times.size > 1:
            picks = {}
        for m in range(first, 12, self._interval):
            if m + 1 in self._months:
                length = _LENGTHS[m][leap]
                day = _STARTS[leap][m]
                found, chosen = self._of_shape(length, (start + day) % 7)
                mask |= found << day >> 1
                if picks is not None and chosen is not None:
                    merge(picks, chosen, day - 1)
        return mask, picks

    def _in_years(self, begin: int, end: int, *, picked: bool) -> int:
        if self.by_kind or begin >= end:
            return super()._in_years(begin, end, picked=picked)
        first, stop, common = 12 * (begin + 1), 12 * end, lcm(12, self._interval)
        first += (self._month - first) % self._interval
        starts = range(first, min(first + common, stop), self._interval)
        total = 0
        for start in (month for month in starts if month % 12 + 1 in self._months):
            m, sizes = start % 12, self._month_sizes[picked]
            for year in range(start // 12, end, common // 12):
                leap = isleap(year)
                shape = _LENGTHS[m][leap], (year_start(year) + _STARTS[leap][m]) % 7
                size = sizes.get(shape)
                if size is None:
                    days, picks = self._of_shape(*shape)
                    size = sizes[shape] = size_of(days, picks if picked else None)
                total += size
        return total

    def alike(self, year: int) -> Hashable:
        return shape_of(year), (self._month - 12 * year) % self._interval

    def year_after(self, year: int) -> int:
        if self._interval <= 12:
            return year + 1
        if not self._months:
            return LAST_YEAR + 1
        month = 12 * (year + 1)
        month += (self._month - month) % self._interval
        while month % 12 + 1 not in self._months:
            month += self._interval
        return month // 12

    def year_before(self, year: int) -> int:
        if self._interval <= 12:
            return year - 1
        if not self._months:
            return 0
        month = 12 * year - 1
        month -= (month - self._month) % self._interval
        while month % 12 + 1 not in self._months:
            month -= self._interval
        return month // 12
