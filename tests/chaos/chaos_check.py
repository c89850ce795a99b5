"""Whether what the storage says, what the handlers wrote down, and what the schedules name agree.

Pure: it is given all three. Every slot that the schedule names must have exactly one fate, a run or
a skip; a slot that runs must succeed once, after attempts that were lost; and no two handlers may
be at one slot unless the storage had taken it from the first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

Slot = tuple[str, datetime]
MOST_TOLD = 20


class LogLine(NamedTuple):
    """What a handler wrote down: `what` is "start", "end", or "cut"."""

    what: str
    task: str
    slot: datetime
    attempt: int
    epoch: int
    pid: int
    at: float
    """By the machine's monotonic clock."""

    @classmethod
    def parse(cls, fields: list[Any]) -> LogLine:
        what, task, slot, *rest = fields
        return cls(what, task, datetime.fromisoformat(slot), *rest)


class LedgerRun(NamedTuple):
    """A row of the storage's runs."""

    task: str
    slot: datetime
    attempt: int
    status: str
    reason: str | None
    epoch: int


class LedgerSkip(NamedTuple):
    """A row of the storage's skips."""

    task: str
    first: datetime
    last: datetime
    count: int
    counts_overlaps: bool
    """Whether it counts the slots that came while one run was active. By a clock that was set back
    these need not be consecutive."""


@dataclass(frozen=True)
class Named:
    """The slots of a task: every `every` from `anchor` on, after `since` and before `end`."""

    task: str
    anchor: datetime
    every: timedelta
    since: datetime
    end: datetime

    def slots(self) -> Iterator[datetime]:
        first = (self.since - self.anchor) // self.every + 1
        slot = self.anchor + first * self.every
        while slot < self.end:
            yield slot
            slot += self.every


@dataclass
class Verdict:
    """What came of the slots."""

    due: int = 0
    ran: int = 0
    skipped: int = 0
    lost: list[str] = field(default_factory=list)
    """Slots that the schedule names, and that did not have their one fate."""
    doubled: list[str] = field(default_factory=list)
    """Slots that two claims had at once, or that succeeded twice."""
    wrong: list[str] = field(default_factory=list)
    """All else that does not agree."""
    lost_attempts: int = 0
    """Attempts that ended with their process, or with its lease, and were made again."""

    @property
    def fine(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def __str__(self) -> str:
        told = [f"lost: {text}" for text in self.lost]
        told += [f"doubled: {text}" for text in self.doubled]
        told += [f"wrong: {text}" for text in self.wrong]
        more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
        return "\n".join([*told[:MOST_TOLD], *more]) or "fine"


def check(
    named: Iterable[Named],
    runs: Iterable[LedgerRun],
    skips: Iterable[LedgerSkip],
    lines: Iterable[LogLine],
) -> Verdict:
    """What is to be said when all is over: nothing may be pending or running."""
    verdict = Verdict()
    by_slot: defaultdict[Slot, list[LedgerRun]] = defaultdict(list)
    for run in runs:
        by_slot[run.task, run.slot].append(run)
    by_task: defaultdict[str, list[LedgerSkip]] = defaultdict(list)
    for skip in skips:
        by_task[skip.task].append(skip)
    for task in named:
        _check_fates(verdict, task, by_slot, by_task[task.task])
    for slot, attempts in by_slot.items():
        _check_attempts(verdict, slot, sorted(attempts, key=lambda run: run.attempt))
    _check_handlers(verdict, by_slot, lines)
    return verdict


def _check_fates(
    verdict: Verdict,
    task: Named,
    by_slot: Mapping[Slot, list[LedgerRun]],
    skips: list[LedgerSkip],
) -> None:
    slots = list(task.slots())
    ran = {slot for slot in slots if (task.task, slot) in by_slot}
    covered = Counter(slot for skip in skips for slot in slots if skip.first <= slot <= skip.last)
    verdict.due += len(slots)
    verdict.ran += len(ran)
    verdict.skipped += sum(skip.count for skip in skips)
    for slot in slots:
        if slot not in ran and not covered[slot]:
            verdict.lost.append(f"{task.task} {slot}: neither run nor skip")
    if sum(skip.count for skip in skips) != len(slots) - len(ran):
        verdict.lost.append(
            f"{task.task}: {len(slots)} slots, {len(ran)} ran, but skips count "
            f"{sum(skip.count for skip in skips)}"
        )
    loose = any(skip.counts_overlaps for skip in skips)
    if not loose and (twice := [slot for slot in slots if covered[slot] + (slot in ran) > 1]):
        verdict.doubled.append(f"{task.task}: two fates: {twice}")
    unnamed = {slot for name, slot in by_slot if name == task.task} - set(slots)
    if unnamed:
        verdict.wrong.append(f"{task.task}: slots that the schedule does not name: {unnamed}")


def _check_attempts(verdict: Verdict, slot: Slot, attempts: list[LedgerRun]) -> None:
    numbers = [run.attempt for run in attempts]
    if numbers != list(range(1, len(attempts) + 1)):
        verdict.wrong.append(f"{slot}: attempts {numbers}")
    successes = sum(run.status == "success" for run in attempts)
    if successes > 1:
        verdict.doubled.append(f"{slot}: succeeded {successes} times")
    if attempts[-1].status != "success":
        verdict.lost.append(f"{slot}: ended as {attempts[-1]}")
    for run in attempts[:-1]:
        if run.status != "error" or run.reason not in ("lost", "interrupted"):
            verdict.wrong.append(f"{slot}: tried again after {run}")
    epochs = [run.epoch for run in attempts]
    if epochs != sorted(set(epochs)):
        verdict.wrong.append(f"{slot}: epochs {epochs}")
    verdict.lost_attempts += sum(run.reason == "lost" for run in attempts)


def _check_handlers(
    verdict: Verdict, by_slot: Mapping[Slot, list[LedgerRun]], lines: Iterable[LogLine]
) -> None:
    """Compare the storage with what was executed."""
    ledger = {(run.task, run.slot, run.attempt): run for runs in by_slot.values() for run in runs}
    starts: dict[tuple[str, datetime, int], LogLine] = {}
    stops: dict[tuple[str, datetime, int], LogLine] = {}
    for line in lines:
        key = (line.task, line.slot, line.attempt)
        if line.what != "start":
            stops[key] = line
        elif key in starts:
            verdict.doubled.append(f"executed by two: {starts[key]} and {line}")
        elif key not in ledger:
            verdict.wrong.append(f"executed, and no row tells of it: {line}")
        else:
            starts[key] = line
            if line.epoch != ledger[key].epoch:
                verdict.wrong.append(f"another claim's: {line} and {ledger[key]}")
    for key, run in ledger.items():
        ended = key in stops and stops[key].what == "end"
        if run.status == "success" and not ended:
            verdict.wrong.append(f"a success that no handler knows of: {run}")
        # Whoever is at work while a later attempt begins must have lost its claim by then.
        task, slot, attempt = key
        later = starts.get((task, slot, attempt + 1))
        at_work = key in starts and (key not in stops or stops[key].at > (later.at if later else 0))
        if later is not None and at_work and run.reason != "lost":
            verdict.doubled.append(f"two at work: {run} and {later}")
