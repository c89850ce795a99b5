"""A schedule without what others, dates and ranges take out of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import InvalidSchedule
from ._local import END, SECOND, load_zone, zone_clock
from ._spec import check_keys
from .base import Schedule, instant
from .combine import Bounded, Union, spell_moments
from .interval import IntervalSchedule
from .moment import Moment, is_date, parse_moment

if TYPE_CHECKING:
    from ._book import Book

_MICRO = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_PATIENCE = 16  # excluded slots in a row before the search looks into the book
_PARTS = 16  # members of a union that are looked at by themselves
_MOST_UNKNOWN = 50_000
"""How many slots in a row may be taken out where there is no book: where one side is a schedule of
which only its slots are known, one by one (the croniter dialect), or where that would be too much
(see `_book`). What loses more is taken to name no further slot."""


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time: a single date, or from one moment to another, both included."""

    first: Moment
    last: Moment

    @property
    def spans(self) -> list[tuple[datetime, datetime]]:
        """The stretches of instants in it, each from one instant on and before another."""
        if self.first == self.last:
            return self.first.spans
        head, tail = self.first.spans, self.last.spans
        # a date may be shown in two stretches; a moment cuts those of the date at the other end
        start, stop = self.first.first, self.last.end
        if not isinstance(self.first.value, datetime):
            start = head[0][0]
        several = [*head, (head[-1][0], tail[0][1]), *tail]
        return [(max(a, start), min(b, stop)) for a, b in several if a < stop and start < b]

    def to_data(self, first: str, last: str) -> str | dict[str, str]:
        """As `parse_range` reads it, with its ends as they are spelled."""
        if self.first == self.last and not isinstance(self.first.value, datetime):
            return first
        return {"from": first, "to": last}

    def describe(self, known: str | None) -> str:
        """The range for people, with its zone unless that is `known`."""
        last = self.last.describe(known)
        return last if self.first == self.last else f"{self.first.describe(known)} to {last}"


def parse_range(item: object, timezone: str | None) -> Range | None:
    """The range that `item` says: a date, or {"from": ..., "to": ...} of dates or moments, on the
    wall clock of `timezone`. None when it is written as something else.

    Raises InvalidSchedule when it is written as a range and has no meaning.
    """
    if isinstance(item, str) and is_date(item.strip()):
        day = parse_moment(item, timezone, where="date", dates=True)
        return Range(day, day)
    if isinstance(item, date) and not isinstance(item, datetime):
        day = Moment(item, timezone)
        return Range(day, day)
    if not (isinstance(item, Mapping) and ("from" in item or "to" in item)):
        return None
    check_keys(item, ("from", "to"), "in a range")
    for key in ("from", "to"):
        if item.get(key) is None:
            raise InvalidSchedule(f"a range without {key!r}: it has 'from' and 'to'", spec=item)
    first = parse_moment(item["from"], timezone, where="from", dates=True)
    last = parse_moment(item["to"], timezone, where="to", dates=True)
    if last.first < first.first and last.end <= first.first:
        raise InvalidSchedule(
            f"a range from {first.spell()} to {last.spell()}: it ends before it starts", spec=item
        )
    return Range(first, last)


class Except(Schedule):
    """The slots of `schedule` that are no slot of any of `schedules` and in none of `ranges`."""

    __slots__ = (
        "_empty",
        "_ends",
        "_parted",
        "_ranges",
        "_schedule",
        "_schedules",
        "_starts",
        "_written",
    )

    kind: ClassVar[str] = "except"

    def __init__(
        self,
        schedule: Schedule,
        schedules: Sequence[Schedule] = (),
        ranges: Sequence[Range] = (),
    ) -> None:
        self._schedule = schedule
        self._schedules = tuple(schedules)
        self._ranges = tuple(ranges)
        spans = _merged([*(span for item in ranges for span in item.spans), *_beyond(schedules)])
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]
        self._empty = any(_covers(taken_out, schedule) for taken_out in self._schedules)
        self._parted: tuple[Except, ...] | None = None
        self._written: tuple[Book | None] | None = None

    @property
    def schedule(self) -> Schedule:
        """The schedule that the rest is taken out of."""
        return self._schedule

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules whose slots are taken out."""
        return self._schedules

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The dates and ranges that are taken out."""
        return self._ranges

    @property
    def timezone(self) -> str | None:
        return self._schedule.timezone

    @property
    def takes_zone(self) -> bool:
        schedules = (self._schedule, *self._schedules)
        ends = (moment for item in self._ranges for moment in (item.first, item.last))
        return any(part.takes_zone for part in schedules) or any(end.takes_zone for end in ends)

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly after `after`, or None.

        Excluded dates and ranges are jumped over. After some slots that schedules take out, all
        are looked at together (see `_book`), which finds the next slot or proves that there is
        none. Only the slots of the croniter dialect are always looked at one by one.
        """
        after = instant(after, "after")
        if self._empty:
            return None
        taken = 0
        book: Book | None = None
        while (slot := self._next_after(after, book)) is not None:
            at = bisect_right(self._starts, slot) - 1
            if at >= 0 and slot < self._ends[at]:
                after = self._ends[at] - _MICRO
                continue
            if not self._takes_out(slot):
                return slot
            after = slot
            taken += 1
            if taken == _MOST_UNKNOWN:
                return None
            if taken % _PATIENCE:
                book = None
            elif (parts := self._parts) is not None:
                slots = (part.next_after(after) for part in parts)
                return min((slot for slot in slots if slot is not None), default=None)
            else:
                book = self._book
        return None

    def previous_before(self, before: datetime) -> datetime | None:
        """The last slot strictly before `before`, or None; found as `next_after` finds it."""
        before = instant(before, "before")
        if self._empty:
            return None
        taken = 0
        book: Book | None = None
        while (slot := self._previous_before(before, book)) is not None:
            at = bisect_right(self._starts, slot) - 1
            if at >= 0 and slot < self._ends[at]:
                before = self._starts[at]
                continue
            if not self._takes_out(slot):
                return slot
            before = slot
            taken += 1
            if taken == _MOST_UNKNOWN:
                return None
            if taken % _PATIENCE:
                book = None
            elif (parts := self._parts) is not None:
                slots = (part.previous_before(before) for part in parts)
                return max((slot for slot in slots if slot is not None), default=None)
            else:
                book = self._book
        return None

    def _next_after(self, after: datetime, book: Book | None) -> datetime | None:
        """The first slot of the schedule after `after`; with the book, the first that no schedule
        takes out, as far as the book knows."""
        if book is not None:
            found = book.next_after(after)
            if found is None or book.exact:
                return found
            after = found - _MICRO
        return self._schedule.next_after(after)

    def _previous_before(self, before: datetime, book: Book | None) -> datetime | None:
        """As `_next_after`, backward."""
        if book is not None:
            found = book.previous_before(before)
            if found is None or book.exact:
                return found
            before = found + _MICRO
        return self._schedule.previous_before(before)

    def count_between(self, start: datetime, end: datetime) -> int:
        """How many slots `between(start, end)` has, by arithmetic."""
        start, end = instant(start, "start"), instant(end, "end")
        if self._empty:
            return 0
        if self._schedules:
            from ._tally import count_between

            return count_between(self, start, end)
        total = self._schedule.count_between(start, end)
        for first, stop in self.spans:
            after = start if first <= start or first == _FIRST else first - _MICRO
            until = min(end, stop - _MICRO)
            if after < until:
                total -= self._schedule.count_between(after, until)
        return total

    @property
    def spans(self) -> list[tuple[datetime, datetime]]:
        """The stretches of instants that are taken out, in order, each from one instant on and
        before another."""
        return list(zip(self._starts, self._ends, strict=True))

    @property
    def _parts(self) -> tuple[Except, ...] | None:
        """What is left of each member of a union, of which mostly some are seen sooner to have
        nothing left, or to come late; None where it is taken out of something else."""
        if not isinstance(self._schedule, Union) or len(self._schedule.members) > _PARTS:
            return None
        if self._parted is None:
            members = self._schedule.members
            self._parted = tuple(Except(m, self._schedules, self._ranges) for m in members)
        return self._parted

    @property
    def _book(self) -> Book | None:
        """The book of what the schedules leave: the search itself jumps over ranges."""
        if self._written is None:
            from ._book import book_of  # which needs this file

            all_but = Except(self._schedule, self._schedules) if self._ranges else self
            self._written = (book_of(all_but),)
        return self._written[0]

    def leaves(self, at: datetime) -> bool:
        """Whether nothing takes out the instant `at`."""
        i = bisect_right(self._starts, at) - 1
        return not ((i >= 0 and at < self._ends[i]) or self._takes_out(at))

    def _takes_out(self, slot: datetime) -> bool:
        return any(names(schedule, slot) for schedule in self._schedules)

    def describe(self) -> str:
        out = [item.describe(self.timezone) for item in self._ranges]
        out += [schedule.describe() for schedule in self._schedules]
        return f"{self._schedule.describe()}, except ({'; '.join(out)})"

    def to_dict(self) -> dict[str, Any]:
        ends = [moment for item in self._ranges for moment in (item.first, item.last)]
        beside = (self._schedule, *self._schedules)
        spelled, zone = spell_moments(ends, beside, self.timezone)
        data: dict[str, Any] = {
            "schedule": self._schedule.to_dict(),
            "except": [
                *(
                    item.to_data(first, last)
                    for item, first, last in zip(
                        self._ranges, spelled[::2], spelled[1::2], strict=True
                    )
                ),
                *(schedule.to_dict() for schedule in self._schedules),
            ],
        }
        if zone is not None:
            data["timezone"] = zone
        return data

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Except) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.kind, self._key()))

    def _key(self) -> tuple[object, ...]:
        return self._schedule, self._schedules, self._ranges

    def __reduce__(self) -> tuple[Any, ...]:
        return Except, self._key()

    def __repr__(self) -> str:
        return f"<Except: {self.describe()}>"


def names(schedule: Schedule, at: datetime) -> bool:
    """Whether the instant `at` is a slot of `schedule`."""
    if isinstance(schedule, Union):
        return any(names(member, at) for member in schedule.members)
    if isinstance(schedule, Bounded):
        return schedule.holds(at) and names(schedule.schedule, at)
    if isinstance(schedule, Except):
        return schedule.leaves(at) and names(schedule.schedule, at)
    if at > _FIRST:
        return schedule.next_after(at - _MICRO) == at
    return schedule.previous_before(at + _MICRO) == at


def _beyond(schedules: Sequence[Schedule]) -> Iterator[tuple[datetime, datetime]]:
    """The hours at the ends of the calendar in which a clock that `schedules` go by would show the
    year 0 or 10000, which there is not: nothing can be said of them there."""
    for schedule in schedules:
        if isinstance(schedule, Union):
            yield from _beyond(schedule.members)
        elif isinstance(schedule, Bounded):
            yield from _beyond([schedule.schedule])
        elif isinstance(schedule, Except):
            yield from _beyond([schedule.schedule, *schedule.schedules])
        elif schedule.timezone is not None:
            clock = zone_clock(load_zone(schedule.timezone))
            first, last = clock.offset_at(0), clock.offset_at(END)
            yield _FIRST, _FIRST + max(SECOND * -first, timedelta(0))
            yield min(_LAST - SECOND * last + _MICRO, _LAST) if last > 0 else _LAST, _LAST


def _merged(spans: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The same instants as `spans`, in order, none twice."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _covers(outer: Schedule, inner: Schedule) -> bool:
    """Whether it is plain to see that each slot of `inner` is one of `outer`. Where it is so and
    not plain, the years tell (see `_years`), which takes longer."""
    if outer == inner:
        return True
    if isinstance(inner, Bounded):
        return _covers(outer, inner.schedule)
    if isinstance(outer, Union):
        return any(_covers(member, inner) for member in outer.members)
    if isinstance(outer, IntervalSchedule) and isinstance(inner, IntervalSchedule):
        step, between = outer.every, inner.anchor - outer.anchor
        return not (inner.every % step or between % step)
    return False
