"""Hours, minutes and seconds at an interval that does not divide the day."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from math import gcd, lcm

from ._sheet import Sheet, collected, times_every
from .rrule_days import CYCLE_DAYS, bits, year_start
from .rrule_expand import DAY, LAST_SECOND, LONG, Chunk, DayPlan, Offsets, Plan, trimmed
from .rrule_fit import EVERY_DAY, Fit, FittingDays
from .rrule_residues import Weights, either, met
from .rrule_times import Grid, Listed, Marked, Times

_PATIENCE = 6  # misses in a row before a search makes a table
_SOME = 8  # seconds of a unit that are counted one after the other
_KEPT = 512  # of how many days the times are kept


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
        allowed: Grid | None,
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
        self._times = allowed or _starts_of(unit)
        self._seconds = seconds
        self._tabled = False
        self._units: UnitPlan | None = None
        self._repeated: dict[int, Offsets] = {}

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
        if before and self._counts(start - before):
            total -= self._seconds.index(before)
        if after and self._counts(end - after):
            total += self._seconds.index(after)
        return total

    def nth(self, start: int, number: int) -> int | None:
        inside = start % self._unit
        if inside and self._counts(start - inside):
            number += self._seconds.index(inside)
        unit: int | None
        number, second = divmod(number - 1, self._seconds.size)
        if self._days is None and self._allowed is None:
            unit = start - inside + (self._phase - start + inside) % self._stride
            unit += number * self._stride
        else:
            table = self._table()
            unit = None if table is None else table.nth(start - inside, number + 1)
        if unit is None or unit > LAST_SECOND:
            return None
        return unit + self._seconds.at(second)

    def _counts(self, unit: int) -> bool:
        """Whether the unit that starts at `unit` counts."""
        if (unit - self._phase) % self._stride:
            return False
        day, second = divmod(unit, DAY)
        if self._allowed is not None and self._allowed.next(second) != second:
            return False
        return self._days is None or day in self._days

    def count_on(self, first: int, days: int, start: int, end: int) -> int:
        inside = self._seconds.slice(0, self._seconds.size)
        if len(inside) > _SOME or start < inside[-1]:
            return super().count_on(first, days, start, end)
        if self._days is not None:
            days = self._days.among(first, days)
        return sum(self._units_on(first, days, start - at, end - at) for at in inside)

    def _units_on(self, first: int, days: int, start: int, end: int) -> int:
        """As `count_on` has it, for units, and days that fit."""
        allowed = self._allowed
        if allowed is None:
            midnights = [(first + day) * DAY for day in bits(days)]
            return sum(self._strides(at + end) - self._strides(at + start) for at in midnights)
        if allowed.index(start) == allowed.index(end) or (table := self._table()) is None:
            return 0
        return table.count_on(first, days, start, end)

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
            if misses > _PATIENCE:
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
            if misses > _PATIENCE:
                table = self._table()
                return None if table is None else table.previous(unit + self._unit)

    def _count_units(self, start: int, end: int) -> int:
        """How many units that count start from `start` to before `end`, both at a unit's start."""
        days, allowed = self._days, self._allowed
        if days is None and allowed is None:
            return self._strides(end) - self._strides(start)
        midnight = start - start % DAY
        if end <= midnight + DAY:
            # such as what a change of the clock skips or repeats
            if days is not None and midnight // DAY not in days:
                return 0
            if allowed is None:
                return self._strides(end) - self._strides(start)
            if allowed.index(start - midnight) == allowed.index(end - midnight):
                return 0
        table = self._table()
        return 0 if table is None else table.count(start, end)

    def _strides(self, wall: int) -> int:
        """How many steps of the stride lie before `wall`."""
        return (wall - self._phase + self._stride - 1) // self._stride

    def _table(self) -> UnitPlan | None:
        """The units that count, day by day; None where there are none."""
        if not self._tabled:
            self._tabled = True
            weights = met(self._times, self._phase, self._stride)
            if weights:
                fit = self._fit or EVERY_DAY
                self._units = UnitPlan(self._stride, self._phase, fit, self._times, weights)
        return self._units


def _starts_of(unit: int) -> Grid:
    """When a unit of so many seconds starts: all of its kind in a day."""
    return Grid(range(24), range(60) if unit < 3600 else (0,), range(60) if unit == 1 else (0,))


class UnitPlan(DayPlan):
    """Every so many seconds from a phase on, where that is one of some times, on days that fit."""

    def __init__(self, stride: int, phase: int, fit: Fit, times: Times, weights: Weights) -> None:
        """`weights` tell how many times each day has, as `met` does."""
        self._fitting = FittingDays(fit, either(weights))
        super().__init__(self._fitting, times)
        self._weights = weights
        self._stride = stride
        self._phase = phase
        self._from_second: dict[int, Times] = {}

    def _times_on(self, day: int) -> Times:
        second = (self._phase - day * DAY) % self._stride
        if self._stride >= DAY:
            return Listed([second])
        found = self._from_second.get(second)
        if found is None:
            if len(self._from_second) >= _KEPT:
                self._from_second.clear()
            if self._bits is None:
                self._bits = self._times.bits()
            found = Marked(self._bits & times_every(self._stride, second))
            self._from_second[second] = found
        return found

    def _alike(self, first: int, days: int) -> int:
        return days * self._stride + (self._phase - first * DAY) % self._stride

    def count_on(self, first: int, days: int, start: int, end: int) -> int:
        some = [self._times_on(first + day) for day in bits(self._days.among(first, days))]
        return sum(times.index(end) - times.index(start) for times in some)

    def most(self) -> int:
        return DAY // self._stride + 1

    def _count_days(self, first: int, last: int) -> int:
        return self._fitting.weigh(first, last, self._weights) if first < last else 0
