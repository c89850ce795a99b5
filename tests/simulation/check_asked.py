"""Whether operations do what was asked of them, and nothing else: no edit undoes another one, no
answer says that something is done which is not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from check_slots import MICRO
from sim_asked import Asked
from sim_ledger import LIVE, Delta, Ledger, Violation

from cronkit_core import Overlap, Run, Status, Task, Trigger
from cronkit_core.definition import decode, make_policies
from cronkit_core.tasks import TaskRecord

OF_THE_SCHEDULE = ("schedule", "timezone")
OF_OUTCOMES = ("runs_started", "last_run_at", "last_status", "last_success_at")


class Requests:
    """The operations that are under way."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._open: list[Asked] = []

    def begin(self, asked: Asked) -> None:
        asked.record = self._ledger.tasks.get(asked.name)
        self._open.append(asked)
        self._look(asked)

    def forget(self, asked: Asked) -> None:
        self._open.remove(asked)

    def finish(self, asked: Asked) -> None:
        """It ended without an error: then it must be done."""
        self._open.remove(asked)
        match asked.kind:
            case "trigger":
                done = self._ledger.was_run(asked.result, asked.name)
            case "cancel":
                run = self._ledger.runs[asked.options["run_id"]]
                done = run.status not in LIVE or run.cancel_requested_by is not None
            case "backfill":
                done = all(self._ledger.was_run(i, asked.name) for i in asked.result)
                done = done and not self._left_out(asked)
            case _:
                done = asked.seen
        if not done:
            raise Violation("not done", f"{asked}: {self._ledger.tasks.get(asked.name)}")

    def check(self, delta: Delta) -> None:
        """To be called before the ledger takes the delta over."""
        method, asked = delta.call.method, delta.call.asked
        if method == "save_tasks":
            for before, after in delta.tasks:
                if before is not None and after is not None:
                    _check_edit(before, after, asked)
            dropped = {w.record.name for w in delta.call.args[0] if w.drop_pending is not None}
            for before, _ in delta.tasks:
                if before is not None and before.name in dropped:
                    self._check_dropped(before.name, delta)
        elif method == "remove_tasks":
            for before, _ in delta.tasks:
                assert before is not None
                self._check_removed(before.name, delta)
        elif method in ("finish", "claim"):
            for before, after in delta.tasks:
                if before is not None and after is not None and before.enabled > after.enabled:
                    self._check_dropped(before.name, delta)
        for run in delta.inserted:
            if run.triggered_by is Trigger.BACKFILL and run.attempt == 1:
                self._check_backfilled(run, asked)
            if run.manual and run.attempt == 1:
                self._check_triggered(run, delta)

    def check_after(self) -> None:
        """To be called when the ledger has taken the delta over."""
        for asked in self._open:
            self._look(asked)

    def _look(self, asked: Asked) -> None:
        record = self._ledger.tasks.get(asked.name)
        match asked.kind:
            case "remove":
                gone = asked.record is None or record is None or record.id != asked.record.id
                asked.seen = asked.seen or gone
            case "enable" | "disable":
                wanted = asked.kind == "enable"
                asked.seen = asked.seen or (record is not None and record.enabled is wanted)
            case "add" | "update":
                asked.seen = asked.seen or (record is not None and _fits(record, asked.options))

    def _check_removed(self, name: str, delta: Delta) -> None:
        """Who removes a task ends what is pending, and what is running if that is wanted."""
        changed = {new.id: new for _, new in delta.changed}
        for run in self._ledger.live_of(name):
            now = changed.get(run.id, run)
            if now.status is Status.PENDING:
                raise Violation("removal", f"{now} of a task that was removed")
            to_end = delta.call.options["cancel"] or run.cancel_requested_by is not None
            if now.status is Status.RUNNING and to_end != (now.cancel_requested_by is not None):
                raise Violation("removal", f"{now}, cancel is {delta.call.options['cancel']}")

    def _check_dropped(self, name: str, delta: Delta) -> None:
        """Of a task that is disabled nothing stays pending but what was triggered by hand."""
        changed = {new.id: new for _, new in delta.changed}
        for run in [*self._ledger.live_of(name), *delta.inserted]:
            now = changed.get(run.id, run)
            if now.task_name == name and now.status is Status.PENDING and not now.manual:
                raise Violation("disabling", f"{now} of a task that was disabled")

    def _check_triggered(self, run: Run, delta: Delta) -> None:
        """Without force, a run by hand obeys the overlap policy."""
        asked = delta.call.asked
        if asked is None or asked.kind != "trigger" or asked.name != run.task_name:
            raise Violation("new run", f"{run}, for which nobody asked: {asked}")
        record = self._ledger.tasks[run.task_name]
        if asked.options["force"] or record.overlap_policy == Overlap.ALLOW or run.due_at is None:
            return
        ended = {new.id for _, new in delta.changed if new.status not in LIVE}
        if active := [r for r in self._ledger.live_of(run.task_name) if r.id not in ended]:
            raise Violation("overlap", f"{run} is to start beside {active[0]}")

    def _check_backfilled(self, run: Run, asked: Asked | None) -> None:
        if asked is None or asked.kind != "backfill" or asked.name != run.task_name:
            raise Violation("new run", f"{run}, for which nobody asked: {asked}")
        if asked.record is None or not self._stayed(asked):
            return  # then its slots may be those of an earlier schedule
        if run.slot not in self._wanted(asked, decode(asked.record)):
            raise Violation("backfill", f"{run} for {asked}")

    def _stayed(self, asked: Asked) -> bool:
        """Whether the task has the schedule, and the next slot, that it had."""
        before, now = asked.record, self._ledger.tasks.get(asked.name)
        if before is None or now is None or before.broken or now.broken:
            return False
        return _rule(before) == _rule(now)

    def _wanted(self, asked: Asked, task: Task) -> list[datetime]:
        start, end = asked.options["start"], asked.options["end"]
        policies, schedule = task.policies, task.schedule
        assert schedule is not None
        if policies.start_at is not None:
            start = max(start, policies.start_at)
        if policies.end_at is not None:
            end = min(end, policies.end_at)
        if task.next_slot is not None:
            end = min(end, task.next_slot - MICRO)
        return list(schedule.between(start - MICRO, end)) if start <= end else []

    def _left_out(self, asked: Asked) -> list[datetime]:
        """The slots that were asked for and have never had a run."""
        if asked.record is None or not self._stayed(asked):
            return []
        wanted = self._wanted(asked, decode(asked.record))
        return [slot for slot in wanted if (asked.name, slot, 1, False) not in self._ledger.keys]


def _rule(record: TaskRecord) -> tuple[Any, ...]:
    policies = decode(record).policies
    bounds = policies.start_at, policies.end_at
    return record.id, record.schedule_config, record.timezone, record.next_slot, bounds


def _fits(record: TaskRecord, options: dict[str, Any]) -> bool:
    """Whether the task has the policies, and the handler, that were asked for."""
    wish = {k: v for k, v in options.items() if k not in ("handler", "enabled", *OF_THE_SCHEDULE)}
    wanted, policies = make_policies(**wish), decode(record).policies
    for key in ("handler", "enabled"):
        if getattr(record, key) != options.get(key, getattr(record, key)):
            return False
    return all(getattr(policies, key) == getattr(wanted, key) for key in wish)


def _check_edit(before: TaskRecord, after: TaskRecord, asked: Asked | None) -> None:
    """An edit leaves alone what it does not name; whoever edits at the same time keeps his own."""
    changed = [f for f in OF_OUTCOMES if getattr(before, f) != getattr(after, f)]
    if after.failures != (0 if after.enabled > before.enabled else before.failures):
        changed.append("failures")
    # Who adds a task, or declares it when he starts, names everything.
    all_of_it = asked is None or asked.kind == "add"
    if before.enabled != after.enabled or not all_of_it:
        named = set(asked.options) if asked is not None and asked.kind == "update" else set()
        old, new = decode(before).policies, decode(after).policies
        changed += [
            field
            for field in type(old).__dataclass_fields__
            if field not in named and getattr(old, field) != getattr(new, field)
        ]
        if "handler" not in named and before.handler != after.handler:
            changed.append("handler")
        if not named & set(OF_THE_SCHEDULE) and (before.schedule_config, before.timezone) != (
            after.schedule_config,
            after.timezone,
        ):
            changed.append("schedule")
    if changed:
        raise Violation("edit", f"{asked} changed {changed}: {before} became {after}")
