"""One slot, at a given moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from .base import Schedule, instant
from .moment import Moment, parse_moment


class OnceSchedule(Schedule):
    """The one slot `at`.

    Written without an offset, it is a time on the wall clock of the zone: what comes twice means
    the first pass, what lies in a gap the first instant after it.
    """

    __slots__ = ("_moment", "_slot")

    kind: ClassVar[str] = "once"

    def __init__(self, at: Moment) -> None:
        self._moment = at
        self._slot = at.first

    @classmethod
    def parse(cls, at: object, timezone: str | None = None) -> OnceSchedule:
        """Once at `at`: a datetime, or ISO 8601 text; naive means the wall clock of `timezone`.

        Raises InvalidSchedule.
        """
        return cls(parse_moment(at, timezone, where="at"))

    @property
    def at(self) -> Moment:
        """The moment as it was written."""
        return self._moment

    @property
    def timezone(self) -> str | None:
        return self._moment.timezone

    @property
    def takes_zone(self) -> bool:
        return self._moment.takes_zone

    def next_after(self, after: datetime) -> datetime | None:
        return self._slot if instant(after, "after") < self._slot else None

    def previous_before(self, before: datetime) -> datetime | None:
        return self._slot if instant(before, "before") > self._slot else None

    def describe(self) -> str:
        return f"once, at {self._moment.describe()}"

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"at": self._moment.spell()}
        if self._moment.timezone is not None:
            data["timezone"] = self._moment.timezone
        return data

    def __eq__(self, other: object) -> bool:
        return self._moment == other._moment if isinstance(other, OnceSchedule) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.kind, self._moment))

    def __repr__(self) -> str:
        return f"<OnceSchedule: {self.describe()}>"
