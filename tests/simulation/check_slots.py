"""Whether every slot gets exactly one fate, and the next slot is the one that the schedule names.

Nothing of the planner or of `changes` is used here: what should have happened is worked out anew
from the schedule, which has tests of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from sim_ledger import Delta, Ledger, Violation

from cronkit_core import CatchUp, Overlap, Run, Skip, SkipReason, Status, Task, Trigger
from cronkit_core.definition import decode
from cronkit_core.retry import spread
from cronkit_core.runs import LiveRun
from cronkit_core.tasks import TaskRecord

MICRO = timedelta(microseconds=1)
BEGINS = (Status.PENDING, Status.RUNNING)
OF_THE_SCHEDULE = (Trigger.SCHEDULE, Trigger.CATCH_UP)
WHEN_EDITED = {True: (SkipReason.EDITED, SkipReason.ENDED), False: (SkipReason.DISABLED,)}
"""Why an edit keeps slots of an enabled or of a disabled task from running."""


class Slots:
    """Follows each task's next slot, from transaction to transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.fated: defaultdict[str, dict[datetime, None]] = defaultdict(dict)
        """The slots of each name that have, or must have, a fate."""
        self.overlapped: defaultdict[str, set[datetime]] = defaultdict(set)
        """Those of them that another run may have kept from running."""
        self.started: defaultdict[int, int] = defaultdict(int)
        """How many slots of a task have run, or are about to."""

    def check(self, delta: Delta) -> None:
        """To be called before the ledger takes the delta over."""
        method = delta.call.method
        inserted = [
            r for r in delta.inserted if r.attempt == 1 and r.triggered_by in OF_THE_SCHEDULE
        ]
        if inserted and method != "claim":
            raise Violation("run from nowhere", f"{method} inserted {inserted[0]}")
        moved = set()
        for before, after in delta.tasks:
            if before is None:
                assert after is not None
                self._added(after)
            elif after is not None and before.id != after.id:
                raise Violation("id changed", f"{before} became {after}")
            elif after is not None:
                self._check_revision(before, after)
                if method == "save_tasks":
                    self._saved(before, after, delta)
                elif (before.next_slot, before.next_run_at) != (after.next_slot, after.next_run_at):
                    if method != "claim":
                        raise Violation("slot moved", f"{method} moved {before} to {after}")
                    moved.add(after.name)
                    self._claimed(before, after, delta)
        if method == "claim":
            self._check_priority(delta)
        for run in inserted:
            if run.task_name not in moved:
                raise Violation("run from nowhere", f"{run} was inserted, and no slot passed")
        for _, skip in delta.skips:
            if method == "claim" and skip.task_name not in moved:
                raise Violation("skip from nowhere", f"{skip}, and no slot passed")
            if method not in ("claim", "save_tasks"):
                raise Violation("skip from nowhere", f"{skip} by {method}")

    def _check_revision(self, before: TaskRecord, after: TaskRecord) -> None:
        if after.revision <= before.revision:
            raise Violation("revision", f"{before} became {after}")

    # --- claims

    def _claimed(self, before: TaskRecord, after: TaskRecord, delta: Delta) -> None:
        """A claim moved a task on: every slot that it passed has one fate, by its policies."""
        task, now = decode(before), delta.call.now
        first, then, run_at = before.next_slot, after.next_slot, before.next_run_at
        assert now is not None
        if first is None or run_at is None or not before.enabled or before.broken is not None:
            raise Violation("not due", f"{before} was claimed")
        if run_at > now:
            raise Violation("early", f"{before} was claimed at {now}")
        if then is None:
            rest = [s for s in slots(task, first, now) if actual(task, s) <= now]
            passed = [first, *rest]
            over = not slots(task, passed[-1], None)
            if not (over or _had_all(decode(after))):
                raise Violation("ended too early", f"{before} became {after}")
        else:
            passed = [first, *slots(task, first, then - MICRO)]
            if then <= first or slots(task, then - MICRO, then) != [then]:
                raise Violation("no slot", f"{after}: {then} is no slot of {task.schedule}")
            if actual(task, passed[-1]) > now and len(passed) > 1:
                raise Violation("early", f"{before} went to {then} at {now}")
            if actual(task, then) <= now:
                raise Violation("left behind", f"{before} went only to {then} at {now}")
            if after.next_run_at != actual(task, then):
                raise Violation("jitter", f"{after}: should run at {actual(task, then)}")
        self._check_fates(task, passed, delta, now)

    def _check_fates(self, task: Task, passed: list[datetime], delta: Delta, now: datetime) -> None:
        name = task.name
        grace = timedelta(seconds=task.policies.grace)
        ran = {
            run.slot: run
            for run in delta.inserted
            if run.task_name == name and run.attempt == 1 and run.triggered_by in OF_THE_SCHEDULE
        }
        replaced = [run.slot for run in delta.deleted if run.task_name == name]
        # A clock that is behind may aim at a slot again that has a waiting run already.
        again = set(passed) & set(replaced)
        fates = _Fates(passed, replaced)
        for slot, run in ran.items():
            fates.give(slot, "a run")
            if (run.triggered_by is Trigger.SCHEDULE) != (now - actual(task, slot) <= grace):
                raise Violation("grace", f"{run} at {now}, with a grace of {grace}")
        extended = 0
        for old, skip in delta.skips:
            if skip.task_name != name:
                continue
            if skip.run_id is None:
                fates.cover(skip)
                continue
            # One row stands for all slots that a run kept from running.
            if skip.run_id in {run.id for run in delta.deleted}:
                raise Violation("skip of nobody", f"{skip}: that run gives way itself")
            extended += skip.count - (0 if old is None else old.count)
            if old is None and skip.last_slot not in fates.passed:
                raise Violation("skip counts", f"{old} became {skip}, and {passed} passed")
            if old is not None and (
                skip.first_slot > old.first_slot
                or skip.last_slot < old.last_slot
                or skip.count <= old.count
                or not {skip.first_slot, skip.last_slot}
                <= {old.first_slot, old.last_slot, *fates.passed}
            ):
                raise Violation("skip changed", f"{old} became {skip}")
        bare = fates.without()
        # A slot that has run already, such as one of a task of that name that was removed, and
        # made anew by somebody whose clock is behind, does not run again.
        known = [s for s in bare if s in passed and (name, s, 1, False) in self._ledger.keys]
        if len(bare) - len(known) > extended:
            lost = [slot for slot in bare if slot not in known]
            raise Violation("slot lost", f"{name}: {lost} of {passed}")
        if extended > len(bare) + len(again):
            raise Violation("skip too long", f"{name}: {extended} more, of {bare}")
        started = self.started[task.record.id]
        live = [_live(run) for run in self._ledger.live_of(name)]
        should = set(choose(task, passed, live, now, started))
        if set(ran) != {slot for slot in should if slot not in known}:
            raise Violation(
                "policy", f"{name}: {sorted(ran)} run of {passed}, and not {sorted(should)}"
            )
        self.started[task.record.id] += len(should) - len(replaced)
        self.fated[name].update(dict.fromkeys(passed))
        if extended:
            self.overlapped[name].update(bare)

    def _check_priority(self, delta: Delta) -> None:
        """Nothing of a low priority starts while something of a higher one is due."""
        now = delta.call.now
        assert now is not None
        begun = [r for r in delta.inserted if r.status is Status.RUNNING]
        begun += [r for old, r in delta.changed if (old.status, r.status) == BEGINS]
        if not begun:
            return
        lowest = min(begun, key=lambda run: run.priority)
        touched = {run.id for _, run in delta.changed} | {run.id for run in delta.deleted}
        names = {run.task_name for _, run in delta.changed}
        names |= {after.name for _, after in delta.tasks if after is not None}
        for run in self._ledger.live.values():
            is_due = run.status is Status.PENDING and run.due_at is not None and run.due_at <= now
            # Of a group, there may be no room; of a task of which a run is lost, nothing starts.
            free = run.task_group is None and run.task_name not in names
            if is_due and free and run.id not in touched and run.priority > lowest.priority:
                raise Violation("priority", f"{lowest} started, and {run} is due")
        for record in self._ledger.tasks.values():
            is_due = record.next_run_at is not None and record.next_run_at <= now
            is_due = is_due and record.enabled and record.broken is None
            free = record.task_group is None and record.name not in names
            if is_due and free and record.priority > lowest.priority:
                raise Violation("priority", f"{lowest} started, and {record} is due")

    # --- edits

    def _added(self, record: TaskRecord) -> None:
        task = decode(record)
        if record.next_slot != first_after(task, record.updated_at):
            raise Violation("first slot", f"{record}: {first_after(task, record.updated_at)}")

    def _saved(self, before: TaskRecord, after: TaskRecord, delta: Delta) -> None:
        at = after.updated_at
        skips = [s for old, s in delta.skips if s.task_name == after.name and old is None]
        writes = {write.record.name: write for write in delta.call.args[0]}
        if writes[after.name].drop_pending is not None:
            if before.next_slot != after.next_slot or skips:
                raise Violation("disabling", f"{before} became {after}, with {skips}")
        elif after.enabled and not before.enabled:
            self._enabled(before, after, at, skips)
        else:
            self._edited(before, after, at, skips, delta)

    def _enabled(
        self, before: TaskRecord, after: TaskRecord, at: datetime, skips: list[Skip]
    ) -> None:
        first, task = before.next_slot, decode(after)
        if first is None or before.next_run_at is None or before.next_run_at > at:
            if first != after.next_slot or skips:
                raise Violation("enabling", f"{before} became {after}, with {skips}")
            return
        passed = [first, *slots(decode(before), first, at)]
        fates = _Fates(passed)
        for skip in skips:
            fates.cover(skip)
            if skip.reason is not SkipReason.DISABLED:
                raise Violation("enabling", f"{skip}")
        if fates.without():
            raise Violation("slot lost", f"enabling: {fates.without()} of {before}")
        if after.next_slot != first_after(task, at):
            raise Violation("enabling", f"{after}, and not {first_after(task, at)}")
        self.fated[after.name].update(dict.fromkeys(passed))

    def _edited(
        self,
        before: TaskRecord,
        after: TaskRecord,
        at: datetime,
        skips: list[Skip],
        delta: Delta,
    ) -> None:
        old, new = decode(before), decode(after)
        first, then = before.next_slot, after.next_slot
        promised = []
        if first is not None and first <= at:
            promised = [first, *slots(old, first, at)]
        fates = _Fates(promised)
        for skip in skips:
            fates.cover(skip)
            if skip.reason not in WHEN_EDITED[before.enabled]:
                raise Violation("editing", f"{skip}")
        self.fated[after.name].update(dict.fromkeys(fates.given))
        ahead = [] if then is None else [then, *slots(new, then, at)]
        if lost := [slot for slot in fates.without() if slot not in ahead]:
            raise Violation("slot lost", f"an edit lost {lost}: {before} became {after}")
        if _rule(old) == _rule(new) and first is not None:
            if then != first and not (then is None and _had_all(new)):
                raise Violation("editing", f"{before} became {after}")
            return
        follows = first_after(new, at)
        due = before.enabled and before.next_run_at is not None and before.next_run_at <= at
        if not (old.policies.jitter or new.policies.jitter):  # which change the order of slots
            asked = delta.call.asked
            wanted = follows
            if due:
                wanted = first
            elif _had_all(new):
                wanted = None
            elif (asked is None or asked.kind == "add") and _within(new, first):
                wanted = min(slot for slot in (first, follows) if slot is not None)
            if then != wanted:
                raise Violation("editing", f"{then}, and not {wanted}: {before} became {after}")
        if follows is not None and (then is None or then > follows):
            raise Violation("slot lost", f"an edit leaves out {follows}: {after}")
        if then is not None and then not in (first, follows):
            raise Violation("editing", f"{then} is neither {first} nor {follows}: {after}")


class _Fates:
    """Who takes which of the slots that were passed, and of those of waiting runs that gave way,
    which may be of an earlier schedule."""

    def __init__(self, passed: list[datetime], replaced: Sequence[datetime] = ()) -> None:
        self.passed = list(dict.fromkeys([*passed, *replaced]))
        self._of_schedule = passed
        self.given: dict[datetime, str] = {}

    def give(self, slot: datetime, what: str) -> None:
        if slot not in self.passed:
            raise Violation("no slot", f"{what} for {slot}, which is none of {self.passed}")
        if slot in self.given:
            raise Violation("two fates", f"{slot}: {self.given[slot]} and {what}")
        self.given[slot] = what

    def cover(self, skip: Skip) -> None:
        inside = [s for s in self._of_schedule if skip.first_slot <= s <= skip.last_slot]
        for slot in inside:
            self.give(slot, f"{skip}")
        if skip.count != len(inside) or not {skip.first_slot, skip.last_slot} <= set(inside):
            raise Violation("skip counts", f"{skip} stands for {inside}")

    def without(self) -> list[datetime]:
        return [slot for slot in self.passed if slot not in self.given]


# --- what a task's schedule and policies say, worked out anew


def slots(task: Task, after: datetime, until: datetime | None) -> list[datetime]:
    """The slots of `task` after `after` and up to `until` (None: the first), within its bounds."""
    policies, since = task.policies, task.record.schedule_since
    assert task.schedule is not None
    if since is not None and since > after:
        after = since
    if policies.start_at is not None and policies.start_at > after:
        after = policies.start_at - MICRO
    end = policies.end_at
    if until is None:
        slot = task.schedule.next_after(after)
        return [] if slot is None or (end is not None and slot > end) else [slot]
    if end is not None and end < until:
        until = end
    return list(task.schedule.between(after, until)) if after < until else []


def first_after(task: Task, at: datetime) -> datetime | None:
    """The first slot of `task` after `at`, unless it has had all that it may have."""
    return None if _had_all(task) else next(iter(slots(task, at, None)), None)


def actual(task: Task, slot: datetime) -> datetime:
    """When a slot is to run."""
    jitter = task.policies.jitter
    if not jitter:
        return slot
    assert task.schedule is not None
    at = slot + timedelta(seconds=jitter * spread(task.name, slot.isoformat()))
    after = task.schedule.next_after(slot)
    return at if after is None or at < after else after - MICRO


def choose(
    task: Task, passed: list[datetime], live: list[LiveRun], now: datetime, started: int
) -> list[datetime]:
    """Which of the slots that have passed are to run, at once or later."""
    policies = task.policies
    match policies.catch_up:
        case CatchUp.ALL:
            chosen = passed[-policies.catch_up_limit :]
        case CatchUp.LATEST:
            chosen = passed[-1:]
        case CatchUp.SKIP:
            late = (now - actual(task, passed[-1])).total_seconds()
            chosen = passed[-1:] if late <= policies.grace else []
    if policies.max_runs is not None:
        chosen = chosen[: max(policies.max_runs - started, 0)]
    if live and policies.overlap is Overlap.SKIP:
        return []
    if live and policies.overlap is Overlap.QUEUE:
        return chosen[-1:]
    return chosen


def _rule(task: Task) -> tuple[object, ...]:
    """What says which slots there are."""
    policies = task.policies
    return task.schedule, task.timezone, policies.start_at, policies.end_at


def _within(task: Task, slot: datetime | None) -> bool:
    start, end = task.policies.start_at, task.policies.end_at
    if slot is None or (start is not None and slot < start):
        return False
    return end is None or slot <= end


def _had_all(task: Task) -> bool:
    limit = task.policies.max_runs
    return limit is not None and task.record.runs_started >= limit


def _live(run: Run) -> LiveRun:
    waiting = run.owner is None and run.due_at is None
    return LiveRun(run.id, run.slot, run.attempt, run.owner is not None, waiting, run.triggered_by)
