"""Hours, minutes and seconds at an interval that does not divide the day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from math import gcd, lcm

from ._sheet import Sheet, collected, times_every
from .rrule_days import CYCLE_DAYS, bits, year_start
from .rrule_expand import DAY, LAST_SECOND, LONG, Chunk, DayPlan, Offsets, Plan, trimmed
from .rrule_periods import EVERY_DAY, Fit, FittingDays
from .rrule_times import Listed, Times

_FEW = 1440  # how large a table may be where nothing limits the time of day
_PATIENCE = 48  # misses in a row before a search makes a table


class StridePlan(Plan):
    """Hours, minutes or seconds at an interval that does not divide the day: every so many units
    from a first one on, where the unit's day and time of day are allowed, and some seconds of each.
    """

    def __init__(
        self,
        stride: int,
        phase: int,
        unit: int,
        *,
        fit: Fit | None,
        allowed: Times | None,
        seconds: Times,
    ) -> None:
        """`stride`, `phase` and `unit` are in seconds. `fit` and `allowed` limit the units by the
        day and by the second of the day that they start in; None: all. `seconds` are those of each
        unit."""
        self._stride = stride
        self._phase = phase % stride
        self._unit = unit
        self._fit = fit
        self._days = None if fit is None else FittingDays(fit)
        self._allowed = allowed
        self._seconds = seconds
        self._fuller: FittingDays | None = None
        self._tabled = False
        self._units: DayPlan | None = None
        self._repeated: dict[int, Offsets] = {}
        self._few = DAY // gcd(stride, DAY) <= _FEW or allowed is not None

    def next(self, wall: int) -> int | None:
        inside = wall % self._unit
        unit = self._unit_after(wall - inside)
        if unit == wall - inside:
            second = self._seconds.next(inside)
            if second is not None:
                return unit + second
            unit = self._unit_after(unit + self._unit)
        return None if unit is None else unit + self._seconds.at(0)

    def previous(self, wall: int) -> int | None:
        wall = min(wall, LAST_SECOND + 1)
        inside = wall % self._unit
        unit = self._unit_before(wall - inside)
        if unit == wall - inside:
            second = self._seconds.previous(inside)
            if second is not None:
                return unit + second
            unit = self._unit_before(unit - self._unit)
        return None if unit is None else unit + self._seconds.at(self._seconds.size - 1)

    def most(self) -> int:
        return (DAY // self._stride + 1) * self._seconds.size

    def cycle(self) -> int:
        return lcm(self._stride, CYCLE_DAYS * DAY)

    def year_key(self, year: int) -> Hashable:
        return self._mask(year), (self._phase - year_start(year) * DAY) % self._stride

    def year_sheet(self, year: int) -> Sheet:
        first = self._phase - year_start(year) * DAY
        days_with: dict[int, int] = {}
        for day in bits(self._mask(year)):
            second = (first - day * DAY) % self._stride
            days_with[second] = days_with.get(second, 0) | 1 << day
        return collected((days, self._times_from(second)) for second, days in days_with.items())

    @property
    def year_by_kind(self) -> bool:
        return 7 * DAY % self._stride == 0

    @property
    def year_outline(self) -> Plan:
        # from day to day the times shift by a multiple of what stride and day have in common
        common = gcd(self._stride, DAY)
        if common == self._stride:
            return self
        return StridePlan(
            common,
            self._phase,
            self._unit,
            fit=self._fit,
            allowed=self._allowed,
            seconds=self._seconds,
        )

    def _mask(self, year: int) -> int:
        if self._days is None:
            return (1 << year_start(year + 1) - year_start(year)) - 1
        return self._days.mask(year)

    def _times_from(self, first: int) -> int:
        """The times of a day whose first unit starts at the second `first`, as bits."""
        units = times_every(self._stride, first)
        if self._allowed is not None:
            units &= self._allowed.bits()
        times = 0
        for second in self._seconds.slice(0, self._seconds.size):
            times |= units << second
        return times

    def count(self, start: int, end: int) -> int:
        if start >= end:
            return 0
        before, after = start % self._unit, end % self._unit
        total = self._count_units(start - before, end - after) * self._seconds.size
        if before and self._unit_after(start - before) == start - before:
            total -= self._seconds.index(before)
        if after and self._unit_after(end - after) == end - after:
            total += self._seconds.index(after)
        return total

    def chunks(self, start: int, end: int) -> Iterator[Chunk]:
        size = self._seconds.size
        if self._allowed is not None and size == 1:
            table, second = self._table(), self._seconds.at(0)
            if table is not None:
                for base, offsets in table.chunks(start - second, end - second):
                    yield base + second, offsets
            return
        at = max(start - start % self._unit, 0)
        while (unit := self._unit_after(at)) is not None and unit < end:
            run = min(self._run_end(unit), end)
            length = max(LONG // size, 1)
            for first in range(unit, run, self._stride * length):
                units = min(-((first - run) // self._stride), length)
                yield from trimmed(first, self._offsets(units), start, end)
            at = -(-run // self._unit) * self._unit

    def _offsets(self, units: int) -> Offsets:
        """The wall times of so many units, from the start of the first on."""
        found = self._repeated.get(units)
        if found is None:
            seconds = self._seconds.slice(0, self._seconds.size)
            starts = range(0, units * self._stride, self._stride)
            found = self._repeated[units] = Offsets([u + s for u in starts for s in seconds])
        return found

    def _run_end(self, unit: int) -> int:
        """A wall time up to which all units from `unit` on are allowed."""
        if self._allowed is not None:
            second = unit % DAY
            return unit - second + self._allowed.run(second, self._unit)[1]
        if self._days is None:
            return LAST_SECOND + 1
        return unit - unit % DAY + DAY

    def _unit_after(self, unit: int) -> int | None:
        """The first unit that counts, not before the one that starts at `unit`."""
        days, allowed = self._days, self._allowed
        misses = 0
        while True:
            unit += (self._phase - unit) % self._stride
            if unit > LAST_SECOND:
                return None
            day, second = divmod(unit, DAY)
            if days is not None and day not in days:
                found = days.next(day)
                if found is None:
                    return None
                unit = found * DAY
            elif allowed is not None and (time := allowed.next(second)) != second:
                unit = day * DAY + (DAY if time is None else time)
            else:
                return unit
            misses += 1
            if misses > _PATIENCE and self._few:
                table = self._table()
                return None if table is None else table.next(unit)

    def _unit_before(self, unit: int) -> int | None:
        """The last unit that counts, not after the one that starts at `unit`."""
        days, allowed = self._days, self._allowed
        unit = min(unit, LAST_SECOND + 1 - self._unit)
        misses = 0
        while True:
            unit -= (unit - self._phase) % self._stride
            if unit < 0:
                return None
            day, second = divmod(unit, DAY)
            if days is not None and day not in days:
                found = days.previous(day)
                if found is None:
                    return None
                unit = (found + 1) * DAY - self._unit
            elif allowed is not None and (time := allowed.previous(second + 1)) != second:
                unit = day * DAY + (-self._unit if time is None else time)
            else:
                return unit
            misses += 1
            if misses > _PATIENCE and self._few:
                table = self._table()
                return None if table is None else table.previous(unit + self._unit)

    def _count_units(self, start: int, end: int) -> int:
        """How many units that count start from `start` to before `end`, both at a unit's start."""
        if self._days is None and self._allowed is None:
            return self._strides(end) - self._strides(start)
        if self._few:
            table = self._table()
            return 0 if table is None else table.count(start, end)
        assert self._days is not None
        first, last = -(-start // DAY), end // DAY
        if first > last or self._stride // gcd(self._stride, DAY) > CYCLE_DAYS:
            return self._count_in_runs(self._days, start, end)
        if self._fuller is None:
            self._fuller = self._fuller_days()
        return (
            self._count_in_runs(self._days, start, first * DAY)
            + self._days.count(first, last) * (DAY // self._stride)
            + self._fuller.count(first, last)
            + self._count_in_runs(self._days, last * DAY, end)
        )

    def _count_in_runs(self, days: FittingDays, start: int, end: int) -> int:
        return sum(
            self._strides(min(last * DAY, end)) - self._strides(max(first * DAY, start))
            for first, last in days.runs(start // DAY, -(-end // DAY))
        )

    def _fuller_days(self) -> FittingDays:
        """The days in which one unit more starts than in others: where the first one starts early
        enough for it."""
        common = gcd(self._stride, DAY)
        period = self._stride // common
        inverse = pow(DAY // common, -1, period)
        early = range(self._phase % common, DAY % self._stride, common)
        residues = {(self._phase - second) // common * inverse % period for second in early}
        return FittingDays(self._fit or EVERY_DAY, sorted(residues), period)

    def _strides(self, wall: int) -> int:
        """How many steps of the stride lie before `wall`."""
        return (wall - self._phase + self._stride - 1) // self._stride

    def _table(self) -> DayPlan | None:
        """The units that count, day by day; None where there are none."""
        if not self._tabled:
            self._tabled = True
            common = gcd(self._stride, DAY)
            period = self._stride // common
            inverse = pow(DAY // common, -1, period)
            on: defaultdict[int, list[int]] = defaultdict(list)
            phase = self._phase
            seconds: Sequence[int] = range(phase % common, DAY, common)
            if self._allowed is not None and self._allowed.size < len(seconds):
                seconds = self._allowed.slice(0, self._allowed.size)
                if common > 1:
                    seconds = [second for second in seconds if (second - phase) % common == 0]
            elif self._allowed is not None:
                seconds = [second for second in seconds if self._allowed.next(second) == second]
            for second in seconds:
                on[(phase - second) // common * inverse % period].append(second)
            if on:
                self._units = TablePlan(self._fit or EVERY_DAY, period, on)
        return self._units


class TablePlan(DayPlan):
    """Days by what they leave when divided by a period, each of these with times of its own."""

    def __init__(self, fit: Fit, period: int, on: dict[int, list[int]]) -> None:
        residues = sorted(on)
        self._on_residue = {residue: Listed(on[residue]) for residue in residues}
        super().__init__(FittingDays(fit, residues, period), self._on_residue[residues[0]])
        self._period = period
        self._most = max(times.size for times in self._on_residue.values())
        sizes: dict[int, list[int]] = {}
        for residue in residues:
            sizes.setdefault(len(on[residue]), []).append(residue)
        self._by_size = [
            DayPlan(FittingDays(fit, alike, period), Listed(range(size)))
            for size, alike in sizes.items()
        ]

    def _times_on(self, day: int) -> Times:
        return self._on_residue[day % self._period]

    def year_key(self, year: int) -> Hashable:
        return self._days.mask(year), year_start(year) % self._period

    def year_sheet(self, year: int) -> Sheet:
        start = year_start(year)
        on_days = bits(self._days.mask(year))
        return collected((1 << day, self._times_on(start + day).bits()) for day in on_days)

    @property
    def year_outline(self) -> Plan:
        return self

    def _alike(self, first: int, days: int) -> int:
        return days * self._period + first % self._period

    def most(self) -> int:
        return self._most

    def same_times(self) -> Times | None:
        return None

    def _count_days(self, first: int, last: int) -> int:
        # days with equally many times are counted together, without regard to what these are
        return sum(plan.count(first * DAY, last * DAY) for plan in self._by_size)
