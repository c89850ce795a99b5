"""Every search of the cron engine is bounded, in steps and in memory."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cronkit_core.schedules._local import zone_clock
from cronkit_core.schedules.cron import CronSchedule

MIN, MAX = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def lines_run(ask: Callable[[datetime], object], at: datetime) -> int:
    """How many lines of the schedules' code run while `at` is asked about."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if f"{os.sep}schedules{os.sep}" not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
        return trace

    tracing = sys.gettrace()
    sys.settrace(trace)
    try:
        ask(at)
    finally:
        sys.settrace(tracing)
    return lines


@pytest.mark.parametrize("zone", [None, "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize(
    "expression",
    [
        "* * * * * *",
        "59 59 23 31 12 *",
        "0 0 31 2 *",
        "0 0 30 2 *",
        "0 0 29 2 1",
        "0 0 31W 2,4,6,9,11 *",
        "0 0 L-30 2,4 *",
        "0 0 * 2 5#5",
        "0 0 0 29 2 * 2100",
        "0 0 0 1 1 * 1",
        "0 0 0 1 1 * 9999",
        "30 2 * 3 0",
    ],
)
def test_a_search_takes_few_steps(expression: str, zone: str | None) -> None:
    for at in (MIN, datetime(2026, 1, 1, tzinfo=UTC), MAX):
        for days in ("either", "both"):
            schedule = CronSchedule.parse(expression, zone, days=days)
            # the first time, with all that a schedule finds out once
            assert lines_run(schedule.next_after, at) < 4_000
            assert lines_run(schedule.previous_before, at) < 4_000
            assert lines_run(schedule.next_after, at) < 400


@pytest.mark.parametrize("year", ["", " *"])
def test_a_time_that_always_falls_in_a_gap_ends_after_the_cycle_of_400_years(year: str) -> None:
    second = "0 " if year else ""
    # since 2007 the second Sunday of March has no 02:00 to 02:59 in New York
    schedule = CronSchedule.parse(f"{second}*/5 2 8-14 3 0{year}", "America/New_York", days="both")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    last = datetime(2006, 3, 12, 7, 55, tzinfo=UTC)
    assert schedule.next_after(now) is None
    # most of it to find the clock changes of 474 years
    assert lines_run(schedule.next_after, now) < 200_000
    assert schedule.previous_before(now) == last
    assert schedule.previous_before(MAX) == last
    assert lines_run(schedule.previous_before, MAX) < 200_000
    assert schedule.count_between(now, MAX) == 0
    # and the time itself is found when asked to run after the gap
    after = CronSchedule.parse("30 2 8-14 3 0", "America/New_York", days="both")
    assert after.next_after(now) == datetime(2026, 3, 8, 7, tzinfo=UTC)


def test_caches_are_bounded() -> None:
    zone = zone_clock(ZoneInfo("Europe/Madrid"))
    schedule = CronSchedule.parse("0 0 1 */2 *", "Europe/Madrid")
    assert sum(1 for _ in schedule.between(MIN, MAX)) == 9_999 * 6
    assert schedule.count_between(MIN, MAX) == 9_999 * 6
    assert len(zone.calm) <= 4096
    assert len(zone._windows) <= 2048
    assert len(schedule._times.days.years) <= 128
