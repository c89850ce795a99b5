"""What several rules name together, with dates added and with rules and dates taken out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge

from ._local import END
from ._parts import AnyOf, Both, Not
from ._years import Paper, Spans
from .rrule_expand import Chunk
from .rrule_slots import Slots

_PATIENCE = 32  # excluded slots in a row before the search looks at the paper


class SlotSet:
    """The slots of `rules` and at `dates` that no rule of `exrules` names, and that are not at
    `exdates` and not in `exspans`. Dates are ascending instants, spans disjoint and in order."""

    __slots__ = ("_dates", "_exdates", "_exrules", "_exspans", "_paper", "_rules", "plain")

    def __init__(
        self,
        rules: Sequence[Slots],
        exrules: Sequence[Slots],
        dates: Sequence[int],
        exdates: Sequence[int],
        exspans: Sequence[tuple[int, int]],
    ) -> None:
        self._rules = rules
        self._exrules = exrules
        self._dates = dates
        self._exdates = exdates
        self._exspans = exspans
        self._paper: Paper | None = None
        self.plain: Slots | None = None
        """The only rule, where there is nothing else."""
        if len(rules) == 1 and not (exrules or dates or exdates or exspans):
            self.plain = rules[0]

    def next(self, at: int) -> int | None:
        """The first slot that is not before `at`."""
        if self.plain is not None:
            return self.plain.next(at)
        misses = 0
        while (found := self._next_named(at)) is not None:
            clear = self._clear_after(found)
            if clear == found:
                return found
            at = clear
            misses += 1
            if misses == _PATIENCE:
                return self.paper().first_from(at)
        return None

    def previous(self, at: int) -> int | None:
        """The last slot that is before `at`."""
        if self.plain is not None:
            return self.plain.previous(at)
        misses = 0
        while (found := self._previous_named(at)) is not None:
            clear = self._clear_before(found)
            if clear == found:
                return found
            at = clear + 1
            misses += 1
            if misses == _PATIENCE:
                return self.paper().last_before(at)
        return None

    def paper(self) -> Paper:
        """The slots year by year."""
        if self._paper is None:
            dates = Spans((at, at + 1) for at in self._dates)
            out = Spans([*self._exspans, *((at, at + 1) for at in self._exdates)])
            named = AnyOf([*(slots.paper() for slots in self._rules), dates])
            self._paper = Both([named, Not([*(slots.paper() for slots in self._exrules), out])])
        return self._paper

    def _next_named(self, at: int) -> int | None:
        found = [slot for slots in self._rules if (slot := slots.next(at)) is not None]
        i = bisect_left(self._dates, at)
        if i < len(self._dates):
            found.append(self._dates[i])
        return min(found, default=None)

    def _previous_named(self, at: int) -> int | None:
        found = [slot for slots in self._rules if (slot := slots.previous(at)) is not None]
        i = bisect_left(self._dates, at)
        if i:
            found.append(self._dates[i - 1])
        return max(found, default=None)

    def _clear_after(self, at: int) -> int:
        """`at` where nothing takes it out; else a later instant before which everything is."""
        span = self._span_at(at)
        if span is not None:
            return span[1]
        if self._dropped(at):
            return at + 1
        return next((slots.run(at)[1] for slots in self._exrules if slots.next(at) == at), at)

    def _clear_before(self, at: int) -> int:
        """`at` where nothing takes it out; else an earlier instant after which everything is."""
        span = self._span_at(at)
        if span is not None:
            return span[0] - 1
        if self._dropped(at):
            return at - 1
        return next((slots.run(at)[0] - 1 for slots in self._exrules if slots.next(at) == at), at)

    def _span_at(self, at: int) -> tuple[int, int] | None:
        i = bisect_right(self._exspans, (at, END)) - 1
        return self._exspans[i] if i >= 0 and at < self._exspans[i][1] else None

    def drops(self, at: int) -> bool:
        """Whether an EXDATE takes `at` out, alone or with its day."""
        return self._dropped(at) or self._span_at(at) is not None

    def _dropped(self, at: int) -> bool:
        """Whether an EXDATE of a time takes `at` out."""
        i = bisect_left(self._exdates, at)
        return i < len(self._exdates) and self._exdates[i] == at

    def walk(self, start: int, end: int) -> Iterator[int]:
        """The slots from `start` to before `end`."""
        if not (self._exrules or self._exdates or self._exspans):
            yield from self._walk_named(start, end)
            return
        while start < end:
            misses = 0
            for found in self._walk_named(start, end):
                start = self._clear_after(found)
                if start == found:
                    misses = 0
                    yield found
                    continue
                misses += 1
                if start > found + 1 or misses == _PATIENCE:
                    break
            else:
                return
            slot = self.next(start)
            if slot is None:
                return
            start = slot

    def _walk_named(self, start: int, end: int) -> Iterator[int]:
        streams = [_flat(slots.chunks(start, end)) for slots in self._rules]
        if self._dates:
            low, high = bisect_left(self._dates, start), bisect_left(self._dates, end)
            streams.append(iter(self._dates[low:high]))
        if len(streams) == 1:
            return streams[0]
        return _distinct(merge(*streams))

    def count(self, start: int, end: int) -> int:
        """How many slots there are from `start` to before `end`."""
        if len(self._rules) > 1 or self._exrules:
            return self.paper().count(start, end)
        total = self._count_named(start, end)
        for low, high in self._exspans:
            total -= self._count_named(max(low, start), min(high, end))
        return total - sum(
            start <= at < end and self._span_at(at) is None and self._next_named(at) == at
            for at in self._exdates
        )

    def _count_named(self, start: int, end: int) -> int:
        if start >= end:
            return 0
        total = sum(slots.count(start, end) for slots in self._rules)
        for at in self._dates[bisect_left(self._dates, start) : bisect_left(self._dates, end)]:
            total += all(slots.next(at) != at for slots in self._rules)
        return total


def _flat(chunks: Iterator[Chunk]) -> Iterator[int]:
    for base, offsets in chunks:
        for second in offsets.seconds:
            yield base + second


def _distinct(ascending: Iterable[int]) -> Iterator[int]:
    last = -1
    for item in ascending:
        if item != last:
            yield item
            last = item
