"""The slots of intervals and moments, and of what is made of them, as arithmetic progressions.

The slots of an interval are an arithmetic progression of microseconds, which is a `range`; so are a
single moment and, with a step of one, a whole stretch of time. What two progressions share is one
again, or nothing (the Chinese remainder theorem). So any union, exclusion or bound of them is a sum
of progressions, each with a factor (inclusion and exclusion).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import gcd

from ._local import END, ORIGIN
from .base import Schedule
from .combine import Bounded, Union
from .duration import SECOND
from .exclude import Except
from .interval import IntervalSchedule
from .once import OnceSchedule

MAX_PAIRS = 100_000
"""How many pairs of progressions may be looked at for a sum: of a quarter of a microsecond each."""

WHOLE_SECONDS = ("cron", "calendar", "rrule", "croniter")
"""The kinds of schedules that name whole seconds, and no progressions."""

_MICRO = timedelta(microseconds=1)
_STOP = END * SECOND
CALENDAR = range(_STOP)
"""All instants of the calendar, in microseconds since `ORIGIN`."""

Terms = dict[range, int]
"""Progressions of microseconds since `ORIGIN`, and how often each counts; which may be less than
not at all."""


class TooManyError(Exception):
    """There are more than MAX_PAIRS."""


class UnknownKindError(Exception):
    """There is a kind of schedule of which only its slots are known, one by one."""


def alone(schedule: Schedule) -> bool:
    """Whether `schedule` is made of intervals and moments alone."""
    if isinstance(schedule, Union):
        return all(map(alone, schedule.members))
    if isinstance(schedule, Bounded):
        return alone(schedule.schedule)
    if isinstance(schedule, Except):
        return all(map(alone, (schedule.schedule, *schedule.schedules)))
    return isinstance(schedule, IntervalSchedule | OnceSchedule)


class Progressions:
    """Instants as a sum of progressions."""

    def __init__(self, terms: Terms) -> None:
        self._terms = list(terms.items())

    @classmethod
    def of(cls, schedule: Schedule, window: range) -> Progressions:
        """The slots that `schedule` has in `window`, but for those of WHOLE_SECONDS.

        Raises TooManyError, and UnknownKindError for a kind that is not one of ours.
        """
        return cls(_terms(schedule, window))

    @classmethod
    def between_seconds(cls, schedule: Schedule, window: range) -> Progressions:
        """The slots that `schedule` has in `window`, but for those on whole seconds.

        Raises TooManyError, and UnknownKindError for a kind that is not one of ours.
        """
        found = _terms(schedule, window)
        for term, factor in _terms(schedule, shared(range(0, _STOP, SECOND), window)).items():
            _add(found, term, -factor)
        return cls(found)

    def __len__(self) -> int:
        return len(self._terms)

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(factor * len(term) for term, factor in self._terms)

    def count_between(self, start: datetime, end: datetime) -> int:
        """How many there are after `start` and up to `end`."""
        return self._before(micros(end) + 1) - self._before(micros(start) + 1)

    def next_after(self, after: datetime) -> datetime | None:
        """The first strictly after `after`, or None."""
        at = micros(after) + 1
        number = self._before(at) + 1
        if number > self.total:
            return None
        span = self._step
        while self._before(at + span) < number:
            at, span = at + span, 2 * span
        return self._nth(number, at, at + span)

    def previous_before(self, before: datetime) -> datetime | None:
        """The last strictly before `before`, or None."""
        at = micros(before)
        number = self._before(at)
        if not number:
            return None
        span = self._step
        while self._before(at - span) >= number:
            at, span = at - span, 2 * span
        return self._nth(number, at - span, at)

    @property
    def _step(self) -> int:
        return min(term.step for term, _ in self._terms)

    def _nth(self, number: int, low: int, high: int) -> datetime:
        """The one of this number, from 1, which is not before `low` and before `high`."""
        while high - low > 1:
            middle = (low + high) // 2
            if self._before(middle) >= number:
                high = middle
            else:
                low = middle
        return ORIGIN + low * _MICRO

    def _before(self, at: int) -> int:
        """How many there are before `at`."""
        total = 0
        for term, factor in self._terms:
            if at > term.start:
                number = (at - term.start + term.step - 1) // term.step
                total += factor * min(number, len(term))
        return total


def _terms(schedule: Schedule, window: range) -> Terms:
    return _Sum().terms(schedule, window)


class _Sum:
    """Of a schedule, which is looked at with no more than MAX_PAIRS in all."""

    def __init__(self) -> None:
        self._pairs = 0

    def terms(self, schedule: Schedule, window: range) -> Terms:
        """What `schedule` has in `window`, without the kinds that name whole seconds."""
        if isinstance(schedule, Union):
            found: Terms = {}
            for member in schedule.members:
                more = self.terms(member, window)
                self._take_out(more, found)
                for term, factor in more.items():
                    _add(found, term, factor)
            return found
        if isinstance(schedule, Bounded):
            first = window.start if schedule.start is None else micros(schedule.start)
            stop = window.stop if schedule.end is None else micros(schedule.end)
            return self.terms(schedule.schedule, shared(range(first, stop), window))
        if isinstance(schedule, Except):
            found = self.terms(schedule.schedule, window)
            spans = [range(micros(first), micros(stop)) for first, stop in schedule.spans]
            self._take_out(found, {span: 1 for span in spans if shared(span, window)})
            for taken_out in schedule.schedules:
                self._take_out(found, self.terms(taken_out, window))
            return found
        if isinstance(schedule, IntervalSchedule):
            step = schedule.every // _MICRO
            progression = range(micros(schedule.anchor) % step, _STOP, step)
        elif isinstance(schedule, OnceSchedule):
            at = micros(schedule.at.first)
            progression = range(at, at + 1)
        elif schedule.kind in WHOLE_SECONDS:
            return {}
        else:
            raise UnknownKindError
        inside = shared(progression, window)
        return {inside: 1} if inside else {}

    def _take_out(self, terms: Terms, others: Terms) -> None:
        """Leave of `terms` what `others` have not got."""
        self._pairs += len(terms) * len(others)
        if self._pairs > MAX_PAIRS:
            raise TooManyError
        for one, factor in list(terms.items()):
            for other, more in others.items():
                if both := shared(one, other):
                    _add(terms, both, -factor * more)


def _add(terms: Terms, term: range, factor: int) -> None:
    terms[term] = terms.get(term, 0) + factor
    if not terms[term]:
        del terms[term]


def micros(at: datetime) -> int:
    """The instant `at` in microseconds since `ORIGIN`."""
    return (at - ORIGIN) // _MICRO


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
