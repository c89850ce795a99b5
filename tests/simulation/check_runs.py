"""Whether runs take only the steps that they may: one owner at a time, attempts in order and no
more than the policy allows, nothing written by who lost a run, and the promises of overlap and
groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count, takewhile
from math import inf
from typing import TypeVar

from sim_book import Book, Entry
from sim_ledger import LIVE, Delta, Key, Ledger, Violation, key_of

from cronkit_core import Overlap, Reason, Run, Status, Task, Trigger
from cronkit_core.definition import decode
from cronkit_core.retry import RetryPolicy, spread
from cronkit_core.tasks import TaskRecord

T = TypeVar("T")

# Seconds: durations are stored in milliseconds.
MOMENT = 0.001
# What a run may be cancelled or dropped by, before it starts.
ENDS_PENDING = ("claim", "save_tasks", "remove_tasks", "cancel", "finish", "enqueue")
SAME = ("task_name", "slot", "attempt", "triggered_by", "scheduled_for", "config", "task_group")


class Runs:
    """Follows each run, from transaction to transaction."""

    def __init__(self, ledger: Ledger, book: Book, groups: Mapping[str, int]) -> None:
        self._ledger = ledger
        self._book = book
        self._groups = groups
        self._beside: set[int] = set()
        """Runs that may run beside others of their task."""
        self._plans: dict[int, Task] = {}
        """The task as it was when a run of it started."""
        self._epochs: defaultdict[int, int] = defaultdict(int)
        """The highest epoch of each task."""

    def check(self, delta: Delta) -> None:
        """To be called before the ledger takes the delta over."""
        records = {b.name: b for b, _ in delta.tasks if b is not None}
        for run in (*delta.inserted, *(new for _, new in delta.changed)):
            _check_row(run)
        for run in delta.inserted:
            self._inserted(run, delta, records)
        for old, new in delta.changed:
            self._changed(old, new, delta, records)
        for run in delta.deleted:
            self._deleted(run, delta)
        if delta.call.method == "claim":
            self._check_epochs(delta)
        for task_before, task_after in delta.tasks:
            if task_before is not None and task_after is not None:
                self._check_tally(task_before, task_after, delta)

    def check_after(self, delta: Delta) -> None:
        """To be called when the ledger has taken the delta over."""
        names = {run.task_name for run in delta.inserted}
        names |= {new.task_name for _, new in delta.changed}
        names |= {run.task_name for run in delta.deleted}
        for name in sorted(names):
            self._check_overlap(name)
            live = self._ledger.live_of(name)
            if live and all(r.status is Status.PENDING and r.due_at is None for r in live):
                raise Violation("left waiting", f"{live[0]}: nothing else is running or due")
        groups = Counter(
            run.task_group for run in self._ledger.live.values() if run.status is Status.RUNNING
        )
        for group, limit in self._groups.items():
            if groups[group] > limit:
                raise Violation("group", f"{groups[group]} runs of {group!r}, limit {limit}")

    def plan_of(self, run_id: int) -> Task:
        """The task as it was when that run started."""
        return self._plans[run_id]

    # --- new runs

    def _inserted(self, run: Run, delta: Delta, before: Mapping[str, TaskRecord]) -> None:
        method = delta.call.method
        others = [r for r in delta.inserted if r is not run]
        if key_of(run) in {key_of(r) for r in others} or self._is_stored(key_of(run)):
            raise Violation("same key twice", f"{run}")
        if later := self._attempts_left(run):
            raise Violation("executed again", f"{run}, and there is {later[0]}")
        if run.attempt > 1 and run.reason is Reason.CANCELLED and run.task_name in _paused(delta):
            run = replace(run, status=Status.PENDING, due_at=run.finished_at)
        if run.status not in LIVE or (run.status is Status.RUNNING and method != "claim"):
            raise Violation("new run", f"{method} inserted {run}")
        if run.attempt > 1:
            return self._retried(run, delta)
        if method not in ("claim", "enqueue"):
            raise Violation("new run", f"{method} inserted {run}")
        record = before.get(run.task_name) or self._ledger.tasks.get(run.task_name)
        if record is None:
            raise Violation("new run", f"{run} of no task")
        live = self._ledger.live_of(run.task_name)
        many = [r for r in others if r.task_name == run.task_name and r.due_at is not None]
        wished = method == "enqueue" and _may_be_beside(delta, record)
        if record.overlap_policy == Overlap.ALLOW or (
            wished and run.due_at is not None and (live or many)
        ):
            self._beside.add(run.id)
        if run.status is Status.RUNNING:
            self._started(run, delta)
        return None

    def _is_stored(self, key: Key) -> bool:
        known = self._ledger.keys.get(key)
        return known is not None and known in self._ledger.view.runs([known])

    def _attempts_left(self, run: Run) -> list[Key]:
        """The attempts after `run` at its slot that are stored: its earlier ones may be pruned."""
        later = ((run.task_name, run.slot, n, run.manual) for n in count(run.attempt + 1))
        known = takewhile(self._ledger.keys.__contains__, later)
        return [key for key in known if self._is_stored(key)]

    def _retried(self, run: Run, delta: Delta) -> None:
        ended = [
            new
            for old, new in delta.changed
            if key_of(new) == (run.task_name, run.slot, run.attempt - 1, run.manual)
            and old.status is Status.RUNNING
            and new.status is Status.ERROR
        ]
        if not ended:
            raise Violation("attempts", f"{delta.call.method} inserted {run} from nothing")
        last = ended[0]
        if run.status is not Status.PENDING or run.due_at is None or last.finished_at is None:
            raise Violation("attempts", f"{run} after {last}")
        if [getattr(run, f) for f in SAME if f != "attempt"] != [
            getattr(last, f) for f in SAME if f != "attempt"
        ]:
            raise Violation("attempts", f"{run} after {last}")
        if last.id in self._beside:
            self._beside.add(run.id)

    # --- what becomes of them

    def _changed(self, old: Run, new: Run, delta: Delta, before: Mapping[str, TaskRecord]) -> None:
        if [getattr(old, f) for f in SAME] != [getattr(new, f) for f in SAME]:
            raise Violation("run changed", f"{old} became {new}")
        method, now = delta.call.method, delta.call.now
        match old.status, new.status:
            case Status.PENDING, Status.PENDING:
                self._released(old, new, delta)
            case Status.PENDING, Status.RUNNING:
                assert now is not None
                if method != "claim" or old.due_at is None or old.due_at > now:
                    raise Violation("started early", f"{method} at {now} made {old} to {new}")
                self._started(new, delta)
            case Status.PENDING, Status.ERROR:
                if method not in ENDS_PENDING or (old.owner, old.epoch) != (new.owner, new.epoch):
                    raise Violation("pending run ended", f"{method}: {old} became {new}")
                if new.reason is not Reason.CANCELLED:
                    raise Violation("pending run ended", f"{method}: {old} became {new}")
            case Status.RUNNING, Status.RUNNING:
                if (old.owner, old.epoch) != (new.owner, new.epoch):
                    raise Violation("two owners", f"{method}: {old} became {new}")
                if old.lease_until != new.lease_until and (
                    method != "renew" or delta.call.owner != old.owner
                ):
                    raise Violation("lease", f"{method} of {delta.call.owner}: {new}")
            case Status.RUNNING, Status.SUCCESS | Status.ERROR:
                self._ended(old, new, delta, before)
            case _:
                raise Violation("step of a run", f"{method}: {old} became {new}")

    def _released(self, old: Run, new: Run, delta: Delta) -> None:
        if old.due_at is not None or new.due_at is None:
            raise Violation("pending run changed", f"{old} became {new}")
        changed = {run.id: run for _, run in delta.changed}
        rest = [changed.get(r.id, r) for r in self._ledger.live_of(new.task_name)]
        rest += [r for r in delta.inserted if r.task_name == new.task_name]
        busy = [r for r in rest if r.status is Status.RUNNING or (r.status in LIVE and r.due_at)]
        gone = {run.id for run in delta.deleted}
        busy = [r for r in busy if r.id != new.id and r.id not in gone]
        if busy:
            raise Violation("released early", f"{new} while there is {busy[0]}")
        older = [r for r in rest if r.status in LIVE and (r.slot, r.id) < (new.slot, new.id)]
        if older := [r for r in older if r.id not in gone]:
            raise Violation("released early", f"{new} before {older[0]}")

    def _started(self, run: Run, delta: Delta) -> None:
        call = delta.call
        after = {a.name: a for _, a in delta.tasks if a is not None}.get(run.task_name)
        if after is None:
            raise Violation("epoch", f"{run} started, and its task has no new revision")
        if after.id != self._ledger.view.task_id_of(run.id):
            raise Violation("start", f"{run} of a task that was removed")
        if not after.enabled and run.triggered_by in (Trigger.SCHEDULE, Trigger.CATCH_UP):
            raise Violation("start", f"{run} of a task that is disabled")
        assert call.now is not None
        if call.sent > self._book.stopped.get(run.owner or "", inf) + 1e-3:
            raise Violation("stop", f"{run} was claimed when its scheduler had been stopped")
        lease = call.now + call.options["lease"]
        if (run.owner, run.epoch, run.lease_until) != (call.owner, after.revision, lease):
            raise Violation("start", f"{run} of {call.owner}, {after.revision}, {lease}")
        if run.started_at != call.now:
            raise Violation("start", f"{run}, which was claimed at {call.now}")
        self._plans[run.id] = decode(after)

    def _check_epochs(self, delta: Delta) -> None:
        changed = [new for old, new in delta.changed if old.status is not new.status]
        for run in (*delta.inserted, *changed):
            if run.status is Status.RUNNING:
                task_id = self._ledger.view.task_id_of(run.id)
                if run.epoch <= self._epochs[task_id]:
                    raise Violation("epoch", f"{run}, after {self._epochs[task_id]}")
        for _, after in delta.tasks:
            if after is not None:
                self._epochs[after.id] = after.revision

    def _deleted(self, run: Run, delta: Delta) -> None:
        if run.status is not Status.PENDING or run.due_at is not None:
            raise Violation("run vanished", f"{delta.call.method} deleted {run}")
        if delta.call.method not in ("claim", "enqueue"):
            raise Violation("run vanished", f"{delta.call.method} deleted {run}")

    # --- ends

    def _ended(self, old: Run, new: Run, delta: Delta, before: Mapping[str, TaskRecord]) -> None:
        call = delta.call
        if (old.owner, old.epoch) != (new.owner, new.epoch):
            raise Violation("two owners", f"{old} became {new}")
        plans = []
        if (record := before.get(old.task_name)) and record.id == self._ledger.task_of[old.id]:
            plans.append(decode(record))
        if call.method == "claim":
            assert call.now is not None
            if new.reason is not Reason.LOST or old.lease_until is None:
                raise Violation("ended by a stranger", f"{old} became {new}")
            if old.lease_until > call.now:
                raise Violation("lost too early", f"at {call.now} {old} became {new}")
            entry = self._book.entries.get(old.id)
            if call.owner == old.owner and entry is not None and entry.ended is None:
                raise Violation("lost to itself", f"{entry}: {old} became {new}")
        elif call.method != "finish" or call.owner != old.owner:
            raise Violation("ended by a stranger", f"{call.owner}: {old} became {new}")
        else:
            self._check_told(new)
            plans.append(self._plans[old.id])
        self._check_retry(old, new, delta, plans, before)

    def _check_told(self, run: Run) -> None:
        """Whether the outcome is what the handler did."""
        entry = self._book.entries.get(run.id)
        how = None if entry is None else entry.how
        match run.reason:
            case None:
                told = entry is not None and how == "ok" and entry.token in (run.output or "")
                told = told and (entry.logged or None) == run.log
            case Reason.EXCEPTION:
                told = how not in (None, "ok")
            case Reason.TIMEOUT:
                limit = self._plans[run.id].policies.timeout
                told = limit is not None and (run.duration_ms or 0) >= limit * 1000 - 1
            case Reason.CANCELLED:
                told = run.cancel_requested_by is not None
            case Reason.INTERRUPTED:
                # Who has brought his work to an end before that has done it.
                done = how == "ok" and entry is not None and entry.took <= _took(run) + MOMENT
                told = self._book.was_stopped(run.owner) and not done
            case Reason.NO_HANDLER:
                told = entry is None
            case Reason.BROKEN:
                told = entry is None
            case _:
                told = False
        if not told:
            raise Violation("outcome", f"{run}, and the handler: {entry}")

    def _check_retry(
        self,
        old: Run,
        new: Run,
        delta: Delta,
        plans: list[Task],
        before: Mapping[str, TaskRecord],
    ) -> None:
        wanted = (new.task_name, new.slot, new.attempt + 1, new.manual)
        retry = next((run for run in delta.inserted if key_of(run) == wanted), None)
        retried = retry is not None
        record = before.get(new.task_name)
        gone = record is None or record.id != self._ledger.task_of[new.id]
        if retried and (gone or new.status is Status.SUCCESS):
            raise Violation("attempts", f"{new} is tried again")
        if new.status is Status.SUCCESS or gone:
            return
        assert record is not None
        entry = self._book.entries.get(new.id)
        # The owner goes by the task as it claimed it, or, where the claim's answer was lost, as it
        # found it later; who finds a lost run goes by the task as it is.
        answers = {self._retry_at(old, new, plan, entry) for plan in plans}
        if not record.enabled and not new.manual:
            answers = {None}
        elif new.task_name in _paused(delta):
            answers.add(None)  # by another run's end, just before
        if retry is None:
            right = None in answers
        elif retry.due_at is None:  # it was dropped at once
            right = answers != {None}
        else:
            right = retry.due_at in answers
        if not right:
            raise Violation("retry", f"{new}: {retry}, and not at {answers}; handler: {entry}")

    def _retry_at(self, old: Run, new: Run, task: Task, entry: Entry | None) -> datetime | None:
        """When the next attempt is to start; None: never."""
        policy, types, after = task.policies.retry, (), None
        assert new.finished_at is not None
        match new.reason:
            case Reason.CANCELLED | Reason.BROKEN:
                return None
            case Reason.LOST if old.cancel_requested_by is not None:
                return None
            case Reason.TIMEOUT:
                types = tuple(c.__name__ for c in TimeoutError.__mro__)
            case Reason.EXCEPTION:
                assert entry is not None
                if entry.final:
                    return None
                types, after = entry.types, entry.after
        if new.attempt > policy.max_retries:
            return None
        if policy.on and types and after is None and not set(policy.on) & set(types):
            return None
        wait = _delay(policy, task.name, new) if after is None else after
        at = new.finished_at + timedelta(seconds=wait)
        if policy.give_up_after is None:
            return at
        late = at > new.scheduled_for + timedelta(seconds=policy.give_up_after)
        return None if late else at

    def _check_tally(self, before: TaskRecord, after: TaskRecord, delta: Delta) -> None:
        """Whether the task counts the slots that failed, and pauses when it has to."""
        if delta.call.method not in ("claim", "finish"):
            return
        ended = {
            self._ledger.task_of[run.id]
            for old, run in delta.changed
            if old.status is Status.RUNNING and run.status is not Status.RUNNING
        }
        if delta.call.method == "finish" and before.id not in ended:
            raise Violation("outcome of a task", f"{before} became {after}, and no run ended")
        retried = {(r.task_name, r.slot, r.attempt, r.manual) for r in delta.inserted}
        failed = succeeded = 0
        limits = set()
        for old, run in delta.changed:
            if run.task_name != before.name or self._ledger.task_of[run.id] != before.id:
                continue
            if old.status is Status.RUNNING and run.status is Status.SUCCESS:
                succeeded += 1
            elif old.status is Status.RUNNING and run.status is Status.ERROR:
                if run.reason is Reason.CANCELLED:
                    continue
                if (run.task_name, run.slot, run.attempt + 1, run.manual) not in retried:
                    failed += 1
                    limits |= {self._plans[run.id].policies.pause_after_failures}
                    limits |= {decode(before).policies.pause_after_failures}
        self._check_last(before, after, delta, retried)
        if succeeded and failed:
            return  # the order in which they are recorded decides
        if after.failures != (0 if succeeded else before.failures + failed):
            raise Violation("failures", f"{before} became {after}")
        if before.enabled and failed and len(limits) == 1:
            (limit,) = limits
            if after.enabled != (limit is None or after.failures < limit):
                raise Violation("pause", f"{before} became {after}")
        elif before.enabled and not after.enabled and not failed:
            raise Violation("pause", f"{before} became {after}")

    def _check_last(
        self, before: TaskRecord, after: TaskRecord, delta: Delta, retried: set[Key]
    ) -> None:
        """Whether the task remembers the last outcomes of its runs."""
        ended = [
            new
            for old, new in delta.changed
            if self._ledger.task_of[new.id] == before.id
            and old.status is Status.RUNNING
            and new.status is not Status.RUNNING
            and new.reason is not Reason.CANCELLED
        ]
        final = [
            new
            for new in ended
            if (new.task_name, new.slot, new.attempt + 1, new.manual) not in retried
        ]
        right = (
            after.last_run_at in _or_else(before.last_run_at, [r.finished_at for r in ended])
            and after.last_status in _or_else(before.last_status, [str(r.status) for r in final])
            and after.last_success_at
            in _or_else(
                before.last_success_at,
                [r.finished_at for r in ended if r.status is Status.SUCCESS],
            )
        )
        if not right:
            raise Violation("outcome of a task", f"{before} became {after} with {ended}")

    # --- one at a time

    def _check_overlap(self, name: str) -> None:
        running = [
            run
            for run in self._ledger.live_of(name)
            if run.status is Status.RUNNING and run.id not in self._beside
        ]
        if len(running) > 1:
            raise Violation("overlap", f"{running[0]} and {running[1]}")


def _may_be_beside(delta: Delta, record: TaskRecord) -> bool:
    """Whether somebody wants what is enqueued to run beside what is running."""
    asked = delta.call.asked
    if asked is None:
        return False
    if asked.kind == "backfill":
        return (asked.options["overlap"] or record.overlap_policy) == Overlap.ALLOW
    return bool(asked.options.get("force"))


def _delay(policy: RetryPolicy, name: str, run: Run) -> float:
    """Seconds until the attempt after `run`, as the documentation says."""
    base = policy.base
    assert base is not None
    n = run.attempt
    seconds = {"exponential": base * 2**n, "linear": base * n, "constant": base}[policy.backoff]
    if policy.max_delay is not None:
        seconds = min(seconds, policy.max_delay)
    share = 2 * spread(name, run.slot.isoformat(), n) - 1
    return seconds * (1 + policy.jitter * share)


def _check_row(run: Run) -> None:
    """Whether what stands in a row goes together."""
    running, live = run.status is Status.RUNNING, run.status in LIVE
    wrong = (
        (run.reason is not None) != (run.status is Status.ERROR)
        or (run.finished_at is None) != live
        or (run.lease_until is None) == running
        or (run.due_at is not None and run.status is not Status.PENDING)
        or (running and (run.owner is None or run.started_at is None or run.epoch < 1))
    )
    if wrong:
        raise Violation("row", f"{run}")


def _took(run: Run) -> float:
    return (run.duration_ms or 0) / 1000


def _or_else(before: T, found: list[T]) -> list[T]:
    return found or [before]


def _paused(delta: Delta) -> set[str]:
    """The tasks that were disabled."""
    return {b.name for b, a in delta.tasks if b is not None and a is not None and not a.enabled}
