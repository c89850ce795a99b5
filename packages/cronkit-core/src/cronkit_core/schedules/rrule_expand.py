"""From a rule to the wall times that it names, in either direction, from anywhere.

Wall times are seconds since 0001-01-01 00:00 on the rule's clock. Nothing here knows of zones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import timedelta

from ._sheet import Sheet, bits_of, collected
from ._years import NEVER, Years
from .rrule_days import CYCLE_DAYS, CYCLE_YEARS, LAST_DAY, Days, bits, year_of, year_start
from .rrule_times import Listed, Times

DAY = 86_400
LAST_SECOND = (LAST_DAY + 1) * DAY - 1

LONG = 256  # how many wall times a chunk may have where they are not kept
_DAILY = 1440  # how many times a day may have and be kept
_KEPT = 512  # how many chunks are kept to be used again
_PATIENCE = 48  # years without a day before iteration looks for the next one


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


Count = Callable[[int, int], int]
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

    def nth(self, start: int, number: int) -> int | None:
        """Where the wall time `number`, from 1, lies from `start` on; None after the year 9999."""
        found = nth(self.count, start, number, LAST_SECOND + 1, DAY)
        return None if found is None else found[0]

    def count_on(self, first: int, days: int, start: int, end: int) -> int:
        """How many wall times there are from the second `start` to before the second `end` of each
        of the days with the bits `days`, bit 0 for the day `first`."""
        midnights = ((first + day) * DAY for day in bits(days))
        return sum(self.count(midnight + start, midnight + end) for midnight in midnights)

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
    def year_key(self, year: int) -> Hashable:
        """All that `year_sheet` depends on."""

    @abstractmethod
    def year_sheet(self, year: int) -> Sheet:
        """The wall times in `year`."""

    @property
    def year_period(self) -> int:
        """After how many years the set repeats."""
        return self.cycle() // (CYCLE_DAYS * DAY) * CYCLE_YEARS

    @property
    def year_special(self) -> Years:
        """The years that are other than the period has it: none."""
        return NEVER

    @property
    @abstractmethod
    def year_by_kind(self) -> bool:
        """Whether the wall times of a year depend on its weekdays and length alone, or on those of
        the years beside it."""

    @property
    def year_outline(self) -> Plan:
        """A plan with at least these wall times, where a year's depend on its kind alone; itself
        where there is none."""
        return self

    def same_times(self) -> Times | None:
        """The times of every day, where all days have the same."""
        return None

    def may_repeat(self, shift: int) -> bool:
        """Whether two wall times may be `shift` seconds apart."""
        return True

    def __contains__(self, wall: int) -> bool:
        return self.next(wall) == wall


def nth(count: Count, start: int, number: int, end: int, span: int) -> tuple[int, int] | None:
    """Where the member `number`, from 1, of a set lies from `start` on, where `count(a, b)` is how
    many there are from a to before b; and which one of those that lie there it is, from 1. None
    when it is not before `end`. `span` is how far away it is looked for first."""
    low, passed, first = start, 0, span
    while True:
        high = min(low + span, end)
        if low >= high:
            return None
        found = count(low, high)
        if found >= number:
            break
        number -= found
        passed += found
        low, span = high, 4 * span
        if passed:
            # a little farther than it is if the rest is as dense
            span = min(span, (low - start) * number * 17 // (16 * passed) + first)
    while high - low > 1:
        # where it is if they are evenly spread, and a little on both sides of that
        place = low + (high - low) * number // (found + 1)
        edge = (high - low) // 16
        for middle in (place - edge, place + edge, (low + high) // 2):
            if low < middle < high:
                part = count(low, middle)
                if part >= number:
                    high, found = middle, part
                    break
                low, number, found = middle, number - part, found - part
    return low, number


class DayPlan(Plan):
    """Some days, and the times on each."""

    def __init__(self, days: Days, times: Times) -> None:
        self._days = days
        self._times = times
        self._per_cycle: int | None = None
        self._repeated: dict[int, Offsets] = {}
        self._bits: int | None = None

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

    def year_key(self, year: int) -> Hashable:
        picks = self._days.picks(year)
        return self._days.mask(year), None if picks is None else tuple(sorted(picks.items()))

    def year_sheet(self, year: int) -> Sheet:
        picks = self._days.picks(year)
        if picks is not None:
            return collected((1 << day, bits_of(times)) for day, times in picks.items())
        if self._bits is None:
            self._bits = self._times.bits()
        return collected([(self._days.mask(year), self._bits)])

    @property
    def year_by_kind(self) -> bool:
        return self._days.by_kind

    @property
    def year_outline(self) -> Plan:
        return self if self._days.by_kind else DayPlan(self._days.outline(), self._times)

    def same_times(self) -> Times | None:
        return self._times if self._days.picks(1) is None else None

    def may_repeat(self, shift: int) -> bool:
        return self._times.size > 1 or shift % DAY == 0

    def count(self, start: int, end: int) -> int:
        if start >= end:
            return 0
        first, second = divmod(start, DAY)
        last, time = divmod(end, DAY)
        if first == last:
            times = self._times_on(first) if first in self._days else None
            return 0 if times is None else times.index(time) - times.index(second)
        total = -self._times_on(first).index(second) if first in self._days else 0
        if last <= LAST_DAY and last in self._days:
            total += self._times_on(last).index(time)
        return total + self._count_days(first, last)

    def nth(self, start: int, number: int) -> int | None:
        midnight = start - start % DAY
        number += self.count(midnight, start)
        span = number // self.most() + 32
        found = nth(self._count_days, midnight // DAY, number, LAST_DAY + 1, span)
        if found is None:
            return None
        day, number = found
        return day * DAY + self._times_on(day).at(number - 1)

    def count_on(self, first: int, days: int, start: int, end: int) -> int:
        if self._days.picks(1) is not None:
            return super().count_on(first, days, start, end)
        size = self._times.index(end) - self._times.index(start)
        return size and size * self._days.among(first, days).bit_count()

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
        if self._days.picks(1) is None:
            return total + self._days.count(first, last) * self._times.size
        return total + self._days.picked(first, last)

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
        most = self.most()
        if most > _DAILY or self._days.picks(year) is not None:
            for day in bits(mask):
                yield from self._on(first + day, start, end)
            return
        # a whole year for rare days, else days with about 64 wall times: what repeats is kept
        rare = mask.bit_count() < 60 and mask.bit_count() * most <= LONG
        span = 366 if rare else -(-64 // most)
        for i in range((mask & -mask).bit_length() - 1, mask.bit_length(), span):
            days = mask >> i & ((1 << span) - 1)
            if days:
                base = (first + i) * DAY
                yield from trimmed(base, self._offsets(first + i, days), start, end)

    def _offsets(self, first: int, days: int) -> Offsets:
        """The wall times of the days with the bits `days`, bit 0 for the day `first`, counted from
        its midnight."""
        key = self._alike(first, days)
        found = self._repeated.get(key)
        if found is None:
            if len(self._repeated) >= _KEPT:
                self._repeated.clear()
            seconds: list[int] = []
            for day in bits(days):
                times = self._times_on(first + day)
                seconds += [day * DAY + time for time in times.slice(0, times.size)]
            found = self._repeated[key] = Offsets(seconds)
        return found

    def _alike(self, first: int, days: int) -> int:
        """What tells days from `first` on, with the bits `days`, from days with other offsets."""
        return days

    def _on(self, day: int, start: int, end: int) -> Iterator[Chunk]:
        """The wall times of `day` from `start` to before `end`."""
        times, midnight = self._times_on(day), day * DAY
        first = times.index(start - midnight) if midnight < start else 0
        last = times.index(end - midnight) if midnight + DAY > end else times.size
        for i in range(first, last, LONG):
            yield midnight, Offsets(times.slice(i, min(i + LONG, last)))


def trimmed(base: int, offsets: Offsets, start: int, end: int) -> Iterator[Chunk]:
    """The chunk without what is before `start` or not before `end`."""
    seconds = offsets.seconds
    low, high = base + seconds[0], base + seconds[-1]
    if low < start or high >= end:
        seconds = seconds[bisect_left(seconds, start - base) : bisect_left(seconds, end - base)]
        if not seconds:
            return
        offsets = Offsets(seconds)
    yield base, offsets
