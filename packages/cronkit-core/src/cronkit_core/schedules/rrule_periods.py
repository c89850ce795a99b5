"""The days of every so many years, months or weeks, and days that fit."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd

from .rrule_days import (
    CYCLE_DAYS,
    CYCLE_YEARS,
    FURTHER,
    LAST_DAY,
    LAST_YEAR,
    PAD,
    Days,
    Picks,
    Shape,
    bits,
    mask_of,
    pick,
    shape_of,
    year_of,
    year_start,
)
from .rrule_times import Times

_MONTHS_OF_CYCLE = 12 * CYCLE_YEARS
_LENGTHS = tuple(
    (n, n + (m == 1)) for m, n in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31))
)
_STARTS = tuple(tuple(sum(n[leap] for n in _LENGTHS[:m]) for m in range(12)) for leap in (0, 1))
_PATTERN = 1500  # the longest period of days that is written out as a pattern of bits
_STEPS = 48  # years without a day before the search turns from looking to solving
_SHORT = 64 * 366  # up to how many days are counted year by year
_PAIRS = 3000  # up to how many congruences the search solves

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

    def alike(self, year: int) -> Hashable:
        if self._spills:
            around = ((y - self._year) % self._interval == 0 for y in (year - 1, year, year + 1))
            return year % CYCLE_YEARS, *around
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


@dataclass(frozen=True, slots=True)
class Fit:
    """Which days fit: by the shape of their year, and by weekdays that no other day has."""

    shape: Shape
    weekdays: frozenset[int] = frozenset(range(7))


EVERY_DAY = Fit(lambda leap, first: -1)


class FittingDays(Days):
    """Days that fit a year's shape and leave one of `residues` when divided by `period`."""

    def __init__(self, fit: Fit, residues: Sequence[int] = (0,), period: int = 1) -> None:
        """`residues` are ascending, from 0 to before `period`."""
        if period % 7 == 0:
            # then a residue has a weekday: day 0 is a Monday
            residues = [residue for residue in residues if residue % 7 in fit.weekdays]
        steps = period // gcd(period, CYCLE_DAYS) * CYCLE_YEARS
        super().__init__(period, min(steps, LAST_YEAR) + 1)
        self._fit = fit
        self._shapes: dict[tuple[bool, int], int] = {}
        self._residues = residues
        self._period = period
        self._pattern: int | None = None
        self._whole: tuple[int, int] | None = None
        self._cycle: list[int] | None = None
        self._pairs: int | None = None
        if not residues:
            self._possible = False
        if 1 < period <= _PATTERN:
            self._pattern = 0
            for start in residues:
                for day in range(start, 366 + period, period):
                    self._pattern |= 1 << day

    @property
    def by_kind(self) -> bool:
        return 7 % self._period == 0

    def outline(self) -> FittingDays:
        return FittingDays(self._fit)

    def _of_shape(self, shape: tuple[bool, int]) -> int:
        found = self._shapes.get(shape)
        if found is None:
            found = self._fit.shape(*shape) >> PAD & ((1 << 365 + shape[0]) - 1)
            self._shapes[shape] = found
        return found

    def _mask(self, year: int) -> int:
        mask = self._of_shape(shape_of(year))
        if self._period == 1 or not mask:
            return mask
        offset = year_start(year) % self._period
        if self._pattern is not None:
            return mask & self._pattern >> offset
        pattern = 0
        for shift in (offset, offset - self._period):
            low = bisect_left(self._residues, shift)
            high = bisect_left(self._residues, shift + 366)
            for residue in self._residues[low:high]:
                pattern |= 1 << (residue - shift)
        return mask & pattern

    def _some(self) -> bool:
        return any(self._of_shape((leap, first)) for leap in (False, True) for first in range(7))

    def count(self, first: int, last: int) -> int:
        if self.by_kind or last - first < _SHORT or self._period > CYCLE_DAYS:
            return super().count(first, last)
        fitting, pattern = self._whole_cycle()
        total = 0
        for start in range(first - first % CYCLE_DAYS, last, CYCLE_DAYS):
            days = fitting & pattern >> start % self._period
            if start < first:
                days >>= first - start
            if start + CYCLE_DAYS > last:
                days &= (1 << (last - max(start, first))) - 1
            total += days.bit_count()
        return total

    def _whole_cycle(self) -> tuple[int, int]:
        """The days of 400 years that fit, one bit each, and those that leave one of the residues,
        over a period more: counting these goes through centuries in microseconds."""
        if self._whole is None:
            fitting = 0
            for year in range(CYCLE_YEARS, 0, -1):
                fitting = fitting << length_of(year) | self._of_shape(shape_of(year))
            flags = bytearray(self._period // 8 + 1)
            for residue in self._residues:
                flags[residue >> 3] |= 1 << (residue & 7)
            pattern, length = int.from_bytes(flags, "little"), self._period
            while length < CYCLE_DAYS + self._period:
                pattern |= pattern << length
                length *= 2
            self._whole = fitting, pattern
        return self._whole

    def _residue_after(self, day: int) -> int:
        """The first day with one of the residues that is not before `day`."""
        base, rest = day - day % self._period, day % self._period
        i = bisect_left(self._residues, rest)
        if i < len(self._residues):
            return base + self._residues[i]
        return base + self._period + self._residues[0]

    def _residue_before(self, day: int) -> int:
        """The last day with one of the residues that is not after `day`."""
        base, rest = day - day % self._period, day % self._period
        i = bisect_left(self._residues, rest + 1)
        if i:
            return base + self._residues[i - 1]
        return base - self._period + self._residues[-1]

    def year_after(self, year: int) -> int:
        if self._period <= _PATTERN:
            return year + 1
        day = self._residue_after(year_start(year + 1))
        return year_of(day) if day <= LAST_DAY else LAST_YEAR + 1

    def year_before(self, year: int) -> int:
        if self._period <= _PATTERN:
            return year - 1
        day = self._residue_before(year_start(year) - 1)
        return year_of(day) if day >= 0 else 0

    def next(self, day: int) -> int | None:
        found = self._next(day, _STEPS)
        if found != FURTHER:
            return found
        if self._dense():
            found = self._next(day, self._proof)
            return None if found == FURTHER else found
        found = min(
            (
                c + CYCLE_DAYS * (first + (j - first) % step)
                for c, j, step in self._meetings()
                for first in ((day - c + CYCLE_DAYS - 1) // CYCLE_DAYS,)
            ),
            default=LAST_DAY + 1,
        )
        return found if found <= LAST_DAY else None

    def previous(self, day: int) -> int | None:
        found = self._previous(day, _STEPS)
        if found != FURTHER:
            return found
        if self._dense():
            found = self._previous(day, self._proof)
            return None if found == FURTHER else found
        found = max(
            (
                c + CYCLE_DAYS * (last - (last - j) % step)
                for c, j, step in self._meetings()
                for last in ((day - c) // CYCLE_DAYS,)
            ),
            default=-1,
        )
        return found if found >= 0 else None

    def _dense(self) -> bool:
        """Whether looking for a day beats solving for it: where many days fit, one is near."""
        if self._pairs is None:
            years = range(1, CYCLE_YEARS + 1)
            fitting = sum(self._of_shape(shape_of(year)).bit_count() for year in years)
            self._pairs = fitting * len(self._residues)
        return self._pairs > _PAIRS

    def _meetings(self) -> Iterator[tuple[int, int, int]]:
        """Where a day `c` of the cycle, which comes again every 400 years, meets a residue: in the
        cycles `j`, `j` + `step`, `j` + 2 `step` and so on."""
        common = gcd(CYCLE_DAYS, self._period)
        step = self._period // common
        inverse = pow(CYCLE_DAYS // common, -1, step)
        residues: dict[int, list[int]] = {}
        for residue in self._residues:
            residues.setdefault(residue % common, []).append(residue)
        for c in self._fitting_of_cycle():
            for residue in residues.get(c % common, ()):
                yield c, (residue - c) // common * inverse % step, step

    def _fitting_of_cycle(self) -> list[int]:
        """The days of the first 400 years that fit their year's shape."""
        if self._cycle is None:
            self._cycle = [
                year_start(year) + day
                for year in range(1, CYCLE_YEARS + 1)
                for day in bits(self._of_shape(shape_of(year)))
            ]
        return self._cycle
