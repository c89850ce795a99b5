"""From a rule to the wall times that it names, in either direction, from anywhere.

Wall times are seconds since 0001-01-01 00:00 on the rule's clock. Nothing here knows of zones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import timedelta
from math import gcd, lcm

from .rrule_days import CYCLE_DAYS, LAST_DAY, Days, bits, year_of, year_start
from .rrule_periods import EVERY_DAY, Fit, FittingDays
from .rrule_times import Listed, Times

DAY = 86_400
LAST_SECOND = (LAST_DAY + 1) * DAY - 1

_LONG = 256  # how many wall times a chunk may have where they are not kept
_DAILY = 1440  # how many times a day may have and be kept
_KEPT = 512  # how many chunks are kept to be used again
_FEW = 1440  # how large a table may be where nothing limits the time of day
_PATIENCE = 48  # misses in a row before a search within odd intervals makes a table


class Offsets:
    """Numbers of seconds, ascending, and the same as timedeltas, which are made when asked for."""

    __slots__ = ("_deltas", "seconds")

    def __init__(self, seconds: Sequence[int]) -> None:
        self.seconds = seconds
        self._deltas: list[timedelta] | None = None

    @property
    def deltas(self) -> list[timedelta]:
        if self._deltas is None:
            self._deltas = [timedelta(0, second) for second in self.seconds]
        return self._deltas


Chunk = tuple[int, Offsets]
"""Wall times in order, never none: a base, and how long after it each one is."""


class Plan(ABC):
    """An ascending set of wall times."""

    @abstractmethod
    def next(self, wall: int) -> int | None:
        """The first wall time that is not before `wall`."""

    @abstractmethod
    def previous(self, wall: int) -> int | None:
        """The last wall time that is before `wall`."""

    @abstractmethod
    def count(self, start: int, end: int) -> int:
        """How many wall times there are from `start` to before `end`."""

    @abstractmethod
    def chunks(self, start: int, end: int) -> Iterator[Chunk]:
        """The wall times from `start` to before `end`, in order, a moderate number at a time."""

    @abstractmethod
    def most(self) -> int:
        """A bound of how many wall times a day has."""

    @abstractmethod
    def cycle(self) -> int:
        """A number of seconds after which the set repeats."""

    @abstractmethod
    def days_in(self, year: int) -> int:
        """The days of `year` that may have wall times, bit i for its day i."""

    @abstractmethod
    def all_times(self) -> Times:
        """Times of day that have in them those of every day."""

    def same_times(self) -> Times | None:
        """The times of every day, where all days have the same."""
        return None

    def may_repeat(self, shift: int) -> bool:
        """Whether two wall times may be `shift` seconds apart."""
        return True

    def __contains__(self, wall: int) -> bool:
        return self.next(wall) == wall


class DayPlan(Plan):
    """Some days, and the times on each."""

    _same = True  # whether all days have the times that they are made with, or picks of these

    def __init__(self, days: Days, times: Times) -> None:
        self._days = days
        self._times = times
        self._per_cycle: int | None = None
        self._repeated: dict[int, Offsets] = {}

    def _times_on(self, day: int) -> Times:
        year = year_of(day)
        picks = self._days.picks(year)
        return self._times if picks is None else Listed(picks[day - year_start(year)])

    def next(self, wall: int) -> int | None:
        day, second = divmod(wall, DAY)
        found = self._days.next(day)
        if found is None:
            return None
        if found == day:
            time = self._times_on(day).next(second)
            if time is not None:
                return day * DAY + time
            found = self._days.next(day + 1)
            if found is None:
                return None
        return found * DAY + self._times_on(found).at(0)

    def previous(self, wall: int) -> int | None:
        day, second = divmod(wall, DAY)
        found = self._days.previous(min(day, LAST_DAY))
        if found is None:
            return None
        if found == day:
            time = self._times_on(day).previous(second)
            if time is not None:
                return day * DAY + time
            found = self._days.previous(day - 1)
            if found is None:
                return None
        times = self._times_on(found)
        return found * DAY + times.at(times.size - 1)

    def most(self) -> int:
        return self._times.size

    def cycle(self) -> int:
        return self._days.cycle * DAY

    def days_in(self, year: int) -> int:
        return self._days.mask(year)

    def all_times(self) -> Times:
        return self._times

    def same_times(self) -> Times | None:
        return self._times if self._days.picks(1) is None else None

    def may_repeat(self, shift: int) -> bool:
        return self._times.size > 1 or shift % DAY == 0

    def count(self, start: int, end: int) -> int:
        if start >= end:
            return 0
        first, second = divmod(start, DAY)
        last, time = divmod(end, DAY)
        total = -self._times_on(first).index(second) if first in self._days else 0
        if last <= LAST_DAY and last in self._days:
            total += self._times_on(last).index(time)
        return total + self._count_days(first, last)

    def _count_days(self, first: int, last: int) -> int:
        """How many wall times the days from `first` to before `last` have."""
        if first >= last:
            return 0
        cycle = self._days.cycle
        total = 0
        if last - first > 2 * cycle:
            if self._per_cycle is None:
                self._per_cycle = self._count_days(first, first + cycle)
            cycles = (last - first) // cycle
            total = cycles * self._per_cycle
            first += cycles * cycle
            if first == last:
                return total
        year, end = year_of(first), year_of(last - 1)
        while year <= end:
            start = year_start(year)
            mask = self._days.mask(year)
            if mask:
                low, high = max(first - start, 0), last - start
                picks = self._days.picks(year)
                if picks is None:
                    total += (mask >> low & (1 << (high - low)) - 1).bit_count() * self._times.size
                else:
                    total += sum(len(times) for day, times in picks.items() if low <= day < high)
            year = self._days.year_after(year)
        return total

    def chunks(self, start: int, end: int) -> Iterator[Chunk]:
        days = self._days
        year = year_of(max(start, 0) // DAY)
        last = year_of(min(end - 1, LAST_SECOND) // DAY) if end > start else 0
        barren = 0
        while year <= last:
            mask = days.mask(year)
            if not mask:
                barren += 1
                if barren == _PATIENCE:
                    # a rule that is as rare may have no other day
                    found = days.next(year_start(year))
                    if found is None:
                        return
                    year, barren = year_of(found), 0
                    continue
            else:
                barren = 0
                yield from self._in_year(year, mask, start, end)
            year = days.year_after(year)

    def _in_year(self, year: int, mask: int, start: int, end: int) -> Iterator[Chunk]:
        """The wall times of the days of `mask` in `year`, from `start` to before `end`."""
        first = year_start(year)
        if first * DAY < start:
            skip = start // DAY - first
            mask = mask >> skip << skip
        if (first + 366) * DAY > end:
            mask &= (1 << (-(-end // DAY) - first)) - 1
        if not mask:
            return
        if not self._same or self._times.size > _DAILY or self._days.picks(year) is not None:
            for day in bits(mask):
                yield from self._on(first + day, start, end)
            return
        # a whole year for rare days, else days with about 64 wall times: what repeats is kept
        span = 366 if mask.bit_count() < 60 else -(-64 // self._times.size)
        for i in range((mask & -mask).bit_length() - 1, mask.bit_length(), span):
            days = mask >> i & ((1 << span) - 1)
            if days:
                base = (first + i) * DAY
                yield from _trimmed(base, self._offsets(days), start, end)

    def _offsets(self, days: int) -> Offsets:
        """The wall times of the days with the bits `days`, from the midnight of bit 0 on."""
        found = self._repeated.get(days)
        if found is None:
            if len(self._repeated) >= _KEPT:
                self._repeated.clear()
            times = self._times.slice(0, self._times.size)
            found = Offsets([day * DAY + time for day in bits(days) for time in times])
            self._repeated[days] = found
        return found

    def _on(self, day: int, start: int, end: int) -> Iterator[Chunk]:
        """The wall times of `day` from `start` to before `end`."""
        times, midnight = self._times_on(day), day * DAY
        first = times.index(start - midnight) if midnight < start else 0
        last = times.index(end - midnight) if midnight + DAY > end else times.size
        for i in range(first, last, _LONG):
            yield midnight, Offsets(times.slice(i, min(i + _LONG, last)))


def _trimmed(base: int, offsets: Offsets, start: int, end: int) -> Iterator[Chunk]:
    """The chunk without what is before `start` or not before `end`."""
    seconds = offsets.seconds
    low, high = base + seconds[0], base + seconds[-1]
    if low < start or high >= end:
        seconds = seconds[bisect_left(seconds, start - base) : bisect_left(seconds, end - base)]
        if not seconds:
            return
        offsets = Offsets(seconds)
    yield base, offsets


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

    def days_in(self, year: int) -> int:
        days = FittingDays(EVERY_DAY) if self._days is None else self._days
        return days.mask(year)

    def all_times(self) -> Times:
        starts = self._allowed or Listed(range(0, DAY, self._unit))
        seconds = self._seconds.slice(0, self._seconds.size)
        return Listed([start + s for start in starts.slice(0, starts.size) for s in seconds])

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
        at = start - start % self._unit
        while (unit := self._unit_after(at)) is not None and unit < end:
            run = min(self._run_end(unit), end)
            length = max(_LONG // size, 1)
            for first in range(unit, run, self._stride * length):
                units = min(-((first - run) // self._stride), length)
                yield from _trimmed(first, self._offsets(units), start, end)
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
            return unit - second + self._allowed.run_end(second, self._unit)
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
        return sum(
            self._strides(min(last * DAY, end)) - self._strides(max(first * DAY, start))
            for first, last in self._days.runs(start // DAY, -(-end // DAY))
        )

    def _strides(self, wall: int) -> int:
        """How many steps of the stride lie before `wall`."""
        return (wall - self._phase + self._stride - 1) // self._stride

    def _table(self) -> DayPlan | None:
        """The units that count, day by day; None where there are none."""
        if self._units is None:
            common = gcd(self._stride, DAY)
            period = self._stride // common
            inverse = pow(DAY // common, -1, period)
            on: dict[int, list[int]] = {}
            seconds: Sequence[int] = range(self._phase % common, DAY, common)
            if self._allowed is not None and self._allowed.size < len(seconds):
                phase, found = self._phase, self._allowed.slice(0, self._allowed.size)
                seconds = [second for second in found if (second - phase) % common == 0]
            elif self._allowed is not None:
                seconds = [second for second in seconds if self._allowed.next(second) == second]
            for second in seconds:
                day = (self._phase - second) // common * inverse % period
                on.setdefault(day, []).append(second)
            if not on:
                return None
            self._units = TablePlan(self._fit or EVERY_DAY, period, on)
        return self._units


class TablePlan(DayPlan):
    """Days by what they leave when divided by a period, each of these with times of its own."""

    _same = False

    def __init__(self, fit: Fit, period: int, on: dict[int, list[int]]) -> None:
        residues = sorted(on)
        self._on_residue = {residue: Listed(on[residue]) for residue in residues}
        super().__init__(FittingDays(fit, residues, period), self._on_residue[residues[0]])
        self._period = period
        sizes: dict[int, list[int]] = {}
        for residue in residues:
            sizes.setdefault(len(on[residue]), []).append(residue)
        self._by_size = [
            DayPlan(FittingDays(fit, alike, period), Listed(range(size)))
            for size, alike in sizes.items()
        ]

    def _times_on(self, day: int) -> Times:
        return self._on_residue[day % self._period]

    def _on(self, day: int, start: int, end: int) -> Iterator[Chunk]:
        residue = day % self._period
        found = self._repeated.get(residue)
        if found is None:
            if len(self._repeated) >= _KEPT:
                self._repeated.clear()
            times = self._on_residue[residue]
            found = self._repeated[residue] = Offsets(times.slice(0, times.size))
        return _trimmed(day * DAY, found, start, end)

    def most(self) -> int:
        return max(times.size for times in self._on_residue.values())

    def same_times(self) -> Times | None:
        return None

    def _count_days(self, first: int, last: int) -> int:
        # days with equally many times are counted together, without regard to what these are
        return sum(plan.count(first * DAY, last * DAY) for plan in self._by_size)
