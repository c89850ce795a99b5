"""A walk along the wall clock of a zone, second by second, for the reference oracles.

It asks `zoneinfo` what the clock shows and shares no code with the engines that it is to check.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Reading(NamedTuple):
    """What the clock shows at one instant."""

    instant: datetime
    wall: datetime
    again: bool
    """The clock showed `wall` before: this is the second pass of an overlap."""
    skipped: tuple[datetime, ...]
    """The seconds that the clock jumped over just before, when it went forward."""


def show(instant: datetime, zone: tzinfo) -> datetime:
    """The naive wall time that a clock in `zone` shows at `instant`."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def first_instant(wall: datetime, zone: tzinfo) -> datetime:
    """The instant of `wall`: the first pass of an overlap; in a gap, read with the offset before
    it (RFC 5545, section 3.3.5)."""
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def readings(
    zone: tzinfo,
    start: datetime,
    end: datetime,
    *,
    day: Callable[[date], bool],
    minute: Callable[[datetime], bool],
    seconds: Collection[int],
) -> Iterator[Reading]:
    """The readings of the clock at the whole seconds after `start` and up to `end`.

    Days, minutes and seconds for which the three filters say no may be left out; around a change
    of the clock, and where the offset is no whole number of minutes, nothing is.
    """
    hour = start.replace(minute=0, second=0, microsecond=0)
    while hour <= end:
        if hour.hour == 0 and not any(day(hour.date() + n * DAY) for n in (-1, 0, 1)):
            hour += DAY
            continue
        for reading in _within(zone, hour, HOUR, minute, sorted(seconds)):
            if start < reading.instant <= end:
                yield reading
        hour += HOUR


def _within(
    zone: tzinfo,
    begin: datetime,
    length: timedelta,
    minute: Callable[[datetime], bool],
    seconds: list[int],
) -> Iterator[Reading]:
    """The readings of one hour, or of one minute."""
    before = begin.astimezone(UTC) - SECOND
    shift = show(before, zone) - before.replace(tzinfo=None)
    last = begin + length - SECOND
    if show(last, zone) - last.replace(tzinfo=None) == shift and shift % MINUTE == timedelta():
        for n in range(length // MINUTE):
            instant = begin + n * MINUTE
            wall = instant.replace(tzinfo=None) + shift
            if minute(wall):
                for s in seconds:
                    at = instant + s * SECOND
                    again = bool(at.astimezone(zone).fold)
                    yield Reading(at, wall + s * SECOND, again, ())
        return
    if length == HOUR:
        for n in range(60):
            yield from _within(zone, begin + n * MINUTE, MINUTE, minute, seconds)
        return
    previous = show(before, zone)
    for n in range(60):
        instant = begin + n * SECOND
        wall = show(instant, zone)
        jumped = max(0, (wall - previous) // SECOND - 1)
        skipped = tuple(previous + i * SECOND for i in range(1, jumped + 1))
        yield Reading(instant, wall, bool(instant.astimezone(zone).fold), skipped)
        previous = wall
