"""A year of slots on one sheet: days that have the same times are written once.

A sheet is a tuple of groups, each the days of a UTC year as bits (bit 0 is January 1st) and the
times of each of these days as bits (bit 0 is 00:00:00). No day is in two groups, none is without
times. So a schedule with a slot every second is one group of two numbers, and what is left of it by
another schedule is a few operations on these: no slot is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from ._local import DAY

Sheet = tuple[tuple[int, int], ...]

EMPTY: Sheet = ()
ALL_TIMES = (1 << DAY) - 1

_MANY = 2_000  # pairs of groups
_FEW = 8  # groups


def bits_of(numbers: Iterable[int]) -> int:
    """The number with the bits `numbers`."""
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


@lru_cache(maxsize=64)
def _steps(step: int) -> int:
    """Every `step`-th second of two days, from 0."""
    found, width = 1, step
    while width < 2 * DAY:
        found |= found << width
        width *= 2
    return found


def times_every(step: int, first: int) -> int:
    """The times of a day from the second `first` on, every `step` seconds."""
    return _steps(step) << first & ALL_TIMES if first < DAY else 0


def times_of(hours: int, minutes: int, seconds: int) -> int:
    """The times of a day with one of the hours, of the minutes and of the seconds, each as bits."""
    of_hour = sum(seconds << 60 * minute for minute in range(60) if minutes >> minute & 1)
    return sum(of_hour << 3600 * hour for hour in range(24) if hours >> hour & 1)


def collected(groups: Iterable[tuple[int, int]]) -> Sheet:
    """The sheet of `groups` that share no day; some may be without days or times, or alike."""
    some = [(days, times) for days, times in groups if days and times]
    if len(some) <= _FEW:
        # to hash numbers as long as these takes longer than to compare them
        found: list[tuple[int, int]] = []
        for days, times in some:
            for i, (others, same) in enumerate(found):
                if times == same:
                    found[i] = others | days, times
                    break
            else:
                found.append((days, times))
        return tuple(found)
    days_with: dict[int, int] = {}
    for days, times in some:
        days_with[times] = days_with.get(times, 0) | days
    return tuple((days, times) for times, days in days_with.items())


def span(first: int, stop: int) -> Sheet:
    """Every second from `first` to before `stop`, counted from the start of the year."""
    if first >= stop:
        return EMPTY
    day, second = divmod(first, DAY)
    last, end = divmod(stop - 1, DAY)
    before, until = (1 << second) - 1, (2 << end) - 1
    if day == last:
        return ((1 << day, until ^ before),)
    whole = (1 << last) - (2 << day)
    return collected([(1 << day, ALL_TIMES ^ before), (whole, ALL_TIMES), (1 << last, until)])


def union(one: Sheet, other: Sheet) -> Sheet:
    """What is on either sheet."""
    if not (one and other):
        return one or other
    groups = []
    alone = 0
    for days, _ in other:
        alone |= days
    for days, times in one:
        shared = days & alone
        alone ^= shared
        if shared != days:
            groups.append((days ^ shared, times))
        groups += [(shared & theirs, times | more) for theirs, more in other if shared & theirs]
    groups += [(days & alone, times) for days, times in other]
    return collected(groups)


def intersection(one: Sheet, other: Sheet) -> Sheet:
    """What is on both sheets."""
    if len(one) * len(other) > _MANY:
        # Odd intervals have other times each day: then day by day is quicker than pair by pair.
        theirs_on = {day: times for days, times in other for day in _numbers(days)}
        return collected(
            (1 << day, times & theirs_on.get(day, 0))
            for days, times in one
            for day in _numbers(days)
        )
    return collected(
        (days & theirs, times & more) for days, times in one for theirs, more in other
        if days & theirs
    )  # fmt: skip


def complement(sheet: Sheet, days: int) -> Sheet:
    """The seconds of a year of so many days that are not on the sheet."""
    rest = (1 << days) - 1
    groups = []
    for on, times in sheet:
        rest &= ~on
        groups.append((on, ALL_TIMES ^ times))
    return collected([*groups, (rest, ALL_TIMES)])


def first_from(sheet: Sheet, second: int) -> int | None:
    """The first second on the sheet that is not before `second`, counted from the start of the
    year."""
    day, time = divmod(max(second, 0), DAY)
    best = -1
    for days, times in sheet:
        later = days >> day
        if later & 1:
            if rest := times >> time:
                return day * DAY + time + _lowest(rest)
            later ^= 1
        if later:
            found = day + _lowest(later)
            if best < 0 or found < best // DAY:
                best = found * DAY + _lowest(times)
    return None if best < 0 else best


def last_before(sheet: Sheet, second: int) -> int | None:
    """The last second on the sheet that is before `second`."""
    if second <= 0:
        return None
    day, time = divmod(second, DAY)
    best = -1
    for days, times in sheet:
        if days >> day & 1 and (rest := times & (1 << time) - 1):
            return day * DAY + rest.bit_length() - 1
        if earlier := days & (1 << day) - 1:
            found = earlier.bit_length() - 1
            if found > best // DAY:
                best = found * DAY + times.bit_length() - 1
    return None if best < 0 else best


def count(sheet: Sheet, first: int, stop: int) -> int:
    """How many seconds on the sheet there are from `first` to before `stop`."""
    if any(days >> stop // DAY for days, _ in sheet) or first > 0:
        sheet = intersection(sheet, span(max(first, 0), stop))
    return sum(days.bit_count() * times.bit_count() for days, times in sheet)


def moved(groups: Sequence[tuple[int, int]], by: int) -> list[Sheet]:
    """Two sheets that together have what comes of moving all seconds of `groups`, which share no
    day, back by less than a day: `by` seconds; on the first the days stay, on the second each is
    the day before."""
    below = (1 << by) - 1
    return [
        collected((days, times >> by) for days, times in groups),
        collected((days >> 1, (times & below) << DAY - by) for days, times in groups),
    ]


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def _numbers(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while bits:
        yield _lowest(bits)
        bits &= bits - 1
