"""Combinations of schedules on paper (see `_years`): what answers for them where going from slot to
slot would take too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

from ._local import DAY, END, ORIGIN
from ._parts import AnyOf, Both, Not
from ._years import CYCLE_YEARS, Every, Paper, Spans
from .base import Schedule
from .combine import Bounded, Union
from .duration import SECOND
from .interval import EPOCH, IntervalSchedule
from .once import OnceSchedule

if TYPE_CHECKING:
    from ._progressions import Progressions
    from .exclude import Except

MAX_FRACTIONS = 1_000
"""At how many different fractions of a second the slots of a schedule may lie to be written down.
An interval of so many milliseconds has at most that many."""

MAX_TERMS = 1_000
"""How many progressions a book may have, of about 0.3 kB each."""

_KEPT = 256  # of how many schedules the books are kept, of about 0.2 MB each
_MICRO = timedelta(microseconds=1)


class Book:
    """A schedule on paper: for each fraction of a second at which it has slots, the seconds. Where
    these are too many, only what it has on whole seconds is, and what lies between is arithmetic.
    """

    def __init__(
        self, papers: dict[int, Paper], exact: bool, between: Progressions | None = None
    ) -> None:
        """`between` are all slots at other fractions than those of `papers`."""
        self._papers = papers
        self._between = between
        self.exact = exact
        """Whether it has the slots of the schedule and nothing else; if not, it has more."""

    @classmethod
    def of(cls, schedule: Schedule) -> Book | None:
        """The book of `schedule`; None when that would be too much, or when only its slots are
        known, one by one."""
        fractions = _fractions(schedule)
        if fractions is not None:
            return cls.at(schedule, fractions)
        from ._progressions import CALENDAR, Progressions, TooManyError, UnknownKindError, alone

        only = alone(schedule)
        between = Progressions.of if only else Progressions.between_seconds
        try:
            found = between(schedule, CALENDAR)
        except (TooManyError, UnknownKindError):
            return None
        if len(found) > MAX_TERMS:
            return None
        writer = _Writer(0)
        return cls({} if only else {0: writer.write(schedule)}, writer.exact, found)

    @classmethod
    def at(cls, schedule: Schedule, fractions: Iterable[int]) -> Book:
        """The slots of `schedule` at these fractions of a second, in microseconds."""
        writers = {micro: _Writer(micro) for micro in fractions}
        papers = {micro: writer.write(schedule) for micro, writer in writers.items()}
        return cls(papers, all(writer.exact for writer in writers.values()))

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly after the instant `after`, or None."""
        slots = [
            _slot(paper.first_from(_second(after, micro - 1)), micro)
            for micro, paper in self._papers.items()
        ]
        if self._between is not None:
            slots.append(self._between.next_after(after))
        return min((slot for slot in slots if slot is not None), default=None)

    def previous_before(self, before: datetime) -> datetime | None:
        """The last slot strictly before the instant `before`, or None."""
        slots = [
            _slot(paper.last_before(_second(before, micro)), micro)
            for micro, paper in self._papers.items()
        ]
        if self._between is not None:
            slots.append(self._between.previous_before(before))
        return max((slot for slot in slots if slot is not None), default=None)

    def count_between(self, start: datetime, end: datetime) -> int:
        """How many slots there are after `start` and up to `end`."""
        total = sum(
            paper.count(_second(start, micro - 1), _second(end, micro - 1))
            for micro, paper in self._papers.items()
        )
        return total + (self._between.count_between(start, end) if self._between else 0)


@lru_cache(maxsize=_KEPT)
def book_of(schedule: Schedule) -> Book | None:
    """The book of `schedule`, as `Book.of` has it, which is kept."""
    return Book.of(schedule)


def _second(at: datetime, micro: int) -> int:
    """The first whole second since `ORIGIN` that, with `micro` microseconds added, is not before
    the instant `at`."""
    since = at - ORIGIN
    return since.days * DAY + since.seconds + (since.microseconds > micro)


def _slot(second: int | None, micro: int) -> datetime | None:
    return None if second is None else ORIGIN + timedelta(0, second, micro)


def _fractions(schedule: Schedule) -> frozenset[int] | None:
    """The fractions of a second, in microseconds, at which `schedule` has slots. None when these
    are too many, or not known."""
    if isinstance(schedule, IntervalSchedule):
        step, first = schedule.every // _MICRO, (schedule.anchor - EPOCH) // _MICRO
        if SECOND // gcd(step, SECOND) > MAX_FRACTIONS:
            return None
        return frozenset(range(first % gcd(step, SECOND), SECOND, gcd(step, SECOND)))
    if isinstance(schedule, OnceSchedule):
        return frozenset([schedule.at.first.microsecond])
    if isinstance(schedule, Union):
        several = [_fractions(member) for member in schedule.members]
        found: set[int] = set()
        for fractions in several:
            if fractions is None:
                return None
            found |= fractions
        return frozenset(found) if len(found) <= MAX_FRACTIONS else None
    if isinstance(schedule, Bounded):
        return _fractions(schedule.schedule)
    if (excluding := _excluding(schedule)) is not None:
        return _fractions(excluding.schedule)
    return frozenset([0]) if schedule.kind in ("cron", "calendar", "rrule", "croniter") else None


def _excluding(schedule: Schedule) -> Except | None:
    from .exclude import Except  # which needs this file

    return schedule if isinstance(schedule, Except) else None


def _flat(schedules: Iterable[Schedule]) -> Iterator[Schedule]:
    """The schedules that are no unions, those in unions included."""
    for schedule in schedules:
        if isinstance(schedule, Union):
            yield from _flat(schedule.members)
        else:
            yield schedule


class _Writer:
    """Writes down schedules, of their slots those at one fraction of a second."""

    def __init__(self, micro: int) -> None:
        self._micro = micro
        self.exact = True

    def write(self, schedule: Schedule, *, most: bool = True) -> Paper:
        """`schedule` on paper. Of a kind whose slots only it knows, that is everything that it may
        have where `most`, else what it has for sure: nothing."""
        if isinstance(schedule, Union):
            return AnyOf([self.write(member, most=most) for member in schedule.members])
        if isinstance(schedule, Bounded):
            start, end = schedule.start or ORIGIN, schedule.end
            within = self._seconds(start), END if end is None else self._seconds(end)
            return Both([Spans([within]), self.write(schedule.schedule, most=most)])
        if (excluding := _excluding(schedule)) is not None:
            return self._without(excluding, most)
        if isinstance(schedule, IntervalSchedule):
            return self._every(schedule)
        if isinstance(schedule, OnceSchedule):
            return self._moments([schedule.at.first])
        paper = self._ruled(schedule)
        if paper is None:
            self.exact = False
            return Spans([(0, END)] if most else [])
        return paper

    def _without(self, schedule: Except, most: bool) -> Paper:
        out = [self.write(part, most=not most) for part in _flat(schedule.schedules)]
        out.append(Spans((self._seconds(a), self._seconds(b)) for a, b in schedule.spans))
        plain = [paper for paper in out if paper.period <= CYCLE_YEARS]
        odd = [paper for paper in out if paper.period > CYCLE_YEARS]
        left = Both([self.write(schedule.schedule, most=most), Not(plain)])
        # What is odd has other years all the time; often nothing is left for it to take out.
        return Both([Not(odd), left]) if odd else left

    def _ruled(self, schedule: Schedule) -> Paper | None:
        """A rule that names whole seconds; None where that is not one of ours."""
        if schedule.kind == "croniter":
            return None
        if self._micro:
            return Spans([])
        from .calendar import CalendarSchedule
        from .cron import CronSchedule
        from .cron_years import cron_paper
        from .rrule import RRuleSchedule

        if isinstance(schedule, RRuleSchedule):
            return schedule.paper()
        if isinstance(schedule, CalendarSchedule):
            schedule = schedule.cron
        return cron_paper(schedule) if isinstance(schedule, CronSchedule) else None

    def _every(self, schedule: IntervalSchedule) -> Paper:
        step, anchor = schedule.every // _MICRO, (schedule.anchor - ORIGIN) // _MICRO
        common = gcd(step, SECOND)
        if (self._micro - anchor) % common:
            return Spans([])
        # The slots at this fraction are every so many whole seconds: the first of them after the
        # anchor solves anchor + k * step = micro (mod 1 second).
        modulus = SECOND // common
        k = (self._micro - anchor) // common * pow(step // common, -1, modulus) % modulus
        return Every(step // common, (anchor + k * step) // SECOND)

    def _moments(self, moments: Iterable[datetime]) -> Paper:
        seconds = [self._seconds(at) for at in moments if at.microsecond == self._micro]
        return Spans([(at, at + 1) for at in seconds])

    def _seconds(self, at: datetime) -> int:
        return _second(at, self._micro)
