"""From a rule to the wall times that it names, in either direction, from anywhere.

Wall times are seconds since 0001-01-01 00:00 on the rule's clock. Nothing here knows of zones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import timedelta

from .rrule_days import LAST_DAY, Days, bits, year_of, year_start
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
    def cycle_of_days(self) -> int:
        """A number of days after which what `days_in` says repeats."""

    @abstractmethod
    def days_in(self, year: int) -> int:
        """The days of `year` that may have wall times, bit i for its day i."""

    @abstractmethod
    def all_times(self) -> Times:
        """Times of day that have in them those of every day."""

    def same_times(self) -> Times | None:
        """The times of every day, where all days have the same."""
        return None

    def covers(self, other: Plan) -> bool:
        """Whether on each day of `days_in`, this has all the wall times that `other` may have."""
        times = self.same_times()
        return times is not None and other.all_times().within(times)

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

    def cycle_of_days(self) -> int:
        return self._days.cycle

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
        most = self.most()
        if most > _DAILY or self._days.picks(year) is not None:
            for day in bits(mask):
                yield from self._on(first + day, start, end)
            return
        # a whole year for rare days, else days with about 64 wall times: what repeats is kept
        span = 366 if mask.bit_count() < 60 else -(-64 // most)
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
