"""What the schedules around a rule leave of its slots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from .base import Schedule
from .combine import Bounded
from .exclude import Except, names

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Limits:
    """The instants from `start` to `end`, both included, but for those in `spans` (each from one
    instant on and before another) and the slots of `excluded`."""

    start: datetime = _BEGINNING
    end: datetime = _END
    spans: tuple[tuple[datetime, datetime], ...] = ()
    excluded: tuple[Schedule, ...] = ()

    def within(self, outer: Schedule) -> Limits:
        """These limits, and those that `outer` puts on the schedule in it."""
        if isinstance(outer, Bounded):
            start = self.start if outer.start is None else max(self.start, outer.start)
            end = self.end if outer.end is None else min(self.end, outer.end - datetime.resolution)
            return replace(self, start=start, end=end)
        if isinstance(outer, Except):
            spans = [span for item in outer.ranges for span in item.spans]
            return replace(
                self,
                spans=(*self.spans, *spans),
                excluded=(*self.excluded, *outer.schedules),
            )
        return self

    def allow(self, at: datetime) -> bool:
        """Whether a slot at the instant `at` is left."""
        return (
            self.start <= at <= self.end
            and not any(start <= at < end for start, end in self.spans)
            and not any(names(schedule, at) for schedule in self.excluded)
        )
