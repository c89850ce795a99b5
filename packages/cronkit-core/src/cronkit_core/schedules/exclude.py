"""A schedule without what others, dates and ranges take out of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from ..errors import InvalidSchedule
from ._cover import covered_after, covered_before
from ._spec import check_keys
from .base import Schedule, instant
from .moment import Moment, is_date, parse_moment

MAX_EXCLUDED = 50_000
"""How many slots in a row may be taken out by schedules, where nothing proves how far that goes;
a schedule that loses more is taken to name no further slot."""

_MICRO = timedelta(microseconds=1)
_PATIENCE = 32  # excluded slots in a row before the search looks for a way to jump
_TRIES = 256  # how often it looks; for some rules each jump is a short one


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
        return [*head, (head[-1][0], tail[0][1]), *tail]

    def to_data(self) -> str | dict[str, str]:
        """As `parse_range` reads it."""
        if self.first == self.last and not isinstance(self.first.value, datetime):
            return self.first.spell()
        return {"from": self.first.spell(), "to": self.last.spell()}

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
        item = parse_moment(item, timezone, where="date", dates=True).value
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
    if last.first < first.first:
        raise InvalidSchedule(
            f"a range from {first.spell()} to {last.spell()}: it ends before it starts", spec=item
        )
    return Range(first, last)


class Except(Schedule):
    """The slots of `schedule` that are no slot of any of `schedules` and in none of `ranges`."""

    __slots__ = ("_ends", "_ranges", "_schedule", "_schedules", "_starts", "_zone")

    kind: ClassVar[str] = "except"

    def __init__(
        self,
        schedule: Schedule,
        schedules: Sequence[Schedule] = (),
        ranges: Sequence[Range] = (),
        timezone: str | None = None,
    ) -> None:
        """`timezone` is the zone of the moments in `ranges` that are on a wall clock."""
        self._schedule = schedule
        self._schedules = tuple(schedules)
        self._ranges = tuple(ranges)
        self._zone = timezone
        spans = _merged([span for item in ranges for span in item.spans])
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]

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

    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly after `after`, or None.

        Excluded dates and ranges are jumped over. So are stretches in which an excluded schedule
        provably takes out everything; beyond such proof, MAX_EXCLUDED slots are looked at.
        """
        after = instant(after, "after")
        run = 0
        while run < MAX_EXCLUDED and (slot := self._schedule.next_after(after)) is not None:
            at = bisect_right(self._starts, slot) - 1
            if at >= 0 and slot < self._ends[at]:
                after = self._ends[at] - _MICRO
                continue
            by = self._excluded_by(slot)
            if by is None:
                return slot
            after = slot
            run += 1
            if run % _PATIENCE == 0 and run // _PATIENCE <= _TRIES:
                after = covered_after(self._schedule, by, slot)
        return None

    def previous_before(self, before: datetime) -> datetime | None:
        """The last slot strictly before `before`, or None; bounded as `next_after` is."""
        before = instant(before, "before")
        run = 0
        while run < MAX_EXCLUDED and (slot := self._schedule.previous_before(before)) is not None:
            at = bisect_right(self._starts, slot) - 1
            if at >= 0 and slot < self._ends[at]:
                before = self._starts[at]
                continue
            by = self._excluded_by(slot)
            if by is None:
                return slot
            before = slot
            run += 1
            if run % _PATIENCE == 0 and run // _PATIENCE <= _TRIES:
                before = covered_before(self._schedule, by, slot)
        return None

    def count_between(self, start: datetime, end: datetime) -> int:
        """How many slots `between(start, end)` has: arithmetic, unless schedules are excluded."""
        if self._schedules:
            return super().count_between(start, end)
        start, end = instant(start, "start"), instant(end, "end")
        total = self._schedule.count_between(start, end)
        for first, stop in zip(self._starts, self._ends, strict=True):
            after = start if first <= start else first - _MICRO
            until = min(end, stop - _MICRO)
            if after < until:
                total -= self._schedule.count_between(after, until)
        return total

    def _excluded_by(self, slot: datetime) -> Schedule | None:
        for schedule in self._schedules:
            if names(schedule, slot):
                return schedule
        return None

    def describe(self) -> str:
        out = [item.describe(self.timezone) for item in self._ranges]
        out += [schedule.describe() for schedule in self._schedules]
        return f"{self._schedule.describe()}, except ({'; '.join(out)})"

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "schedule": self._schedule.to_dict(),
            "except": [
                *(item.to_data() for item in self._ranges),
                *(schedule.to_dict() for schedule in self._schedules),
            ],
        }
        if self._zone is not None:
            data["timezone"] = self._zone
        return data

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Except) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.kind, self._key()))

    def _key(self) -> tuple[object, ...]:
        return self._schedule, self._schedules, self._ranges, self._zone

    def __repr__(self) -> str:
        return f"<Except: {self.describe()}>"


def names(schedule: Schedule, at: datetime) -> bool:
    """Whether the instant `at` is a slot of `schedule`."""
    if at > datetime.min.replace(tzinfo=UTC):
        return schedule.next_after(at - _MICRO) == at
    return schedule.previous_before(at + _MICRO) == at


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
