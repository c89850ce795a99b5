"""Combinations of schedules on paper (see `_years`): what answers for them where going from slot to
slot would take too long."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import product
from math import gcd

from ._local import DAY, END, ORIGIN
from ._parts import AnyOf, Both, Not
from ._progressions import CALENDAR, Progressions, possible_seconds, slots_in
from ._years import CYCLE_YEARS, Every, Paper, Spans
from .base import Schedule
from .combine import Bounded, Union
from .duration import SECOND
from .exclude import Except
from .interval import EPOCH, IntervalSchedule
from .once import OnceSchedule

MAX_FRACTIONS = 1_000
"""At how many different fractions of a second the slots of a schedule may lie to be written down.
An interval of so many milliseconds has at most that many."""

MAX_TERMS = 1_000
"""How many progressions a book may have, of about 0.3 kB each."""

_MOST_ODD = 3  # schedules whose years are all different: each doubles what is to be looked at
_KEPT = 256  # of how many schedules the books are kept, of about 0.2 MB each
_MICRO = timedelta(microseconds=1)


class Book:
    """A schedule on paper: its slots on whole seconds, and what lies between as progressions. Where
    these would be too many, it is on paper for each fraction of a second at which it has slots.
    """

    def __init__(
        self,
        papers: dict[int, Paper],
        exact: bool,
        between: Progressions | None = None,
        possible: Progressions | None = None,
    ) -> None:
        """`papers` are for fractions of a second, in microseconds; `between` are the slots at all
        others. None of the papers has slots but where `possible`, if that is known."""
        self._papers = papers
        self._between = between
        self._possible = possible
        self.exact = exact
        """Whether it has the slots of the schedule and nothing else; if not, it has more."""

    @classmethod
    def of(cls, schedule: Schedule) -> Book | None:
        """The book of `schedule`; None when that would be too much, or when only its slots are
        known, one by one."""
        between = _few(slots_in(schedule, CALENDAR))
        if between is None:
            fractions = _fractions(schedule)
            return None if fractions is None else cls.at(schedule, fractions)
        if between.whole:
            return cls({}, True, between)
        paper, exact = whole_seconds(schedule)
        return cls({0: paper}, exact, between, _few(possible_seconds(schedule)))

    @classmethod
    def at(cls, schedule: Schedule, fractions: Iterable[int]) -> Book:
        """The slots of `schedule` at these fractions of a second, in microseconds."""
        writers = {micro: _Writer(micro) for micro in fractions}
        papers = {micro: writer.write(schedule) for micro, writer in writers.items()}
        return cls(papers, all(writer.exact for writer in writers.values()))

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly after the instant `after`, or None."""
        found = None if self._between is None else self._between.next_after(after)
        if self._possible is not None:
            first = self._possible.next_after(after)
            if first is None:
                return found
            after = first - _MICRO
        for micro, paper in self._papers.items():
            stop = END if found is None else _second(found, micro)
            slot = _slot(paper.first_from(_second(after, micro - 1), stop), micro)
            if slot is not None and (found is None or slot < found):
                found = slot
        return found

    def previous_before(self, before: datetime) -> datetime | None:
        """The last slot strictly before the instant `before`, or None."""
        found = None if self._between is None else self._between.previous_before(before)
        if self._possible is not None:
            last = self._possible.previous_before(before)
            if last is None:
                return found
            before = last + _MICRO
        for micro, paper in self._papers.items():
            start = 0 if found is None else _second(found, micro - 1)
            slot = _slot(paper.last_before(_second(before, micro), start), micro)
            if slot is not None and (found is None or slot > found):
                found = slot
        return found

    def count_between(self, start: datetime, end: datetime) -> int:
        """How many slots there are after `start` and up to `end`."""
        total = 0 if self._between is None else self._between.count_between(start, end)
        return total + sum(
            paper.count(_second(start, micro - 1), _second(end, micro - 1))
            for micro, paper in self._papers.items()
        )


@lru_cache(maxsize=_KEPT)
def book_of(schedule: Schedule) -> Book | None:
    """The book of `schedule`, as `Book.of` has it, which is kept."""
    return Book.of(schedule)


@lru_cache(maxsize=_KEPT)
def whole_seconds(schedule: Schedule) -> tuple[Paper, bool]:
    """The slots of `schedule` on whole seconds, on paper, which is kept; and whether these are all
    that it has there and nothing else; if not, it has more."""
    writer = _Writer(0)
    paper = writer.write(schedule)
    if 0 < len(writer.odd) <= _MOST_ODD:
        paper = Both([_wherever(schedule, writer.odd), paper])
    return paper, writer.exact


def _wherever(schedule: Schedule, odd: Collection[Schedule]) -> Paper:
    """Whole seconds with all at which `schedule` has slots, and of which years are alike: what it
    would have if each of the `odd` schedules had them all, or none, in all combinations."""
    combined = product((False, True), repeat=len(odd))
    cases = [_Writer(0, dict(zip(odd, case, strict=True))).write(schedule) for case in combined]
    return AnyOf(cases)


def _few(progressions: Progressions | None) -> Progressions | None:
    """Those, unless they are too many to be kept."""
    return None if progressions is None or progressions.size > MAX_TERMS else progressions


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
    if isinstance(schedule, Except):
        return _fractions(schedule.schedule)
    return frozenset([0]) if schedule.whole_seconds else None


def _flat(schedules: Iterable[Schedule]) -> Iterator[Schedule]:
    """The schedules that are no unions, those in unions included."""
    for schedule in schedules:
        if isinstance(schedule, Union):
            yield from _flat(schedule.members)
        else:
            yield schedule


class _Writer:
    """Writes down schedules, of their slots those at one fraction of a second."""

    def __init__(self, micro: int, taken_for: Mapping[Schedule, bool] | None = None) -> None:
        """`taken_for` says which schedules are taken to have all instants, or none."""
        self._micro = micro
        self._taken_for = taken_for or {}
        self.exact = True
        self.odd: dict[Schedule, None] = {}
        """The single schedules whose years are all different, in order."""

    def write(self, schedule: Schedule, *, most: bool = True) -> Paper:
        """`schedule` on paper. Of a kind whose slots only it knows, that is everything that it may
        have where `most`, else what it has for sure: nothing."""
        if isinstance(schedule, Union):
            return AnyOf([self.write(member, most=most) for member in schedule.members])
        if isinstance(schedule, Bounded):
            start, end = schedule.start or ORIGIN, schedule.end
            within = self._seconds(start), END if end is None else self._seconds(end)
            return Both([Spans([within]), self.write(schedule.schedule, most=most)])
        if isinstance(schedule, Except):
            return self._without(schedule, most)
        if schedule in self._taken_for:
            return Spans([(0, END)] if self._taken_for[schedule] else [])
        paper = self._single(schedule)
        if paper is None:
            self.exact = False
            return Spans([(0, END)] if most else [])
        if paper.period > CYCLE_YEARS:
            self.odd[schedule] = None
        return paper

    def _without(self, schedule: Except, most: bool) -> Paper:
        out = [self.write(part, most=not most) for part in _flat(schedule.schedules)]
        out.append(Spans((self._seconds(a), self._seconds(b)) for a, b in schedule.spans))
        plain = [paper for paper in out if paper.period <= CYCLE_YEARS]
        odd = [paper for paper in out if paper.period > CYCLE_YEARS]
        left = Both([self.write(schedule.schedule, most=most), Not(plain)])
        # What is odd has other years all the time; often nothing is left for it to take out.
        return Both([Not(odd), left]) if odd else left

    def _single(self, schedule: Schedule) -> Paper | None:
        """A schedule that is not made of others; None where it is not one of ours."""
        if isinstance(schedule, IntervalSchedule):
            return self._every(schedule)
        if isinstance(schedule, OnceSchedule):
            return self._moments([schedule.at.first])
        if self._micro and schedule.whole_seconds:
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
