"""Property tests of one's own schedules and handlers, with what cronkit's own tests use.

pytest examples/test_my_schedules.py
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from cronkit_core import Scheduler, parse_schedule
from cronkit_core.testing import (
    VirtualClock,
    instants,
    instants_near_transitions,
    reference_next_after,
    run_until,
    timezones,
)

# What looks for the work of other processes, and for old history, need not look each second of a
# week that passes in a moment.
SELDOM = {"poll": 86_400, "prune_every": 86_400}
NEW_YORK = ZoneInfo("America/New_York")
NIGHTLY = parse_schedule("30 2 * * *", "America/New_York")
OFFICE = parse_schedule(
    {
        "schedule": "*/20 9-17 * * MON-FRI",
        "except": [{"from": "2027-12-24", "to": "2027-12-26"}, "2028-01-01"],
    },
    "America/New_York",
)


@given(instants_near_transitions("America/New_York"))
def test_a_night_has_one_backup(instant):
    """Also the nights in which the clock skips 02:30, or shows it twice."""
    first, second = NIGHTLY.upcoming(instant, 2)
    assert (second.astimezone(NEW_YORK).date() - first.astimezone(NEW_YORK).date()).days == 1


@given(timezones(), instants())
def test_the_report_never_waits_longer_than_a_weekend(zone, instant):
    report = parse_schedule("0 8 * * MON-FRI", zone)
    # Changes of the clock can make it longer; in Apia, a whole day was left out.
    assert report.next_after(instant) - instant <= timedelta(days=4, hours=2)


@settings(deadline=None)
@given(instants_near_transitions("America/New_York"))
def test_the_next_slot_is_what_the_reference_finds(instant):
    """The reference walks through the wall clock minute by minute: slow, and plainly right."""
    assert NIGHTLY.next_after(instant) == reference_next_after(
        "30 2 * * *", "America/New_York", instant
    )


def test_nobody_is_disturbed_on_christmas():
    start = datetime(2027, 12, 24, tzinfo=NEW_YORK)
    slots = OFFICE.between(start, start + timedelta(days=7))
    assert {slot.astimezone(NEW_YORK).day for slot in slots} == {27, 28, 29, 30}


@pytest.mark.asyncio
async def test_what_the_handler_does_in_a_week():
    """The clock is one that the test moves."""
    scheduler = Scheduler(clock=VirtualClock(datetime(2027, 3, 10, tzinfo=UTC)), **SELDOM)
    nights = []

    @scheduler.task("30 2 * * *", timezone="America/New_York", retry={"max_retries": 1})
    async def backup(run):
        if run.attempt == 1 and len(nights) == 2:
            raise ConnectionError("the disk is busy")
        nights.append(run.slot)

    async with scheduler:
        await run_until(scheduler, scheduler.clock.now() + timedelta(days=7))
        runs = await scheduler.runs("backup")
    assert len(nights) == 7
    assert [run.status for run in reversed(runs)].count("error") == 1
