"""What an operation on a task writes: above all, which slot is next after an edit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core import InvalidSchedule, InvalidTask, Skip, SkipReason, changes, policy
from cronkit_core.definition import decode
from cronkit_core.storage.base import DISABLED, TaskWrite
from cronkit_core.tasks import TaskRecord, actual

T0 = datetime(2027, 1, 1, tzinfo=UTC)


def t(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def stored(write: TaskWrite | None, **more: Any) -> TaskRecord:
    """The record of a write, as a storage gives it back."""
    assert write is not None
    record = write.record
    return replace(record, id=record.id or 1, revision=record.revision + 1, **more)


def add(
    old: TaskRecord | None,
    now: float,
    schedule: object = {"interval": 60},
    zone: str | None = None,
    **more: Any,
) -> TaskWrite | None:
    """`add_task` at `now`."""
    wish = changes.define(
        t(now),
        "task",
        more.pop("handler", "handler"),
        schedule,
        more.pop("config", None),
        zone,
        **more,
    )
    return changes.save(old, wish, t(now), keep_earlier=True)


def update(old: TaskRecord, now: float, **changed: Any) -> TaskWrite | None:
    """`update_task` at `now`."""
    return changes.save(old, changes.redefine(old, changed), t(now), keep_earlier=False)


def slots(write: TaskWrite | None) -> tuple[datetime | None, datetime | None]:
    assert write is not None
    return write.record.next_slot, write.record.next_run_at


# --- a new task ------------------------------------------------------------------------------


def test_a_new_task_begins_with_its_first_slot_after_now() -> None:
    write = add(None, 0)
    assert write == TaskWrite(
        TaskRecord(
            name="task",
            handler="handler",
            config="{}",
            schedule_type="interval",
            schedule_config='{"anchor":"2027-01-01T00:00:00+00:00","interval":60}',
            timezone=None,
            overlap_policy="skip",
            retry_max=0,
            retry_backoff="exponential",
            policies="{}",
            task_group=None,
            priority=0,
            enabled=True,
            next_slot=t(60),
            next_run_at=t(60),
            schedule_since=T0,
            created_at=T0,
            updated_at=T0,
        )
    )


def test_an_interval_counts_from_the_creation_and_keeps_that() -> None:
    old = stored(add(None, 7))
    assert old.next_slot == t(67)
    assert add(old, 1000) is None  # nothing to write
    changed = add(old, 1000, {"interval": 90})
    assert slots(changed) == (t(67), t(67))  # due at the time of the edit: it runs
    assert '"anchor":"2027-01-01T00:00:07+00:00"' in changed.record.schedule_config
    late = add(replace(old, next_slot=t(1027), next_run_at=t(1027)), 1000, {"interval": 90})
    assert slots(late) == (t(1027), t(1027))  # 7 + 12 * 90 would be 1087


def test_count_counts_from_the_creation() -> None:
    schedule = {"rrule": "FREQ=DAILY;COUNT=3;BYHOUR=9;BYMINUTE=0;BYSECOND=0"}
    old = stored(add(None, 0, schedule))
    days = [datetime(2027, 1, day, 9, tzinfo=UTC) for day in (1, 2, 3)]
    assert decode(old).schedule.upcoming(t(-1e6), 9) == days
    # A restart two days later adds it again: nothing begins anew.
    assert add(old, 2 * 86_400, schedule) is None


def test_a_schedule_that_is_over_already() -> None:
    write = add(None, 0, {"at": "2026-12-31T00:00:00Z"})
    assert slots(write) == (None, None)


def test_a_schedule_in_a_zone_says_so() -> None:
    record = add(None, 0, "0 8 * * *", "America/New_York").record
    assert (record.timezone, record.schedule_config) == ("America/New_York", '{"cron":"0 8 * * *"}')
    assert record.next_slot == datetime(2027, 1, 1, 13, tzinfo=UTC)


# --- add_task on a task that exists: the letter of the interface -------------------------------

# "If the task exists, next_run_at is preserved when the schedule is the same; when the schedule or
# timezone changed, next_run_at becomes the earlier of the preserved one and the new schedule's next
# slot. Whether the task is enabled is preserved."

MIDNIGHT = {"schedule": "0 0 * * *"}
# (old schedule, zone; new schedule, zone; now; the one that is next)
LETTER = [
    # The same schedule.
    ({"interval": 600}, None, {"interval": 600}, None, 30, 600),
    ({"interval": 600}, None, "10m", None, 30, 600),
    ("0 * * * *", None, "0 * * * *", None, 30, 3600),
    # The new one is sooner.
    ({"interval": 600}, None, {"interval": 60}, None, 30, 60),
    ("0 * * * *", None, "*/5 * * * *", None, 30, 300),
    # The new one is later: the preserved one stays.
    ({"interval": 60}, None, {"interval": 600}, None, 30, 60),
    ("*/5 * * * *", None, "0 * * * *", None, 30, 300),
    # Another kind.
    ({"interval": 600}, None, "*/5 * * * *", None, 30, 300),
    ("0 * * * *", None, {"interval": 60}, None, 30, 60),
    # Only the zone changed. 18:00 in New York is 23:00 UTC, in Tokyo 09:00.
    ("0 18 * * *", "America/New_York", "0 18 * * *", "Asia/Tokyo", 30, 9 * 3600),
    ("0 18 * * *", "Asia/Tokyo", "0 18 * * *", "America/New_York", 30, 9 * 3600),
    ("0 18 * * *", None, "0 18 * * *", "Asia/Tokyo", 30, 9 * 3600),
    ("0 18 * * *", "Asia/Tokyo", "0 18 * * *", None, 30, 9 * 3600),
    # The new schedule is over: the preserved one stays.
    ({"interval": 60}, None, {"at": "2026-01-01T00:00Z"}, None, 30, 60),
    # The old one was over.
    ({"at": "2026-01-01T00:00Z"}, None, {"interval": 60}, None, 30, 60),
    # The preserved one has passed meanwhile: it is the earlier one, and runs now.
    ({"interval": 60}, None, {"interval": 600}, None, 5000, 60),
    ({"interval": 60}, None, {"interval": 60}, None, 5000, 60),
]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("before", "zone_before", "after", "zone_after", "now", "expected"), LETTER
)
def test_add_task_on_a_task_that_exists(
    before: object,
    zone_before: str | None,
    after: object,
    zone_after: str | None,
    now: float,
    expected: float,
    enabled: bool,
) -> None:
    old = stored(add(None, 0, before, zone_before), enabled=enabled)
    # Something else has changed too, so that there is something to write.
    write = add(old, now, after, zone_after, config={"changed": True})
    assert slots(write) == (t(expected), t(expected))
    assert write.record.enabled is enabled
    assert write.record.created_at == T0
    assert write.record.updated_at == t(now)


schedules = st.one_of(
    st.integers(1, 5000).map(lambda s: {"interval": s}),
    st.sampled_from(["*/5 * * * *", "0 * * * *", "30 2 * * *", "0 0 1 * *", "7 7 * * mon"]),
    st.sampled_from([{"rrule": "FREQ=HOURLY;INTERVAL=5"}, {"at": "2027-01-01T01:00Z"}]),
)
zones = st.sampled_from([None, "America/New_York", "Asia/Tokyo"])


@given(
    before=schedules,
    after=schedules,
    zone_before=zones,
    zone_after=zones,
    now=st.integers(0, 100_000),
    enabled=st.booleans(),
)
def test_the_letter_as_a_property(
    before: object,
    after: object,
    zone_before: str | None,
    zone_after: str | None,
    now: int,
    enabled: bool,
) -> None:
    old = stored(add(None, 0, before, zone_before), enabled=enabled)
    write = add(old, now, after, zone_after)
    wish = changes.define(T0, "task", "handler", after, None, zone_after)
    same = (before, zone_before) == (after, zone_after)
    new_next = wish.schedule.next_after(t(now))
    both = [slot for slot in (old.next_run_at, new_next) if slot is not None]
    if same:
        # (The end of a schedule that is over may be looked for again.)
        assert write is None or old.next_run_at is None
    elif write is not None:
        assert write.record.next_run_at == min(both, default=None)
    found = old if write is None else write.record
    assert found.enabled is enabled
    assert (found.next_slot is None) == (found.next_run_at is None)


def test_the_same_again_writes_nothing() -> None:
    options = {"overlap": "queue", "retry": {"max_retries": 3}, "timeout": 5, "config": {"a": [1]}}
    old = stored(add(None, 0, **options))
    for now in (1, 59, 60, 6000):
        assert add(old, now, **options) is None
    other = add(old, 6000, **{**options, "timeout": 6})
    assert slots(other) == (t(60), t(60))
    assert other.record.schedule_since == T0


def test_what_happened_to_a_task_stays_with_it() -> None:
    more = {
        "failures": 3,
        "runs_started": 8,
        "last_run_at": t(5),
        "last_status": "error",
        "last_success_at": t(1),
        "enabled": False,
        "paused_at": t(6),
        "paused_by": "ana",
        "paused_note": "why",
    }
    old = stored(add(None, 0), **more)
    for write in (add(old, 10, {"interval": 5}), update(old, 10, handler="other")):
        assert {key: getattr(write.record, key) for key in more} == more
        assert (write.record.id, write.record.revision) == (old.id, old.revision)


# --- slots that are due at an edit -----------------------------------------------------------


def test_what_is_due_at_an_edit_runs_and_the_rest_is_recorded() -> None:
    old = stored(add(None, 0))
    for write in (add(old, 310, {"interval": 7}), update(old, 310, schedule={"interval": 7})):
        assert slots(write) == (t(60), t(60))
        assert write.skips == (Skip("task", t(120), t(300), 4, SkipReason.EDITED, t(310)),)
        # The new schedule begins after the edit.
        planned = policy.plan(decode(stored(write)), [], t(310))
        assert [d.slot for d in planned.start] == [t(60)]
        assert (planned.skip, planned.next_slot) == ((), t(315))


PAUSED = {"enabled": False, "paused_at": t(5), "paused_by": "ana", "paused_note": "why"}


def disabled(first: float, last: float, count: int, now: float) -> Skip:
    note = "by ana: why"
    return Skip("task", t(first), t(last), count, SkipReason.DISABLED, t(now), note=note)


def test_what_passed_while_a_task_was_paused_is_recorded_at_the_edit() -> None:
    old = stored(add(None, 0), **PAUSED)
    write = update(old, 310, schedule={"interval": 7})
    assert slots(write) == (t(315), t(315))
    assert write.skips == (disabled(60, 300, 5, 310),)
    # And not again.
    assert changes.enable(stored(write), t(312)).skips == ()
    assert [s.count for s in changes.enable(stored(write), t(325)).skips] == [2]


def test_what_passed_besides_a_slot_that_is_preserved_is_recorded_at_the_edit() -> None:
    edited = stored(write := add(stored(add(None, 0), **PAUSED), 310, {"interval": 7}))
    assert slots(write) == (t(60), t(60))
    assert write.skips == (disabled(120, 300, 4, 310),)
    assert changes.enable(edited, t(325)).skips == (replace(disabled(60, 322, 3, 325)),)


def test_no_edit_before_anything_passed_records_anything() -> None:
    old = stored(add(None, 0), **PAUSED)
    for now in (30, 59):
        assert update(old, now, schedule={"interval": 7}).skips == ()
    assert update(old, 310, handler="other").skips == ()  # its slots stay: enabling records them


@pytest.mark.parametrize("more", [{}, {"schedule": {"interval": 7}}, {"end_at": t(1e6)}])
def test_the_last_of_max_runs_while_a_task_is_paused(more: dict[str, Any]) -> None:
    """The task is over, and what passed before is still recorded, once."""
    old = stored(add(None, 0), **PAUSED, runs_started=5)
    write = update(old, 310, max_runs=5, **more)
    assert (slots(write), write.skips) == ((None, None), (disabled(60, 300, 5, 310),))


def test_bounds_that_change_while_a_task_is_paused() -> None:
    old = stored(add(None, 0), **PAUSED)
    write = update(old, 310, start_at=t(1000))
    assert (slots(write), write.skips) == ((t(1020), t(1020)), (disabled(60, 300, 5, 310),))


def test_a_broken_task_that_was_paused_records_the_slot_that_was_next() -> None:
    old = stored(add(None, 0), **PAUSED, schedule_config="nonsense", broken="JSONDecodeError")
    write = update(old, 310, schedule={"interval": 7})
    assert write.skips == (disabled(60, 60, 1, 310),)


def test_an_interval_counts_from_a_whole_second() -> None:
    old = stored(add(None, 0.734))
    assert (old.created_at, old.next_slot) == (t(0.734), t(60))
    assert slots(add(None, 0.734, {"interval": 1})) == (t(1), t(1))
    assert slots(add(None, 0.734, {"interval": 0.25})) == (t(0.75), t(0.75))
    assert slots(add(None, 0.734, {"interval": 60, "anchor": t(0.5)}))[0] == t(60.5)
    assert slots(update(old, 50.3, schedule={"interval": 90}))[0] == t(90)


@pytest.mark.parametrize("now", [90.1, 120.3, 120.9])
def test_an_interval_that_counted_from_a_part_of_a_second_moves_by_that_once(now: float) -> None:
    anchored = {"interval": 60, "anchor": t(0.734)}
    old = stored(add(None, 0.734, anchored), next_slot=t(120.734), next_run_at=t(120.734))
    write = add(old, now)
    assert slots(write)[0] == (t(120) if now < 120 else t(120.734))  # earlier, and none is left out
    moved = stored(write)
    if now >= 120:  # which runs, and the rest of the slots follow at whole seconds
        assert policy.plan(decode(moved), [], t(121)).next_slot == t(180)
    assert add(moved, now) is None
    assert update(old, now, handler="other").record.next_slot == old.next_slot  # nothing moves


def test_an_update_takes_effect_on_the_next_slot() -> None:
    old = stored(add(None, 0, {"interval": 60}))
    assert slots(update(old, 30, schedule={"interval": 600})) == (t(600), t(600))
    assert slots(update(old, 30, schedule={"interval": 10})) == (t(40), t(40))
    zoned = stored(add(None, 0, "0 18 * * *", "Asia/Tokyo"))
    assert slots(update(zoned, 30, timezone="America/New_York"))[0] == t(23 * 3600)
    assert slots(update(zoned, 30, timezone=None))[0] == t(18 * 3600)


def test_an_update_of_something_else_moves_nothing() -> None:
    old = stored(add(None, 0, "0 18 * * *", "Asia/Tokyo"))
    for changed in ({"config": {"a": 1}}, {"overlap": "queue"}, {"retry": {"max_retries": 1}}):
        write = update(old, 30, **changed)
        assert slots(write) == (old.next_slot, old.next_run_at)
        assert write.record.schedule_since == T0
        assert write.record.timezone == "Asia/Tokyo"
    assert update(old, 30) is None


def test_an_update_may_bring_a_schedule_object_with_its_zone() -> None:
    from cronkit_core import parse_schedule

    old = stored(add(None, 0, "0 18 * * *", "Asia/Tokyo"))
    write = update(old, 30, schedule=parse_schedule("0 18 * * *", "America/New_York"))
    assert write.record.timezone == "America/New_York"
    assert write.record.next_slot == t(23 * 3600)


def test_an_update_keeps_what_it_does_not_name() -> None:
    old = stored(add(None, 0, overlap="queue", timeout=5, retry={"max_retries": 2}, group="g"))
    task = decode(stored(update(old, 1, timeout=None, priority=3)))
    assert (task.policies.overlap, task.policies.timeout) == ("queue", None)
    assert (task.policies.retry.max_retries, task.policies.group) == (2, "g")
    assert (task.record.priority, task.record.task_group) == (3, "g")


# --- jitter ----------------------------------------------------------------------------------


def test_jitter_moves_the_run_and_keeps_the_slot() -> None:
    old = stored(add(None, 0))
    write = add(old, 10, jitter=50)
    assert write.record.next_slot == t(60)
    assert write.record.next_run_at == actual(decode(stored(write)), t(60)) > t(60)
    back = update(stored(write), 10, jitter=0)
    assert slots(back) == (t(60), t(60))


def test_what_somebody_moved_stays_where_it_is() -> None:
    old = stored(changes.move(stored(add(None, 0, jitter=50)), t(5), t(33)))
    assert (old.next_slot, old.next_run_at) == (t(33), t(33))
    assert slots(add(old, 10, jitter=50, config={"a": 1})) == (t(33), t(33))
    assert slots(add(old, 10, {"interval": 7}, jitter=50))[1] <= t(33)


@given(
    before=st.integers(1, 120),
    after=st.integers(1, 120),
    jitter_before=st.integers(0, 100),
    jitter_after=st.integers(0, 100),
    now=st.integers(0, 100),
)
def test_no_slot_of_the_new_schedule_is_lost_by_jitter(
    before: int, after: int, jitter_before: int, jitter_after: int, now: int
) -> None:
    """The slots of the new schedule after the edit all come, whatever was preserved."""
    old = stored(add(None, 0, {"interval": before}, jitter=jitter_before))
    write = add(old, now, {"interval": after}, jitter=jitter_after)
    record = old if write is None else stored(write)
    task = decode(record)
    seen = []
    while record.next_slot is not None and record.next_slot <= t(400):
        planned = policy.plan(decode(record), [], record.next_run_at)
        seen += [d.slot for d in (*planned.start, *planned.wait)]
        record = replace(record, next_slot=planned.next_slot, next_run_at=planned.next_run_at)
    assert seen == sorted(set(seen))
    since = task.record.schedule_since
    wanted = set(task.schedule.between(since, t(400)))
    if write is not None and write.record.next_slot <= t(now):
        # The preserved slot was due, or became so before the new one: no more than it is extra.
        assert wanted <= set(seen)
    assert wanted <= {*seen, old.next_slot}


# --- bounds and ends -------------------------------------------------------------------------


def test_bounds_of_add_task_hold_for_the_preserved_slot_too() -> None:
    old = stored(add(None, 0))
    assert slots(add(old, 10, start_at=t(1000))) == (t(1020), t(1020))
    assert slots(add(old, 10, end_at=t(30))) == (None, None)
    assert slots(add(old, 10, end_at=t(60))) == (t(60), t(60))


def test_a_bound_that_comes_sooner_takes_effect_on_the_next_slot() -> None:
    old = stored(add(None, 0, start_at=t(100_000)))
    assert slots(update(old, 30, start_at=None)) == (t(60), t(60))
    assert slots(add(old, 30)) == (t(60), t(60))


def test_a_longer_end_revives_a_task_and_recalls_nothing() -> None:
    old = stored(add(None, 0, end_at=t(60)), next_slot=None, next_run_at=None)
    write = update(old, 310, end_at=t(600))
    assert (slots(write), write.skips) == ((t(360), t(360)), ())


def test_a_change_of_bounds_keeps_a_backlog() -> None:
    old = stored(add(None, 0, catch_up="all", grace=0))
    record = stored(update(old, 310, end_at=t(600)))
    planned = policy.plan(decode(record), [], t(310))
    assert [d.slot for d in (*planned.start, *planned.wait)] == [t(60 * i) for i in range(1, 6)]


def test_max_runs_that_are_used_up_end_the_schedule_at_once() -> None:
    old = stored(add(None, 0), runs_started=3)
    assert slots(update(old, 10, max_runs=3)) == (None, None)
    assert slots(update(old, 10, max_runs=4)) == (t(60), t(60))
    # What is due gets its fate from the next claim.
    assert slots(update(old, 70, max_runs=3)) == (t(60), t(60))


def test_more_max_runs_revive_a_task() -> None:
    old = stored(add(None, 0, max_runs=3), runs_started=3, next_slot=None, next_run_at=None)
    assert add(old, 310, max_runs=3) is None
    assert slots(update(old, 310, max_runs=5)) == (t(360), t(360))
    assert slots(update(old, 310, schedule={"interval": 7})) == (None, None)


# --- pause and go on -------------------------------------------------------------------------


def test_disable_keeps_who_and_why() -> None:
    old = stored(add(None, 0))
    write = changes.disable(old, t(5), "the disk is full", "ana")
    assert write == TaskWrite(
        replace(
            old,
            enabled=False,
            paused_at=t(5),
            paused_by="ana",
            paused_note="the disk is full",
            updated_at=t(5),
        ),
        drop_pending=DISABLED,
    )
    record = stored(write)
    assert changes.disable(record, t(6), "the disk is full", "ana") is None
    other = changes.disable(record, t(6), "still full", "bob").record
    assert (other.paused_at, other.paused_by, other.paused_note) == (t(5), "bob", "still full")


@pytest.mark.parametrize(
    ("note", "message"),
    [("", "note is empty"), ("\0", "note holds a NUL"), (5, "note must be a string, not 5")],
)
def test_bad_notes(note: Any, message: str) -> None:
    with pytest.raises(InvalidTask, match=message):
        changes.disable(stored(add(None, 0)), t(5), note, None)


def test_enable_goes_on_with_the_next_slot_and_records_those_between() -> None:
    paused = stored(changes.disable(stored(add(None, 0)), t(70), "why", "ana"))
    write = changes.enable(replace(paused, failures=3), t(310))
    assert slots(write) == (t(360), t(360))
    assert write.skips == (
        Skip("task", t(60), t(300), 5, SkipReason.DISABLED, t(310), note="by ana: why"),
    )
    record = write.record
    assert (record.enabled, record.failures) == (True, 0)
    assert (record.paused_at, record.paused_by, record.paused_note) == (None, None, None)
    assert changes.enable(stored(write), t(311)) is None


@pytest.mark.parametrize(
    ("note", "by", "said"),
    [
        (None, None, None),
        ("why", None, "why"),
        (None, "ana", "by ana"),
        ("why", "ana", "by ana: why"),
    ],
)
def test_why_slots_were_disabled(note: str | None, by: str | None, said: str | None) -> None:
    paused = stored(changes.disable(stored(add(None, 0)), t(5), note, by))
    assert changes.enable(paused, t(70)).skips[0].note == said


def test_enable_before_anything_was_due_changes_no_slot() -> None:
    old = stored(add(None, 0, jitter=50))
    paused = stored(changes.disable(old, t(5), None, None))
    for now in (10, 60):  # at 60 the slot has come, but its jitter is not over
        write = changes.enable(paused, t(now))
        assert (slots(write), write.skips) == ((old.next_slot, old.next_run_at), ())


def test_enable_when_the_schedule_ended_meanwhile() -> None:
    paused = stored(changes.disable(stored(add(None, 0, end_at=t(130))), t(5), None, None))
    write = changes.enable(paused, t(500))
    assert slots(write) == (None, None)
    assert [(s.first_slot, s.last_slot, s.count) for s in write.skips] == [(t(60), t(120), 2)]


def test_enable_after_an_edit_counts_what_was_promised() -> None:
    """The next slot was preserved at 30; the new schedule, each hour, began at 4000."""
    paused = stored(add(None, 0, {"interval": 60}), enabled=False)
    edited = stored(add(paused, 4000, "0 * * * *"))
    assert edited.next_slot == t(60)
    write = changes.enable(edited, t(5000))
    assert [(s.first_slot, s.last_slot, s.count) for s in write.skips] == [(t(60), t(60), 1)]
    write = changes.enable(edited, t(11_000))
    assert [(s.first_slot, s.last_slot, s.count) for s in write.skips] == [(t(60), t(10_800), 3)]


@pytest.mark.parametrize("enabled", [True, False])
def test_an_edit_and_a_switch_are_one_write(enabled: bool) -> None:
    old = stored(add(None, 0), enabled=not enabled)
    wish = changes.redefine(old, {"schedule": {"interval": 7}, "handler": "other"})
    write = changes.change(old, wish, t(310), enabled=enabled, by="ana")
    assert (write.record.handler, write.record.enabled) == ("other", enabled)
    assert changes.change(stored(write), None, t(311), enabled=enabled, by="ana") is None


# --- broken tasks ----------------------------------------------------------------------------


def test_a_broken_task_needs_a_schedule_to_go_on() -> None:
    broken = stored(
        add(None, 0), schedule_config="nonsense", broken="JSONDecodeError", enabled=False
    )
    with pytest.raises(InvalidTask, match=r"task 'task' is broken .* give it a new schedule"):
        changes.enable(broken, t(5))
    with pytest.raises(InvalidTask, match="give it a new schedule"):
        update(broken, 5, timeout=3)
    mended = update(broken, 5, schedule={"interval": 60})
    assert (mended.record.broken, mended.record.next_slot) == (None, t(60))


def test_add_task_mends_a_broken_task() -> None:
    good = stored(add(None, 0))
    for wrong in ({"policies": "["}, {"schedule_config": "{}"}, {"overlap_policy": "x"}):
        write = add(replace(good, broken="why", **wrong), 5)
        assert write.record.broken is None
        assert slots(write) == (t(60), t(60))


def test_an_update_that_makes_no_sense_stores_nothing() -> None:
    old = stored(add(None, 0))
    for changed in ({"schedule": "0 0 30 2 *"}, {"schedule": 0}, {"timezone": "Mars"}):
        with pytest.raises(InvalidSchedule):
            update(old, 5, **changed)
    for changed in ({"overlap": "x"}, {"nonsense": 1}, {"config": 5}, {"handler": ""}):
        with pytest.raises(InvalidTask):
            update(old, 5, **changed)
