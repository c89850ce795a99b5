"""On which days a zone's clock changes, as bits: what decades of changes do to a count at once."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ._local import DAY, END, ZoneClock, clock_changes

_BLOCK = 1024  # days; the changes in so many are found together and kept


class Change(NamedTuple):
    """Changes that are alike: the wall clock leaves out the seconds from `first` to before `stop`
    of a day, or shows them `again`. That day is so many days `later` than the one, in UTC, in which
    the change happens."""

    again: bool
    later: int
    first: int
    stop: int


ChangeDays = dict[Change, int]
"""Of changes that are alike the days in UTC on which they happen, as bits."""


def change_days(clock: ZoneClock, first: int, days: int) -> ChangeDays:
    """The changes in so many days from the day `first` on, which has bit 0."""
    found: ChangeDays = {}
    if clock.fixed:
        return found
    begin = first - first % _BLOCK
    for start in range(begin, first + days, _BLOCK):
        for change, on in _in_block(clock, start):
            found[change] = found.get(change, 0) | on << start - begin
    mask = (1 << days) - 1
    within = {change: on >> first - begin & mask for change, on in found.items()}
    return {change: on for change, on in within.items() if on}


@lru_cache(maxsize=1024)
def _in_block(clock: ZoneClock, start: int) -> tuple[tuple[Change, int], ...]:
    found: ChangeDays = {}
    end = min((start + _BLOCK) * DAY, END)
    for stretch in clock_changes(clock, start * DAY, end):
        again = stretch.offset < stretch.before
        low, high = sorted((stretch.start + stretch.offset, stretch.start + stretch.before))
        day = stretch.start // DAY
        while low < high:
            midnight = low - low % DAY
            stop = min(high, midnight + DAY)
            change = Change(again, midnight // DAY - day, low - midnight, stop - midnight)
            found[change] = found.get(change, 0) | 1 << day - start
            low = stop
    return tuple(found.items())
