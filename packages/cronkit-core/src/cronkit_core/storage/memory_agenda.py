"""What is due when, by priority: the index of the memory storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from heapq import heappop, heappush


class Agenda:
    """What is due when: a heap for each priority, whose stale entries are dropped when they come
    up. `group_of` gives the group of an entry, or False when the entry no longer stands."""

    def __init__(self, group_of: Callable[[int, datetime], str | bool | None]) -> None:
        self._group_of = group_of
        self._heaps: dict[int, list[tuple[datetime, int]]] = {}

    @property
    def priorities(self) -> set[int]:
        return set(self._heaps)

    def add(self, at: datetime, key: int, priority: int) -> None:
        heappush(self._heaps.setdefault(priority, []), (at, key))

    def first(self, full_groups: Sequence[str]) -> datetime | None:
        found = [
            entries[0][0]
            for heap in self._heaps.values()
            if (entries := self._take(heap, None, 1, full_groups))
        ]
        return min(found, default=None)

    def due(
        self, priority: int, now: datetime, limit: int, full_groups: Sequence[str]
    ) -> list[int]:
        entries = self._take(self._heaps.get(priority, []), now, limit, full_groups)
        return [key for _, key in entries]

    def _take(
        self,
        heap: list[tuple[datetime, int]],
        now: datetime | None,
        limit: int,
        full: Sequence[str],
    ) -> list[tuple[datetime, int]]:
        """The first `limit` entries that stand, up to `now`. They stay in the heap."""
        taken: list[tuple[datetime, int]] = []
        kept: dict[tuple[datetime, int], None] = {}
        while heap and len(taken) < limit and (now is None or heap[0][0] <= now):
            entry = heappop(heap)
            at, key = entry
            group = self._group_of(key, at)
            if group is False or entry in kept:
                continue
            kept[entry] = None
            if group not in full:
                taken.append(entry)
        for entry in kept:
            heappush(heap, entry)
        return taken
