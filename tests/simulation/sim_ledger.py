"""What each transaction changed in the storage, found by comparing rows before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sim_storage import View

from cronkit_core import Run, Skip, Status
from cronkit_core.tasks import TaskRecord

if TYPE_CHECKING:
    from sim_link import Call

LIVE = (Status.PENDING, Status.RUNNING)
Key = tuple[str, datetime, int, bool]


class Violation(Exception):
    """A promise was broken. `code` says which, in a word or two."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


@dataclass(slots=True)
class Delta:
    """What one transaction changed."""

    call: Call
    time: float
    """The world's, in seconds."""
    tasks: list[tuple[TaskRecord | None, TaskRecord | None]] = field(default_factory=list)
    inserted: list[Run] = field(default_factory=list)
    changed: list[tuple[Run, Run]] = field(default_factory=list)
    deleted: list[Run] = field(default_factory=list)
    skips: list[tuple[Skip | None, Skip]] = field(default_factory=list)

    def lines(self, start: datetime, runs: Mapping[int, Run]) -> list[str]:
        """In words, without what two right storages may do differently: ids, revisions, and the
        order within a transaction. `runs` are those that there were before."""
        known = {**runs, **{run.id: run for run in self.inserted}}

        def said(at: datetime | None) -> str:
            return "-" if at is None else f"{(at - start).total_seconds():.6f}"

        def name(run: Run) -> str:
            return f"run {run.task_name} {said(run.slot)} {run.triggered_by}/{run.attempt}"

        def story(run: Run) -> str:
            words = [run.status.value, run.reason, run.owner and f"of {run.owner}"]
            words += [run.due_at and f"due {said(run.due_at)}"]
            words += [run.lease_until and f"until {said(run.lease_until)}"]
            words += [run.cancel_requested_by and f"asked to end by {run.cancel_requested_by}"]
            return " ".join(word for word in words if word)

        lines = []
        for before, after in self.tasks:
            what = "removed" if after is None else "changed" if before else "added"
            record = after or before
            assert record is not None
            lines.append(
                f"task {record.name} {what}: {'enabled' if record.enabled else 'disabled'}, "
                f"next {said(record.next_slot)} at {said(record.next_run_at)}, "
                f"failures {record.failures}, runs {record.runs_started}, {record.overlap_policy}, "
                f"{record.schedule_config} since {said(record.schedule_since)}"
            )
        lines += [f"{name(run)} new: {story(run)}" for run in self.inserted]
        lines += [f"{name(run)}: {story(run)}" for _, run in self.changed]
        lines += [f"{name(run)} deleted" for run in self.deleted]
        for old, skip in self.skips:
            who = "" if skip.run_id is None else name(known[skip.run_id])
            lines.append(
                f"skip {skip.task_name} {said(skip.first_slot)}..{said(skip.last_slot)} "
                f"({skip.count}) {skip.reason} {who}{' extended' * (old is not None)}"
            )
        head = f"{self.time:10.3f} {self.call.node} {self.call.method:12s}"
        return [f"{head} {line}" for line in sorted(lines)]


class Ledger:
    """A copy of the storage's rows, as of the last transaction."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.tasks: dict[str, TaskRecord] = {}
        self.runs: dict[int, Run] = {}
        """Every run there ever was, but for those that gave their place to a newer slot."""
        self.live: dict[int, Run] = {}
        self.task_of: dict[int, int] = {}
        self.keys: dict[Key, int] = {}
        self.skips: list[Skip] = []
        self._last_id = 0

    def live_of(self, name: str) -> list[Run]:
        return [run for run in self.live.values() if run.task_name == name]

    def was_run(self, run_id: int, name: str) -> bool:
        """Whether there is, or was, such a run of that task."""
        return run_id in self.runs and self.runs[run_id].task_name == name

    def look(self, call: Call, time: float) -> Delta:
        """What changed since the last look."""
        delta = Delta(call, time)
        stored = self.view.tasks()
        for name in sorted(self.tasks.keys() | stored.keys()):
            before, after = self.tasks.get(name), stored.get(name)
            if before is not after and before != after:
                delta.tasks.append((before, after))
        found = self.view.runs(self.live)
        for run_id, old in self.live.items():
            new = found.get(run_id)
            if new is None:
                delta.deleted.append(old)
            elif new is not old and new != old:
                delta.changed.append((old, new))
        delta.inserted = self.view.runs_after(self._last_id)
        skips = self.view.skips()
        delta.skips = list(_new_skips(self.skips, skips))
        return delta

    def take_over(self, delta: Delta) -> None:
        """Make what a look found part of the copy."""
        for before, after in delta.tasks:
            if after is not None:
                self.tasks[after.name] = after
            elif before is not None:
                del self.tasks[before.name]
        for run in delta.deleted:
            del self.live[run.id], self.runs[run.id], self.keys[key_of(run)]
        for run in delta.inserted:
            self.task_of[run.id] = self.view.task_id_of(run.id)
            self.keys[key_of(run)] = run.id
            self._last_id = run.id
        for run in (*delta.inserted, *(new for _, new in delta.changed)):
            self.runs[run.id] = run
            if run.status in LIVE:
                self.live[run.id] = run
            else:
                self.live.pop(run.id, None)
        if delta.skips or delta.call.method == "prune":
            self.skips = self.view.skips()


def key_of(run: Run) -> Key:
    return run.task_name, run.slot, run.attempt, run.manual


def _new_skips(before: list[Skip], after: list[Skip]) -> Iterator[tuple[Skip | None, Skip]]:
    """Skips that were added, and those that were extended, with what they were before."""
    if len(before) == len(after) and all(a is b for a, b in zip(before, after, strict=True)):
        return
    known = {(s.task_name, s.reason, s.run_id): s for s in before if s.run_id is not None}
    for skip, times in (Counter(after) - Counter(before)).items():
        for _ in range(times):
            yield known.get((skip.task_name, skip.reason, skip.run_id)), skip
