"""How many slots a combination has between two instants, by arithmetic.

What is made of intervals and moments alone is a sum over progressions (see `_progressions`). All
other kinds name whole seconds. These are counted on paper, year by year; at other fractions of a
second there is nothing of them, and the sum alone is right. To write down a first year takes longer
than to go through a few slots, so these are listed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from ._book import book_of, whole_seconds
from ._local import ORIGIN, SECOND
from ._progressions import micros, slots_in
from .base import Schedule
from .combine import Bounded, Union
from .exclude import Except

_LISTED = 32  # how many slots are looked at one by one, before a year is written down
_MICRO = timedelta(microseconds=1)


def count_between(schedule: Schedule, start: datetime, end: datetime) -> int:
    """How many slots `schedule` has after `start` and up to `end`, aware UTC datetimes."""
    found = _by_arithmetic(schedule, start, end)
    if found is None and (book := book_of(schedule)) is not None and book.exact:
        found = book.count_between(start, end)
    return sum(1 for _ in schedule.between(start, end)) if found is None else found


def _by_arithmetic(schedule: Schedule, start: datetime, end: datetime) -> int | None:
    """As `count_between` has it; None where the croniter dialect or a kind that is not ours names
    some of the slots, or MAX_PAIRS are not enough."""
    sums = slots_in(schedule, range(micros(start) + 1, micros(end) + 1))
    if sums is None or sums.whole:
        return None if sums is None else sums.total
    if (listed := _few(schedule, start, end)) is not None:
        return len(listed)
    paper, exact = whole_seconds(schedule)
    # the first whole second after an instant is one more than the second that it lies in
    first, last = ((at - ORIGIN) // SECOND for at in (start, end))
    return sums.total + paper.count(first + 1, last + 1) if exact else None


def _few(schedule: Schedule, start: datetime, end: datetime) -> set[datetime] | None:
    """The slots after `start` and up to `end`; None where more than a few are to be looked at."""
    if isinstance(schedule, Union):
        found: set[datetime] = set()
        for member in schedule.members:
            more = _few(member, start, end)
            if more is None:
                return None
            found |= more
        return found if len(found) <= _LISTED else None
    if isinstance(schedule, Bounded):
        if schedule.start is not None and schedule.start > start:
            start = schedule.start - _MICRO
        if schedule.end is not None and schedule.end <= end:
            end = schedule.end - _MICRO if schedule.end > start else start
        return _few(schedule.schedule, start, end)
    if isinstance(schedule, Except):
        kept = _few(schedule.schedule, start, end)
        return None if kept is None else set(filter(schedule.leaves, kept))
    found = set(islice(schedule.between(start, end), _LISTED + 1)) if start < end else set()
    return found if len(found) <= _LISTED else None
