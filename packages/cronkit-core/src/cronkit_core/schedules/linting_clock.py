"""What the changes of a zone's clock do to a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from ._local import DAY, ORIGIN, SECOND, Stretch, clock_changes, instants, load_zone, zone_clock
from .linting import Warning  # noqa: A004
from .once import OnceSchedule

YEARS = 12
"""How far changes of the clock are looked for; longer than any pause between leap years."""

CORRECTION = 3 * 3600
"""Jumps of so many seconds or more are corrections of a calendar, not a summer time."""

_DATES = 2


def summer_times(timezone: str, after: datetime) -> Iterator[Stretch]:
    """The stretches, from `after` on and for YEARS years, that begin with a change of the clock of
    `timezone`."""
    start = (after - ORIGIN) // SECOND + 1
    for change in clock_changes(zone_clock(load_zone(timezone)), start, start + YEARS * 366 * DAY):
        if abs(change.offset - change.before) < CORRECTION:
            yield change


def clock_warnings(
    first_from: Callable[[int], int | None],
    timezone: str | None,
    after: datetime,
    *,
    gap: tuple[str, str],
    overlap: tuple[str, str],
) -> Iterator[Warning]:
    """The warnings "dst-gap" and "dst-overlap" for a rule of which `first_from` tells the first
    wall time (in seconds from 0001-01-01) that is not before another.

    `gap` and `overlap` say what happens then, and how to choose otherwise.
    """
    if timezone is None:
        return
    gaps: list[int] = []
    overlaps: list[int] = []
    for stretch in summer_times(timezone, after):
        if len(gaps) >= _DATES and len(overlaps) >= _DATES:
            break
        old, new = stretch.start + stretch.before, stretch.start + stretch.offset
        wall = first_from(min(old, new))
        if wall is not None and wall < max(old, new):
            (gaps if old < new else overlaps).append(wall)
    if gaps:
        yield Warning(
            "dst-gap",
            f"{_times(gaps)} does not exist in {timezone}, where the clock goes forward: {gap[0]}",
            f"choose a time outside the changed hour, or {gap[1]}",
        )
    if overlaps:
        yield Warning(
            "dst-overlap",
            f"{_times(overlaps)} comes twice in {timezone}, where the clock goes back: "
            f"{overlap[0]}",
            f"choose a time outside the changed hour, or {overlap[1]}",
        )


def once_warnings(schedule: OnceSchedule) -> Iterator[Warning]:
    """What is odd about the wall time of a schedule that runs once."""
    value, zone = schedule.at.value, schedule.timezone
    if zone is None or not isinstance(value, datetime):
        return
    found = instants(value, load_zone(zone))
    spelled = f"{value:%H:%M} on {value.date()}"
    if not found:
        slot = schedule.at.first.astimezone(load_zone(zone))
        yield Warning(
            "dst-gap",
            f"{spelled} does not exist in {zone}, where the clock goes forward: "
            f"it runs at {slot:%H:%M}",
            "choose a time that the clock shows, or give it an offset",
        )
    elif len(found) == 2:
        yield Warning(
            "dst-overlap",
            f"{spelled} comes twice in {zone}, where the clock goes back: it runs the first time",
            "choose a time that the clock shows once, or give it an offset",
        )


def _times(walls: list[int]) -> str:
    """ "02:30 on 2027-03-28 and 2028-03-26"."""
    moments = [ORIGIN + SECOND * wall for wall in walls[:_DATES]]
    time = f"{moments[0]:%H:%M}"
    return f"{time} on " + " and ".join(str(moment.date()) for moment in moments)
