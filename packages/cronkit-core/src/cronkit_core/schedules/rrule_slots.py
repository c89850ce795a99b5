"""From a rule's wall times to instants, in a zone and within the rule's start, COUNT and UNTIL.

Instants are seconds since 0001-01-01 00:00 UTC. How a wall time in a gap or an overlap is read is
one of three manners, each a class: `EachPass` here; `Shifted` and `Skipped` in rrule_onepass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from ._changes import change_days
from ._local import (
    BLOCK,
    DAY,
    END,
    TABLES_END,
    Stretch,
    ZoneClock,
    clock_changes,
    long_stretches,
    wall_stretch,
)
from ._years import OnClock, Paper, Piece, year_of
from .rrule_expand import Chunk, Count, Offsets, Plan, nth

FIRST, LAST = 0, END - 1

PATIENCE = 8  # stretches without a slot before iteration looks for the next one
SPARSE = 200 * DAY  # slots that are further apart are found faster one by one
NOW = Offsets([0])
_FEW = 48  # how many members are found one by one
_NEAR = 8  # how many, where they are slots
_TRIES = 4  # how often changes of the clock are made up for before all is searched
AHEAD = 8 * 366 * DAY  # how far beyond what is asked about COUNT is seen not to end

DRIFT = 2 * DAY
"""More than two offsets of a zone differ by."""


def first_pass(clock: ZoneClock, wall: int) -> int:
    """The first instant at which the clock shows `wall`; in a gap, that with the offset before it
    (RFC 5545 section 3.3.5). Out of the calendar's range where the instant is."""
    stretch = wall_stretch(clock, wall)
    if stretch is None:
        return END
    if wall < stretch.start + stretch.offset and stretch.start > 0:
        return wall - stretch.before
    return wall - stretch.offset


def count_changed(plan: Plan, clock: ZoneClock, first: int, days: int) -> int:
    """How many wall times changes of the clock show again, less those that they leave out, in so
    many days from `first` on."""
    total = 0
    for change, on in change_days(clock, first, days).items():
        found = plan.count_on(first + change.later, on, change.first, change.stop)
        total += found if change.again else -found
    return total


Following = Callable[[int], int | None]


class Slots(ABC):
    """The instants of one rule."""

    _weight: ClassVar[int] = 1
    """How many times as long it takes to find the next of what COUNT counts as on the wall."""

    def __init__(
        self, plan: Plan, clock: ZoneClock, start: int, until: int | None, count: int | None
    ) -> None:
        """`start` is a wall time, `until` an instant, the last that may be a slot."""
        self.plan = plan
        self.clock = clock
        self.start = start
        self._until = LAST if until is None else min(until, LAST)
        self._count = count or 0
        self.endless = count is None and until is None
        self._open = END if count is None else FIRST

    def next(self, instant: int) -> int | None:
        """The first slot that is not before `instant`."""
        instant = max(instant, FIRST)
        found = self._next(instant) if instant <= self._until else None
        if found is None or found > self._until:
            return None
        if found >= self._open:
            self._settle(found + 1)
            if self._open == END:  # then COUNT may have ended the slots before this one
                return self.next(instant)
        return found

    def previous(self, instant: int) -> int | None:
        """The last slot that is before `instant`."""
        self._settle(instant)
        return self._previous(min(instant, self._until + 1))

    def chunks(self, instant: int, end: int) -> Iterator[Chunk]:
        """The slots from `instant` to before `end`, in order."""
        self._settle(end)
        return self._chunks(max(instant, FIRST), min(end, self._until + 1))

    def count(self, instant: int, end: int) -> int:
        """How many slots there are from `instant` to before `end`."""
        first, last = self.next(instant), self.previous(end)
        if first is None or last is None or first > last:
            return 0
        return self._count_between(first, last + 1)

    def reaches(self, wall: int, instant: int) -> bool:
        """Whether `wall` is one of the rule's wall times, and neither it nor `instant` is before
        the rule's start or after its end."""
        self._settle(END)
        return wall >= self.start and instant <= self._until and wall in self.plan

    def run(self, slot: int) -> tuple[int, int]:
        """From where to before where, around `slot`, every second is a slot, as far as that is seen
        at once."""
        times = self.plan.same_times()
        offset = self.clock.calm[slot >> BLOCK]
        if times is None or offset is None:
            return slot, slot + 1
        second = (slot + offset) % DAY
        start, end = (slot - second + edge for edge in times.run(second, 1))
        return (
            start if self.next(start) == start else slot,
            end if self.next(end - 1) == end - 1 else slot + 1,
        )

    def paper(self) -> Paper:
        """The slots year by year."""
        self._settle(END)
        start = year_of(self.start)
        end = year_of(max(self._last, 0)) if self._last < LAST else start
        return OnClock(self.plan, self.clock, self._pieces, (min(start, end), max(start, end)))

    @property
    def _last(self) -> int:
        """The last wall time or instant, not less than where the slots end; LAST if they do not."""
        return self._until

    def _pieces(
        self, stretches: Sequence[Stretch], begin: int, end: int
    ) -> tuple[list[Piece], list[int]]:
        """As `_years.Pieces` has it."""
        found: list[Piece] = []
        for stretch in stretches:
            for first, stop, offset in self._shown(stretch):
                low, high = max(stretch.start, begin) + offset, min(self._until + 1, end) + offset
                if (first := max(first, low)) < (stop := min(stop, high)):
                    found.append(Piece(first, stop, offset))
        return found, []

    @abstractmethod
    def _shown(self, stretch: Stretch) -> list[Piece]:
        """The wall times that `stretch` shows as slots, before UNTIL cuts them."""

    def _next_within(self, instant: int, end: int) -> int | None:
        """The first slot from `instant` to before `end`."""
        slot = self._next(instant) if instant < end else None
        return slot if slot is not None and slot < end else None

    @abstractmethod
    def _next(self, instant: int) -> int | None: ...

    @abstractmethod
    def _previous(self, instant: int) -> int | None: ...

    @abstractmethod
    def _chunks(self, instant: int, end: int) -> Iterator[Chunk]: ...

    @abstractmethod
    def _count_between(self, instant: int, end: int) -> int: ...

    def _settle(self, instant: int) -> None:
        """Find out where COUNT ends the slots, unless that is for sure not before `instant`: mostly
        it is years away, and takes longer to find than the slot that is asked for."""
        if min(instant, END) <= self._open:
            return
        ahead = min(max(instant, FIRST) + AHEAD, END)
        # up to `ahead` the clock has shown no later wall time than this, and each twice at most
        wall = min(ahead + DRIFT, END)
        start, following, count = self._counted()
        if self._count * self._weight <= _FEW:
            last = step(following, start, self._count, wall)
            further = last is not None and last > wall
        else:
            days = max(wall - self.start, 0) // DAY + 2
            further = 2 * days * self.plan.most() < self._count or (
                2 * self.plan.count(self.start, wall) < self._count
            )
            some = not further and following(start) is not None
            last = self._nth(start, following, count) if some else None
        if further:
            self._open = ahead
            return
        if last is not None:
            self._end_at(last)
        self._open = END

    def _nth(self, start: int, following: Following, count: Count) -> int | None:
        """Where COUNT ends what is counted from `start` on."""
        # near where it ends on the wall, which is found without a look at the clock's changes
        number, about, missing = self._count, start, self._count
        for _ in range(_TRIES):
            wall = self.plan.nth(self.start, number)
            place = END if wall is None else min(max(first_pass(self.clock, wall), start), END)
            passed = count(about, place) if about < place else -count(place, about)
            about, missing = place, missing - passed
            if about == END and missing > 0:
                return None
            if 0 < missing <= _NEAR:
                return step(following, about, missing, END)
            number += missing - 1
        found = nth(count, start, self._count, END, DAY)
        return None if found is None else found[0]

    @abstractmethod
    def _counted(self) -> tuple[int, Following, Count]:
        """What COUNT counts: from where on, which is the first from an instant or wall time on, and
        how many there are from one to before another."""

    def _end_at(self, last: int) -> None:
        self._until = min(self._until, last)


def step(following: Following, start: int, number: int, end: int) -> int | None:
    """Where the member `number`, from 1, of a set lies from `start` on, where `following(a)` is the
    first that is not before a; or where the first one after `end` lies, if that comes before."""
    found = following(start)
    for _ in range(number - 1):
        if found is None or found > end:
            break
        found = following(found + 1)
    return found


class EachPass(Slots):
    """Every instant whose wall time fits: in both passes of an overlap, and none in a gap."""

    _weight = 4

    def __init__(
        self, plan: Plan, clock: ZoneClock, start: int, until: int | None, count: int | None
    ) -> None:
        super().__init__(plan, clock, start, until, count)
        self._from = max(first_pass(clock, start), FIRST)

    def _counted(self) -> tuple[int, Following, Count]:
        return self._from, self._next, self._count_between

    def _next(self, instant: int) -> int | None:
        plan, clock = self.plan, self.clock
        instant = max(instant, self._from)
        if instant > self._until:
            return None
        offset = clock.calm[instant >> BLOCK]
        if offset is not None:
            wall = plan.next(instant + offset)
            if wall is None:
                return None
            if clock.calm[wall - offset >> BLOCK] == offset:
                return wall - offset
            instant = max(instant, wall - offset - DRIFT)
        barren = max(instant, TABLES_END) + plan.cycle()
        while instant <= min(self._until, barren):
            stretch = clock.stretch(instant)
            offset = stretch.offset
            wall = plan.next(max(instant + offset, 0))
            if wall is not None and wall < stretch.end + offset:
                return wall - offset
            if instant + DRIFT > stretch.end:
                # a second pass may show what `instant` has passed
                instant = stretch.end
            elif wall is None:
                return None
            else:
                instant = max(stretch.end, wall - offset - DRIFT)
        return None

    def _previous(self, instant: int) -> int | None:
        plan, clock = self.plan, self.clock
        instant -= 1
        barren = instant - plan.cycle()
        while instant >= self._from:
            if TABLES_END < instant < barren:
                instant = TABLES_END
            stretch = clock.stretch(instant)
            offset = stretch.offset
            wall = plan.previous(instant + offset + 1)
            if wall is not None and wall >= stretch.start + offset:
                return wall - offset if wall - offset >= self._from else None
            if instant - DRIFT < stretch.start:
                # the first pass may show what is after `instant` on the wall
                instant = stretch.start - 1
            elif wall is None:
                return None
            else:
                instant = min(stretch.start - 1, wall - offset + DRIFT)
        return None

    def _shown(self, stretch: Stretch) -> list[Piece]:
        offset = stretch.offset
        return [Piece(max(stretch.start, self._from) + offset, stretch.end + offset, offset)]

    def _chunks(self, instant: int, end: int) -> Iterator[Chunk]:
        instant = max(instant, self._from)
        slot = self._next_within(instant, end)
        while slot is not None:
            following = self._next_within(slot + 1, end)
            if following is None or following - slot > SPARSE:
                yield slot, NOW
                slot = following
                continue
            instant, empty = slot, 0
            for stretch in long_stretches(self.clock, instant):
                offset, start = stretch.offset, instant
                instant = min(stretch.end, end)
                empty += 1
                for base, offsets in self.plan.chunks(start + offset, instant + offset):
                    yield base - offset, offsets
                    empty = 0
                if empty == PATIENCE or instant >= end:
                    break
            slot = self._next_within(instant, end)

    def _count_between(self, instant: int, end: int) -> int:
        instant = max(instant, self._from)
        if instant >= end:
            return 0
        first, last = self.clock.stretch(instant), self.clock.stretch(end - 1)
        total = self._count_walls(instant + first.offset, end + last.offset)
        # the days in which all changes are between, and the changes around them
        low, high = instant // DAY + 1, end // DAY
        if low < high:
            total += self._count_changes(instant + 1, low * DAY)
            total += count_changed(self.plan, self.clock, low, high - low)
            return total + self._count_changes(high * DAY, end)
        return total + self._count_changes(instant + 1, end)

    def _count_changes(self, instant: int, end: int) -> int:
        """How many slots changes of the clock add, less those that they take."""
        return sum(
            self._count_walls(change.start + change.offset, change.start + change.before)
            for change in clock_changes(self.clock, instant, end)
        )

    def _count_walls(self, start: int, end: int) -> int:
        if start <= end:
            return self.plan.count(max(start, 0), min(end, END))
        return -self.plan.count(max(end, 0), min(start, END))
