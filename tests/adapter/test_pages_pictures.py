"""What the pictures show, without a page around them: strips, the day, the plot; and in what words
times and durations are."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core.changes import define, save
from cronkit_core.definition import decode_leniently
from cronkit_core.runs import Reason, Run, Skip, SkipReason, Status, Trigger
from cronkit_core.storage.sqlite_base import run_program
from cronkit_core.storage.sqlite_rows import text
from datasette_cron import overview
from datasette_cron.overview import Activity, TaskFilter
from datasette_cron.pages.plot import plot
from datasette_cron.pages.strip import HEIGHT, WIDTH, strip
from datasette_cron.pages.timeline import COLUMNS, MOST_SLOTS, STEP, timeline, window
from datasette_cron.pages.words import clock_text, duration, long_span, moment, relative

NOW = datetime(2027, 1, 1, 12, 34, 56, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def a_run(id_, status="success", ms=100, reason=None, at=NOW, **options):
    ended = status in ("success", "error")
    return Run(
        id=id_,
        task_name="t",
        slot=at,
        attempt=options.pop("attempt", 1),
        status=Status(status),
        triggered_by=Trigger.SCHEDULE,
        scheduled_for=at,
        started_at=at,
        finished_at=at if ended else None,
        duration_ms=ms if ended else None,
        reason=reason or (Reason.EXCEPTION if status == "error" else None),
        **options,
    )


def a_task(schedule, timezone=None, *, name="t", since=NOW, **options):
    definition = define(since, name, "h", schedule, timezone=timezone, **options)
    return decode_leniently(save(None, definition, since, keep_earlier=False).record)


def bars(path):
    """The bars of a strip: their places and heights."""
    return [(int(x), int(height)) for x, height in re.findall(r"M(\d+) 22v-(\d+)", path)]


def columns(path):
    """The columns of ten minutes that a lane's path covers."""
    found = []
    for start, length in re.findall(r"M(\d+) \d+h(\d+)", path):
        found += range(int(start), int(start) + int(length))
    assert found == sorted(set(found))
    return found


# --- strips


def test_no_strip_without_runs():
    assert strip([]) is None


def test_a_strip_shows_outcomes_and_durations_newest_at_the_right():
    found = strip(
        [
            a_run(5, "running"),
            a_run(4, "error", 400),
            a_run(3, "error", 100, Reason.CANCELLED),
            a_run(2, "success", 1),
            a_run(1, "success", 100),
        ]
    )
    assert bars(found.running) == [(147, 21)]
    assert bars(found.failed) == [(142, 21)]
    assert found.marks.startswith("M140 25")
    assert bars(found.cancelled) == [(137, 10)]
    assert bars(found.succeeded) == [(132, 3), (127, 10)]
    assert found.median == "100 ms"
    assert found.label == (
        "last 5 runs: 2 succeeded, 1 failed, 1 cancelled, 1 running; the newest running"
    )


@given(st.lists(st.tuples(st.sampled_from(["success", "error", "running"]), st.integers(0, 2**40))))
def test_every_run_has_a_bar_inside_the_strip(runs):
    runs = [a_run(i, status, ms) for i, (status, ms) in enumerate(runs[:30])]
    found = strip(runs)
    if found is None:
        assert not runs
        return
    shown = bars(found.succeeded + found.failed + found.cancelled + found.running)
    assert len(shown) == len(runs)
    assert len({x for x, _ in shown}) == len(runs)
    assert all(0 < x < WIDTH and 0 < height < HEIGHT for x, height in shown)


# --- the day around now


def lane(task, activity=None, now=NOW):
    found = timeline([task], {task.name: activity or Activity()}, now)
    return found.lanes[0]


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * *",
        "*/7 * * * *",
        "*/10 * * * *",
        "0 */5 * * *",
        "59 23 * * *",
        {"interval": 1},
        {"interval": 599},
        {"interval": 600},
        {"interval": 86_400 * 3},
        {"rrule": "FREQ=HOURLY;BYMINUTE=9,10,19"},
    ],
)
@pytest.mark.parametrize("now", [NOW, NOW.replace(minute=40, second=0)])
def test_what_is_to_come_is_what_the_schedule_says(schedule, now):
    task = a_task(schedule, since=now)
    start, end = window(now)
    microsecond = timedelta(microseconds=1)
    slots = task.schedule.between(task.next_slot - microsecond, end - microsecond)
    expected = sorted({(slot - start) // STEP for slot in slots})
    assert columns(lane(task, now=now).to_come) == expected


def test_of_many_tasks_no_more_is_computed_than_a_bound():
    tasks = [a_task("* * * * *", name=f"t{i}") for i in range(100)]
    found = timeline(tasks, {task.name: Activity() for task in tasks}, NOW)
    drawn = sum(len(columns(lane.to_come)) for lane in found.lanes)
    assert len(found.lanes) == 100
    assert drawn == MOST_SLOTS


def test_what_was_is_drawn_where_it_was():
    start, _ = window(NOW)
    activity = Activity(
        ran=[start + MINUTE, start + 11 * MINUTE, start + 300 * MINUTE],
        failed=[start + 12 * MINUTE],
        skips=[
            (start - 60 * MINUTE, start + 29 * MINUTE, SkipReason.OVERLAP),
            (start + 400 * MINUTE, start + 415 * MINUTE, SkipReason.MISSED),
        ],
    )
    found = lane(a_task("0 0 1 1 *"), activity)
    assert columns(found.ran) == [0, 30]
    assert columns(found.failed) == [1]
    assert columns(found.skipped) == [2]
    assert columns(found.missed) == [40, 41]
    assert found.to_come == ""
    assert "failures in 1 span" in found.label
    assert "missed, overlap" in found.label


# What the clocks did then; the second zone moves by half an hour.
@pytest.mark.parametrize(
    ("timezone", "now", "note"),
    [
        (
            "Europe/Berlin",
            "2027-03-28T05:00+00:00",
            "forward by 1 h, Sun 2027-03-28 03:00:00 CEST",
        ),
        ("Europe/Berlin", "2027-10-31T05:00+00:00", "back by 1 h, Sun 2027-10-31 02:00:00 CET"),
        (
            "Australia/Lord_Howe",
            "2027-10-02T12:00+00:00",
            "forward by 30 min, Sun 2027-10-03 02:30:00 +11",
        ),
        (
            "Australia/Lord_Howe",
            "2027-04-03T12:00+00:00",
            "back by 30 min, Sun 2027-04-04 01:30:00 +1030",
        ),
        (
            "America/New_York",
            "2027-11-07T12:00+00:00",
            "back by 1 h, Sun 2027-11-07 01:00:00 EST",
        ),
    ],
)
def test_changes_of_the_clock_are_marked(timezone, now, note):
    now = datetime.fromisoformat(now)
    task = a_task("0 0 1 1 *", timezone, since=now)
    found = timeline([task, a_task("0 0 1 1 *", name="utc", since=now)], _quiet("t", "utc"), now)
    assert found.notes == [f"{timezone}: the clock goes {note}"]
    assert [bool(lane.changes) for lane in found.lanes] == [True, False]


def test_no_change_no_note():
    found = timeline([a_task("0 0 1 1 *", "Europe/Berlin")], _quiet("t"), NOW)
    assert found.notes == []


def test_the_axis():
    found = timeline([], {}, NOW)
    assert [tick.label for tick in found.ticks] == [
        "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00", "00:00",
    ]  # fmt: skip
    start, _ = window(NOW)
    for tick in found.ticks:
        at = start + (timedelta(days=1) * float(tick.percent) / 100)
        assert abs(at - datetime.fromisoformat(tick.iso)) < MINUTE
    assert found.now == "M72.5 0v10"
    assert found.columns == COLUMNS == 144


@pytest.mark.parametrize(
    "now", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_at_the_ends_of_time_there_is_no_day(now):
    assert timeline([], {}, now.replace(tzinfo=UTC)) is None


def _quiet(*names):
    return {name: Activity() for name in names}


# --- the plot


def test_a_plot_shows_runs_and_what_did_not_run():
    runs = [
        a_run(3, "running", at=NOW - MINUTE),
        a_run(2, "error", 30_000, at=NOW - 5 * MINUTE, attempt=2),
        a_run(1, "success", 15_000, at=NOW - 10 * MINUTE),
    ]
    skip = Skip("t", NOW - 8 * MINUTE, NOW - 6 * MINUTE, 3, SkipReason.MISSED, NOW)
    found = plot(runs, [skip], NOW, "Asia/Kolkata")
    assert [point.kind for point in found.points] == ["r", "e", "s"]
    assert [point.y for point in found.points] == [10, 60, 85]
    assert found.longest == "1 min"
    assert found.points[1].title == ("run 2 failed Fri 2027-01-01 17:59:56 IST, 30 s, attempt 2")
    xs = [float(point.x) for point in reversed(found.points)]
    assert xs == sorted(xs)
    [band] = found.bands
    assert xs[0] < float(band.x) < float(band.x) + float(band.width) < xs[1]
    assert band.kind == "m"
    assert band.title.startswith("3 slots missed: nobody was running it in time")
    assert "1 failed" in found.label


@pytest.mark.parametrize(
    ("since", "labels"),
    [
        (2 * MINUTE, ["12:32:54", "12:33:55", "12:34:56"]),
        (timedelta(hours=2), ["Fri 10:32", "Fri 11:33", "Fri 12:34"]),
        (timedelta(days=20), ["2026-12-12", "2026-12-22", "2027-01-01"]),
    ],
)
def test_the_marks_of_a_plot_differ(since, labels):
    """However long it is."""
    found = plot([a_run(1, "success", 5, at=NOW - since)], [], NOW, None)
    assert [mark.label for mark in found.marks] == labels


def test_a_plot_of_nothing():
    assert plot([], [], NOW, None) is None
    assert plot([replace(a_run(1, "pending"), started_at=None)], [], NOW, None) is None


def test_a_plot_of_one_run_now():
    found = plot([a_run(1, "success", 0)], [], NOW, None)
    assert 0 <= float(found.points[0].x) <= 100
    assert found.points[0].y == 110


# --- words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "now"),
        (0.4, "now"),
        (-0.6, "1 s ago"),
        (59, "in 59 s"),
        (60, "in 1 min"),
        (-119, "1 min ago"),
        (3_600, "in 1 h"),
        (-7_830, "2 h 10 min ago"),
        (36_000 + 1_800, "in 10 h"),
        (86_400 * 3 + 3_600 * 4, "in 3 d 4 h"),
        (-86_400 * 4_000, "4,000 d ago"),
    ],
)
def test_relative_times(seconds, said):
    assert relative(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (None, ""),
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (9_949, "9.9 s"),
        (9_950, "10 s"),
        (59_600, "1 min"),
        (125_000, "2 min 5 s"),
        (3_600_000, "1 h"),
        (90_061_000, "1 d 1 h"),
    ],
)
def test_durations(ms, said):
    assert duration(ms) == said


@given(st.integers(0, 10**9))
def test_a_span_is_never_longer_than_it_was(seconds):
    sizes = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
    words = long_span(seconds).replace(",", "").split()
    said = sum(int(n) * sizes[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert said <= seconds
    assert seconds < 60 or said > seconds * 0.9 - 60


def test_clocks():
    at = datetime(2027, 7, 1, 12, tzinfo=UTC)
    assert clock_text(at, None) == "Thu 2027-07-01 12:00:00 UTC"
    assert clock_text(at, "Europe/Berlin") == "Thu 2027-07-01 14:00:00 CEST"
    assert clock_text(at, "no/where") == "Thu 2027-07-01 12:00:00 UTC"
    found = moment(at, at - MINUTE, "Europe/Berlin")
    assert found.exact == "Thu 2027-07-01 14:00:00 CEST · Thu 2027-07-01 12:00:00 UTC"
    assert found.iso == "2027-07-01T12:00:00.000000+00:00"
    assert moment(None, at) is None


# --- what is asked of the tables


@pytest.fixture
async def tables(datasette, internal):
    """Three tasks with two days of runs and skips, and a connection to look at them."""
    scheduler = datasette._cron_scheduler
    await scheduler.add_tasks(
        {"name": name, "handler": "h", "schedule": "* * * * *"} for name in ("a", "b", "c<")
    )
    connection = sqlite3.connect(internal)
    for task, step in (("a", 1), ("b", 47), ("c<", 333)):
        for i in range(0, 2880, step):
            at = text(NOW - i * MINUTE)
            status = "error" if i % 5 == 0 else "success"
            connection.execute(
                "INSERT INTO datasette_cron_runs (task_id, task_name, slot, status, triggered_by, "
                "scheduled_for, started_at, finished_at, duration_ms, reason, error_message) "
                "VALUES (1, ?, ?, ?, 'schedule', ?, ?, ?, 5, ?, ?)",
                (task, at, status, at, at, at)
                + (("exception", "x" * 5_000) if status == "error" else (None, None)),
            )
        at = NOW - step * MINUTE * 8
        connection.execute(
            "INSERT INTO datasette_cron_skips (task_name, first_slot, last_slot, count, reason, "
            "recorded_at) VALUES (?, ?, ?, 3, 'missed', ?)",
            (task, text(at - 30 * MINUTE), text(at), text(at)),
        )
    connection.commit()
    yield connection
    connection.close()


NAMES = ["a", "b", "c<"]


def test_activity_is_one_slot_of_each_ten_minutes(tables):
    since = NOW - 720 * MINUTE
    found = run_program(tables, overview.activity([*NAMES, "none"], since, NOW))
    for name in NAMES:
        for kind, condition in (("ran", "1"), ("failed", "status = 'error'")):
            slots = tables.execute(
                f"SELECT min(slot) FROM datasette_cron_runs WHERE task_name = ? AND {condition} "
                "AND slot > ? AND slot < ? GROUP BY substr(slot, 1, 15) ORDER BY 1",
                (name, text(since), text(NOW)),
            )
            assert [text(at) for at in sorted(getattr(found[name], kind))] == [s for (s,) in slots]
    assert len(found["a"].ran) == 73  # the first and the last ten minutes are cut
    assert [len(found[name].skips) for name in NAMES] == [1, 1, 0]
    assert found["none"] == Activity()


def test_the_newest_runs_of_each(tables):
    found = run_program(tables, overview.newest_runs([*NAMES, "none"], 30))
    for name in NAMES:
        ids = tables.execute(
            "SELECT id FROM datasette_cron_runs WHERE task_name = ? ORDER BY id DESC LIMIT 30",
            (name,),
        )
        assert [run.id for run in found[name]] == [id_ for (id_,) in ids]
    assert found["none"] == []
    assert max(len(run.error_message or "") for run in found["a"]) == overview.LONGEST_ERROR


@pytest.mark.parametrize(
    "program",
    [
        lambda: overview.summary(NOW),
        *(
            lambda state=state: overview.tasks_shown(TaskFilter(state=state), NOW)
            for state in overview.STATES
        ),
        lambda: overview.newest_runs(NAMES, 30),
        lambda: overview.live_runs(NAMES),
        lambda: overview.activity(NAMES, NOW - 720 * MINUTE, NOW),
        lambda: overview.history("a", None, 26),
        lambda: overview.skips_between("a", None, NOW, 51),
    ],
)
def test_no_query_goes_through_all_runs(tables, program):
    """However many runs there are, what a page reads of them is found by an index."""
    statements = []
    tables.set_trace_callback(statements.append)
    run_program(tables, program())
    tables.set_trace_callback(None)
    assert statements
    for statement in statements:
        for *_, step in tables.execute(f"EXPLAIN QUERY PLAN {statement}"):
            # Of the runs that run there are few, and an index holds no others.
            few = "USING INDEX datasette_cron_runs_lease" in step
            assert few or not re.match(r"SCAN (datasette_cron_(runs|skips)|runs|at)\b", step), step


def test_a_name_that_cannot_be_stored_is_nobodys(tables):
    for bad in ("\0", "\ud800"):
        assert run_program(tables, overview.history(bad, None, 5)) == []
        assert run_program(tables, overview.skips_between(bad, None, None, 5)) == []
        assert run_program(tables, overview.tasks_shown(TaskFilter(search=bad), NOW)) == ([], 0)
