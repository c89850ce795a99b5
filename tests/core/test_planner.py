"""What a claim makes of all that is due, as tables: limits, groups, lost runs, runs that wait; and
when failures in a row disable a task. No storage, no clock, no event loop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cronkit_core import Reason, Run, Status, Task, Trigger, changes
from cronkit_core.definition import decode
from cronkit_core.planner import Planner
from cronkit_core.runs import Finish, Tally, live_run, tally
from cronkit_core.storage.base import DueTask, OwedRun, Snapshot

T0 = datetime(2027, 1, 1, tzinfo=UTC)
NOW = T0 + timedelta(seconds=60)
RETRY = {"max_retries": 1, "base": 30, "backoff": "constant", "jitter": 0}


def task(number: int, **options: Any) -> Task:
    """A task whose slot is due."""
    wish = changes.define(T0, f"task {number}", "handler", {"interval": 60}, **options)
    write = changes.save(None, wish, T0, keep_earlier=True)
    assert write is not None
    return decode(replace(write.record, id=number, revision=1))


def run(number: int, of: Task, status: str = "running", **changes: Any) -> Run:
    """A run of the slot before: running, due ("pending"), or waiting."""
    made = Run(
        id=number,
        task_name=of.name,
        slot=T0,
        attempt=1,
        status=Status.PENDING if status == "waiting" else Status(status),
        triggered_by=Trigger.SCHEDULE,
        scheduled_for=T0,
        due_at=NOW if status == "pending" else None,
        owner="somebody" if status == "running" else None,
        task_group=of.policies.group,
    )
    return replace(made, **changes)


@dataclass
class Due:
    """What a claim finds."""

    tasks: list[tuple[Task, list[Run]]] = field(default_factory=list)
    pending: list[tuple[Run, Task | None]] = field(default_factory=list)
    expired: list[tuple[Run, Task | None]] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        def owed(found: list[tuple[Run, Task | None]]) -> list[OwedRun]:
            return [OwedRun(run, None if task is None else task.record) for run, task in found]

        due = [DueTask(task.record, tuple(map(live_run, live))) for task, live in self.tasks]
        return Snapshot(NOW, due, owed(self.pending), owed(self.expired), self.running)


def planned(due: Due, room: int = 10, groups: dict[str, int] | None = None, own=()) -> dict:
    """What is planned, told in short; what is empty is left out."""
    planner = Planner(room, groups or {}, own)
    claim = planner.plan(due.snapshot())
    said = {
        "starts": [new.task_id for new in claim.starts],
        "waits": [(new.task_id, new.due_at is not None) for new in claim.waits],
        "resumes": [owed.run.id for owed in claim.resumes],
        "advances": [step.task_id for step in claim.advances],
        "skips": [(skip.task_name, skip.reason.value) for skip in claim.skips],
        "cancels": claim.cancels,
        "replaced": claim.replaced,
        "ends": [(f.run_id, f.reason.value, f.retry is not None) for f in claim.finishes],
        "broken": [task_id for task_id, _ in claim.broken],
        "full": sorted(planner.full_groups),
        "own": planner.own_expired,
    }
    assert planner.progress == any(
        value for key, value in said.items() if key not in ("full", "own")
    )
    return {key: value for key, value in said.items() if value}


ONE, TWO, THREE = task(1), task(2), task(3)
IN_A, ALSO_IN_A, IN_B = task(1, group="a"), task(2, group="a"), task(3, group="b")
SKIP, QUEUE, CANCEL, ALLOW = (task(1, overlap=o) for o in ("skip", "queue", "cancel", "allow"))
ALL = task(1, overlap="allow", catch_up="all", start_at=T0 - timedelta(minutes=5))
RETRIES, PAUSES = task(1, retry=RETRY), task(1, pause_after_failures=1)
BROKEN = replace(ONE, record=replace(ONE.record, policies='{"timeout": "soon"}'))

LIMITS = [
    ("room for all", Due([(ONE, []), (TWO, [])]), {}, {"starts": [1, 2], "advances": [1, 2]}),
    ("room for one", Due([(ONE, []), (TWO, [])]), {"room": 1}, {"starts": [1], "advances": [1]}),
    ("no room", Due([(ONE, [])]), {"room": 0}, {}),
    (
        "no room, but a slot that is skipped needs none",
        Due([(SKIP, [run(7, SKIP)])]),
        {"room": 0},
        {"advances": [1], "skips": [("task 1", "overlap")]},
    ),
    (
        "no room, but a slot that waits needs none",
        Due([(QUEUE, [run(7, QUEUE)])]),
        {"room": 0},
        {"advances": [1], "waits": [(1, False)]},
    ),
    (
        "no room, but a slot that cancels needs none",
        Due([(CANCEL, [run(7, CANCEL)])]),
        {"room": 0},
        {"advances": [1], "waits": [(1, False)], "cancels": [7]},
    ),
    ("no room for one beside the active run", Due([(ALLOW, [run(7, ALLOW)])]), {"room": 0}, {}),
    (
        "room for one of the slots of a task",
        Due([(replace(ALL, record=replace(ALL.record, next_slot=T0, next_run_at=T0)), [])]),
        {"room": 1},
        {"advances": [1], "starts": [1], "waits": [(1, True)]},
    ),
    (
        "pending runs take the room before slots",
        Due([(TWO, [])], pending=[(run(7, ONE, "pending"), ONE)]),
        {"room": 1},
        {"resumes": [7]},
    ),
    (
        "a group has a limit",
        Due([(IN_A, []), (ALSO_IN_A, []), (IN_B, [])]),
        {"groups": {"a": 1, "b": 1}},
        {"starts": [1, 3], "advances": [1, 3], "full": ["a"]},
    ),
    (
        "which counts what runs anywhere",
        Due([(IN_A, []), (IN_B, [])], running={"a": 2, "b": 1}),
        {"groups": {"a": 2, "b": 2}},
        {"starts": [3], "advances": [3], "full": ["a"]},
    ),
    (
        "and pending runs",
        Due([(IN_A, [])], pending=[(run(7, ALSO_IN_A, "pending"), ALSO_IN_A)]),
        {"groups": {"a": 1}},
        {"resumes": [7], "full": ["a"]},
    ),
    (
        "a group without a limit has none",
        Due([(IN_A, []), (ALSO_IN_A, [])], running={"a": 50}),
        {"groups": {"b": 1}},
        {"starts": [1, 2], "advances": [1, 2]},
    ),
    (
        "one that makes way for a slot leaves its room",
        Due(
            [(CANCEL, [run(7, CANCEL, "pending")]), (TWO, [])],
            pending=[(run(7, CANCEL, "pending"), CANCEL)],
        ),
        {"room": 2},
        {"starts": [1, 2], "advances": [1, 2], "ends": [(7, "cancelled", False)]},
    ),
    (
        "a waiting slot is replaced",
        Due([(QUEUE, [run(7, QUEUE), run(8, QUEUE, "waiting")])]),
        {},
        {
            "advances": [1],
            "waits": [(1, False)],
            "replaced": [8],
            "skips": [("task 1", "overlap")],
        },
    ),
]
OWED = [
    ("a lost run", Due(expired=[(run(7, ONE), ONE)]), {}, {"ends": [(7, "lost", False)]}),
    (
        "with retries",
        Due(expired=[(run(7, RETRIES), RETRIES)]),
        {},
        {"ends": [(7, "lost", True)]},
    ),
    (
        "with retries, that somebody wants cancelled",
        Due(expired=[(run(7, RETRIES, cancel_requested_by="ana"), RETRIES)]),
        {},
        {"ends": [(7, "lost", False)]},
    ),
    ("of a removed task", Due(expired=[(run(7, ONE), None)]), {}, {"ends": [(7, "lost", False)]}),
    (
        "of a broken task, which is so for one reason",
        Due(expired=[(run(7, BROKEN), BROKEN), (run(8, BROKEN), BROKEN)]),
        {},
        {"ends": [(7, "lost", False), (8, "lost", False)], "broken": [1]},
    ),
    ("a run of one's own", Due(expired=[(run(7, ONE), ONE)]), {"own": {7}}, {"own": True}),
    (
        "what the end of a lost run makes of its task shows in the next claim",
        Due(
            [(PAUSES, [run(7, PAUSES), run(8, PAUSES, "pending")])],
            pending=[(run(8, PAUSES, "pending"), PAUSES)],
            expired=[(run(7, PAUSES), PAUSES)],
        ),
        {},
        {"ends": [(7, "lost", False)]},
    ),
    (
        "a pending run of a removed task",
        Due(pending=[(run(7, ONE, "pending"), None)]),
        {},
        {"ends": [(7, "cancelled", False)]},
    ),
    (
        "a pending run of a broken task",
        Due(pending=[(run(7, BROKEN, "pending"), BROKEN)]),
        {},
        {"ends": [(7, "broken", False)], "broken": [1]},
    ),
    (
        "a slot of a broken task",
        Due([(BROKEN, []), (TWO, [])]),
        {},
        {
            "broken": [1],
            "starts": [2],
            "advances": [2],
        },
    ),
    (
        "a pending run without room stays",
        Due(pending=[(run(7, ONE, "pending"), ONE)]),
        {"room": 0},
        {},
    ),
]


@pytest.mark.parametrize(
    ("due", "limits", "expected"),
    [row[1:] for row in LIMITS + OWED],
    ids=[row[0] for row in LIMITS + OWED],
)
def test_what_is_planned(due: Due, limits: dict, expected: dict) -> None:
    assert planned(due, **limits) == expected


def test_slots_start_in_the_order_of_the_snapshot() -> None:
    """Which is that of priority; the last ones are left when the room is used up."""
    due = Due([(THREE, []), (ONE, []), (TWO, [])])
    assert planned(due, room=2) == {"starts": [3, 1], "advances": [3, 1]}


# --- what a task remembers of its runs -------------------------------------------------------

FRESH = Tally(enabled=True, failures=0)
GOOD = {"status": Status.SUCCESS}
BAD = {"status": Status.ERROR, "reason": Reason.EXCEPTION, "pause_after": 2}
PAUSED = Tally(enabled=False, failures=1)


@pytest.mark.parametrize(
    ("before", "end", "failures", "last_status", "pauses"),
    [
        (FRESH, GOOD, 0, "success", False),
        (replace(FRESH, failures=5), GOOD, 0, "success", False),
        (FRESH, BAD, 1, "error", False),
        (replace(FRESH, failures=1), BAD, 2, "error", True),
        (replace(FRESH, failures=7), BAD, 8, "error", True),
        (replace(FRESH, failures=7), {**BAD, "pause_after": None}, 8, "error", False),
        (FRESH, {**BAD, "pause_after": 1}, 1, "error", True),
        # A retry that is to come is no outcome, and a cancellation nobody's failure.
        (replace(FRESH, failures=1), {**BAD, "retry": object()}, 1, None, False),
        (replace(FRESH, failures=1), {**BAD, "counts": False}, 1, None, False),
        # Who is paused already is not paused again.
        (PAUSED, BAD, 2, "error", False),
        (PAUSED, GOOD, 0, "success", False),
    ],
)
def test_failures_in_a_row_pause_a_task(before, end, failures, last_status, pauses) -> None:
    finish = Finish(1, 1, "task 1", "me", 1, finished_at=NOW, **end)
    after = tally(before, finish)
    assert (after.failures, after.last_status, after.pauses) == (failures, last_status, pauses)
    assert after.enabled == (before.enabled and not pauses)
    assert (after.last_run_at == NOW) == end.get("counts", True)
    assert (after.last_success_at == NOW) == (end is GOOD)
