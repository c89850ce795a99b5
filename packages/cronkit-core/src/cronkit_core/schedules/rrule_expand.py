"""From a rule to the wall times that it names, in either direction, from anywhere.

Wall times are seconds since 0001-01-01 00:00 on the rule's clock. Nothing here knows of zones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from math import gcd, lcm

from .rrule_days import CYCLE_DAYS, LAST_DAY, Days, year_of, year_start
from .rrule_periods import EVERY_DAY, Fit, FittingDays
from .rrule_times import Listed, Times

DAY = 86_400
LAST_SECOND = (LAST_DAY + 1) * DAY - 1

_BITS = tuple(tuple(i for i in range(8) if byte >> i & 1) for byte in range(256))
_CHUNK = 256
_FEW = 1440  # how large a table may be where nothing limits the time of day
_PATIENCE = 48  # misses in a row before a search within odd intervals makes a table


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
    def chunks(self, start: int, end: int) -> Iterator[list[int]]:
        """The wall times from `start` to before `end`, in lists of moderate length."""

    @abstractmethod
    def most(self) -> int:
        """A bound of how many wall times a day has."""

    @abstractmethod
    def cycle(self) -> int:
        """A number of seconds after which the set repeats."""

    def may_repeat(self, shift: int) -> bool:
        """Whether two wall times may be `shift` seconds apart."""
        return True

    def __contains__(self, wall: int) -> bool:
        return self.next(wall) == wall


class DayPlan(Plan):
    """Some days, and the times on each."""

    def __init__(self, days: Days, times: Times) -> None:
        self._days = days
        self._times = times
        self._per_cycle: int | None = None

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

    def chunks(self, start: int, end: int) -> Iterator[list[int]]:
        day = start // DAY
        while day * DAY < end:
            found = self._days.next(day)
            if found is None or found * DAY >= end:
                return
            year = year_of(found)
            base = year_start(year)
            octets = (self._days.mask(year) >> (found - base)).to_bytes(46, "little")
            for i in range(0, 46, 4):
                days = [
                    found + 8 * j + bit
                    for j, octet in enumerate(octets[i : i + 4], i)
                    for bit in _BITS[octet]
                ]
                if not days:
                    continue
                if days[0] * DAY >= end:
                    return
                yield from self._on(days, start, end)
            day = year_start(year + 1)

    def _on(self, days: list[int], start: int, end: int) -> Iterator[list[int]]:
        """The wall times of `days`, all in one year, from `start` to before `end`."""
        times = self._times
        if times.size == 1 and self._days.picks(year_of(days[0])) is None:
            at = times.at(0)
            walls = [day * DAY + at for day in days]
            if walls[0] < start or walls[-1] >= end:
                walls = [wall for wall in walls if start <= wall < end]
            if walls:
                yield walls
            return
        for day in days:
            times, midnight = self._times_on(day), day * DAY
            first = times.index(start - midnight) if midnight < start else 0
            last = times.index(end - midnight) if midnight + DAY > end else times.size
            for i in range(first, last, _CHUNK):
                yield [midnight + time for time in times.slice(i, min(i + _CHUNK, last))]


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

    def chunks(self, start: int, end: int) -> Iterator[list[int]]:
        at = start - start % self._unit
        size = self._seconds.size
        while (unit := self._unit_after(at)) is not None and unit < end:
            run = min(self._run_end(unit), end)
            length = max(_CHUNK // size, 1)
            for first in range(unit, run, self._stride * length):
                units = range(first, min(run, first + self._stride * length), self._stride)
                for i in range(0, size, _CHUNK):
                    seconds = self._seconds.slice(i, min(i + _CHUNK, size))
                    chunk = [u + s for u in units for s in seconds]
                    if chunk[0] >= start and chunk[-1] < end:
                        yield chunk
                    elif trimmed := [wall for wall in chunk if start <= wall < end]:
                        yield trimmed
            at = -(-run // self._unit) * self._unit

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

    def most(self) -> int:
        return max(times.size for times in self._on_residue.values())

    def _count_days(self, first: int, last: int) -> int:
        # days with equally many times are counted together, without regard to what these are
        return sum(plan.count(first * DAY, last * DAY) for plan in self._by_size)
