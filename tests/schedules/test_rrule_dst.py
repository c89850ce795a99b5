"""Rules around clock changes, in pairs: forward, back.

zone                 forward                         back
America/New_York     9 March 2025, 02:00 to 03:00    2 November 2025, 02:00 to 01:00
Europe/Berlin        30 March 2025, 02:00 to 03:00   26 October 2025, 03:00 to 02:00
Europe/Dublin        30 March 2025, 01:00 to 02:00   26 October 2025, 02:00 to 01:00
Australia/Lord_Howe  5 October 2025, 02:00 to 02:30  6 April 2025, 02:00 to 01:30
Africa/Casablanca    6 April 2025, 02:00 to 03:00    23 February 2025, 03:00 to 02:00
Pacific/Apia         30 December 2011 left out       -
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cronkit_core.schedules.rrule import RRuleSchedule

NEW_YORK, BERLIN, DUBLIN = "America/New_York", "Europe/Berlin", "Europe/Dublin"
LORD_HOWE, CASABLANCA, APIA = "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"


def local(zone: str, text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def slots(zone: str, rule: str, day: str, until: str, **options: str) -> str:
    """The slots on the local days from `day` to before `until`."""
    schedule = RRuleSchedule.parse(rule, zone, **options)
    start = local(zone, day) - timedelta(microseconds=1)
    end = local(zone, until) - timedelta(microseconds=1)
    found = list(schedule.between(start, end))
    # the same backward, and one by one
    assert [*backward(schedule, start, end)][::-1] == found
    assert schedule.count_between(start, end) == len(found)
    return " ".join(
        slot.astimezone(ZoneInfo(zone)).strftime("%d-%H:%M%z").removesuffix("00") for slot in found
    )


def backward(schedule: RRuleSchedule, start: datetime, end: datetime):
    slot = schedule.previous_before(end + timedelta(microseconds=1))
    while slot is not None and slot > start:
        assert schedule.next_after(slot - timedelta(microseconds=1)) == slot
        yield slot
        slot = schedule.previous_before(slot)


# A time of the day that the clock skips is read with the offset before: 02:30 becomes 03:30.
FORWARD = [
    (NEW_YORK, "2025-03-08", "2025-03-11", "BYHOUR=2", "08-02:30-05 09-03:30-04 10-02:30-04"),
    (BERLIN, "2025-03-29", "2025-04-01", "BYHOUR=2", "29-02:30+01 30-03:30+02 31-02:30+02"),
    (DUBLIN, "2025-03-29", "2025-04-01", "BYHOUR=1", "29-01:30+00 30-02:30+01 31-01:30+01"),
    (CASABLANCA, "2025-04-05", "2025-04-08", "BYHOUR=2", "05-02:30+00 06-03:30+01 07-02:30+01"),
]
# One that it shows twice means the first pass.
BACK = [
    (NEW_YORK, "2025-11-01", "2025-11-04", "BYHOUR=1", "01-01:30-04 02-01:30-04 03-01:30-05"),
    (BERLIN, "2025-10-25", "2025-10-28", "BYHOUR=2", "25-02:30+02 26-02:30+02 27-02:30+01"),
    (DUBLIN, "2025-10-25", "2025-10-28", "BYHOUR=1", "25-01:30+01 26-01:30+01 27-01:30+00"),
    (CASABLANCA, "2025-02-22", "2025-02-25", "BYHOUR=2", "22-02:30+01 23-02:30+01 24-02:30+00"),
]


@pytest.mark.parametrize(("zone", "day", "until", "hour", "expected"), FORWARD + BACK)
def test_a_daily_time_at_a_change(
    zone: str, day: str, until: str, hour: str, expected: str
) -> None:
    rule = f"FREQ=DAILY;{hour};BYMINUTE=30"

    assert slots(zone, rule, day, until) == expected


@pytest.mark.parametrize(("zone", "day", "until", "hour", "expected"), FORWARD)
def test_a_skipped_time_is_left_out_where_that_is_asked_for(
    zone: str, day: str, until: str, hour: str, expected: str
) -> None:
    rule = f"FREQ=DAILY;{hour};BYMINUTE=30"
    first, _, last = expected.split()

    assert slots(zone, rule, day, until, nonexistent="skip") == f"{first} {last}"


@pytest.mark.parametrize(("zone", "day", "until", "hour", "expected"), FORWARD)
def test_two_times_that_mean_one_instant_are_one_slot(
    zone: str, day: str, until: str, hour: str, expected: str
) -> None:
    next_hour = int(hour[-1]) + 1
    rule = f"FREQ=DAILY;{hour},{next_hour};BYMINUTE=30"
    found = slots(zone, rule, day, until).split()

    assert len(found) == 5
    assert expected.split()[1] == found[2]


def test_what_comes_from_a_gap_is_in_order_with_what_follows_it() -> None:
    """02:15 and 02:45 come at 03:15 and 03:45, in between 03:00 and 03:30."""
    rule = "FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=0,15,30,45"
    found = slots(BERLIN, rule, "2025-03-30", "2025-03-31").replace("30-", "")

    assert found == ("01:00+01 01:15+01 01:30+01 01:45+01 03:00+02 03:15+02 03:30+02 03:45+02")
    rule = "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,20,45;BYSECOND=0,10"
    schedule = RRuleSchedule.parse(rule, BERLIN)
    day = list(schedule.between(local(BERLIN, "2025-03-30"), local(BERLIN, "2025-03-31")))
    assert day == sorted(set(day))
    assert len(day) == 6


def test_a_gap_of_half_an_hour() -> None:
    """In Lord Howe 02:15 does not exist, and becomes 02:45, which does."""
    rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=15,45"
    days = "2025-10-04", "2025-10-07"

    assert slots(LORD_HOWE, rule, *days) == (
        "04-02:15+1030 04-02:45+1030 05-02:45+11 06-02:15+11 06-02:45+11"
    )
    assert slots(LORD_HOWE, rule, *days) == slots(LORD_HOWE, rule, *days, nonexistent="skip")
    rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=10"
    assert slots(LORD_HOWE, rule, *days) == "04-02:10+1030 05-02:40+11 06-02:10+11"
    assert slots(LORD_HOWE, rule, *days, nonexistent="skip") == "04-02:10+1030 06-02:10+11"


def test_an_overlap_of_half_an_hour() -> None:
    rule = "FREQ=DAILY;BYHOUR=1;BYMINUTE=15,45"

    assert slots(LORD_HOWE, rule, "2025-04-05", "2025-04-08") == (
        "05-01:15+11 05-01:45+11 06-01:15+11 06-01:45+11 07-01:15+1030 07-01:45+1030"
    )


# Rules within the day are about what the clock shows: nothing is made up, and nothing is left out.
HOURLY = [
    (NEW_YORK, "2025-03-09", "01:00-05 03:00-04 04:00-04"),
    (NEW_YORK, "2025-11-02", "01:00-04 01:00-05 02:00-05 03:00-05 04:00-05"),
    (BERLIN, "2025-03-30", "01:00+01 03:00+02 04:00+02"),
    (BERLIN, "2025-10-26", "01:00+02 02:00+02 02:00+01 03:00+01 04:00+01"),
    (DUBLIN, "2025-03-30", "02:00+01 03:00+01 04:00+01"),
    (DUBLIN, "2025-10-26", "01:00+01 01:00+00 02:00+00 03:00+00 04:00+00"),
    (LORD_HOWE, "2025-10-05", "01:00+1030 03:00+11 04:00+11"),
    (LORD_HOWE, "2025-04-06", "01:00+11 02:00+1030 03:00+1030 04:00+1030"),
    (CASABLANCA, "2025-04-06", "01:00+00 03:00+01 04:00+01"),
    (CASABLANCA, "2025-02-23", "01:00+01 02:00+01 02:00+00 03:00+00 04:00+00"),
]


@pytest.mark.parametrize(("zone", "day", "expected"), HOURLY)
def test_an_hourly_rule_at_a_change(zone: str, day: str, expected: str) -> None:
    found = slots(zone, "FREQ=HOURLY;BYHOUR=1,2,3,4", day, f"{day}T05:00")
    unlimited = slots(zone, "FREQ=HOURLY", f"{day}T00:01", f"{day}T04:01")

    assert found.replace(f"{day[-2:]}-", "") == expected
    assert found == unlimited


HALF_HOURLY = [
    (BERLIN, "2025-03-30", "01:00+01 01:30+01 03:00+02 03:30+02"),
    (
        BERLIN,
        "2025-10-26",
        "01:00+02 01:30+02 02:00+02 02:30+02 02:00+01 02:30+01 03:00+01 03:30+01",
    ),
    (LORD_HOWE, "2025-10-05", "01:00+1030 01:30+1030 02:30+11 03:00+11 03:30+11"),
    (
        LORD_HOWE,
        "2025-04-06",
        "01:00+11 01:30+11 01:30+1030 02:00+1030 02:30+1030 03:00+1030 03:30+1030",
    ),
]


@pytest.mark.parametrize(("zone", "day", "expected"), HALF_HOURLY)
def test_a_minutely_rule_at_a_change(zone: str, day: str, expected: str) -> None:
    found = slots(zone, "FREQ=MINUTELY;INTERVAL=30", f"{day}T00:31", f"{day}T04:00")

    assert found.replace(f"{day[-2:]}-", "") == expected


def test_an_interval_counts_on_the_wall_clock() -> None:
    """Every two hours is at even hours on both sides of a change, and every five hours from a
    start keeps its count, as if the hour had been there."""
    assert slots(BERLIN, "FREQ=HOURLY;INTERVAL=2", "2025-03-30", "2025-03-30T09:00") == (
        "30-00:00+01 30-04:00+02 30-06:00+02 30-08:00+02"
    )
    assert slots(BERLIN, "FREQ=HOURLY;INTERVAL=2", "2025-10-26", "2025-10-26T09:00") == (
        "26-00:00+02 26-02:00+02 26-02:00+01 26-04:00+01 26-06:00+01 26-08:00+01"
    )
    rule = "DTSTART;TZID=Europe/Berlin:20250329T000000\nRRULE:FREQ=HOURLY;INTERVAL=5"
    assert slots(BERLIN, rule, "2025-03-29", "2025-03-31") == (
        "29-00:00+01 29-05:00+01 29-10:00+01 29-15:00+01 29-20:00+01 "
        "30-01:00+01 30-06:00+02 30-11:00+02 30-16:00+02 30-21:00+02"
    )


def test_asking_within_an_hour_that_is_shown_twice() -> None:
    weekly = RRuleSchedule.parse("FREQ=HOURLY;BYDAY=SU;BYHOUR=2;BYMINUTE=0,50", BERLIN)
    once = RRuleSchedule.parse("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", BERLIN)

    def ask(schedule: RRuleSchedule, text: str) -> list[str]:
        at = datetime.fromisoformat(f"2025-10-26T{text}")
        slots = (schedule.previous_before(at), schedule.next_after(at))
        return [
            slot.astimezone(ZoneInfo(BERLIN)).strftime("%d-%H:%M%z").removesuffix("00")
            for slot in slots
            if slot is not None
        ]

    assert ask(weekly, "02:10+02:00") == ["26-02:00+02", "26-02:50+02"]
    assert ask(weekly, "02:55+02:00") == ["26-02:50+02", "26-02:00+01"]
    assert ask(weekly, "02:00+01:00") == ["26-02:50+02", "26-02:50+01"]
    assert ask(weekly, "02:10+01:00") == ["26-02:00+01", "26-02:50+01"]
    assert ask(weekly, "02:55+01:00") == ["26-02:50+01", "02-02:00+01"]
    rare = RRuleSchedule.parse("FREQ=HOURLY;BYDAY=SU;BYHOUR=2;BYMINUTE=50", BERLIN)
    assert ask(rare, "02:55+02:00") == ["26-02:50+02", "26-02:50+01"]
    assert ask(rare, "02:10+01:00") == ["26-02:50+02", "26-02:50+01"]
    early = RRuleSchedule.parse("FREQ=HOURLY;BYDAY=SU;BYHOUR=2;BYMINUTE=0", BERLIN)
    assert ask(early, "02:10+02:00") == ["26-02:00+02", "26-02:00+01"]
    assert ask(once, "02:10+02:00") == ["25-02:30+02", "26-02:30+02"]
    assert ask(once, "02:10+01:00") == ["26-02:30+02", "27-02:30+01"]
    assert ask(once, "02:50+01:00") == ["26-02:30+02", "27-02:30+01"]


def test_count_counts_runs_in_both_passes() -> None:
    rule = "DTSTART;TZID=Europe/Berlin:20251026T010000\nRRULE:FREQ=HOURLY;COUNT=4"

    assert slots(BERLIN, rule, "2025-10-26", "2025-10-28") == (
        "26-01:00+02 26-02:00+02 26-02:00+01 26-03:00+01"
    )


def test_count_counts_days_that_were_shifted_but_not_those_left_out() -> None:
    rule = "DTSTART;TZID=Europe/Berlin:20250329T023000\nRRULE:FREQ=DAILY;COUNT=3"
    days = "2025-03-29", "2025-04-05"

    assert slots(BERLIN, rule, *days) == "29-02:30+01 30-03:30+02 31-02:30+02"
    assert slots(BERLIN, rule, *days, nonexistent="skip") == ("29-02:30+01 31-02:30+02 01-02:30+02")


def test_a_start_in_a_gap_or_an_overlap() -> None:
    gap = "DTSTART;TZID=Europe/Berlin:20250330T023000\nRRULE:FREQ="
    assert slots(BERLIN, f"{gap}DAILY", "2025-03-30", "2025-04-01") == "30-03:30+02 31-02:30+02"
    assert slots(BERLIN, f"{gap}HOURLY", "2025-03-30", "2025-03-30T05:00") == (
        "30-03:30+02 30-04:30+02"
    )
    overlap = "DTSTART;TZID=Europe/Berlin:20251026T023000\nRRULE:FREQ="
    assert slots(BERLIN, f"{overlap}DAILY", "2025-10-26", "2025-10-28") == (
        "26-02:30+02 27-02:30+01"
    )
    # what the clock shows again after the start belongs to it
    assert slots(BERLIN, f"{overlap}MINUTELY;INTERVAL=15", "2025-10-26", "2025-10-26T03:01") == (
        "26-02:30+02 26-02:45+02 26-02:00+01 26-02:15+01 26-02:30+01 26-02:45+01 26-03:00+01"
    )


def test_a_day_that_was_left_out() -> None:
    """Samoa went over the date line: after 29 December 2011 came 31 December."""
    daily = "FREQ=DAILY;BYHOUR=9"
    assert slots(APIA, daily, "2011-12-29", "2012-01-02") == ("29-09:00-10 31-09:00+14 01-09:00+14")
    assert slots(APIA, daily, "2011-12-29", "2012-01-02", nonexistent="skip") == (
        "29-09:00-10 31-09:00+14 01-09:00+14"
    )
    friday = "FREQ=WEEKLY;BYDAY=FR;BYHOUR=9"
    assert slots(APIA, friday, "2011-12-22", "2012-01-08") == (
        "23-09:00-10 31-09:00+14 06-09:00+14"
    )
    assert slots(APIA, friday, "2011-12-22", "2012-01-08", nonexistent="skip") == (
        "23-09:00-10 06-09:00+14"
    )
    assert slots(APIA, "FREQ=HOURLY;INTERVAL=12", "2011-12-29", "2012-01-01") == (
        "29-00:00-10 29-12:00-10 31-00:00+14 31-12:00+14"
    )


def test_an_excluded_day_is_the_local_one_in_both_passes() -> None:
    schedule = RRuleSchedule.parse("FREQ=HOURLY", BERLIN, exdate=["2025-10-26"])
    start, end = local(BERLIN, "2025-10-25"), local(BERLIN, "2025-10-28")

    assert schedule.count_between(start, end) == 48
    assert schedule.next_after(local(BERLIN, "2025-10-25T23:30")) == local(
        BERLIN, "2025-10-27T00:00"
    )


def test_a_rule_that_always_falls_in_a_gap_never_fires_when_that_is_left_out() -> None:
    """The last Sunday of March at 02:30: Berlin's clock skips it each year."""
    rule = "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU;BYHOUR=2;BYMINUTE=30"
    start = datetime(1997, 1, 1, tzinfo=UTC)
    left_out = RRuleSchedule.parse(rule, BERLIN, nonexistent="skip")
    days = ",".join(map(str, range(25, 32)))
    hourly = f"FREQ=HOURLY;BYMONTH=3;BYDAY=SU;BYMONTHDAY={days};BYHOUR=2"

    assert left_out.next_after(start) is None
    assert RRuleSchedule.parse(hourly, BERLIN).next_after(start) is None
    assert RRuleSchedule.parse(rule, BERLIN).next_after(start) == local(BERLIN, "1997-03-30T03:30")
    # in 1980 the clock was changed in April, since then on these Sundays
    last = left_out.previous_before(datetime.max.replace(tzinfo=UTC))
    assert last == local(BERLIN, "1980-03-30T02:30")


def test_a_rule_that_starts_centuries_after_what_is_asked_fires_where_gaps_are_left_out() -> None:
    rule = "DTSTART:29900921T012757\nRRULE:FREQ=WEEKLY;INTERVAL=3;BYMONTH=4"
    left_out = RRuleSchedule.parse(rule, LORD_HOWE, nonexistent="skip")
    ancient = datetime(1, 1, 1, tzinfo=UTC)
    found = left_out.next_after(ancient)

    assert found is not None
    assert found == RRuleSchedule.parse(rule, LORD_HOWE).next_after(ancient)
    assert left_out.count_between(ancient, found) == 1
    assert left_out.upcoming(ancient, 1) == [found]
