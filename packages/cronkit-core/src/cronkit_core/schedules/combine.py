"""Several schedules as one, and one within bounds."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from ..errors import InvalidSchedule
from .base import Schedule, instant
from .moment import Moment, parse_moment

_MICRO = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC)


class Union(Schedule):
    """The slots of all its members, each instant once."""

    __slots__ = ("_members",)

    kind: ClassVar[str] = "any"

    def __init__(self, members: Sequence[Schedule]) -> None:
        """Raises InvalidSchedule when there are no members."""
        if not members:
            raise InvalidSchedule("'any' of nothing: give at least one schedule", where="any")
        self._members = tuple(members)

    @property
    def members(self) -> tuple[Schedule, ...]:
        """The schedules, in the order in which they were written."""
        return self._members

    @property
    def timezone(self) -> str | None:
        """The zone of the members that name one, when they agree; else None."""
        zones = {member.timezone for member in self._members} - {None}
        return zones.pop() if len(zones) == 1 else None

    @property
    def takes_zone(self) -> bool:
        return any(member.takes_zone for member in self._members)

    def next_after(self, after: datetime) -> datetime | None:
        slots = (member.next_after(after) for member in self._members)
        return min((slot for slot in slots if slot is not None), default=None)

    def previous_before(self, before: datetime) -> datetime | None:
        slots = (member.previous_before(before) for member in self._members)
        return max((slot for slot in slots if slot is not None), default=None)

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        last = None
        for slot in heapq.merge(*(member.between(start, end) for member in self._members)):
            if slot != last:
                yield slot
            last = slot

    def count_between(self, start: datetime, end: datetime) -> int:
        """How many slots `between(start, end)` has, by arithmetic."""
        if len(set(self._members)) == 1:
            return self._members[0].count_between(start, end)
        from ._tally import count_between

        return count_between(self, instant(start, "start"), instant(end, "end"))

    def describe(self) -> str:
        if len(self._members) == 1:
            return self._members[0].describe()
        return f"any of ({'; '.join(member.describe() for member in self._members)})"

    def to_dict(self) -> dict[str, Any]:
        return {"any": [member.to_dict() for member in self._members]}

    def __eq__(self, other: object) -> bool:
        return self._members == other._members if isinstance(other, Union) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.kind, self._members))

    def __reduce__(self) -> tuple[Any, ...]:
        return Union, (self._members,)

    def __repr__(self) -> str:
        return f"<Union: {self.describe()}>"


class Bounded(Schedule):
    """The slots of a schedule from `start_at` to `end_at`, both included."""

    __slots__ = ("_end", "_end_at", "_schedule", "_start", "_start_at")

    kind: ClassVar[str] = "bounded"

    def __init__(
        self, schedule: Schedule, start_at: Moment | None = None, end_at: Moment | None = None
    ) -> None:
        """Raises InvalidSchedule when `end_at` is before `start_at`."""
        self._schedule = schedule
        self._start_at = start_at
        self._end_at = end_at
        self._start = start_at.first if start_at else None
        self._end = end_at.end if end_at else None
        # an end that is a date is meant whole, a start on the same day included
        if start_at and end_at and end_at.first < start_at.first >= end_at.end:
            raise InvalidSchedule(
                f"end_at {end_at.spell()} is before start_at {start_at.spell()}", where="end_at"
            )

    @classmethod
    def parse(
        cls, schedule: Schedule, start_at: object, end_at: object, timezone: str | None
    ) -> Bounded:
        """`schedule` from `start_at` to `end_at`, each a datetime, a date or ISO 8601 text, or
        None; naive ones are on the wall clock of `timezone`, and an `end_at` date is meant whole.

        Raises InvalidSchedule.
        """
        start = end = None
        if start_at is not None:
            start = parse_moment(start_at, timezone, where="start_at", dates=True)
        if end_at is not None:
            end = parse_moment(end_at, timezone, where="end_at", dates=True)
        return cls(schedule, start, end)

    @property
    def schedule(self) -> Schedule:
        """The schedule without the bounds."""
        return self._schedule

    @property
    def start(self) -> datetime | None:
        """The first instant that counts; None: no bound."""
        return self._start

    @property
    def end(self) -> datetime | None:
        """The first instant that does not count any more; None: no bound."""
        return self._end

    def holds(self, at: datetime) -> bool:
        """Whether the instant `at` lies within the bounds."""
        begun = self._start is None or self._start <= at
        return begun and (self._end is None or at < self._end)

    @property
    def timezone(self) -> str | None:
        return self._schedule.timezone

    @property
    def takes_zone(self) -> bool:
        moments = [moment for moment in (self._start_at, self._end_at) if moment is not None]
        return self._schedule.takes_zone or any(moment.takes_zone for moment in moments)

    def next_after(self, after: datetime) -> datetime | None:
        after = self._from(instant(after, "after"))
        if self._end is not None and after >= self._end - _MICRO:
            return None
        slot = self._schedule.next_after(after)
        return None if slot is None or (self._end is not None and slot >= self._end) else slot

    def previous_before(self, before: datetime) -> datetime | None:
        before = instant(before, "before")
        if self._end is not None:
            before = min(before, self._end)
        if self._start is not None and before <= self._start:
            return None
        slot = self._schedule.previous_before(before)
        return None if slot is None or (self._start is not None and slot < self._start) else slot

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        start, end = self._clip(start, end)
        return self._schedule.between(start, end) if start < end else iter(())

    def count_between(self, start: datetime, end: datetime) -> int:
        start, end = self._clip(start, end)
        return self._schedule.count_between(start, end) if start < end else 0

    def _from(self, after: datetime) -> datetime:
        if self._start is None or self._start == _FIRST or after >= self._start:
            return after
        return self._start - _MICRO

    def _clip(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        end = instant(end, "end")
        if self._end is not None:
            end = min(end, self._end - _MICRO)
        return self._from(instant(start, "start")), end

    def describe(self) -> str:
        words = self._schedule.describe()
        if self._start_at is not None:
            words += f", from {self._start_at.describe(self.timezone)}"
        if self._end_at is not None:
            words += f", until {self._end_at.describe(self.timezone)}"
        return words

    def to_dict(self) -> dict[str, Any]:
        named = {"start_at": self._start_at, "end_at": self._end_at}
        moments = {name: moment for name, moment in named.items() if moment is not None}
        spelled, zone = spell_moments(moments.values(), [self._schedule], self.timezone)
        bounds: dict[str, Any] = dict(zip(moments, spelled, strict=True))
        if zone is not None:
            bounds["timezone"] = zone
        inner = self._schedule.to_dict()
        # Beside the schedule's own keys, unless they would come to mean something else there.
        combined = not inner.keys().isdisjoint(("except", "any"))
        foreign = combined and "timezone" in bounds and "timezone" not in inner
        if any(key in inner and inner[key] != bounds[key] for key in bounds) or (
            foreign or isinstance(self._schedule, Bounded)
        ):
            return {"schedule": inner, **bounds}
        return {**inner, **bounds}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bounded):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.kind, self._key()))

    def _key(self) -> tuple[object, ...]:
        return self._schedule, self._start_at, self._end_at

    def __repr__(self) -> str:
        return f"<Bounded: {self.describe()}>"


def spell_moments(
    moments: Iterable[Moment], beside: Iterable[Schedule], zone: str | None
) -> tuple[list[str], str | None]:
    """How the `moments` of a combination are written, and the timezone to write beside them, None
    for none: so that each is read in its own zone again, and no schedule `beside` them, which would
    be read in that timezone, comes to mean something else. `zone` is the one in which moments are
    read where none is written."""
    moments = list(moments)
    zones = {moment.timezone for moment in moments if not moment.absolute}
    if zones <= {zone}:
        return [moment.spell() for moment in moments], None
    if len(zones) == 1 and None not in zones and not any(part.takes_zone for part in beside):
        return [moment.spell() for moment in moments], zones.pop()
    return [moment.spell_with_zone() for moment in moments], None
