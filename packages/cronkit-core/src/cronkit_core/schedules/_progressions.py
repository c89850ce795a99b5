"""Slots of intervals and moments as arithmetic progressions.

The slots of an interval are an arithmetic progression of microseconds, which is a `range`; so are a
single moment and, with a step of one, a whole stretch of time. What two progressions share is one
again, or nothing (the Chinese remainder theorem). So any union, exclusion or bound of them is a sum
of progressions, each with a factor (inclusion and exclusion).

All other kinds name whole seconds, and are no such sum. Where they are a part of a schedule, the
sum tells of what lies between whole seconds, and where on whole seconds there can be slots at all.
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
"""How many pairs of progressions may be looked at for a sum, of up to 1.5 microseconds each."""

_MICRO = timedelta(microseconds=1)
_STOP = END * SECOND

CALENDAR = range(_STOP)
"""All instants of the calendar, in microseconds since `ORIGIN`."""

_SECONDS = range(0, _STOP, SECOND)
_NOTHING = range(0)

Terms = dict[range, int]
"""Progressions of microseconds since `ORIGIN`, each with the factor that it counts with, which may
be negative."""


class Progressions:
    """Instants as a sum of progressions."""

    def __init__(self, terms: Terms, *, whole: bool) -> None:
        """`terms` add up to 0 or 1 at each instant."""
        self._terms = [(term.start, term.stop, term.step, factor) for term, factor in terms.items()]
        self._step = min((term.step for term in terms), default=1)
        self.whole = whole
        """Whether it tells of whole seconds, too."""
        self.size = len(terms)
        """How many progressions there are."""
        self.total = self._before(_STOP)
        """How many instants there are."""

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
        return sum(
            factor * ((min(at, stop) - start + step - 1) // step)
            for start, stop, step, factor in self._terms
            if at > start
        )


def slots_in(schedule: Schedule, window: range) -> Progressions | None:
    """The slots that `schedule` has in `window`: all of them where it is made of intervals and
    moments alone, else those that are on no whole second. None where that would take more than
    MAX_PAIRS, or there is a kind of which only its slots are known, one by one."""
    try:
        summing = _Summing()
        terms = summing.terms(schedule, window, (_NOTHING, _NOTHING))
    except _NoSumError:
        return None
    if summing.rules:
        for term, factor in list(terms.items()):
            if on_seconds := shared(term, _SECONDS):
                _add(terms, on_seconds, -factor)
    return Progressions(terms, whole=not summing.rules)


def possible_seconds(schedule: Schedule) -> Progressions | None:
    """The whole seconds at which `schedule` has slots, whatever the rules in it name: each of them
    taken to name every second where that adds slots, and none where it takes them out. None as for
    `slots_in`."""
    try:
        return Progressions(_Summing().terms(schedule, _SECONDS, (_SECONDS, _NOTHING)), whole=True)
    except _NoSumError:
        return None


class _NoSumError(Exception):
    """The slots of a schedule are no sum of progressions, or one of too many."""


class _Summing:
    """Makes sums of progressions, and looks at MAX_PAIRS at most."""

    def __init__(self) -> None:
        self._pairs = 0
        self.rules = False
        """Whether there was a rule that names whole seconds."""

    def terms(self, schedule: Schedule, window: range, rules: tuple[range, range]) -> Terms:
        """What `schedule` has in `window`. A rule that names whole seconds is taken to have the
        first of `rules`, and the second in what is taken out of something."""
        if isinstance(schedule, Union):
            found: Terms = {}
            for member in schedule.members:
                more = self.terms(member, window, rules)
                self._take_out(more, found)
                for term, factor in more.items():
                    _add(found, term, factor)
            return found
        if isinstance(schedule, Bounded):
            first = window.start if schedule.start is None else micros(schedule.start)
            stop = window.stop if schedule.end is None else micros(schedule.end)
            return self.terms(schedule.schedule, shared(range(first, stop), window), rules)
        if isinstance(schedule, Except):
            found = self.terms(schedule.schedule, window, rules)
            spans = [range(micros(first), micros(stop)) for first, stop in schedule.spans]
            # those elsewhere would be looked at in vain
            self._take_out(found, {span: 1 for span in spans if shared(span, window)})
            for taken_out in schedule.schedules:
                self._take_out(found, self.terms(taken_out, window, rules[::-1]))
            return found
        if isinstance(schedule, IntervalSchedule):
            step = schedule.every // _MICRO
            progression = range(micros(schedule.anchor) % step, _STOP, step)
        elif isinstance(schedule, OnceSchedule):
            at = micros(schedule.at.first)
            progression = range(at, at + 1)
        elif schedule.whole_seconds:
            self.rules = True
            progression = rules[0]
        else:
            raise _NoSumError
        inside = shared(progression, window)
        return {inside: 1} if inside else {}

    def _take_out(self, terms: Terms, others: Terms) -> None:
        """Leave of `terms` what `others` have not got."""
        self._pairs += len(terms) * len(others)
        if self._pairs > MAX_PAIRS:
            raise _NoSumError
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
