"""Time zones worth testing with, and when their clocks change. Needs nothing but the standard
library and the system's zone data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_CHOSEN = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Europe/London",
    "Asia/Tokyo",
    # Clocks that change by half an hour, or whose offset is no whole hour.
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Pacific/Chatham",
    "Asia/Tehran",
    "America/Caracas",
    "Asia/Pyongyang",
    # The change is at midnight: the day begins at 01:00, or 23:00 comes twice.
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Amman",
    "America/Scoresbysund",
    "America/Nuuk",
    # Winter is the exception; the month of Ramadan is; two hours at once.
    "Europe/Dublin",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Antarctica/Troll",
    # A change of the country's offset, of three hours, of a whole day.
    "Europe/Moscow",
    "Europe/Istanbul",
    "Europe/Volgograd",
    "Asia/Almaty",
    "Asia/Hovd",
    "Africa/Juba",
    "Pacific/Norfolk",
    "Pacific/Fiji",
    "Antarctica/Macquarie",
    "Antarctica/Casey",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Pacific/Kwajalein",
    # Offsets with seconds, long ago.
    "Africa/Monrovia",
    "Europe/Amsterdam",
)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a zone's clock: from `instant` on it runs `after` ahead of UTC, not `before`."""

    instant: datetime
    before: timedelta
    after: timedelta

    @property
    def gap(self) -> timedelta:
        """How much the clock goes forward; negative where it goes back."""
        return self.after - self.before


@lru_cache(maxsize=1)
def interesting_zones() -> tuple[str, ...]:
    """IANA names that between them show every oddity of wall clocks, the plain ones first; those
    that this system's zone data lacks are left out."""
    return tuple(name for name in _CHOSEN if _exists(name))


@lru_cache(maxsize=256)
def transitions(
    zone: str,
    start: datetime = datetime(1970, 1, 1, tzinfo=UTC),
    end: datetime = datetime(2038, 1, 1, tzinfo=UTC),
) -> tuple[Transition, ...]:
    """The changes of the clock in `zone` (an IANA name) after `start` and up to `end`, in order.

    Changes that undo each other within a week are not seen.
    """
    info = ZoneInfo(zone)
    found = []
    low = start
    while low < end:
        high = min(low + timedelta(days=7), end)
        before, after = low.astimezone(info).utcoffset(), high.astimezone(info).utcoffset()
        assert before is not None
        assert after is not None
        if before != after:
            left, right = low, high
            while right - left > timedelta(seconds=1):
                middle = left + (right - left) // 2
                if middle.astimezone(info).utcoffset() == before:
                    left = middle
                else:
                    right = middle
            # Changes fall on whole seconds, and the bisection ends within one.
            found.append(Transition(right.replace(microsecond=0), before, after))
        low = high
    return tuple(found)


def _exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return False
    return True
