"""How many slots a combination has between two instants, by arithmetic.

The slots of an interval are an arithmetic progression of microseconds, which is a `range`; so are a
single moment and, with a step of one, a whole stretch of time. What two progressions share is one
again, or nothing (the Chinese remainder theorem). So the number of slots of any union, exclusion or
bound of them is a sum over progressions, each with a factor (inclusion and exclusion).

All other kinds name whole seconds. Of these a book tells, year by year; at other fractions of a
second there is nothing of them, and the sum alone is right. To write down a first year takes longer
than to go through a few slots, so these are listed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from math import gcd

from ._book import Book
from ._local import END, ORIGIN
from .base import Schedule
from .combine import Bounded, Union
from .duration import SECOND
from .exclude import Except
from .interval import IntervalSchedule
from .once import OnceSchedule

MAX_PAIRS = 100_000
"""How many pairs of progressions may be looked at for a sum: of a quarter of a microsecond each."""

_LISTED = 32  # how many slots are looked at one by one, before a year is written down
_KEPT = 64  # of how many schedules the whole seconds are kept on paper, of about 0.2 MB each
_MICRO = timedelta(microseconds=1)
_STOP = END * SECOND

Terms = dict[range, int]
"""Progressions of microseconds since `ORIGIN`, and how often each counts; which may be less than
not at all."""


def count_between(schedule: Schedule, start: datetime, end: datetime) -> int | None:
    """How many slots `schedule` has after `start` and up to `end`, aware UTC datetimes. None where
    the croniter dialect names some of them, or MAX_PAIRS are not enough."""
    window = range(_micros(start) + 1, _micros(end) + 1)
    alone = _progressions_alone(schedule)
    if not alone and (listed := _few(schedule, start, end)) is not None:
        return len(listed)
    try:
        total = _Sum(schedule, window).total
        if alone:
            return total
        total -= _Sum(schedule, shared(range(0, _STOP, SECOND), window)).total
    except _TooManyError:
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


def _micros(at: datetime) -> int:
    return (at - ORIGIN) // _MICRO


def _progressions_alone(schedule: Schedule) -> bool:
    if isinstance(schedule, Union):
        return all(map(_progressions_alone, schedule.members))
    if isinstance(schedule, Bounded):
        return _progressions_alone(schedule.schedule)
    if isinstance(schedule, Except):
        return all(map(_progressions_alone, (schedule.schedule, *schedule.schedules)))
    return isinstance(schedule, IntervalSchedule | OnceSchedule)


class _TooManyError(Exception):
    """There are more than MAX_PAIRS."""


class _Sum:
    """What a schedule has in a window, without the kinds that name whole seconds."""

    def __init__(self, schedule: Schedule, window: range) -> None:
        self._pairs = 0
        terms = self._terms(schedule, window)
        self.total = sum(factor * len(term) for term, factor in terms.items())

    def _terms(self, schedule: Schedule, window: range) -> Terms:
        if isinstance(schedule, Union):
            found: Terms = {}
            for member in schedule.members:
                more = self._terms(member, window)
                self._take_out(more, found)
                for term, factor in more.items():
                    _add(found, term, factor)
            return found
        if isinstance(schedule, Bounded):
            first = window.start if schedule.start is None else _micros(schedule.start)
            stop = window.stop if schedule.end is None else _micros(schedule.end)
            return self._terms(schedule.schedule, shared(range(first, stop), window))
        if isinstance(schedule, Except):
            found = self._terms(schedule.schedule, window)
            spans = [range(_micros(first), _micros(stop)) for first, stop in schedule.spans]
            self._take_out(found, {span: 1 for span in spans if shared(span, window)})
            for taken_out in schedule.schedules:
                self._take_out(found, self._terms(taken_out, window))
            return found
        if isinstance(schedule, IntervalSchedule):
            step = schedule.every // _MICRO
            progression = range(_micros(schedule.anchor) % step, _STOP, step)
        elif isinstance(schedule, OnceSchedule):
            at = _micros(schedule.at.first)
            progression = range(at, at + 1)
        else:
            return {}
        inside = shared(progression, window)
        return {inside: 1} if inside else {}

    def _take_out(self, terms: Terms, others: Terms) -> None:
        """Leave of `terms` what `others` have not got."""
        self._pairs += len(terms) * len(others)
        if self._pairs > MAX_PAIRS:
            raise _TooManyError
        for one, factor in list(terms.items()):
            for other, more in others.items():
                if both := shared(one, other):
                    _add(terms, both, -factor * more)


def _add(terms: Terms, term: range, factor: int) -> None:
    terms[term] = terms.get(term, 0) + factor
    if not terms[term]:
        del terms[term]


def shared(one: range, other: range) -> range:
    """What two progressions with positive steps have both."""
    common = gcd(one.step, other.step)
    apart, rest = divmod(other.start - one.start, common)
    if rest or not (one and other):
        return range(0)
    modulus = other.step // common
    at = one.start + apart * pow(one.step // common, -1, modulus) % modulus * one.step
    step = one.step * modulus
    low = max(one.start, other.start)
    if at < low:
        at += (low - at + step - 1) // step * step
    return range(at, min(one.stop, other.stop), step)
