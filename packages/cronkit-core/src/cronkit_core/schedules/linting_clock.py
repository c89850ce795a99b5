"""What the changes of a zone's clock do to a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from ._local import (
    DAY,
    END,
    ORIGIN,
    SECOND,
    Stretch,
    clock_changes,
    instants,
    load_zone,
    wall_stretch,
    zone_clock,
)
from .linting import Warning  # noqa: A004
from .linting_limits import Limits
from .once import OnceSchedule

YEARS = 12
"""How far changes of the clock are looked for; longer than any pause between leap years."""

CORRECTION = 3 * 3600
"""Jumps of so many seconds or more are corrections of a calendar, not a summer time."""

_DATES = 2
_TRIES = 100  # times that are looked at and turn out to be excluded, in all


def clock_warnings(
    first_from: Callable[[int], int | None],
    named: Callable[[int, int], bool],
    timezone: str | None,
    after: datetime,
    limits: Limits,
    *,
    gap: tuple[str, str],
    overlap: tuple[str, str],
    late: bool = False,
    twice: bool = False,
) -> Iterator[Warning]:
    """The warnings "dst-gap" and "dst-overlap" for the next changes of the clock after `after`,
    where a rule names a wall time that the change skips or repeats, and that is within `limits`.

    `first_from` tells the rule's first wall time, in seconds from 0001-01-01, from one on.
    `named(wall, instant)` says whether the rule has begun and not ended then and nothing takes the
    time out. `gap` and `overlap` say what happens then, and how to choose otherwise. With `late`, a
    slot in a gap runs right after it; with `twice`, both passes of an overlap run.
    """
    if timezone is None:
        return
    first, last = (_seconds(edge) for edge in (limits.start, limits.end))
    start = max(_seconds(after) + 1, first - DAY)
    begin = first_from(max(start - DAY, 0))
    if begin is None:
        return
    start = max(start, begin - DAY)

    def counts(change: Stretch, wall: int) -> bool:
        slots = _slots(change, wall, late=late, twice=twice)
        return named(wall, wall - change.before) and all(limits.allow(_moment(at)) for at in slots)

    changes = _summer_times(timezone, start, min(start + YEARS * 366 * DAY, last + DAY, END))
    gaps, overlaps = _next_changed(changes, first_from, counts)
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


def _next_changed(
    changes: Iterator[Stretch],
    first_from: Callable[[int], int | None],
    counts: Callable[[Stretch, int], bool],
) -> tuple[list[int], list[int]]:
    """The first wall times of a rule that `changes` skip and those that they repeat, one of each
    change and a few of each sort; `counts` says whether one that the rule names matters."""
    gaps: list[int] = []
    overlaps: list[int] = []
    tries = _TRIES
    for change in changes:
        dates = gaps if change.before < change.offset else overlaps
        if len(gaps) == len(overlaps) == _DATES:
            break
        if len(dates) == _DATES:
            continue
        low, high = sorted((change.start + change.before, change.start + change.offset))
        wall = first_from(low)
        while wall is not None and wall < high:
            if counts(change, wall):
                dates.append(wall)
                break
            tries -= 1
            if not tries:
                return gaps, overlaps
            wall = first_from(wall + 1)
    return gaps, overlaps


def _slots(change: Stretch, wall: int, *, late: bool, twice: bool) -> list[int]:
    """The instants at which `wall`, which `change` skips or repeats, would run."""
    if change.before < change.offset:
        return [change.start if late else wall - change.before]
    return [wall - change.before, wall - change.offset] if twice else [wall - change.before]


def _summer_times(timezone: str, start: int, end: int) -> Iterator[Stretch]:
    """The stretches from `start` to before `end` that begin with a change of the clock."""
    for change in clock_changes(zone_clock(load_zone(timezone)), start, end):
        if abs(change.offset - change.before) < CORRECTION:
            yield change


def _seconds(at: datetime) -> int:
    return (at - ORIGIN) // SECOND


def _moment(seconds: int) -> datetime:
    return ORIGIN + SECOND * seconds


def why_never_shown(wall: int, timezone: str | None) -> tuple[str, str]:
    """Why a rule never fires whose first wall time is `wall`, and what to do about it."""
    spelled = spell_wall(wall)
    stretch = wall_stretch(zone_clock(load_zone(timezone or "UTC")), wall)
    if stretch is not None and stretch.start and wall < stretch.start + stretch.offset:
        return (
            f"never fires: {spelled} does not exist in {timezone}, where the clock goes forward, "
            f"and no other time is named",
            "choose a time that the clock shows",
        )
    return (
        f"never fires: {spelled} in {timezone} is outside the years 1 to 9999 in UTC",
        "name a time within them",
    )


def once_warnings(schedule: OnceSchedule) -> Iterator[Warning]:
    """What is odd about the wall time of a schedule that runs once."""
    value, zone = schedule.at.value, schedule.timezone
    if zone is None or not isinstance(value, datetime):
        return
    found = instants(value, load_zone(zone))
    spelled = f"{_time(value)} on {value.date()}"
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


def spell_wall(wall: int) -> str:
    """ "02:30 on 2027-03-28"."""
    return _times([wall])


def _times(walls: Sequence[int]) -> str:
    """ "02:30 on 2027-03-28 and 2028-03-26", "02:30 on 2027-03-28 and 02:45 on 2028-03-26"."""
    words: list[str] = []
    said = ""
    for wall in walls:
        moment = _moment(wall)
        time, day = _time(moment), str(moment.date())
        words.append(day if time == said else f"{time} on {day}")
        said = time
    return " and ".join(words)


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"
