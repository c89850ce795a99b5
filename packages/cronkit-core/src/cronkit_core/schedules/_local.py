"""The only file that resolves local time: at which instants a wall clock shows a time, what lies in
a gap (the clock went forward) and what is shown twice (the clock went back).

Wall times are naive datetimes here; instants are aware UTC ones. The terms follow PEP 495.

Where speed matters both are integers: seconds since `ORIGIN`, 0001-01-01 00:00:00, which is in UTC
for an instant and on the wall for a wall time. A clock's offset is the wall time less the instant.
"""

from __future__ import annotations

import difflib
from calendar import isleap
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from ..errors import InvalidSchedule
from ._spec import shown

ORIGIN = datetime(1, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
"""`ORIGIN + SECOND * n` is the fastest way from a number of seconds to a datetime in CPython."""

DAY = 86_400
END = date.max.toordinal() * DAY
"""The first second after the year 9999."""

TABLES_END = date(2100, 1, 1).toordinal() * DAY
"""From here on no zone has a change of its own: the tables of the IANA data end before (2087 is the
last year in use), and what follows is a rule of the calendar, which repeats every 400 years."""

FIRST_CHANGING = 1800
"""The first year in which a clock of the IANA data may change: all began with a local time that was
kept at least until then (until 1845 in Manila)."""

_UTC = ("UTC", "Etc/UTC")
NO_ZONE_DATA = "this host has no zone data: install the package tzdata"

_NO_ZONES = {
    "localtime": "it is whichever zone the machine is set to",
    "posixrules": "it is whichever rules the machine has for zones that it does not know",
    "Factory": "it stands for a machine whose zone is not set yet",
    "right/": "it counts leap seconds, which datetimes do not",
    "posix/": "it is a copy that only some machines have",
}
"""Names, and folders of names, that the zone data of some machines has, and that name no zone."""


def load_zone(name: str) -> tzinfo:
    """The zone with the IANA name `name`.

    Raises InvalidSchedule for a name that the system's zone data lacks, and suggests close ones;
    and for one that means another zone, or nothing, on the next machine.
    """
    if not isinstance(name, str):
        raise InvalidSchedule(
            f"a timezone is an IANA name such as 'Europe/Berlin', not {shown(name)}",
            spec=name,
            where="timezone",
        )
    return _load_zone(name)


@lru_cache(maxsize=1024)
def _load_zone(name: str) -> tzinfo:
    if name in _UTC:
        return UTC  # of whose clock it is known without looking that it never changes
    folder, slash, zone = name.partition("/")
    if (reason := _NO_ZONES.get(folder + slash)) is not None:
        raise InvalidSchedule(
            f"bad timezone {shown(name)}: {reason}; name a zone, such as "
            f"{shown(zone or 'Europe/Berlin')}",
            spec=name,
            where="timezone",
        )
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        known = {zone.lower(): zone for zone in available_timezones() if zone not in _NO_ZONES}
        hint = f"did you mean {_close(name, known)}?" if known else NO_ZONE_DATA
        raise InvalidSchedule(
            f"unknown timezone {shown(name)}: {hint}",
            spec=name,
            where="timezone",
        ) from None


def _close(name: str, known: Mapping[str, str]) -> str:
    """What was probably meant by `name`, which is no zone; `known` are the zones by their names in
    lower case."""
    wanted = name[:80].lower()
    if wanted in known:
        return repr(known[wanted])
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
    return " or ".join(repr(known[zone]) for zone in close) or (
        "an IANA name such as 'Europe/Berlin'"
    )


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


def at_or_after(wall: datetime, zone: tzinfo) -> datetime:
    """The first instant at which a clock in `zone` shows `wall`; where `wall` lies in a gap, the
    first instant after the gap.

    Raises OverflowError where that instant is outside the years 1 to 9999.
    """
    found = instants(wall, zone)
    if found:
        return found[0]
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    assert before is not None
    seconds = (utc(wall, before) - ORIGIN) // timedelta(seconds=1)
    return ORIGIN + timedelta(seconds=zone_clock(zone).stretch(seconds).start)


def date_spans(day: date, zone: tzinfo) -> list[tuple[datetime, datetime]]:
    """The stretches of instants, start included and end not, in which a clock in `zone` shows the
    date `day`: mostly one, none where the zone left the day out, two where midnight came twice.

    Raises OverflowError for the days at both ends of the calendar.
    """
    clock, midnight = zone_clock(zone), (day.toordinal() - 1) * DAY
    at, end = midnight - 2 * DAY, midnight + 3 * DAY
    if at < 0 or end > END:
        raise OverflowError(f"{day} is too close to the end of the calendar")
    spans: list[tuple[int, int]] = []
    while at < end:
        stretch = clock.stretch(at)
        first = max(at, midnight - stretch.offset)
        last = min(stretch.end, midnight + DAY - stretch.offset)
        if first < last:
            if spans and spans[-1][1] == first:
                first = spans.pop()[0]
            spans.append((first, last))
        at = stretch.end
    return [(ORIGIN + timedelta(seconds=a), ORIGIN + timedelta(seconds=b)) for a, b in spans]


BLOCK = 18
"""Blocks of calm are 2**18 seconds, three days: with the two days around it, a change makes seven
days of the year less than calm."""

_WINDOW = 22
"""Changes are looked for in windows of 2**22 seconds, seven weeks."""

_PROBE = timedelta(days=3)
"""No zone of the IANA data ever kept an offset for less than this: the shortest time was 3.99 days,
in Freetown in 1939. Offsets that are this far apart and the same have no change between them."""


class Stretch(NamedTuple):
    """A time in which a zone's clock runs at one offset.

    The instants from `start` to before `end`. `before` is the offset that held until `start`:
    greater than `offset` when the clock went back, less when it went forward, the same when there
    was no change (the stretch is cut there only to be found by its year).
    """

    start: int
    end: int
    offset: int
    before: int


class _Calm(dict[int, int | None]):
    """Of a block of time (an instant shifted by BLOCK): the offset that holds all through it and
    for two days on both sides; None where there is a change, and at both ends of the calendar.

    Two days, for offsets lie within 24 hours of UTC and so differ by less than 48: a wall time that
    falls in a calm block at the block's offset is neither skipped nor shown at another instant.
    """

    def __init__(self, clock: ZoneClock) -> None:
        self._clock = clock

    def __missing__(self, block: int) -> int | None:
        if len(self) >= 4096:
            self.clear()
        start, end = (block << BLOCK) - 2 * DAY, (block + 1 << BLOCK) + 2 * DAY
        inside = start >= 0 and end <= END
        offset = self._clock.steady_offset(start, end) if inside else None
        self[block] = offset
        return offset


class ZoneClock:
    """What the clocks of a zone do over time, as integers."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        # reads as UTC but carries the zone, as tzinfo.fromutc wants it
        self._origin = ORIGIN.replace(tzinfo=zone)
        self._windows: dict[int, tuple[Stretch, ...]] = {}
        self._only = Stretch(0, END, 0, 0) if zone is UTC else None
        self.calm = _Calm(self)

    @property
    def fixed(self) -> bool:
        """Whether it is UTC's."""
        return self._only is not None

    def offset_at(self, instant: int) -> int:
        """How many seconds the clock is ahead of UTC."""
        offset = self._offset(self._origin + SECOND * _convertible(instant))
        return _whole_seconds(offset)

    def steady_offset(self, start: int, end: int) -> int | None:
        """The offset, if it is the same from `start` to `end`; None if it is not."""
        # a loop over datetimes, for making them of integers would take most of the time
        moment = self._origin + SECOND * _convertible(start)
        last = self._origin + SECOND * _convertible(end)
        offset = self._offset(moment)
        while moment < last:
            moment += _PROBE
            if moment > last:
                moment = last
            if self._offset(moment) != offset:
                return None
        return _whole_seconds(offset)

    def _offset(self, moment: datetime) -> timedelta:
        # the zone's own method takes 30 ns, the datetime's takes 130
        offset = self._zone.utcoffset(self._zone.fromutc(moment))
        assert offset is not None
        return offset

    def stretch(self, instant: int) -> Stretch:
        """The stretch that `instant` is in. `instant` is in the years 1 to 9999."""
        if self._only is not None:
            return self._only
        window = instant >> _WINDOW
        stretches = self._windows.get(window)
        if stretches is None:
            if len(self._windows) >= 2048:
                self._windows.clear()
            stretches = self._windows[window] = tuple(self._stretches(window))
        for stretch in stretches:
            if instant < stretch.end:
                return stretch
        raise AssertionError("the stretches of a window end with it")

    def _stretches(self, window: int) -> Iterator[Stretch]:
        """The stretches of a window. The first starts two days early, so that what a change just
        before the window does to the wall times in it is seen."""
        begin = max((window << _WINDOW) - 2 * DAY, 0)
        end = min(window + 1 << _WINDOW, END)
        offset = self.offset_at(begin)
        stretch = Stretch(begin, end, offset, offset)
        # a change at the very start counts as none here: the window before has it
        for change in self.changes(begin + 1, end):
            yield stretch._replace(end=change.start)
            stretch = change
        yield stretch

    def changes(self, start: int, end: int) -> Iterator[Stretch]:
        """The stretches that begin with a change, from `start` to before `end`, in order; the last
        one is cut there. For a time of years: it is looked through in steps of a few days."""
        # a loop over datetimes, for making them of integers would take most of the time
        at = _convertible(start - 1)
        moment, last = self._origin + SECOND * at, self._origin + SECOND * _convertible(end - 1)
        utcoffset, fromutc = self._zone.utcoffset, self._zone.fromutc
        offset = before = self._offset(moment)
        begin: int | None = None
        while moment < last:
            probe = min(moment + _PROBE, last)
            if utcoffset(fromutc(probe)) == offset:
                moment = probe
                continue
            found = self._first_change(moment, probe, offset)
            change = _whole_seconds(found - self._origin)
            if begin is not None:
                yield Stretch(begin, change, _whole_seconds(offset), _whole_seconds(before))
            begin, before, offset = change, offset, self._offset(found)
            moment = found
        if begin is not None:
            yield Stretch(begin, end, _whole_seconds(offset), _whole_seconds(before))

    def _first_change(self, same: datetime, changed: datetime, offset: timedelta) -> datetime:
        """The first instant whose offset is not `offset`, which is that of `same`."""
        apart = (changed - same) // SECOND
        while apart > 1:
            middle = same + SECOND * (apart // 2)
            if self._offset(middle) == offset:
                same = middle
                apart -= apart // 2
            else:
                apart //= 2
        return same + SECOND


def _whole_seconds(delta: timedelta) -> int:
    return delta.days * DAY + delta.seconds


def _convertible(instant: int) -> int:
    """`instant`, but not in the first or last day of the calendar, where conversion overflows; no
    clock changes there."""
    return instant if DAY <= instant < END - DAY else min(max(instant, DAY), END - DAY - 1)


@lru_cache(maxsize=1024)
def zone_clock(zone: tzinfo) -> ZoneClock:
    """The clock of `zone`, which all schedules in the zone share."""
    return ZoneClock(zone)


def wall_stretch(clock: ZoneClock, wall: int) -> Stretch | None:
    """The first stretch in which the clock shows `wall` or a later time; None after the year 9999.

    Where `wall` is less than the stretch's `start` + `offset`, and the stretch begins with a
    change, it lies in a gap. Otherwise `wall` less the stretch's `offset` is its first pass.
    """
    instant = min(max(wall - DAY, 0), END - 1)
    while True:
        stretch = clock.stretch(instant)
        if wall < stretch.end + stretch.offset:
            return stretch
        if stretch.end >= END:
            return None
        instant = stretch.end


def clock_changes(clock: ZoneClock, start: int, end: int) -> Iterator[Stretch]:
    """The stretches that begin with a change of the clock, from `start` to before `end`, in order.

    Only their `end` may be cut. For counting over centuries: what is found is kept.
    """
    if start >= end:
        return
    first = datetime.fromordinal(max(start, 0) // DAY + 1).year
    last = datetime.fromordinal(min(end, END) // DAY + (end < END)).year
    for year in range(max(first, FIRST_CHANGING), last + 1):
        for stretch in _changes_of(clock, year):
            if start <= stretch.start < end:
                yield stretch


def long_stretches(clock: ZoneClock, instant: int) -> Iterator[Stretch]:
    """The stretches from the one that `instant` is in, which may begin late, to the year 9999, each
    to the next change of the clock."""
    stretch = clock.stretch(instant)
    year = datetime.fromordinal(instant // DAY + 1).year
    while year < 10_000:
        changes = _changes_of(clock, year)
        for change in changes:
            if change.start > instant:
                yield stretch._replace(end=change.start)
                stretch = change
        if not changes and year > 2100:
            break
        year += 1
    yield stretch._replace(end=END)


@lru_cache(maxsize=4096)
def _changes_of(clock: ZoneClock, year: int) -> tuple[Stretch, ...]:
    """The stretches that begin with a change of the clock in the UTC `year`."""
    # the data lists changes up to 2086; from then on they follow a rule of the calendar
    twin = _twins().get(kind_of(year), year) if year > _FIRST_TWIN else year
    if twin != year:
        shift = (date(year, 1, 1) - date(twin, 1, 1)).days * DAY
        return tuple(
            Stretch(s.start + shift, s.end + shift, s.offset, s.before)
            for s in _changes_of(clock, twin)
        )
    start = (date(year, 1, 1).toordinal() - 1) * DAY
    return tuple(clock.changes(start, date(year, 12, 31).toordinal() * DAY))


_FIRST_TWIN = 2101
"""The first year whose changes all follow a rule of the calendar."""


@lru_cache(maxsize=10_000)
def kind_of(year: int) -> tuple[int, bool, bool, bool]:
    """What the calendar is like in `year` and the two beside it: the weekday on which it begins,
    and which of them are leap years. There are 28 kinds, in every 400 years."""
    return date(year, 1, 1).weekday(), isleap(year - 1), isleap(year), isleap(year + 1)


EVERY_KIND = 40
"""So many years in a row have a year of every kind, wherever they begin."""


@lru_cache(maxsize=1)
def years_by_kind() -> tuple[int, ...]:
    """For each kind of year, the years from 1 to 9999 that are of it, as bits."""
    cycle: dict[tuple[int, bool, bool, bool], int] = {}
    for year in range(1, 401):
        cycle[kind_of(year)] = cycle.get(kind_of(year), 0) | 1 << year
    repeat = sum(1 << start for start in range(0, 9999, 400))
    return tuple(years * repeat & (1 << 10_000) - 1 for years in cycle.values())


@lru_cache(maxsize=1)
def _twins() -> dict[tuple[int, bool, bool, bool], int]:
    """Of each kind of year, the first one after the tables."""
    return {kind_of(year): year for year in range(_FIRST_TWIN + 400, _FIRST_TWIN - 1, -1)}
