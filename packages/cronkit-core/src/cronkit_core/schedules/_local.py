"""The only file that resolves local time: at which instants a wall clock shows a time, what lies in
a gap (the clock went forward) and what is shown twice (the clock went back).

Wall times are naive datetimes here; instants are aware UTC ones. The terms follow PEP 495.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from ..errors import InvalidSchedule


@lru_cache(maxsize=1024)
def load_zone(name: str) -> tzinfo:
    """The zone with the IANA name `name`.

    Raises InvalidSchedule for a name that the system's zone data lacks, and suggests close ones.
    """
    if not isinstance(name, str):
        raise InvalidSchedule(f"a timezone is an IANA name such as 'Europe/Berlin', not {name!r}")
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        close = difflib.get_close_matches(name, available_timezones(), n=3, cutoff=0.6)
        hint = " or ".join(repr(c) for c in close) or "an IANA name such as 'Europe/Berlin'"
        raise InvalidSchedule(
            f"unknown timezone {name!r}: did you mean {hint}?", spec=name, where="timezone"
        ) from None


def instants(wall: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """The instants at which a clock in `zone` shows `wall`: none in a gap, two in an overlap (in
    order), else one."""
    first = wall.replace(tzinfo=zone, fold=0).utcoffset()
    second = wall.replace(tzinfo=zone, fold=1).utcoffset()
    assert first is not None
    assert second is not None
    if first == second:
        return (utc(wall, first),)
    if first < second:
        return ()
    return (utc(wall, first), utc(wall, second))


def utc(wall: datetime, offset: timedelta) -> datetime:
    """The instant at which a clock that runs `offset` ahead of UTC shows `wall`."""
    return (wall - offset).replace(tzinfo=UTC)
