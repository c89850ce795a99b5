"""What every schedule answers. Pure: nothing here reads a clock, and asking changes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar, SupportsIndex

from ..errors import NaiveDatetime


def instant(value: datetime, what: str = "datetime") -> datetime:
    """`value` in UTC; as it is where UTC has no such year: just beyond the years 1 to 9999, which
    is an instant like any other, and no slot.

    Raises NaiveDatetime when it has no time zone, TypeError when it is no datetime.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{what} must be a datetime, not {type(value).__name__}: {value!r}")
    if value.tzinfo is UTC:
        return value
    if value.tzinfo is None or value.utcoffset() is None:
        raise NaiveDatetime(what, value)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        return value


class Schedule(ABC):
    """A rule that names instants: an immutable, hashable value.

    Two schedules are equal when their meaning is written the same. Every instant that a schedule
    returns is an aware datetime in UTC; every one that it is given must be aware. Slots are
    strictly increasing, and lie in the years 1 to 9999.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """What sort of rule it is: "cron", "interval", "rrule", "once", ..."""

    whole_seconds: ClassVar[bool] = False
    """Whether all slots of this kind are on whole seconds, as a rule about wall clocks has them."""

    @property
    @abstractmethod
    def timezone(self) -> str | None:
        """The IANA name of the zone whose wall clock the rule is about, as it was written; None
        where it is about no wall clock, or no zone was named (then UTC)."""

    @property
    def takes_zone(self) -> bool:
        """Whether it names no zone and would mean something else in one: written in a dict with a
        `timezone`, it would take that."""
        return self.timezone is None

    @abstractmethod
    def next_after(self, after: datetime) -> datetime | None:
        """The first slot strictly after the instant `after`, or None when there is none."""

    @abstractmethod
    def previous_before(self, before: datetime) -> datetime | None:
        """The last slot strictly before the instant `before`, or None when there is none."""

    @abstractmethod
    def describe(self) -> str:
        """The rule in plain English, with its zone and any choice that is not the default."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The rule as JSON-serialisable data; `parse_schedule` makes an equal schedule of it."""

    def upcoming(self, after: datetime, n: int) -> list[datetime]:
        """The first `n` slots after `after`, fewer when the schedule ends before."""
        slots: list[datetime] = []
        while len(slots) < n and (slot := self.next_after(after)) is not None:
            slots.append(slot)
            after = slot
        return slots

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The slots strictly after `start` and not after `end`, in order, lazily."""
        end = instant(end, "end")
        slot = self.next_after(start)
        while slot is not None and slot <= end:
            yield slot
            slot = self.next_after(slot)

    def count_between(self, start: datetime, end: datetime) -> int:
        """How many slots `between(start, end)` has."""
        return sum(1 for _ in self.between(start, end))

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        # what protocols 0 and 1 do by themselves has no place for slots
        return super().__reduce_ex__(max(int(protocol), 2))
