"""The decision table of `policy.plan`: every policy in every situation, with exact counts, ranges
and next slots. No clock, no storage, no event loop."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core import changes, policy
from cronkit_core.definition import decode
from cronkit_core.policy import Decision, Due, Skipped
from cronkit_core.runs import LiveRun, SkipReason, Trigger
from cronkit_core.schedules.base import Schedule
from cronkit_core.tasks import Task

T0 = datetime(2027, 1, 1, tzinfo=UTC)
MINUTE = 60


def t(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def task(
    schedule: object = {"interval": MINUTE},
    *,
    created: datetime = T0,
    record: dict[str, Any] | None = None,
    timezone: str | None = None,
    **options: Any,
) -> Task:
    """A task that was made at `created`; `record` overrides what its record holds."""
    wish = changes.define(created, "task", "handler", schedule, timezone=timezone, **options)
    write = changes.save(None, wish, created, keep_earlier=True)
    assert write is not None
    return decode(replace(write.record, id=1, revision=1, **(record or {})))


IDLE: list[LiveRun] = []
RUNNING = [LiveRun(7, t(60), 1, True, False, Trigger.SCHEDULE)]
RETRY = [LiveRun(7, t(60), 2, False, False, Trigger.SCHEDULE)]
WAITING = [*RUNNING, LiveRun(8, t(120), 1, False, True, Trigger.SCHEDULE)]
CAUGHT_UP = [*RUNNING, LiveRun(8, t(120), 1, False, True, Trigger.CATCH_UP)]
BACKFILL = [*RUNNING, LiveRun(8, t(-600), 1, False, True, Trigger.BACKFILL)]
MANUAL = [LiveRun(9, t(70), 1, True, False, Trigger.MANUAL)]
RETRY_AND_WAITING = [*RETRY, LiveRun(8, t(120), 1, False, True, Trigger.SCHEDULE)]


def due(*seconds: float, by: Trigger = Trigger.SCHEDULE) -> tuple[Due, ...]:
    return tuple(Due(t(s), by) for s in seconds)


def late(*seconds: float) -> tuple[Due, ...]:
    return due(*seconds, by=Trigger.CATCH_UP)


def gone(first: float, last: float, count: int, reason: str, run_id: int | None = None) -> Skipped:
    return Skipped(t(first), t(last), count, SkipReason(reason), run_id)


# --- overlap: one slot, on time --------------------------------------------------------------

STARTS = {"start": due(180), "runs_started": 1}
SKIPS = {"skip": (gone(180, 180, 1, "overlap", 7),)}
WAITS = {"wait": due(180), "runs_started": 1}

OVERLAP = [
    ("skip", "idle", IDLE, STARTS),
    ("skip", "running", RUNNING, SKIPS),
    ("skip", "retry pending", RETRY, SKIPS),
    ("skip", "waiting", WAITING, SKIPS),
    ("skip", "manual", MANUAL, {"skip": (gone(180, 180, 1, "overlap", 9),)}),
    ("skip", "backfill waiting", BACKFILL, SKIPS),
    ("queue", "idle", IDLE, STARTS),
    ("queue", "running", RUNNING, WAITS),
    ("queue", "retry pending", RETRY, WAITS),
    (
        "queue",
        "waiting",
        WAITING,
        # The newest waits; the one that gives its place has not run after all.
        {
            "wait": due(180),
            "replace": (8,),
            "skip": (gone(120, 120, 1, "overlap", 7),),
            "runs_started": 0,
        },
    ),
    (
        "queue",
        "retry pending and waiting",
        RETRY_AND_WAITING,
        {
            "wait": due(180),
            "replace": (8,),
            "skip": (gone(120, 120, 1, "overlap", 7),),
            "runs_started": 0,
        },
    ),
    ("queue", "a catch-up waiting", CAUGHT_UP, WAITS),
    ("queue", "backfill waiting", BACKFILL, WAITS),
    ("queue", "manual", MANUAL, WAITS),
    ("cancel", "idle", IDLE, STARTS),
    ("cancel", "running", RUNNING, {**WAITS, "cancel": (7,)}),
    # Nothing has to end first.
    ("cancel", "retry pending", RETRY, {**STARTS, "cancel": (7,)}),
    ("cancel", "waiting", WAITING, {**WAITS, "cancel": (7, 8)}),
    ("cancel", "manual", MANUAL, {**WAITS, "cancel": (9,)}),
    ("allow", "idle", IDLE, STARTS),
    ("allow", "running", RUNNING, STARTS),
    ("allow", "retry pending", RETRY, STARTS),
    ("allow", "waiting", WAITING, STARTS),
]


@pytest.mark.parametrize(
    ("overlap", "situation", "live", "expected"), OVERLAP, ids=[f"{r[0]}-{r[1]}" for r in OVERLAP]
)
def test_one_slot_on_time(overlap: str, situation: str, live: list, expected: dict) -> None:
    planned = policy.plan(
        task(overlap=overlap, record={"next_slot": t(180), "next_run_at": t(180)}), live, t(180)
    )
    rest = {"next_slot": t(240), "next_run_at": t(240)}
    assert planned == Decision(**expected, **rest)


# --- catch-up: idle --------------------------------------------------------------------------

MISSED_999 = (gone(60, 999 * 60, 999, "missed"),)
NEWEST_100 = tuple(range(901 * 60, 1001 * 60, 60))

CATCH_UP = [
    # (catch_up, options, situation, now, expected, next slot)
    ("latest", {}, "on time", 60, {"start": due(60), "runs_started": 1}, 120),
    ("all", {}, "on time", 60, {"start": due(60), "runs_started": 1}, 120),
    ("skip", {}, "on time", 60, {"start": due(60), "runs_started": 1}, 120),
    # One slot, late by more than its grace.
    ("latest", {"grace": 10}, "late", 75, {"start": late(60), "runs_started": 1}, 120),
    ("all", {"grace": 10}, "late", 75, {"start": late(60), "runs_started": 1}, 120),
    ("skip", {"grace": 10}, "late", 75, {"skip": (gone(60, 60, 1, "missed"),)}, 120),
    # The last instant of the grace still counts.
    ("latest", {"grace": 10}, "grace", 70, {"start": due(60), "runs_started": 1}, 120),
    ("skip", {"grace": 10}, "grace", 70, {"start": due(60), "runs_started": 1}, 120),
    ("skip", {"grace": 0}, "no grace, on time", 60, {"start": due(60), "runs_started": 1}, 120),
    (
        "skip",
        {"grace": 0},
        "no grace",
        60.000001,
        {"skip": (gone(60, 60, 1, "missed"),)},
        120,
    ),
    # Two slots.
    (
        "latest",
        {},
        "two",
        130,
        {"start": due(120), "skip": (gone(60, 60, 1, "missed"),), "runs_started": 1},
        180,
    ),
    (
        "all",
        {},
        "two",
        130,
        {"start": late(60), "wait": due(120), "runs_started": 2},
        180,
    ),
    (
        "skip",
        {},
        "two",
        130,
        {"start": due(120), "skip": (gone(60, 60, 1, "missed"),), "runs_started": 1},
        180,
    ),
    ("skip", {"grace": 5}, "two", 130, {"skip": (gone(60, 120, 2, "missed"),)}, 180),
    # A thousand.
    (
        "latest",
        {},
        "a thousand",
        60_001,
        {"start": due(60_000), "skip": MISSED_999, "runs_started": 1},
        60_060,
    ),
    (
        "all",
        {},
        "a thousand",
        60_001,
        {
            "start": late(NEWEST_100[0]),
            # The last two are within the grace.
            "wait": (*late(*NEWEST_100[1:-1]), *due(NEWEST_100[-1])),
            "skip": (gone(60, 900 * 60, 900, "missed"),),
            "runs_started": 100,
        },
        60_060,
    ),
    (
        "all",
        {"catch_up_limit": 1},
        "a thousand, one at most",
        60_001,
        {"start": due(60_000), "skip": MISSED_999, "runs_started": 1},
        60_060,
    ),
    (
        "all",
        {"catch_up_limit": 1000},
        "a thousand, all of them",
        60_001,
        {
            "start": late(60),
            "wait": (*late(*range(120, 60_000, 60)), *due(60_000)),
            "runs_started": 1000,
        },
        60_060,
    ),
    (
        "skip",
        {},
        "a thousand",
        60_001,
        {"start": due(60_000), "skip": MISSED_999, "runs_started": 1},
        60_060,
    ),
    (
        "skip",
        {"grace": 0},
        "a thousand, late",
        60_001,
        {"skip": (gone(60, 60_000, 1000, "missed"),)},
        60_060,
    ),
]


@pytest.mark.parametrize(
    ("catch_up", "options", "situation", "now", "expected", "next_slot"),
    CATCH_UP,
    ids=[f"{r[0]}-{r[2]}" for r in CATCH_UP],
)
def test_slots_that_passed(
    catch_up: str, options: dict, situation: str, now: float, expected: dict, next_slot: float
) -> None:
    planned = policy.plan(task(catch_up=catch_up, **options), IDLE, t(now))
    assert planned == Decision(**expected, next_slot=t(next_slot), next_run_at=t(next_slot))


# --- catch-up of an active task --------------------------------------------------------------

BOTH = [
    # At 310, slots 60 to 300 are due, and run 7 is active.
    (
        "skip",
        "latest",
        {"skip": (gone(60, 240, 4, "missed"), gone(300, 300, 1, "overlap", 7))},
    ),
    ("skip", "all", {"skip": (gone(60, 300, 5, "overlap", 7),)}),
    (
        "queue",
        "latest",
        {"wait": due(300), "skip": (gone(60, 240, 4, "missed"),), "runs_started": 1},
    ),
    (
        "queue",
        "all",
        {"wait": due(300), "skip": (gone(60, 240, 4, "overlap", 7),), "runs_started": 1},
    ),
    (
        "cancel",
        "latest",
        {
            "wait": due(300),
            "skip": (gone(60, 240, 4, "missed"),),
            "cancel": (7,),
            "runs_started": 1,
        },
    ),
    (
        "cancel",
        "all",
        {
            "wait": (*late(60, 120, 180, 240), *due(300)),
            "cancel": (7,),
            "runs_started": 5,
        },
    ),
    (
        "allow",
        "latest",
        {"start": due(300), "skip": (gone(60, 240, 4, "missed"),), "runs_started": 1},
    ),
    ("allow", "all", {"start": (*late(60, 120, 180, 240), *due(300)), "runs_started": 5}),
]


@pytest.mark.parametrize(
    ("overlap", "catch_up", "expected"), BOTH, ids=[f"{r[0]}-{r[1]}" for r in BOTH]
)
def test_slots_that_passed_while_active(overlap: str, catch_up: str, expected: dict) -> None:
    live = [LiveRun(7, t(0), 1, True, False, Trigger.SCHEDULE)]
    planned = policy.plan(task(overlap=overlap, catch_up=catch_up, grace=59), live, t(310))
    assert planned == Decision(**expected, next_slot=t(360), next_run_at=t(360))


def test_an_idle_task_with_allow_starts_all_at_once() -> None:
    planned = policy.plan(task(overlap="allow", catch_up="all", grace=0), IDLE, t(190))
    assert planned.start == late(60, 120, 180)
    assert planned.wait == ()


# --- max_runs --------------------------------------------------------------------------------

MAX_RUNS = [
    # (max_runs, started before, options, now, live, expected, next slot)
    (5, 0, {}, 60, IDLE, {"start": due(60), "runs_started": 1}, 120),
    (1, 0, {}, 60, IDLE, {"start": due(60), "runs_started": 1}, None),
    (5, 4, {}, 60, IDLE, {"start": due(60), "runs_started": 5}, None),
    # A skipped slot has not run.
    (1, 0, {}, 60, RUNNING, {"skip": (gone(60, 60, 1, "overlap", 7),)}, 120),
    (1, 0, {"overlap": "queue"}, 60, RUNNING, {"wait": due(60), "runs_started": 1}, None),
    # Of a catch-up, as many as are left, the oldest; the rest is over.
    (
        2,
        0,
        {"catch_up": "all", "grace": 0},
        305,
        IDLE,
        {
            "start": late(60),
            "wait": late(120),
            "skip": (gone(180, 300, 3, "ended"),),
            "runs_started": 2,
        },
        None,
    ),
    (
        1,
        0,
        {},
        305,
        IDLE,
        {"start": due(300), "skip": (gone(60, 240, 4, "missed"),), "runs_started": 1},
        None,
    ),
    # Lowered under what has run already.
    (3, 3, {}, 60, IDLE, {"skip": (gone(60, 60, 1, "ended"),), "runs_started": 3}, None),
    (
        3,
        9,
        {"catch_up": "all"},
        125,
        IDLE,
        {"skip": (gone(60, 120, 2, "ended"),), "runs_started": 9},
        None,
    ),
]


@pytest.mark.parametrize(
    ("max_runs", "started", "options", "now", "live", "expected", "next_slot"), MAX_RUNS
)
def test_max_runs(
    max_runs: int,
    started: int,
    options: dict,
    now: float,
    live: list,
    expected: dict,
    next_slot: float | None,
) -> None:
    subject = task(max_runs=max_runs, record={"runs_started": started}, **options)
    at = None if next_slot is None else t(next_slot)
    assert policy.plan(subject, live, t(now)) == Decision(**expected, next_slot=at, next_run_at=at)


def test_a_replaced_slot_gives_its_run_back() -> None:
    record = {"runs_started": 4, "next_slot": t(180), "next_run_at": t(180)}
    planned = policy.plan(task(max_runs=5, overlap="queue", record=record), WAITING, t(180))
    assert (planned.runs_started, planned.replace) == (4, (8,))
    assert planned.next_slot == t(240)


# --- bounds ----------------------------------------------------------------------------------


def test_start_at_is_a_slot_itself_and_none_comes_before() -> None:
    subject = task(start_at=t(300))
    assert subject.next_slot == t(300)
    planned = policy.plan(subject, IDLE, t(430))
    assert planned.start == due(420)
    assert planned.skip == (gone(300, 360, 2, "missed"),)


def test_end_at_is_a_slot_itself_and_none_comes_after() -> None:
    planned = policy.plan(task(end_at=t(180), catch_up="all", grace=3600), IDLE, t(600))
    assert planned.start + planned.wait == due(60, 120, 180)
    assert (planned.skip, planned.next_slot, planned.next_run_at) == ((), None, None)


def test_missed_slots_end_at_end_at() -> None:
    planned = policy.plan(task(end_at=t(185)), IDLE, t(60_000))
    assert planned.skip == (gone(60, 120, 2, "missed"),)
    assert planned.start == late(180)
    assert planned.next_slot is None


def test_a_single_slot_is_the_last() -> None:
    planned = policy.plan(task({"at": t(60).isoformat()}), IDLE, t(61))
    assert planned == Decision(start=due(60), runs_started=1)


# --- an edit: schedule_since, and a preserved slot -------------------------------------------


def test_a_preserved_slot_runs_and_the_new_schedule_counts_from_the_edit() -> None:
    # The old schedule's next slot is 90; since the edit at 100 the schedule is every minute.
    record = {"next_slot": t(90), "next_run_at": t(90), "schedule_since": t(100)}
    planned = policy.plan(task(record=record), IDLE, t(110))
    assert planned == Decision(start=due(90), runs_started=1, next_slot=t(120), next_run_at=t(120))


def test_slots_of_the_new_schedule_before_the_edit_were_never_promised() -> None:
    record = {"next_slot": t(90), "next_run_at": t(90), "schedule_since": t(1000)}
    planned = policy.plan(task(record=record, catch_up="all", grace=0), IDLE, t(1150))
    # 120 to 960 are left out without a word: the schedule was another one then.
    assert planned.start + planned.wait == late(90, 1020, 1080, 1140)
    assert planned.skip == ()
    planned = policy.plan(task(record=record), IDLE, t(1150))
    assert planned.skip == (gone(90, 1080, 3, "missed"),)


def test_an_edit_at_the_very_instant_of_a_slot() -> None:
    record = {"next_slot": t(120), "next_run_at": t(120), "schedule_since": t(120)}
    planned = policy.plan(task(record=record), IDLE, t(185))
    assert planned.skip == (gone(120, 120, 1, "missed"),)
    assert planned.start == due(180)


def test_a_slot_that_somebody_moved() -> None:
    # Between the slots of the schedule, and then on by the schedule.
    record = {"next_slot": t(75), "next_run_at": t(75)}
    planned = policy.plan(task(record=record), IDLE, t(75))
    assert planned.start == due(75)
    assert planned.next_slot == t(120)


# --- jitter ----------------------------------------------------------------------------------


def test_jitter_delays_the_run_and_not_the_slot() -> None:
    subject = task(jitter=50)
    run_at = subject.next_run_at
    assert run_at is not None
    assert t(60) < run_at < t(110)
    planned = policy.plan(subject, IDLE, run_at)
    assert planned.start == due(60)
    assert planned.next_slot == t(120)
    assert t(120) <= planned.next_run_at < t(170)


def test_jitter_is_the_same_each_time_and_never_passes_the_next_slot() -> None:
    subject = task(jitter=86_400)
    seen = set()
    for i in range(1, 200):
        slot = t(60 * i)
        run_at = policy.actual(subject, slot)
        assert run_at == policy.actual(subject, slot)
        assert slot <= run_at < slot + timedelta(seconds=60)
        seen.add(run_at - slot)
    assert timedelta(seconds=60) - timedelta(microseconds=1) in seen  # capped


def test_a_slot_whose_jitter_is_not_over_is_not_due() -> None:
    subject = task(jitter=50, grace=3600)
    after = policy.actual(subject, t(120))
    planned = policy.plan(subject, IDLE, after - timedelta(microseconds=1))
    assert (planned.start, planned.skip, planned.next_slot) == (due(60), (), t(120))
    planned = policy.plan(subject, IDLE, after)
    assert (planned.start, planned.next_slot) == (due(120), t(180))
    assert planned.skip == (gone(60, 60, 1, "missed"),)


def test_grace_counts_from_the_actual_time() -> None:
    subject = task(jitter=50, grace=1, catch_up="skip")
    run_at = policy.actual(subject, t(60))
    assert policy.plan(subject, IDLE, run_at + timedelta(seconds=1)).start == due(60)
    missed = policy.plan(subject, IDLE, run_at + timedelta(seconds=1.1))
    assert (missed.start, missed.skip) == ((), (gone(60, 60, 1, "missed"),))


# --- DST -------------------------------------------------------------------------------------
# New York 2027: forward on 14 March 07:00 UTC (02:00 to 03:00), back on 7 November 06:00 UTC.

DST = [
    # (expression, now, missed: first, last, count; started, next)
    (
        "30 2 * * *",  # in the gap: once, right after it
        datetime(2027, 3, 14, 7, 0, 1, tzinfo=UTC),
        ("2027-03-12T07:30:00+00:00", "2027-03-13T07:30:00+00:00", 2),
        "2027-03-14T07:00:00+00:00",
        "2027-03-15T06:30:00+00:00",
    ),
    (
        "30 1 * * *",  # comes twice: the first pass
        datetime(2027, 11, 7, 6, 45, tzinfo=UTC),
        ("2027-11-05T05:30:00+00:00", "2027-11-06T05:30:00+00:00", 2),
        "2027-11-07T05:30:00+00:00",
        "2027-11-08T06:30:00+00:00",
    ),
    (
        "*/30 * * * *",  # both passes: fifty slots on the day that has 25 hours
        datetime(2027, 11, 8, 4, 59, tzinfo=UTC),
        ("2027-11-07T04:00:00+00:00", "2027-11-08T04:00:00+00:00", 49),
        "2027-11-08T04:30:00+00:00",
        "2027-11-08T05:00:00+00:00",
    ),
    (
        "*/30 * * * *",  # forty-six on the day that has 23
        datetime(2027, 3, 15, 3, 59, tzinfo=UTC),
        ("2027-03-14T05:00:00+00:00", "2027-03-15T03:00:00+00:00", 45),
        "2027-03-15T03:30:00+00:00",
        "2027-03-15T04:00:00+00:00",
    ),
]


@pytest.mark.parametrize(("expression", "now", "missed", "started", "following"), DST)
def test_the_clock_is_set_while_nobody_is_running(
    expression: str, now: datetime, missed: tuple, started: str, following: str
) -> None:
    first = datetime.fromisoformat(missed[0])
    subject = task(
        expression,
        timezone="America/New_York",
        created=first - timedelta(seconds=1),
        grace=86_400,
    )
    assert subject.next_slot == first
    planned = policy.plan(subject, IDLE, now)
    assert planned.skip == (
        Skipped(first, datetime.fromisoformat(missed[1]), missed[2], SkipReason.MISSED),
    )
    assert [d.slot.isoformat() for d in planned.start] == [started]
    assert planned.next_slot.isoformat() == following


# --- cost ------------------------------------------------------------------------------------


class Counts(Schedule):
    """Counts what is asked of a schedule."""

    kind = "interval"

    def __init__(self, inner: Schedule) -> None:
        self.inner = inner
        self.steps = 0

    @property
    def timezone(self) -> str | None:
        return None

    def next_after(self, after: datetime) -> datetime | None:
        self.steps += 1
        return self.inner.next_after(after)

    def previous_before(self, before: datetime) -> datetime | None:
        self.steps += 1
        return self.inner.previous_before(before)

    def count_between(self, start: datetime, end: datetime) -> int:
        self.steps += 1
        return self.inner.count_between(start, end)

    def between(self, start: datetime, end: datetime):
        raise AssertionError("a walk")

    def describe(self) -> str:
        return self.inner.describe()

    def to_dict(self) -> dict[str, Any]:
        return self.inner.to_dict()


@pytest.mark.parametrize("catch_up", ["latest", "skip", "all"])
@pytest.mark.parametrize("jitter", [0, 0.5])
def test_a_week_of_seconds_costs_a_few_steps(catch_up: str, jitter: float) -> None:
    subject = task({"interval": 1}, catch_up=catch_up, catch_up_limit=3, jitter=jitter, grace=0)
    schedule = Counts(subject.schedule)
    planned = policy.plan(replace(subject, schedule=schedule), IDLE, t(604_800.9))
    ran = {"latest": 1, "skip": 0, "all": 3}[catch_up]
    assert sum(s.count for s in planned.skip) == 604_800 - ran
    assert len(planned.start + planned.wait) == ran
    assert planned.next_slot == t(604_801)
    assert schedule.steps < 30


@pytest.mark.parametrize(
    "schedule",
    ["* * * * * *", "*/5 * * * *", {"rrule": "FREQ=SECONDLY", "dtstart": "2027-01-01T00:00:00"}],
)
def test_six_hundred_thousand_missed_slots_of_any_kind(schedule: object) -> None:
    """Counted in interpreter steps, not seconds."""
    subject = task(schedule, created=t(-1), timezone="Europe/Berlin")
    per_slot = 300 if schedule == "*/5 * * * *" else 1
    now = t(600_000 * per_slot)
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        planned = policy.plan(subject, IDLE, now)
    finally:
        sys.setprofile(previous)
    assert planned.start == due(600_000 * per_slot)
    assert planned.skip == (gone(0, 599_999 * per_slot, 600_000, "missed"),)
    assert calls < 3_000


# --- properties ------------------------------------------------------------------------------


@given(
    overlap=st.sampled_from(["skip", "queue", "cancel", "allow"]),
    catch_up=st.sampled_from(["latest", "all", "skip"]),
    limit=st.integers(1, 6),
    grace=st.sampled_from([0, 5, 60, 3600]),
    jitter=st.sampled_from([0, 30]),
    max_runs=st.none() | st.integers(1, 8),
    started=st.integers(0, 9),
    late=st.integers(0, 1500),
    since=st.integers(-100, 1200),
    preserved=st.integers(1, 400),
    live=st.sampled_from([IDLE, RUNNING, RETRY, WAITING, CAUGHT_UP, BACKFILL, MANUAL]),
    end=st.none() | st.integers(500, 1500),
)
def test_every_due_slot_has_one_fate(
    overlap: str,
    catch_up: str,
    limit: int,
    grace: float,
    jitter: float,
    max_runs: int | None,
    started: int,
    late: int,
    since: int,
    preserved: int,
    live: list,
    end: int | None,
) -> None:
    """Whatever the policies: what starts, waits or is skipped is just the slots that are due, each
    once and in order, and the next slot is the one after all of them."""
    first = t(preserved)
    if end is not None and end < preserved:
        return
    subject = task(
        overlap=overlap,
        catch_up=catch_up,
        catch_up_limit=limit,
        grace=grace,
        jitter=jitter,
        max_runs=max_runs,
        end_at=None if end is None else t(end),
        record={
            "next_slot": first,
            "next_run_at": first,
            "schedule_since": t(since),
            "runs_started": started,
        },
    )
    now = first + timedelta(seconds=late)
    expected = [first]
    slot = policy.following(subject, first)
    while slot is not None and policy.actual(subject, slot) <= now:
        expected.append(slot)
        slot = policy.following(subject, slot)

    planned = policy.plan(subject, live, now)

    replaced = [run.slot for run in live if run.id in planned.replace]
    ran = [d.slot for d in (*planned.start, *planned.wait)]
    told = list(ran)
    for skip in planned.skip:
        if skip.first_slot in replaced:
            continue
        inside = [s for s in expected if skip.first_slot <= s <= skip.last_slot]
        assert skip.count == len(inside), skip
        told += inside
    assert sorted(told) == expected
    assert ran == sorted(ran)
    assert len(planned.start) <= 1 or overlap == "allow"
    assert not planned.start or not live or overlap == "allow"
    assert not planned.cancel or overlap == "cancel"
    over = max_runs is not None and planned.runs_started >= max_runs
    assert planned.next_slot == (None if over else slot)
    assert max_runs is None or len(ran) <= max(max_runs - started, 0)
