"""How many slots a combination has between two instants, by arithmetic.

What is made of intervals and moments alone is a sum over progressions (see `_progressions`). All
other kinds name whole seconds. Of these a book tells, year by year; at other fractions of a second
there is nothing of them, and the sum alone is right. To write down a first year takes longer than
to go through a few slots, so these are listed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice

from ._book import Book, book_of
from ._progressions import Progressions, TooManyError, UnknownKindError, alone, micros
from .base import Schedule
from .combine import Bounded, Union
from .exclude import Except

_LISTED = 32  # how many slots are looked at one by one, before a year is written down
_KEPT = 64  # of how many schedules the whole seconds are kept on paper, of about 0.2 MB each
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
    window = range(micros(start) + 1, micros(end) + 1)
    if not (only := alone(schedule)) and (listed := _few(schedule, start, end)) is not None:
        return len(listed)
    try:
        if only:
            return Progressions.of(schedule, window).total
        total = Progressions.between_seconds(schedule, window).total
    except (TooManyError, UnknownKindError):
        return None
    book = _whole_seconds(schedule)
    return total + book.count_between(start, end) if book.exact else None


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


@lru_cache(maxsize=_KEPT)
def _whole_seconds(schedule: Schedule) -> Book:
    return Book.at(schedule, [0])
