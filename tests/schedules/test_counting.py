"""Combinations with intervals are counted by arithmetic, as many as their slots are one by one."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import lcm
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_combinations import the_book_says_the_same

from cronkit_core import schedules
from cronkit_core.schedules import Schedule, _progressions, _tally, parse_schedule

ENGINE = str(Path(schedules.__file__).parent)
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = START, START.replace(year=2027)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
MICRO = timedelta(microseconds=1)


@contextmanager
def lines_at_most(most: int) -> Iterator[None]:
    """No more than `most` lines of the schedules run within."""
    lines = 0

    def count(_frame: Any, event: str, _arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(
        lambda frame, _event, _arg: count if frame.f_code.co_filename.startswith(ENGINE) else None
    )
    try:
        yield
    finally:
        sys.settrace(before)
    assert lines <= most


@st.composite
def intervals(draw: st.DrawFn) -> dict[str, Any]:
    micros = draw(
        st.one_of(
            st.sampled_from([250_000, 500_000, 750_000, 1_000_000, 2_500_000, 977_000, 983_000]),
            st.integers(1, 900).map(lambda n: n * 10_000),
            st.integers(500_000, 9_000_000),
        )
    )
    spec: dict[str, Any] = {"interval": micros / 1_000_000}
    if draw(st.booleans()):
        quarters = st.integers(-40, 40).map(lambda n: timedelta(seconds=n / 4))
        spec["anchor"] = (START + draw(quarters)).isoformat()
    return spec


def moments() -> st.SearchStrategy[str]:
    return st.integers(0, 800).map(lambda n: (START + timedelta(seconds=n / 4)).isoformat())


@st.composite
def excluded(draw: st.DrawFn, parts: st.SearchStrategy[Any]) -> dict[str, Any]:
    spans = st.tuples(moments(), moments()).map(sorted)
    ranges = spans.map(lambda ab: {"from": ab[0], "to": ab[1]})
    out = draw(st.lists(st.one_of(parts, ranges), min_size=1, max_size=3))
    return {"schedule": draw(parts), "except": out}


@st.composite
def bounded(draw: st.DrawFn, parts: st.SearchStrategy[Any]) -> dict[str, Any]:
    first, last = draw(st.tuples(moments(), moments()).map(sorted))
    return {"schedule": draw(parts), "start_at": first, "end_at": last}


def combined(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    unions = st.lists(parts, min_size=1, max_size=4).map(lambda several: {"any": several})
    return st.one_of(unions, excluded(parts), bounded(parts))


progressions = st.one_of(intervals(), intervals(), moments().map(lambda at: {"at": at}))
rules = st.sampled_from(
    ["*/3 * * * * *", "* * * * *", "FREQ=SECONDLY;INTERVAL=7", {"calendar": "*:*:0/5"}]
)
windows = st.tuples(st.integers(-(10**7), 10**8), st.integers(0, 10**8))


def one_by_one(schedule: Schedule, start: datetime, end: datetime) -> int:
    found, slot = 0, schedule.next_after(start)
    while slot is not None and slot <= end:
        found += 1
        slot = schedule.next_after(slot)
    return found


@given(st.recursive(progressions, combined, max_leaves=8), windows)
def test_a_sum_over_progressions_is_the_number_of_slots(spec: Any, window: tuple[int, int]) -> None:
    schedule = parse_schedule({"any": [spec, "1h"]})
    start = START + window[0] * MICRO
    end = start + window[1] * MICRO
    assert schedule.count_between(start, end) == one_by_one(schedule, start, end)
    assert schedule.count_between(end, start) == 0


@given(st.recursive(st.one_of(progressions, rules), combined, max_leaves=8), windows)
def test_other_kinds_are_counted_at_whole_seconds(spec: Any, window: tuple[int, int]) -> None:
    schedule = parse_schedule({"any": [spec, "0 * * * *"]})
    start = START + window[0] * MICRO
    end = start + window[1] * MICRO
    expected = one_by_one(schedule, start, end)
    assert schedule.count_between(start, end) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tally, "_LISTED", -1)  # nothing is listed
        assert schedule.count_between(start, end) == expected
        assert schedule.count_between(end, start) == 0


@given(st.recursive(st.one_of(progressions, rules), combined, max_leaves=8), windows)
def test_slots_at_any_fraction_of_a_second_are_found_by_arithmetic(
    spec: Any, window: tuple[int, int]
) -> None:
    schedule = parse_schedule(spec)
    start = START + window[0] * MICRO
    end = start + window[1] * MICRO
    the_book_says_the_same(schedule, start, end)


def test_few_slots_are_counted_without_a_year_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which takes a tenth of a second and more where the interval is odd."""
    monkeypatch.setattr(_tally, "whole_seconds", None)
    strides = {"rrule": "FREQ=SECONDLY;INTERVAL=3601", "dtstart": "1970-06-20T07:41:44"}
    either = {"any": [{"calendar": "*-*-01..15 *:30/3:11"}, strides]}
    bounds = {"start_at": "2026-01-01T00:10:00.5", "end_at": "2026-01-01T00:47:00"}
    hour = START, START + timedelta(hours=1)
    for spec, expected in (
        (either, 11),
        ({"any": [{"schedule": either, **bounds}, "0 * * * *"]}, 7),
        ({"schedule": either, "except": ["30 * * * * *", strides]}, 10),
        ({"any": [{"schedule": strides, "except": [{"calendar": "*:*:*"}]}, 1800]}, 2),
    ):
        schedule = parse_schedule(spec)
        assert schedule.count_between(*hour) == expected == one_by_one(schedule, *hour)


STEPS = st.integers(1, 60)


@given(STEPS, st.integers(-90, 90), STEPS, st.integers(-90, 90), STEPS, STEPS)
def test_what_progressions_share(
    step: int, start: int, other_step: int, other_start: int, size: int, other_size: int
) -> None:
    one = range(start, start + step * size, step)
    other = range(other_start, other_start + other_step * other_size, other_step)
    assert list(_progressions.shared(one, other)) == sorted({*one} & {*other})


@pytest.mark.parametrize(
    ("spec", "expected", "most"),
    [
        ({"any": [0.977, 0.983]}, 64_326_950, 1_500),
        (
            {"any": [{"interval": 0.977}, {"interval": 0.983, "anchor": "2026-01-01T00:00Z"}]},
            None,
            1_500,
        ),
        ({"any": [n / 1000 for n in range(971, 981)]}, 320_687_129, 40_000),
        ({"schedule": 0.977, "except": [0.983, "2026-05-05"]}, 32_157_222, 1_500),
        ({"any": [0.977, {"schedule": 0.983, "start_at": "2026-06-01"}]}, None, 1_500),
        ({"any": [0.000_977 + 60, 61.000_983, {"at": "2026-05-05T01:01:01.5"}]}, None, 1_500),
    ],
)
def test_a_year_of_many_fractions_is_counted_in_few_steps(
    spec: Any, expected: int | None, most: int
) -> None:
    schedule = parse_schedule(spec)
    with lines_at_most(most):
        found = schedule.count_between(*YEAR)
    if expected is not None:
        assert found == expected
    middle = START + timedelta(days=100, microseconds=977_001)
    assert found == sum(
        schedule.count_between(a, b) for a, b in [(START, middle), (middle, YEAR[1])]
    )


def test_all_of_the_calendar_is_counted_in_few_steps() -> None:
    schedule = parse_schedule({"any": [60, 90, 0.977]})
    with lines_at_most(1_500):
        found = schedule.count_between(FIRST, LAST)
    whole = (LAST - FIRST) // MICRO
    one, two, three = 60_000_000, 90_000_000, 977_000
    # counted from 1970, of which both ends of the calendar are a whole number of days away
    epoch = (datetime(1970, 1, 1, tzinfo=UTC) - FIRST) // MICRO

    def slots(step: int) -> int:
        return (whole - epoch) // step - (-epoch) // step

    pairs = slots(lcm(one, two)) + slots(lcm(one, three)) + slots(lcm(two, three))
    total = slots(one) + slots(two) + slots(three) - pairs + slots(lcm(one, two, three))
    assert found == total


def test_more_progressions_than_a_sum_is_made_of_are_counted_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_progressions, "MAX_PAIRS", 3)
    for steps in ([0.5, 0.75, 0.25, 1.5], [0.9771, 0.9833, 0.9877, 0.9911]):
        schedule = parse_schedule({"any": steps})
        out = parse_schedule({"schedule": {"any": steps[:3]}, "except": [steps[3]]})
        end = START + timedelta(seconds=90)
        assert schedule.count_between(START, end) == one_by_one(schedule, START, end)
        assert out.count_between(START, end) == one_by_one(out, START, end)
