"""Times of day as the parts BYHOUR, BYMINUTE and BYSECOND name them, in seconds from midnight."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence

from ._sheet import bits_of, times_of
from .rrule_days import bits as numbers_of


class Times(ABC):
    """An ascending set of numbers of seconds, from midnight or from the start of an hour or a
    minute. Never empty."""

    __slots__ = ("size",)

    size: int

    @abstractmethod
    def at(self, index: int) -> int:
        """The member with `index`, from 0 to before `size`."""

    @abstractmethod
    def index(self, second: int) -> int:
        """How many members are less than `second`."""

    def next(self, second: int) -> int | None:
        """The first member that is not less than `second`."""
        i = self.index(second)
        return self.at(i) if i < self.size else None

    def previous(self, second: int) -> int | None:
        """The last member that is less than `second`."""
        i = self.index(second)
        return self.at(i - 1) if i else None

    def slice(self, first: int, last: int) -> list[int]:
        """The members with the indexes from `first` to before `last`."""
        return [self.at(i) for i in range(first, last)]

    def run(self, second: int, unit: int) -> tuple[int, int]:
        """From where to before where, around the member `second`, every start of a `unit` is a
        member."""
        return second, second + unit

    def bits(self) -> int:
        """The members as bits."""
        return bits_of(self.slice(0, self.size))

    def picked(self, positions: Sequence[int]) -> Times | None:
        """The members at `positions` as BYSETPOS counts, from 1 or from -1; None for no member."""
        found = {p - 1 if p > 0 else self.size + p for p in positions}
        chosen = [self.at(i) for i in sorted(found) if 0 <= i < self.size]
        return Listed(chosen) if chosen else None


class Listed(Times):
    """Times written out."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: Sequence[int]) -> None:
        self.seconds = tuple(seconds)
        self.size = len(self.seconds)

    def at(self, index: int) -> int:
        return self.seconds[index]

    def index(self, second: int) -> int:
        return bisect_left(self.seconds, second)

    def slice(self, first: int, last: int) -> list[int]:
        return list(self.seconds[first:last])


class Marked(Times):
    """Times as bits."""

    __slots__ = ("_bits",)

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self.size = bits.bit_count()

    def at(self, index: int) -> int:
        if index == 0:
            return (self._bits & -self._bits).bit_length() - 1
        if index == self.size - 1:
            return self._bits.bit_length() - 1
        low, high = 0, self._bits.bit_length()
        while high - low > 1:
            middle = (low + high) // 2
            if self.index(middle) > index:
                high = middle
            else:
                low = middle
        return low

    def index(self, second: int) -> int:
        return (self._bits & (1 << second) - 1).bit_count()

    def next(self, second: int) -> int | None:
        later = self._bits >> second
        return second + (later & -later).bit_length() - 1 if later else None

    def previous(self, second: int) -> int | None:
        earlier = self._bits & (1 << second) - 1
        return earlier.bit_length() - 1 if earlier else None

    def slice(self, first: int, last: int) -> list[int]:
        return numbers_of(self._bits)[first:last]

    def bits(self) -> int:
        return self._bits


class Grid(Times):
    """Each of the hours with each of the minutes with each of the seconds, up to 86,400 times that
    are never written out."""

    __slots__ = ("hours", "minutes", "seconds")

    def __init__(
        self, hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]
    ) -> None:
        self.hours = tuple(hours)
        self.minutes = tuple(minutes)
        self.seconds = tuple(seconds)
        self.size = len(self.hours) * len(self.minutes) * len(self.seconds)

    def at(self, index: int) -> int:
        index, s = divmod(index, len(self.seconds))
        h, m = divmod(index, len(self.minutes))
        return self.hours[h] * 3600 + self.minutes[m] * 60 + self.seconds[s]

    def index(self, second: int) -> int:
        minute, second = divmod(second, 60)
        hour, minute = divmod(minute, 60)
        i = bisect_left(self.hours, hour)
        if i == len(self.hours):
            return self.size
        if self.hours[i] != hour:
            return i * len(self.minutes) * len(self.seconds)
        j = bisect_left(self.minutes, minute)
        if j == len(self.minutes):
            return (i + 1) * len(self.minutes) * len(self.seconds)
        if self.minutes[j] != minute:
            return (i * len(self.minutes) + j) * len(self.seconds)
        k = bisect_left(self.seconds, second)
        return (i * len(self.minutes) + j) * len(self.seconds) + k

    def slice(self, first: int, last: int) -> list[int]:
        size = len(self.seconds)
        found: list[int] = []
        for row in range(first // size, -(-last // size)):
            h, m = divmod(row, len(self.minutes))
            minute = self.hours[h] * 3600 + self.minutes[m] * 60
            low, high = max(first - row * size, 0), min(last - row * size, size)
            found += [minute + second for second in self.seconds[low:high]]
        return found

    def bits(self) -> int:
        return times_of(bits_of(self.hours), bits_of(self.minutes), bits_of(self.seconds))

    def run(self, second: int, unit: int) -> tuple[int, int]:
        length = 3600
        if unit == 1 and len(self.seconds) < 60:
            length = 1
        elif unit <= 60 and len(self.minutes) < 60:
            length = 60
        start = second - second % length
        return start, start + length


def grid(hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]) -> Times | None:
    """The times with one of the hours, one of the minutes and one of the seconds, each ascending;
    None where one of them is empty."""
    size = len(hours) * len(minutes) * len(seconds)
    if size > 64:
        return Grid(hours, minutes, seconds)
    if not size:
        return None
    return Listed([h * 3600 + m * 60 + s for h in hours for m in minutes for s in seconds])
