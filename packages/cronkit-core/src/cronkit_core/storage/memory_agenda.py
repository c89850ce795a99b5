"""What is due when, by priority: the index of the memory storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from heapq import heappop, heappush

Entry = tuple[datetime, int]
GroupOf = Callable[[int, datetime, int], str | bool | None]


class Agenda:
    """What is due when: a heap of (instant, id) for each priority, whose stale entries are dropped
    when they come up. `group_of` gives the group of (id, instant, priority), or False when that no
    longer stands."""

    def __init__(self, group_of: GroupOf) -> None:
        self._group_of = group_of
        self._heaps: dict[int, list[Entry]] = {}

    @property
    def priorities(self) -> set[int]:
        return set(self._heaps)

    def add(self, at: datetime, key: int, priority: int) -> None:
        heappush(self._heaps.setdefault(priority, []), (at, key))

    def first(self, full_groups: Sequence[str]) -> datetime | None:
        found = [at for p in self._heaps for at, _ in self._take(p, None, 1, full_groups)]
        return min(found, default=None)

    def due(
        self, priority: int, now: datetime, limit: int, full_groups: Sequence[str]
    ) -> list[int]:
        return [key for _, key in self._take(priority, now, limit, full_groups)]

    def _take(
        self, priority: int, now: datetime | None, limit: int, full: Sequence[str]
    ) -> list[Entry]:
        """The first `limit` entries that stand, up to `now`. They stay in the heap."""
        heap = self._heaps.get(priority, [])
        taken: list[Entry] = []
        kept: dict[Entry, None] = {}
        while heap and len(taken) < limit and (now is None or heap[0][0] <= now):
            entry = heappop(heap)
            at, key = entry
            group = self._group_of(key, at, priority)
            if group is False or entry in kept:
                continue
            kept[entry] = None
            if group not in full:
                taken.append(entry)
        for entry in kept:
            heappush(heap, entry)
        return taken
