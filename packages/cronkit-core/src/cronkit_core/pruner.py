"""Deletes history that is not to be kept, some tasks' at a time."""

from __future__ import annotations

from datetime import timedelta

from .clock import Clock
from .definition import DEFAULTS, decode_leniently
from .storage.base import Retention, Storage, TaskQuery
from .tasks import TaskRecord

TASKS_AT_ONCE = 100
ROWS_AT_ONCE = 1_000


class Pruner:
    """Goes round and round all names that have a history. `keep_runs` and `keep_for` (seconds) hold
    for tasks that say nothing else."""

    def __init__(
        self, storage: Storage, clock: Clock, keep_runs: int | None, keep_for: float | None
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._keep_runs = keep_runs
        self._keep_for = keep_for
        self._up_to = ""

    async def prune_some(self) -> bool:
        """Prune the next tasks' history; the answer is whether they have more to be pruned.

        No transaction of this is long: each reads a bounded number of tasks and deletes a bounded
        number of rows.
        """
        names = await self._storage.names_with_history(self._up_to, TASKS_AT_ONCE)
        if names:
            records = {r.name: r for r in await self._storage.tasks(TaskQuery(names=names))}
            retentions = [self._retention(name, records.get(name)) for name in names]
            if await self._storage.prune(retentions, ROWS_AT_ONCE) >= ROWS_AT_ONCE:
                return True
        self._up_to = names[-1] if len(names) == TASKS_AT_ONCE else ""
        return False

    def _retention(self, name: str, record: TaskRecord | None) -> Retention:
        policies = DEFAULTS if record is None else decode_leniently(record).policies
        keep = self._keep_runs if policies.keep_runs is None else policies.keep_runs
        seconds = self._keep_for if policies.keep_for is None else policies.keep_for
        before = None if seconds is None else self._clock.now() - timedelta(seconds=seconds)
        return Retention(name, keep, before)
