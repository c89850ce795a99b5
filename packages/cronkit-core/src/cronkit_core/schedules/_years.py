"""Schedules year by year, as sheets (see `_sheet`): what lets a search jump over all that is taken
out, at once and however long that is, and end with a proof.

A leaf is one rule and writes its own sheets; the others are made of parts. A leaf also says, as a
`key`, all that a year's sheet depends on: the weekday that the year begins on, whether it is a leap
year, where in it the clock changes, where an interval stands. Years with the same key have the same
sheet, which is made once; and as there are few, a search through all years of a 400-year cycle is
short. That none of them has a slot proves that there is none.

Seconds are counted from 0001-01-01 00:00 UTC, as in `_local`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Sequence
from datetime import date
from functools import lru_cache
from math import gcd
from typing import NamedTuple, Protocol

from . import _sheet
from ._local import (
    DAY,
    END,
    EVERY_KIND,
    FIRST_CHANGING,
    TABLES_END,
    Stretch,
    ZoneClock,
    clock_changes,
    kind_of,
)
from ._sheet import ALL_TIMES, EMPTY, Sheet

FIRST_YEAR, LAST_YEAR = 1, 9999
CYCLE_YEARS, CYCLE_DAYS = 400, 146_097

_KEPT = 400  # how many groups of sheets are kept, of about 10 kB each
_KEYS = 1024  # how many keys are kept: more than a search for a proof needs
_DRIFT = 2  # days; wall times and instants are less than this apart
_CHANGING = (FIRST_CHANGING, date.fromordinal(TABLES_END // DAY + 1).year)
"""The years in which zones have changes that follow no rule of the calendar."""

_LEAP_YEARS = 8
"""So many years in a row have a leap year and another: all there is where all days are alike."""

MOST_YEARS = CYCLE_YEARS
"""How many years without a slot are looked at. Intervals that 400 years are no multiple of have a
longer period, of up to all years; to write down so many different ones would take minutes."""

Years = tuple[int, int]
NEVER: Years = (LAST_YEAR, FIRST_YEAR)


@lru_cache(maxsize=512)
def year_start(year: int) -> int:
    """The first day of `year`, from 0; that of 10000 is where the calendar ends."""
    return END // DAY if year > LAST_YEAR else date(year, 1, 1).toordinal() - 1


def year_of(second: int) -> int:
    """The year that `second` is in."""
    return date.fromordinal(second // DAY + 1).year


class _Kept(dict[Hashable, Sheet]):
    """Sheets that may be wanted again, up to a size."""

    def __init__(self) -> None:
        self._size = 0

    def put(self, key: Hashable, sheet: Sheet) -> Sheet:
        self._size += 1 + len(sheet)
        if self._size > _KEPT:
            self.clear()
            self._size = 1 + len(sheet)
        self[key] = sheet
        return sheet


class Paper(ABC):
    """A schedule that is written down year by year."""

    period: int = CYCLE_YEARS
    """After how many years it repeats, but for what is `special`."""

    seconds: int = 0
    """After how many seconds it repeats, but for what is `special`; 0 where only years tell."""

    special: Years = NEVER
    """The first and the last year in which something is other than the repeating rule."""

    by_kind: bool = False
    """Whether a year's sheet depends on its kind alone, both before what is `special` and after."""

    def __init__(self) -> None:
        self._kept = _Kept()
        self._empty: set[int] = set()

    @property
    def outline(self) -> Paper:
        """A paper that has at least its slots and is written sooner, as its years are alike; itself
        where there is none."""
        return self

    def sheet(self, year: int) -> Sheet:
        """Its slots in `year`."""
        if self.outline is not self and not self.outline.sheet(year):
            return EMPTY  # and no look at a year that may be like no other
        first, last = self.special
        ordinary = (year < first or year > last) and FIRST_YEAR < year < LAST_YEAR
        # what was before something special may be other than what is after it
        by_kind = self.by_kind and ordinary
        key = (kind_of(year), year > last) if by_kind else self.key(year)
        found = self._kept.get(key)
        return self._kept.put(key, self._write(year)) if found is None else found

    @abstractmethod
    def key(self, year: int) -> Hashable:
        """All that the sheet of `year` depends on."""

    @abstractmethod
    def _write(self, year: int) -> Sheet: ...

    @property
    def _enough(self) -> int:
        """In how many whole years in a row it shows all that it has, but for what is `special`; or
        is taken to, where its years are all different."""
        years = min(self.period, EVERY_KIND if self.by_kind else MOST_YEARS)
        return min(self.seconds // (365 * DAY) + 1, years) if self.seconds else years

    def first_from(self, second: int, stop: int = END) -> int | None:
        """The first slot that is not before `second`; None or a later one where there is none
        before `stop`."""
        if second >= stop:
            return None
        second = max(second, 0)
        if self.outline is not self:
            found = self.outline.first_from(second, stop)
            if found is None:
                return None
            second = found
        year = year_of(second)
        # a whole period without a slot, of years with nothing special, proves that none comes; of
        # MOST_YEARS of a longer period that is taken for granted
        last = min(max(year, self.special[1]) + self._enough, year_of(stop - 1))
        while year <= last:
            if year not in self._empty:
                start, sheet = year_start(year) * DAY, self.sheet(year)
                found = _sheet.first_from(sheet, second - start)
                if found is not None:
                    return start + found
                if not sheet:
                    self._empty.add(year)
            year += 1
        return None

    def last_before(self, second: int, start: int = 0) -> int | None:
        """The last slot that is before `second`; None or an earlier one where there is none from
        `start` on."""
        if second <= start:
            return None
        second = min(second, END)
        if self.outline is not self:
            found = self.outline.last_before(second, start)
            if found is None:
                return None
            second = found + 1
        year = asked = year_of(second - 1)
        begin, end = self.special
        enough, first_year = self._enough, year_of(max(start, 0))
        while year >= first_year:
            if year not in self._empty:
                first, sheet = year_start(year) * DAY, self.sheet(year)
                found = _sheet.last_before(sheet, second - first)
                if found is not None:
                    return first + found
                if not sheet:
                    self._empty.add(year)
            if end < year == asked - enough:
                year = end + 1  # nor has any other year after the last special one
            elif year == min(begin, asked) - enough - 1:
                return None
            year -= 1
        return None

    def count(self, first: int, stop: int) -> int:
        """How many slots there are from `first` to before `stop`."""
        first, stop = max(first, 0), min(stop, END)
        total = 0
        if first < stop:
            for year in range(year_of(first), year_of(stop - 1) + 1):
                start = year_start(year) * DAY
                total += _sheet.count(self.sheet(year), first - start, stop - start)
        return total


class Piece(NamedTuple):
    """The wall times from `first` to before `stop`, on a clock that is `offset` ahead of UTC."""

    first: int
    stop: int
    offset: int


class Walls(Protocol):
    """Wall times, of which those of each year are known as a sheet."""

    def year_key(self, year: int) -> Hashable:
        """All that the sheet of `year` depends on."""

    def year_sheet(self, year: int) -> Sheet:
        """The wall times in `year`."""

    @property
    def year_period(self) -> int:
        """After how many years the wall times repeat, but for `year_special`."""

    @property
    def year_special(self) -> Years:
        """The first and the last year that do not follow the period."""

    @property
    def year_by_kind(self) -> bool:
        """Whether a year's wall times depend on its kind alone, but for `year_special`."""

    @property
    def year_outline(self) -> Walls:
        """Walls with at least these wall times, of which years are alike; themselves where there
        are none."""


class Pieces(Protocol):
    """How the wall times of a rule become instants."""

    def __call__(
        self, stretches: Sequence[Stretch], begin: int, end: int
    ) -> tuple[list[Piece], list[int]]:
        """What of the wall times is shown from `begin` to before `end`, an instant each: as pieces
        that may reach beyond that; and instants that are slots besides. `stretches` are those of
        that time, and the ones that began up to two days before."""


class OnClock(Paper):
    """A rule about the wall clock of a zone."""

    def __init__(
        self, walls: Walls, clock: ZoneClock, pieces: Pieces, special: Years = NEVER
    ) -> None:
        """`special`: the years in which the rule begins or ends."""
        super().__init__()
        self._walls = walls
        self._clock = clock
        self._pieces = pieces
        self.period = walls.year_period
        self.by_kind = walls.year_by_kind
        first, last = hull([walls.year_special, special, NEVER if clock.fixed else _CHANGING])
        if first <= last:
            # the days next to a year are in its sheet, too
            self.special = max(first - 1, FIRST_YEAR), min(last + 1, LAST_YEAR)
        self._keys: dict[int, Hashable] = {}
        self._wall_sheets = _Kept()
        self._outline: Paper = self
        if walls.year_outline is not walls:
            self._outline = OnClock(walls.year_outline, clock, pieces, special)

    @property
    def outline(self) -> Paper:
        return self._outline

    def key(self, year: int) -> Hashable:
        found = self._keys.get(year)
        if found is None:
            if len(self._keys) >= _KEYS:
                self._keys.clear()
            found = self._keys[year] = self._key(year)
        return found

    def _key(self, year: int) -> Hashable:
        walls = self._walls
        if self._clock.fixed:
            return walls.year_key(year), self._in(year)
        around = [y for y in (year - 1, year, year + 1) if FIRST_YEAR <= y <= LAST_YEAR]
        return year - around[0], *map(walls.year_key, around), self._in(year)

    def _in(self, year: int) -> tuple[tuple[Piece, ...], tuple[int, ...], int]:
        """The pieces of `year`, the instants besides, and the year's length, all in seconds from
        its start."""
        begin, end = year_start(year) * DAY, year_start(year + 1) * DAY
        pieces, instants = self._pieces(stretches_of(self._clock, year), begin, end)
        return (
            tuple(Piece(first - begin, stop - begin, offset) for first, stop, offset in pieces),
            tuple(at - begin for at in instants),
            end - begin,
        )

    def _write(self, year: int) -> Sheet:
        pieces, instants, length = self._in(year)
        sheet = EMPTY
        walls = self._around(year)
        for first, stop, offset in pieces:
            days, by = divmod(offset, DAY)
            window = _sheet.span(max(first - offset, 0), min(stop - offset, length))
            for part in _sheet.moved(walls, by):
                # bit 0 stands for the first of the days before the year
                placed = tuple((group >> _DRIFT + days, times) for group, times in part)
                sheet = _sheet.union(sheet, _sheet.intersection(placed, window))
        for at in instants:
            if 0 <= at < length:
                sheet = _sheet.union(sheet, _sheet.span(at, at + 1))
        return sheet

    def _around(self, year: int) -> Sheet:
        """The wall times of `year` and of two days before and after it, from the first of these
        days on."""
        start, end = year_start(year), year_start(year + 1)
        groups = [(days << _DRIFT, times) for days, times in self._shown(year)]
        if not self._clock.fixed and year > FIRST_YEAR:
            before = start - year_start(year - 1) - _DRIFT
            groups += [(days >> before, times) for days, times in self._shown(year - 1)]
        if not self._clock.fixed and year < LAST_YEAR:
            after = _DRIFT + end - start
            some = (1 << _DRIFT) - 1
            groups += [((days & some) << after, times) for days, times in self._shown(year + 1)]
        return _sheet.collected(groups)

    def _shown(self, year: int) -> Sheet:
        """The wall times of `year`."""
        key = self._walls.year_key(year)
        found = self._wall_sheets.get(key)
        if found is None:
            found = self._wall_sheets.put(key, self._walls.year_sheet(year))
        return found


def hull(several: Iterable[Years]) -> Years:
    """From the first to the last of all those years."""
    firsts, lasts = zip(NEVER, *several, strict=True)
    return min(firsts), max(lasts)


@lru_cache(maxsize=4096)
def stretches_of(clock: ZoneClock, year: int) -> tuple[Stretch, ...]:
    """The stretches of `year` (UTC) and of the two days before it, each to the next change of the
    clock."""
    begin, end = max(year_start(year) - _DRIFT, 0) * DAY, year_start(year + 1) * DAY
    if clock.fixed:
        offset = clock.offset_at(begin)
        return (Stretch(begin, end, offset, offset),)
    changes = list(clock_changes(clock, begin, end))
    offset = changes[0].before if changes else clock.offset_at(begin)
    found = [Stretch(begin, end, offset, offset), *changes]
    ends = [change.start for change in changes]
    return tuple(s._replace(end=e) for s, e in zip(found, [*ends, end], strict=True))


class Every(Paper):
    """Every so many seconds, from some second on and before it, too."""

    def __init__(self, step: int, phase: int) -> None:
        super().__init__()
        self._step = step
        self._phase = phase
        self.seconds = step
        self.by_kind = 7 * DAY % step == 0
        if DAY % step == 0:
            self.period = _LEAP_YEARS
        else:
            self.period = CYCLE_YEARS * step // gcd(step, CYCLE_DAYS * DAY)
        common = gcd(step, DAY)
        # from day to day the times shift by a multiple of what step and day have in common
        self._outline = self if common == step else Every(common, phase % common)

    @property
    def outline(self) -> Paper:
        return self._outline

    def key(self, year: int) -> Hashable:
        start = year_start(year)
        return (self._phase - start * DAY) % self._step, year_start(year + 1) - start

    def _write(self, year: int) -> Sheet:
        step, days = self._step, year_start(year + 1) - year_start(year)
        first = (self._phase - year_start(year) * DAY) % step
        if DAY % step == 0:
            return (((1 << days) - 1, _sheet.times_every(step, first)),)
        if step > DAY:
            on = [divmod(second, DAY) for second in range(first, days * DAY, step)]
            return _sheet.collected(grouped((1 << day, second) for day, second in on))
        days_with: dict[int, int] = {}
        for day in range(days):
            second = (first - day * DAY) % step
            days_with[second] = days_with.get(second, 0) | 1 << day
        return _sheet.collected(
            (group, _sheet.times_every(step, second)) for second, group in days_with.items()
        )


def grouped(singles: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Groups of what is given as days and one second each."""
    days_with: dict[int, int] = {}
    for days, second in singles:
        days_with[second] = days_with.get(second, 0) | days
    return [(days, 1 << second) for second, days in days_with.items()]


class Spans(Paper):
    """Every second of some spans, each from one second to before another."""

    period = _LEAP_YEARS
    seconds = 1
    by_kind = True

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        super().__init__()
        merged: list[tuple[int, int]] = []
        for first, stop in sorted((max(a, 0), min(b, END)) for a, b in spans):
            if first < stop and merged and first <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], stop)
            elif first < stop:
                merged.append((first, stop))
        self._firsts = [first for first, _ in merged]
        self._stops = [stop for _, stop in merged]
        # Before the first of these instants and after the last, all years are alike. So are those
        # in which a span reaches to an end of the calendar from as far away as clocks differ.
        edges = [at for at in (*self._firsts, *self._stops) if DAY < at < END - DAY]
        if edges:
            self.special = year_of(min(edges)), year_of(max(edges))

    def key(self, year: int) -> Hashable:
        return tuple(self._in(year)), year_start(year + 1) - year_start(year)

    def _in(self, year: int) -> list[tuple[int, int]]:
        begin, end = year_start(year) * DAY, year_start(year + 1) * DAY
        low, high = bisect_right(self._stops, begin), bisect_right(self._firsts, end - 1)
        return [
            (max(self._firsts[i], begin) - begin, min(self._stops[i], end) - begin)
            for i in range(low, high)
        ]

    def _write(self, year: int) -> Sheet:
        times_on: dict[int, int] = {}
        whole = 0
        for first, stop in self._in(year):
            for days, times in _sheet.span(first, stop):
                if times == ALL_TIMES:
                    whole |= days
                else:
                    times_on[days] = times_on.get(days, 0) | times
        return _sheet.collected([(whole, ALL_TIMES), *times_on.items()])
