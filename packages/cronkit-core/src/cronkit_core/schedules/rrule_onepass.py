"""Rules whose wall times mean one instant each: FREQ=DAILY and above."""

from __future__ import annotations

from collections.abc import Iterator

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
from ._years import Piece
from .rrule_expand import Chunk, Count, Plan
from .rrule_slots import (
    DRIFT,
    FIRST,
    LAST,
    NOW,
    PATIENCE,
    SPARSE,
    Following,
    Slots,
    first_pass,
)


class OnePass(Slots):
    """One instant for each wall time, the first pass in an overlap."""

    def __init__(
        self, plan: Plan, clock: ZoneClock, start: int, until: int | None, count: int | None
    ) -> None:
        super().__init__(plan, clock, start, until, count)
        self._end = END

    def _wall_after(self, wall: int) -> int | None:
        if wall >= self._end:
            return None
        found = self.plan.next(max(wall, self.start))
        return found if found is not None and found < self._end else None

    def _wall_before(self, wall: int) -> int | None:
        if wall <= self.start:
            return None
        found = self.plan.previous(min(wall, self._end))
        return found if found is not None and found >= self.start else None

    def _count_walls(self, start: int, end: int) -> int:
        return self.plan.count(max(start, self.start), min(end, self._end))

    def reaches(self, wall: int, instant: int) -> bool:
        return super().reaches(wall, instant) and wall < self._end

    @property
    def _last(self) -> int:
        return min(self._until, self._end)

    def _shown(self, stretch: Stretch) -> list[Piece]:
        offset = stretch.offset
        first = max(stretch.start + max(offset, stretch.before), self.start)
        return [Piece(first, min(stretch.end + offset, self._end), offset)]

    @staticmethod
    def _passed(instant: int, stretch: Stretch) -> int:
        """Up to where wall times had their first pass when `instant`, in `stretch`, has passed."""
        return max(instant + stretch.offset, stretch.start + stretch.before - 1) + 1

    def _chunks(self, instant: int, end: int) -> Iterator[Chunk]:
        slot = self._next_within(instant, end)
        while slot is not None:
            following = self._next_within(slot + 1, end)
            if following is None or following - slot > SPARSE:
                yield slot, NOW
                slot = following
                continue
            instant, empty = slot, 0
            for stretch in long_stretches(self.clock, instant):
                offset, start = stretch.offset, stretch.start
                clear = self._clear(stretch, instant)
                while instant < clear:
                    # what comes from the gap is interleaved with what follows it
                    slot = self._next(instant)
                    if slot is None or slot >= min(clear, end):
                        instant = clear
                        break
                    yield slot, NOW
                    instant = slot + 1
                first = max(instant + offset, start + stretch.before, self.start)
                instant = min(stretch.end, end)
                empty += 1
                for base, offsets in self.plan.chunks(first, min(instant + offset, self._end)):
                    yield base - offset, offsets
                    empty = 0
                if empty == PATIENCE or instant >= end:
                    break
            slot = self._next_within(instant, end)

    def _clear(self, stretch: Stretch, instant: int) -> int:
        """Up to when wall times of the gap that `stretch` begins with come from `instant` on."""
        return stretch.start


class Shifted(OnePass):
    """In a gap a wall time has the offset before it, and two wall times may mean one instant. COUNT
    counts wall times."""

    def _counted(self) -> tuple[int, Following, Count]:
        return self.start, self.plan.next, self.plan.count

    def _nth(self, start: int, following: Following, count: Count) -> int | None:
        return self.plan.nth(start, self._count)

    def _shown(self, stretch: Stretch) -> list[Piece]:
        # the gap before the stretch, shown with the offset before it
        first, stop = stretch.start + stretch.before, stretch.start + stretch.offset
        gap = Piece(max(first, self.start), min(stop, self._end), stretch.before)
        return [*super()._shown(stretch), gap]

    def _end_at(self, last: int) -> None:
        self._end = last + 1

    def _clear(self, stretch: Stretch, instant: int) -> int:
        gap = stretch.start + stretch.offset
        found = (
            self._wall_after(instant + stretch.before) if stretch.before < stretch.offset else None
        )
        return stretch.start if found is None or found >= gap else gap - stretch.before

    def _next(self, instant: int) -> int | None:
        clock = self.clock
        offset = clock.calm[instant >> BLOCK]
        shifted: int | None = None
        if offset is None:
            stretch = clock.stretch(instant)
            offset = stretch.offset
            wall = max(instant + offset, stretch.start + stretch.before)
            if instant + stretch.before < stretch.start + offset:
                found = self._wall_after(instant + stretch.before)
                if found is not None and found < stretch.start + offset:
                    shifted = found - stretch.before
        else:
            wall = instant + offset
        found = self._wall_after(wall)
        if found is None:
            return shifted
        if clock.calm[found - offset >> BLOCK] == offset:
            first = found - offset
        else:
            first = self._first_of(found)
        return first if shifted is None else min(first, shifted)

    def _first_of(self, wall: int) -> int:
        """The first slot of `wall`, a wall time of the rule, and of those after it."""
        stretch = wall_stretch(self.clock, wall)
        if stretch is None:
            return END
        after = stretch.start + stretch.offset
        if wall >= after or stretch.start == 0:
            return wall - stretch.offset
        shifted = wall - stretch.before
        found = self._wall_after(after)
        return shifted if found is None else min(shifted, found - stretch.offset)

    def _previous(self, instant: int) -> int | None:
        instant -= 1
        if instant < 0:
            return None
        stretch = self.clock.stretch(instant)
        start = stretch.start
        found = self._wall_before(self._passed(instant, stretch))
        if found is None:
            return None
        if found >= start + max(stretch.offset, stretch.before):
            candidate = self._shifted_before(instant, stretch)
            return (
                found - stretch.offset
                if candidate is None
                else max(found - stretch.offset, candidate)
            )
        if found >= start + stretch.before:
            # all of the gap, or the part of it that comes before `instant`
            candidate = self._shifted_before(instant, stretch)
            if candidate is not None:
                return candidate
            found = self._wall_before(start + stretch.before)
            if found is None:
                return None
        earlier = wall_stretch(self.clock, found)
        assert earlier is not None
        last = first_pass(self.clock, found)
        if found >= earlier.start + earlier.offset:
            candidate = self._shifted_before(LAST, earlier)
            if candidate is not None:
                last = max(last, candidate)
        return last if last >= 0 else None

    def _shifted_before(self, instant: int, stretch: Stretch) -> int | None:
        """The last slot, not after `instant`, of a wall time in the gap that `stretch` begins
        with."""
        gap = stretch.start + stretch.before
        if gap >= stretch.start + stretch.offset:
            return None
        found = self._wall_before(min(stretch.start + stretch.offset, instant + stretch.before + 1))
        return found - stretch.before if found is not None and found >= gap else None

    def _count_between(self, instant: int, end: int) -> int:
        low, before = self._walls_until(instant - 1)
        high, after = self._walls_until(end - 1)
        total = self._count_walls(low, high) + before - after
        if not self.plan.may_repeat(DAY // 24):
            # then two may only be a whole day apart, and no yearly rule skips a day
            end = min(end, TABLES_END)
        for change in clock_changes(self.clock, instant - DRIFT, end):
            shift = change.offset - change.before
            if shift > 0 and self.plan.may_repeat(shift):
                total -= self._repeats(change, instant, end)
        return total

    def _walls_until(self, instant: int) -> tuple[int, int]:
        """Up to where wall times mean an instant not after `instant`, and how many of these do not
        because they come from a gap."""
        if instant < 0:
            return 0, 0
        stretch = self.clock.stretch(instant)
        waiting = self._count_walls(instant + stretch.before + 1, stretch.start + stretch.offset)
        return self._passed(instant, stretch), waiting

    def _repeats(self, change: Stretch, instant: int, end: int) -> int:
        """How many slots from `instant` to before `end` two wall times mean: one in the gap, and
        one that is not."""
        shift = change.offset - change.before
        low = max(change.start + change.before, instant + change.before, self.start)
        high = min(change.start + change.offset, end + change.before, self._end - shift)
        return sum(
            base + second + shift in self.plan
            for base, offsets in self.plan.chunks(low, high)
            for second in offsets.seconds
        )


class Skipped(OnePass):
    """A wall time in a gap is none (RFC 5545 section 3.3.10). COUNT counts the others."""

    def _counted(self) -> tuple[int, Following, Count]:
        start = max(first_pass(self.clock, self.start) - DRIFT, FIRST)
        return start, self._next, self._count_between

    def _next(self, instant: int) -> int | None:
        clock = self.clock
        stretch = clock.stretch(instant)
        found = self._wall_after(max(instant + stretch.offset, stretch.start + stretch.before))
        barren = max(instant, self.start, TABLES_END) + self.plan.cycle()
        while found is not None and found <= barren:
            shown = wall_stretch(clock, found)
            if shown is None:
                return None
            after = shown.start + shown.offset
            if found >= after or shown.start == 0:
                return found - shown.offset
            found = self._wall_after(after)
        return None

    def _previous(self, instant: int) -> int | None:
        instant -= 1
        if instant < 0:
            return None
        found = self._wall_before(self._passed(instant, self.clock.stretch(instant)))
        barren = instant - self.plan.cycle()
        while found is not None:
            if TABLES_END < found < barren:
                found = self._wall_before(TABLES_END)
                continue
            stretch = wall_stretch(self.clock, found)
            assert stretch is not None
            if found >= stretch.start + stretch.offset or stretch.start == 0:
                return found - stretch.offset if found >= stretch.offset else None
            found = self._wall_before(stretch.start + stretch.before)
        return None

    def _count_between(self, instant: int, end: int) -> int:
        clock = self.clock
        low = self._passed(instant - 1, clock.stretch(instant - 1)) if instant > 0 else 0
        total = self._count_walls(low, self._passed(end - 1, clock.stretch(end - 1)))
        for change in clock_changes(clock, instant, end):
            total -= self._count_walls(change.start + change.before, change.start + change.offset)
        return total
