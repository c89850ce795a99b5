"""The days that a rule names, as one number for each year: bit i is the year's day i, from 0.

Days are counted from 0, 0001-01-01, a Monday. A year's days depend on its shape alone: whether it
is a leap year, and the weekday of its first day. There are fourteen, and they repeat every 400
years, which is what makes "never" provable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from calendar import isleap
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import date
from math import lcm
from struct import unpack

from ._local import years_by_kind

LAST_YEAR = 9999
LAST_DAY = date.max.toordinal() - 1
CYCLE_YEARS = 400
CYCLE_DAYS = 146_097

PAD = 7
"""A shape's days have bits for the seven days before and after the year, too: where a week of the
year or a moved day lies there. Bit i is day i - PAD."""

_EVERY_WEEK = sum(1 << i for i in range(0, 366 + 2 * PAD, 7))
_MONTHS = (
    (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365),
    (0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366),
)
_WHOLE = ((1 << 365) - 1, (1 << 366) - 1)
FURTHER = -2  # no day, and not the last word
_LONG = 512  # bits; longer numbers are read word by word
_KINDS = 28  # of years
_PATIENCE = 12  # empty years in a row before the search asks whether there is any other

Picks = dict[int, tuple[int, ...]]
"""Of a year's day: the times on it, where BYSETPOS left some of them only."""


def year_start(year: int) -> int:
    """The first day of `year`."""
    y = year - 1
    return 365 * y + y // 4 - y // 100 + y // 400


def year_of(day: int) -> int:
    """The year that `day` is in."""
    return date.fromordinal(day + 1).year


def bits(number: int) -> list[int]:
    """Which bits of `number` are set, ascending."""
    if number.bit_length() > _LONG:
        words = -(-number.bit_length() // 64)
        read = unpack(f"<{words}Q", number.to_bytes(8 * words, "little"))
        return [64 * i + bit for i, word in enumerate(read) if word for bit in bits(word)]
    found = []
    while number:
        low = number & -number
        found.append(low.bit_length() - 1)
        number ^= low
    return found


def months_mask(leap: bool, months: Sequence[int]) -> int:
    """The days of `months`, those of the years around included."""
    starts = _MONTHS[leap]
    mask = 0
    for m in months:
        mask |= ((1 << starts[m]) - (1 << starts[m - 1])) << PAD
        if m == 12:
            mask |= (1 << PAD) - 1
        if m == 1:
            mask |= ((1 << PAD) - 1) << (starts[12] + PAD)
    return mask


def month_day(number: int, length: int, skip: str) -> int | None:
    """Which day of a month of `length` days, from 0, the BYMONTHDAY `number` is. One that the month
    has not got goes where SKIP says, which may be a day before (-1) or after (`length`) it."""
    day = number - 1 if number > 0 else length + number
    if 0 <= day < length:
        return day
    if skip == "FORWARD":
        return length if number > 0 else 0
    if skip == "BACKWARD":
        return length - 1 if number > 0 else -1
    return None


def month_days_mask(leap: bool, months: Sequence[int], numbers: Sequence[int], skip: str) -> int:
    """The days that BYMONTHDAY names in each of `months`, those of the years around included."""
    starts = _MONTHS[leap]
    mask = 0
    for number in numbers:
        # the last week of December before the year, the first of January after it
        of_31 = number if number > 0 else 32 + number
        if 12 in months and of_31 >= 25:
            mask |= 1 << (of_31 - 25)
        if 1 in months and of_31 <= PAD:
            mask |= 1 << (starts[12] + PAD + of_31 - 1)
    for m in months:
        start = starts[m - 1]
        for number in numbers:
            day = month_day(number, starts[m] - start, skip)
            if day is not None:
                mask |= 1 << (start + day + PAD)
    return mask


def year_days_mask(leap: bool, numbers: Sequence[int], skip: str) -> int:
    """The days that BYYEARDAY names."""
    mask = 0
    for number in numbers:
        day = month_day(number, 365 + leap, skip)
        if day is not None:
            mask |= 1 << (day + PAD)
    return mask


def weekdays_mask(first: int, weekdays: Sequence[int]) -> int:
    """The days that fall on `weekdays`, in a year that begins on the weekday `first`."""
    mask = 0
    for weekday in weekdays:
        mask |= _EVERY_WEEK << (weekday - first) % 7
    return mask


def nth_weekday(first: int, length: int, number: int, weekday: int) -> int | None:
    """Which day, from 0, is the weekday `number` of a span of `length` days from the weekday
    `first` on; negative numbers count from its end."""
    start = (weekday - first) % 7
    if number > 0:
        day = start + 7 * (number - 1)
    else:
        day = start + 7 * ((length - 1 - start) // 7 + number + 1)
    return day if start <= day < length else None


def nth_weekdays_mask(
    leap: bool, first: int, months: Sequence[int], byday: Sequence[tuple[int, int]]
) -> int:
    """The days that a numbered BYDAY names: within each of `months`, or without any in the year."""
    starts = _MONTHS[leap]
    spans = [(starts[m - 1], starts[m]) for m in months] or [(0, starts[12])]
    mask = 0
    for start, end in spans:
        for number, weekday in byday:
            day = nth_weekday((first + start) % 7, end - start, number, weekday)
            if day is not None:
                mask |= 1 << (start + day + PAD)
    return mask


def weeks_mask(leap: bool, first: int, wkst: int, numbers: Sequence[int]) -> int:
    """The days of the weeks that BYWEEKNO names. Week 1 is the first with four days in the year, as
    in ISO 8601; the first and the last week may reach out of the year."""
    start = (wkst - first) % 7
    if start > 3:
        start -= 7
    count = (365 + leap - start + 3) // 7
    mask = 0
    for number in numbers:
        week = number - 1 if number > 0 else count + number
        if 0 <= week < count:
            mask |= 127 << (start + 7 * week + PAD)
    return mask


class Days(ABC):
    """A set of days, given year by year. It repeats after `cycle` days."""

    def __init__(self, period: int, proof: int) -> None:
        """The set repeats after a whole number of cycles of 400 years and of `period` days; it is
        empty when `proof` years in a row, as `year_after` gives them, have no day of it."""
        self.cycle = lcm(CYCLE_DAYS, period)
        self._proof = proof
        self._masks: dict[int, int] = {}
        self._sizes: tuple[dict[Hashable, int], dict[Hashable, int]] = ({}, {})
        self._by_size: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._possible: bool | None = None

    @abstractmethod
    def _mask(self, year: int) -> int:
        """The set's days in `year`."""

    @abstractmethod
    def _some(self) -> bool:
        """Whether a year of any shape has a day of the set. Where it says no, none has."""

    def mask(self, year: int) -> int:
        """The set's days in `year`, bit i for its day i."""
        found = self._masks.get(year)
        if found is None:
            if len(self._masks) >= 64:
                self._masks.clear()
            found = self._masks[year] = self._mask(year)
        return found

    def picks(self, year: int) -> Picks | None:
        """Which times BYSETPOS left on the days of `year`; None: all times on all days."""
        return None

    def picked(self, first: int, last: int) -> int:
        """How many times BYSETPOS left on the days from `first` to before `last`, where it left
        some only."""
        begin, end = year_of(first), year_of(last - 1)
        total = self._in_years(begin, end, picked=True)
        for year in {begin, end}:
            start = year_start(year)
            days = range(first - start, last - start)
            some = self.picks(year) or {}
            total += sum(len(times) for day, times in some.items() if day in days)
        return total

    def _in_years(self, begin: int, end: int, *, picked: bool) -> int:
        """How many days the years after `begin` and before `end` have, or `picked` times."""
        if self.by_kind and end - begin > _KINDS:
            between = (1 << end) - (2 << begin)
            kinds = self._kinds(picked=picked)
            return sum(size * (years & between).bit_count() for size, years in kinds.items())
        return sum(
            self._size(year, self.alike(year), picked=picked) * alike
            for year, alike in self.years_between(begin, end)
        )

    def _size(self, year: int, key: Hashable, *, picked: bool) -> int:
        """How many days `year` has, or `picked` times, as all years with the same `key`."""
        sizes = self._sizes[picked]
        size = sizes.get(key)
        if size is None:
            if len(sizes) >= 4096:
                sizes.clear()
            size = sizes[key] = size_of(self.mask(year), self.picks(year) if picked else None)
        return size

    def _kinds(self, *, picked: bool) -> dict[int, int]:
        """Which years, as bits, have so many days, or `picked` times, where that is by kind."""
        found = self._by_size[picked]
        if not found:
            for kind in years_by_kind():
                # one of them that has a year before and after it
                year = kind.bit_length() - 1 - CYCLE_YEARS
                size = self._size(year, self.alike(year), picked=picked)
                found[size] = found.get(size, 0) | kind
        return found

    def year_after(self, year: int) -> int:
        """The first year after `year` that may have a day of the set."""
        return year + 1

    def year_before(self, year: int) -> int:
        """The last year before `year` that may have a day of the set."""
        return year - 1

    @property
    @abstractmethod
    def by_kind(self) -> bool:
        """Whether a year's days depend on no more than the shapes of it and of those beside it."""

    @abstractmethod
    def outline(self) -> Days:
        """At least these days, such that those of a year depend on no more than that."""

    def possible(self) -> bool:
        """Whether any year at all may have a day of the set."""
        if self._possible is None:
            self._possible = self._some()
        return self._possible

    def alike(self, year: int) -> Hashable:
        """What years whose days have the same places in them have in common."""
        return year

    def count(self, first: int, last: int) -> int:
        """How many days of the set there are from `first` to before `last`."""
        if first >= last:
            return 0
        begin, end = year_of(first), year_of(last - 1)
        total = self._in_years(begin, end, picked=False)
        for year in {begin, end}:
            start = year_start(year)
            low, high = max(first - start, 0), min(last - start, 366)
            total += (self.mask(year) >> low & (1 << (high - low)) - 1).bit_count()
        return total

    def years_between(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """The years after `begin` and before `end` that may have a day of the set: of those whose
        days have the same places in them one, and how many there are."""
        year = self.year_after(begin)
        while year < end:
            yield year, 1
            year = self.year_after(year)

    def among(self, first: int, days: int) -> int:
        """The days of the set among those with the bits `days`, bit 0 for the day `first`."""
        found = 0
        for day in bits(days):
            found |= (first + day in self) << day
        return found

    def __contains__(self, day: int) -> bool:
        year = year_of(day)
        return bool(self.mask(year) >> (day - year_start(year)) & 1)

    def next(self, day: int) -> int | None:
        """The first day of the set that is not before `day`; `day` is at most LAST_DAY + 1."""
        found = self._next(day, self._proof)
        return None if found == FURTHER else found

    def previous(self, day: int) -> int | None:
        """The last day of the set that is not after `day`; `day` is at least -1."""
        found = self._previous(day, self._proof)
        return None if found == FURTHER else found

    def _next(self, day: int, steps: int) -> int | None:
        """The first day from `day` on, or FURTHER when `steps` years have none and others may."""
        if day > LAST_DAY or self._possible is False:
            return None
        year = year_of(day)
        mask = self.mask(year) >> (day - year_start(year))
        if mask:
            return day + (mask & -mask).bit_length() - 1
        for step in range(steps):
            year = self.year_after(year)
            if year > LAST_YEAR or (step == _PATIENCE and not self.possible()):
                return None
            if mask := self.mask(year):
                return year_start(year) + (mask & -mask).bit_length() - 1
        return FURTHER

    def _previous(self, day: int, steps: int) -> int | None:
        """The last day up to `day`, or FURTHER when `steps` years have none and others may."""
        if day < 0 or self._possible is False:
            return None
        year = year_of(day)
        start = year_start(year)
        mask = self.mask(year) & (1 << (day - start + 1)) - 1
        if mask:
            return start + mask.bit_length() - 1
        for step in range(steps):
            year = self.year_before(year)
            if year < 1 or (step == _PATIENCE and not self.possible()):
                return None
            if mask := self.mask(year):
                return year_start(year) + mask.bit_length() - 1
        return FURTHER


def size_of(days: int, picks: Picks | None) -> int:
    """How many days these are; how many times, where BYSETPOS left `picks` only."""
    return days.bit_count() if picks is None else sum(map(len, picks.values()))


def pick(mask: int, times: int, positions: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """What BYSETPOS leaves of the days of `mask`, each with `times` times: of each day that stays
    the indexes of the times that stay."""
    days = bits(mask)
    total = len(days) * times
    chosen: dict[int, list[int]] = {}
    for i in sorted({p - 1 if p > 0 else total + p for p in positions}):
        if 0 <= i < total:
            chosen.setdefault(days[i // times], []).append(i % times)
    return {day: tuple(found) for day, found in chosen.items()}


def marked(places: Iterable[int], size: int) -> int:
    """The number with the bits `places`, which are less than `size`: for a long number."""
    found = bytearray(size // 8 + 1)
    for place in places:
        found[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(found, "little")


def mask_of(days: Iterable[int]) -> int:
    """The number with the bits `days`."""
    mask = 0
    for day in days:
        mask |= 1 << day
    return mask


Shape = Callable[[bool, int], int]
"""From a year's shape to its days: whether it is a leap year, and its first weekday."""


def shape_of(year: int) -> tuple[bool, int]:
    """The shape of `year`."""
    return isleap(year), year_start(year) % 7
