"""Every so long: elapsed time, counted from an anchor."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from ..errors import InvalidSchedule
from ._spec import shown
from .base import Schedule, instant
from .duration import DAY, SECOND, parse_duration, spell_duration

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORTEST = SECOND // 100
LONGEST = 36_525 * DAY

_MICRO = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_MIN = (_FIRST - EPOCH) // _MICRO
_MAX = (_LAST - EPOCH) // _MICRO


class IntervalSchedule(Schedule):
    """Slots at `anchor` + k * `every`, for every whole number k, before the anchor too.

    Elapsed time: no wall clock and no DST has a part in it. Counted in whole microseconds, from the
    anchor and never from the slot before, so nothing drifts.
    """

    __slots__ = ("_anchor", "_every", "_phase")

    kind: ClassVar[str] = "interval"

    def __init__(self, every: timedelta, anchor: datetime = EPOCH) -> None:
        """Raises InvalidSchedule for an interval under 0.01 seconds or over 36,525 days (100
        years), NaiveDatetime for an anchor without a time zone."""
        micros = every // _MICRO
        if not SHORTEST <= micros <= LONGEST:
            raise InvalidSchedule(
                f"bad interval {every.total_seconds():g} seconds: 0.01 seconds to 36525 days",
                spec=every,
                where="interval",
            )
        self._every = micros
        self._anchor = instant(anchor, "anchor")
        self._phase = _micros(self._anchor) % micros

    @classmethod
    def parse(cls, value: object, *, anchor: datetime = EPOCH) -> IntervalSchedule:
        """An interval of `value`: seconds as a number, a timedelta, or a duration ("1h30m").

        Raises InvalidSchedule for anything else.
        """
        if isinstance(value, timedelta):
            return cls(value, anchor)
        if isinstance(value, str):
            micros = parse_duration(value.strip())
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidSchedule(
                f"bad interval of type {type(value).__name__}: seconds as a number, a timedelta, "
                f"or a duration such as '1h30m'",
                spec=value,
                where="interval",
            )
        elif not 0 < value * SECOND <= 2 * LONGEST:  # false for NaN, too
            raise InvalidSchedule(
                f"bad interval {shown(value)}: 0.01 seconds to 36525 days",
                spec=value,
                where="interval",
            )
        else:
            micros = round(value * SECOND)
        if not SHORTEST <= micros <= LONGEST:
            raise InvalidSchedule(
                f"bad interval {shown(value)}: 0.01 seconds to 36525 days",
                spec=value,
                where="interval",
            )
        return cls(timedelta(microseconds=micros), anchor)

    @property
    def every(self) -> timedelta:
        """The time from one slot to the next."""
        return timedelta(microseconds=self._every)

    @property
    def anchor(self) -> datetime:
        """One of the slots, in UTC: the one that the others are counted from."""
        return self._anchor

    @property
    def timezone(self) -> None:
        """None: elapsed time knows no wall clock."""
        return

    @property
    def takes_zone(self) -> bool:
        return False

    def next_after(self, after: datetime) -> datetime | None:
        at = max(_micros(instant(after, "after")), _MIN - 1)
        return _instant(at + self._every - (at - self._phase) % self._every)

    def previous_before(self, before: datetime) -> datetime | None:
        at = min(_micros(instant(before, "before")) - 1, _MAX)
        return _instant(at - (at - self._phase) % self._every)

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        last = min(_micros(instant(end, "end")), _MAX)
        at = max(_micros(instant(start, "start")), _MIN - 1)
        at += self._every - (at - self._phase) % self._every
        while at <= last:
            yield EPOCH + timedelta(microseconds=at)
            at += self._every

    def count_between(self, start: datetime, end: datetime) -> int:
        at = max(_micros(instant(start, "start")), _MIN - 1)
        first = (at - self._phase) // self._every
        last = (min(_micros(instant(end, "end")), _MAX) - self._phase) // self._every
        return max(0, last - first)

    def describe(self) -> str:
        words = spell_duration(self._every)
        if words.count(" ") == 1:
            words = words.removeprefix("1 ")
        if self._anchor == EPOCH:
            return f"every {words}"
        return f"every {words}, counted from {_iso(self._anchor)}"

    def to_dict(self) -> dict[str, Any]:
        whole, rest = divmod(self._every, SECOND)
        data: dict[str, Any] = {"interval": self._every / SECOND if rest else whole}
        if self._anchor != EPOCH:
            data["anchor"] = self._anchor.isoformat()
        return data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntervalSchedule):
            return NotImplemented
        return (self._every, self._anchor) == (other._every, other._anchor)

    def __hash__(self) -> int:
        return hash((self.kind, self._every, self._anchor))

    def __repr__(self) -> str:
        return f"<IntervalSchedule: {self.describe()}>"


def _micros(at: datetime) -> int:
    return (at - EPOCH) // _MICRO


def _instant(micros: int) -> datetime | None:
    if not _MIN <= micros <= _MAX:
        return None
    return EPOCH + timedelta(microseconds=micros)


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds" if at.microsecond == 0 else "auto")
