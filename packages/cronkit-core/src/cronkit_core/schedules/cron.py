"""Cron expressions, as Debian's cron reads them, extended by seconds, years, `L`, `W`, `#` and `H`.

The text is taken apart in `cron_parse`, the wall times that it names are found in `cron_times`, and
`_local` knows what the zone's clock does. Here the three meet: a slot is an instant, and a zone's
time is a row of stretches, in each of which the clock runs at one offset. Within a stretch a slot
is a wall time less the offset. What happens where two stretches meet is decided in `bounds` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ._local import (
    BLOCK,
    DAY,
    END,
    ORIGIN,
    SECOND,
    TABLES_END,
    Stretch,
    ZoneClock,
    load_zone,
    zone_clock,
)
from .base import Schedule, instant
from .cron_parse import parse_cron
from .cron_parts import CronParts, Days, Gap, Overlap
from .cron_times import WallTimes

CORRECTION = 3 * 3600
"""A clock that goes forward by this many seconds or more is being corrected (Samoa's missing day of
2011): nothing is made up then. Debian's cron(8) draws the line at three hours as well."""

_CYCLE = 146_097 * DAY
"""400 years, after which the calendar repeats itself, weekdays included."""

_DENSE = 8 * DAY
"""Slots that are further apart are found one by one: between them the clock may change."""


class CronSchedule(Schedule):
    """The instants at which a cron expression fires, by the wall clock of a time zone.

    Fields: minute, hour, day of month, month, day of week; with six fields the seconds come first,
    with seven the year last. `timezone` is an IANA name, None for UTC. A field may hold lists,
    ranges (which wrap: `fri-mon`, `22-2`), steps, names, and the extensions of the table in the
    documentation. Where both day fields restrict the day, either one is enough, unless `days` is
    "both"; a field that starts with `*` (`*/2` too) does not restrict (crontab(5) of Debian).

    When the clock is put forward, a slot in the gap runs at the first instant after it
    (`gap="after"`) or not at all ("skip"); when it is put back, the times that are shown twice run
    in the first pass (`overlap="first"`) or in both ("both"). By default an expression whose minute
    and hour fields do not start with `*` takes "after" and "first", and any other "skip" and
    "both" (cron(8) of Debian). Jumps of three hours and more make nothing up.
    """

    __slots__ = ("_calm", "_clock", "_parts", "_times")

    kind = "cron"
    whole_seconds = True

    def __init__(self, parts: CronParts) -> None:
        """For `parse`, which is the way to make one."""
        self._parts = parts
        self._times = WallTimes(parts)
        self._clock = zone_clock(UTC if parts.timezone is None else load_zone(parts.timezone))
        self._calm = self._clock.calm

    @classmethod
    def parse(
        cls,
        expression: str,
        timezone: str | None = None,
        *,
        seed: str | None = None,
        days: Days = "either",
        gap: Gap | None = None,
        overlap: Overlap | None = None,
    ) -> CronSchedule:
        """The schedule that `expression` writes.

        `seed` is what `H` is hashed from: the task's name. None for `gap` and `overlap` means what
        the expression itself asks for. Raises InvalidSchedule, which names the field.
        """
        return cls(
            parse_cron(
                expression, timezone=timezone, seed=seed, days=days, gap=gap, overlap=overlap
            )
        )

    @property
    def timezone(self) -> str | None:
        return self._parts.timezone

    @property
    def parts(self) -> CronParts:
        """The expression, taken apart: what `describe` and `lint` read."""
        return self._parts

    @property
    def clock(self) -> ZoneClock:
        """What the clock of the zone does."""
        return self._clock

    def next_after(self, after: datetime) -> datetime | None:
        slot = self._first_from(_first_second_after(after))
        return None if slot is None else ORIGIN + SECOND * slot

    def previous_before(self, before: datetime) -> datetime | None:
        slot = self._last_upto(_last_second_before(before))
        return None if slot is None else ORIGIN + SECOND * slot

    def upcoming(self, after: datetime, n: int) -> list[datetime]:
        return list(islice(self._slots(_first_second_after(after), END), max(n, 0)))

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        return self._slots(_first_second_after(start), _first_second_after(end))

    def count_between(self, start: datetime, end: datetime) -> int:
        at, stop = max(_first_second_after(start), 0), min(_first_second_after(end), END)
        repeated = max(at, TABLES_END)
        cycles = (stop - repeated) // _CYCLE
        if cycles > 1 and self._times.days.every_year:
            # from there on clocks and calendar repeat together
            rest = repeated + cycles * _CYCLE
            cycle = self._count(repeated, repeated + _CYCLE)
            return self._count(at, repeated) + cycles * cycle + self._count(rest, stop)
        return self._count(at, stop)

    def _count(self, at: int, stop: int) -> int:
        """How many slots there are from the instant `at` to before `stop`."""
        total = 0
        while at < stop:
            stretch = self._clock.stretch(at)
            until = min(stretch.end, stop)
            wall, wall_end, made_up = self.bounds(stretch, at, until)
            counted = made_up + self._times.count(wall, wall_end)
            total += counted
            at = until
            if not counted:
                later = self._times.first_from(until - DAY)
                if later is None:
                    break
                at = max(until, later - DAY)
        return total

    # Where clocks change

    def bounds(self, stretch: Stretch, start: int, stop: int) -> tuple[int, int, bool]:
        """What the instants from `start` to before `stop`, all in `stretch`, show: the wall times
        from the first number to before the second, and whether `start` is also a slot that makes up
        for a time in the gap before it (and for no wall time, so that it counts once)."""
        offset, before = stretch.offset, stretch.before
        wall = start + offset
        if before < offset and start == stretch.start and self._makes_up(stretch):
            return wall, stop + offset, self._times.first_from(wall) != wall
        if before > offset and self._parts.overlap == "first":
            wall = max(wall, stretch.start + before)
        return wall, stop + offset, False

    def _makes_up(self, stretch: Stretch) -> bool:
        """Whether a time that the gap before `stretch` swallowed runs at its start."""
        if self._parts.gap == "skip" or stretch.offset - stretch.before >= CORRECTION:
            return False
        swallowed = self._times.first_from(stretch.start + stretch.before)
        return swallowed is not None and swallowed < stretch.start + stretch.offset

    def _first_from(self, start: int) -> int | None:
        """The first slot that is not before the instant `start`."""
        # Nearly always both ends of the step are in calm blocks: there a wall time is shown once,
        # at the block's offset. No named wall time lies between them, so whatever the clock does
        # on the way, it swallows and repeats none.
        calm = self._calm
        offset = calm[start >> BLOCK]
        if offset is not None:
            wall = self._times.first_from(start + offset)
            if wall is None:
                return None
            there = calm[wall - offset >> BLOCK]
            if there == offset or (there is not None and calm[wall - there >> BLOCK] == there):
                return wall - there
        return self._search_from(start)

    def _search_from(self, start: int) -> int | None:
        """As `_first_from`, wherever the clock changes: stretch by stretch."""
        at = max(start, 0)
        end = END
        if self._times.days.every_year:
            # from there on clocks and calendar repeat together
            end = min(end, max(at, TABLES_END) + _CYCLE)
        while at < end:
            stretch = self._clock.stretch(at)
            wall, wall_end, made_up = self.bounds(stretch, at, stretch.end)
            if made_up:
                return at
            found = self._times.first_from(wall)
            if found is not None and found < wall_end:
                return found - stretch.offset
            # What comes later shows later wall times than this, and within a day of UTC.
            later = self._times.first_from(stretch.end - DAY)
            if later is None:
                return None
            at = max(stretch.end, later - DAY)
        return None

    def _last_upto(self, end: int) -> int | None:
        """The last slot that is not after the instant `end`."""
        # as in `_first_from`
        calm = self._calm
        offset = calm[end >> BLOCK]
        if offset is not None:
            wall = self._times.last_upto(end + offset)
            if wall is None:
                return None
            there = calm[wall - offset >> BLOCK]
            if there == offset or (there is not None and calm[wall - there >> BLOCK] == there):
                return wall - there
        return self._search_upto(end)

    def _search_upto(self, end: int) -> int | None:
        """As `_last_upto`, wherever the clock changes."""
        at = min(end, END - 1)
        repeated = at - _CYCLE if self._times.days.every_year else 0
        while at >= 0:
            if TABLES_END <= at < repeated:
                at = TABLES_END
            stretch = self._clock.stretch(at)
            wall, wall_end, made_up = self.bounds(stretch, stretch.start, at + 1)
            found = self._times.last_upto(wall_end - 1)
            if found is not None and found >= wall:
                return found - stretch.offset
            if made_up:
                return stretch.start
            # What comes earlier shows earlier wall times than this, and within a day of UTC.
            earlier = self._times.last_upto(stretch.start + DAY)
            if earlier is None:
                return None
            at = min(stretch.start - 1, earlier + DAY)
        return None

    def _slots(self, start: int, stop: int) -> Iterator[datetime]:
        """The slots from the instant `start` to before `stop`."""
        stop = min(stop, END)
        slot = self._first_from(start)
        while slot is not None and slot < stop:
            yield ORIGIN + SECOND * slot
            following = self._first_from(slot + 1)
            if following is not None and following < stop and following - slot <= _DENSE:
                # all others of the stretch at once, at a tenth of the cost of single steps
                stretch = self._clock.stretch(following)
                until = min(stretch.end, stop)
                wall, wall_end, made_up = self.bounds(stretch, following, until)
                if made_up:
                    yield ORIGIN + SECOND * following
                yield from self._times.between(wall, wall_end, stretch.offset)
                following = self._first_from(until)
            slot = following

    def describe(self) -> str:
        from .describe import describe_cron

        return describe_cron(self)

    def to_dict(self) -> dict[str, Any]:
        parts = self._parts
        spec: dict[str, Any] = {"cron": parts.text}
        if parts.timezone is not None:
            spec["timezone"] = parts.timezone
        if parts.seed is not None:
            spec["seed"] = parts.seed
        if parts.days != "either":
            spec["days"] = parts.days
        if parts.gap != parts.gap_default:
            spec["gap"] = parts.gap
        if parts.overlap != parts.overlap_default:
            spec["overlap"] = parts.overlap
        return spec

    def __eq__(self, other: object) -> bool:
        """The same numbers and day rules in every field, the same policies in effect, the same
        zone name: `0 8 * * MON` equals `00 8 * * 1`, and `@daily` equals `0 0 * * *`."""
        if not isinstance(other, CronSchedule):
            return NotImplemented
        return self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(self._meaning())

    def __repr__(self) -> str:
        options = "".join(
            f", {name}={value!r}" for name, value in self.to_dict().items() if name != "cron"
        )
        return f"CronSchedule.parse({self._parts.text!r}{options})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (CronSchedule, (self._parts,))

    def _meaning(self) -> tuple[object, ...]:
        parts = self._parts
        rules = frozenset(
            (rule.kind, rule.first, rule.before, rule.nth)
            for field in (parts.day, parts.weekday)
            for rule in field.rules
        )
        masks = (field.mask for field in parts.fields)
        policies = (parts.either_day, parts.gap, parts.overlap, parts.timezone, parts.seed)
        return (rules, *masks, *policies)


def _first_second_after(moment: datetime) -> int:
    """The first whole second after `moment`, which may be an instant beyond the calendar's ends."""
    try:
        since = moment - ORIGIN
    except TypeError:
        since = instant(moment) - ORIGIN
    return since.days * DAY + since.seconds + 1


def _last_second_before(moment: datetime) -> int:
    """The last whole second before `moment`."""
    try:
        since = moment - ORIGIN
    except TypeError:
        since = instant(moment) - ORIGIN
    return since.days * DAY + since.seconds - (not since.microseconds)
