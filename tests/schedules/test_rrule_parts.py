"""Parts of rules in combination: weeks of the year, what expands and what limits, BYSETPOS, and the
SKIP of RFC 7529."""

from datetime import UTC, datetime, timedelta

import pytest

from cronkit_core.schedules.rrule import RRuleSchedule

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)


def weeks_of(year: int, first_weekday: int) -> list[list[datetime]]:
    """The weeks of `year`, each from `first_weekday` on: those with four days and more in it."""
    day = datetime(year, 1, 1, tzinfo=UTC) - timedelta(days=6)
    while day.weekday() != first_weekday:
        day += timedelta(days=1)
    weeks = [[day + timedelta(days=7 * w + i) for i in range(7)] for w in range(55)]
    return [week for week in weeks if sum(d.year == year for d in week) >= 4]


@pytest.mark.parametrize("first_weekday", range(7))
@pytest.mark.parametrize("numbers", [(1,), (53,), (-1,), (-53,), (1, 20, -2), (52, 53)])
@pytest.mark.parametrize("interval", [1, 3])
def test_weeks_are_numbered_as_iso_8601_does(
    first_weekday: int, numbers: tuple[int, ...], interval: int
) -> None:
    """The days of a week count to its year even where they lie in the one before or after."""
    names = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
    expected: set[datetime] = set()
    for year in range(1998 - interval, 2040, interval):
        weeks = weeks_of(year, first_weekday)
        for number in numbers:
            place = number - 1 if number > 0 else number
            if -len(weeks) <= place < len(weeks):
                expected.update(weeks[place][i] for i in (0, 3, 6))
    days = ",".join(names[(first_weekday + i) % 7] for i in (0, 3, 6))
    schedule = RRuleSchedule.parse(
        f"DTSTART:19980101\nRRULE:FREQ=YEARLY;INTERVAL={interval};BYDAY={days};"
        f"WKST={names[first_weekday]};BYWEEKNO={','.join(map(str, numbers))}"
    )

    start, end = datetime(1998, 1, 1, tzinfo=UTC), datetime(2036, 12, 1, tzinfo=UTC)
    slots = list(schedule.between(start - timedelta(seconds=1), end))

    assert slots == [day for day in sorted(expected) if start <= day <= end]


def test_a_week_without_a_weekday_means_that_of_the_start() -> None:
    """As in the RFC and in libical; other parts that name days stand for it."""
    start = "DTSTART:20270106\nRRULE:FREQ=YEARLY;BYWEEKNO=20"
    assert RRuleSchedule.parse(start).upcoming(FIRST, 5) == RRuleSchedule.parse(
        f"{start};BYDAY=WE"
    ).upcoming(FIRST, 5)
    in_days = RRuleSchedule.parse(f"{start};BYMONTHDAY=17,18").upcoming(FIRST, 4)
    assert [f"{slot:%Y-%m-%d}" for slot in in_days] == [
        "2027-05-17",
        "2027-05-18",
        "2028-05-17",
        "2028-05-18",
    ]


MIXED = [
    # what expands and what limits: section 3.3.10's table, in combinations that libraries get wrong
    (
        "FREQ=MONTHLY;BYDAY=1MO,TU",
        "2027-01-04 2027-01-05 2027-01-12 2027-01-19 2027-01-26 2027-02-01 2027-02-02",
    ),
    ("FREQ=MONTHLY;BYDAY=5FR,-5FR", "2027-01-01 2027-01-29 2027-04-02 2027-04-30 2027-07-02"),
    ("FREQ=YEARLY;BYMONTHDAY=13", "2027-01-13 2027-02-13 2027-03-13"),
    ("FREQ=YEARLY;BYMONTHDAY=13;BYDAY=FR", "2027-08-13 2028-10-13 2029-04-13"),
    ("FREQ=YEARLY;BYMONTH=3;BYDAY=2SU", "2027-03-14 2028-03-12"),
    ("FREQ=YEARLY;BYDAY=-1MO,1MO", "2027-01-04 2027-12-27 2028-01-03 2028-12-25"),
    ("FREQ=YEARLY;BYYEARDAY=-1,1", "2027-01-01 2027-12-31 2028-01-01 2028-12-31"),
    ("FREQ=YEARLY;BYYEARDAY=60;BYMONTH=2", "2028-02-29 2032-02-29"),
    ("FREQ=YEARLY;BYYEARDAY=32,60,61;BYMONTHDAY=1", "2027-02-01 2027-03-01 2028-02-01 2028-03-01"),
    ("FREQ=YEARLY;BYMONTH=1,2;BYDAY=MO;BYSETPOS=-1", "2027-02-22 2028-02-28"),
    ("FREQ=YEARLY;BYDAY=MO;BYSETPOS=1,-1", "2027-01-04 2027-12-27 2028-01-03"),
    ("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=-1", "2027-01-01 2027-01-08 2027-01-15"),
    ("FREQ=WEEKLY;BYDAY=SU,MO;BYMONTH=2", "2027-02-01 2027-02-07 2027-02-08"),
    (
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU",
        "2027-01-10 2027-01-11 2027-01-24 2027-01-25",
    ),
    ("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=MO", "2027-01-03 2027-01-11 2027-01-17"),
    ("FREQ=DAILY;BYDAY=MO;BYMONTHDAY=1,2,3,4,5,6,7;BYMONTH=2,3", "2027-02-01 2027-03-01"),
    ("FREQ=DAILY;INTERVAL=2;BYDAY=SA", "2027-01-09 2027-01-23 2027-02-06"),
    ("FREQ=HOURLY;BYHOUR=0;BYYEARDAY=100", "2027-04-10 2028-04-09"),
    ("FREQ=MONTHLY;INTERVAL=5;BYMONTHDAY=31", "2027-01-31 2029-07-31 2029-12-31"),
]


def test_a_week_across_the_turn_of_the_year_is_one() -> None:
    """28 December 2026 is a Monday."""
    last = RRuleSchedule.parse("DTSTART:20261220\nRRULE:FREQ=WEEKLY;BYDAY=MO,WE,SU;BYSETPOS=-1")
    first = RRuleSchedule.parse("DTSTART:20261220\nRRULE:FREQ=WEEKLY;BYDAY=MO,FR,SU;BYSETPOS=1")
    new_year = RRuleSchedule.parse(
        "DTSTART:20261220\nRRULE:FREQ=WEEKLY;BYDAY=MO,FR,SU;BYMONTH=1;BYSETPOS=1"
    )

    assert [f"{slot:%m-%d}" for slot in last.upcoming(FIRST, 4)] == [
        "12-20",
        "12-27",
        "01-03",
        "01-10",
    ]
    assert [f"{slot:%m-%d}" for slot in first.upcoming(FIRST, 3)] == ["12-21", "12-28", "01-04"]
    assert [f"{slot:%m-%d}" for slot in new_year.upcoming(FIRST, 2)] == ["01-01", "01-04"]


@pytest.mark.parametrize(("rule", "expected"), MIXED)
def test_parts_together(rule: str, expected: str) -> None:
    """1 January 2027 is a Friday."""
    schedule = RRuleSchedule.parse(f"DTSTART:20270101\nRRULE:{rule}")
    days = expected.split()

    assert [f"{slot:%Y-%m-%d}" for slot in schedule.upcoming(FIRST, len(days))] == days


POSITIONS = [
    ("FREQ=DAILY;BYHOUR=9,12,17;BYSETPOS=-1", "01-17:00 02-17:00 03-17:00"),
    ("FREQ=DAILY;BYHOUR=9,12;BYMINUTE=0,30;BYSETPOS=2,-2", "01-09:30 01-12:00 02-09:30"),
    ("FREQ=HOURLY;BYMINUTE=5,10,55;BYSETPOS=1,-1", "01-00:05 01-00:55 01-01:05"),
    ("FREQ=MINUTELY;BYSECOND=10,20,30;BYSETPOS=2;BYMINUTE=7", "01-00:07 01-01:07 01-02:07"),
    ("FREQ=MONTHLY;BYDAY=MO,TU;BYHOUR=9,17;BYSETPOS=2,3,-1", "04-17:00 05-09:00 26-17:00"),
    ("FREQ=WEEKLY;BYDAY=SA,SU;BYHOUR=9,17;BYSETPOS=1,4", "02-09:00 03-17:00 09-09:00"),
    (
        "FREQ=YEARLY;BYMONTH=1;BYHOUR=9,17;BYMONTHDAY=5,6;BYSETPOS=-1,1",
        "05-09:00 06-17:00 05-09:00",
    ),
]


@pytest.mark.parametrize(("rule", "expected"), POSITIONS)
def test_positions_count_times_as_well_as_days(rule: str, expected: str) -> None:
    schedule = RRuleSchedule.parse(f"DTSTART:20270101\nRRULE:{rule}")

    slots = schedule.upcoming(FIRST, 3)

    assert " ".join(f"{slot:%d-%H:%M}" for slot in slots) == expected


SKIPS = [
    ("20140131", "FREQ=MONTHLY;COUNT=4", "20140131 20140331 20140531 20140731"),
    ("20140131", "FREQ=MONTHLY;SKIP=OMIT;COUNT=4", "20140131 20140331 20140531 20140731"),
    ("20140131", "FREQ=MONTHLY;SKIP=BACKWARD;COUNT=4", "20140131 20140228 20140331 20140430"),
    ("20140131", "FREQ=MONTHLY;SKIP=FORWARD;COUNT=4", "20140131 20140301 20140331 20140501"),
    ("20120229", "FREQ=YEARLY;COUNT=4", "20120229 20160229 20200229 20240229"),
    (
        "20120229",
        "FREQ=YEARLY;SKIP=BACKWARD;COUNT=5",
        "20120229 20130228 20140228 20150228 20160229",
    ),
    (
        "20120229",
        "FREQ=YEARLY;SKIP=FORWARD;COUNT=5",
        "20120229 20130301 20140301 20150301 20160229",
    ),
    # two that are moved to one day are one
    (
        "20150201",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=28,29;SKIP=FORWARD;COUNT=5",
        "20150228 20150301 20160228 20160229 20170228",
    ),
    (
        "20150201",
        "FREQ=MONTHLY;BYMONTHDAY=29,30,31;SKIP=BACKWARD;COUNT=6",
        "20150228 20150329 20150330 20150331 20150429 20150430",
    ),
    (
        "20150401",
        "FREQ=MONTHLY;BYMONTHDAY=1,31;SKIP=FORWARD;COUNT=4",
        "20150401 20150501 20150531 20150601",
    ),
    (
        "20140131",
        "FREQ=MONTHLY;INTERVAL=3;SKIP=FORWARD;COUNT=4",
        "20140131 20140501 20140731 20141031",
    ),
    # counted from the end, a day that the month has not got lies before its first
    (
        "20150101",
        "FREQ=MONTHLY;BYMONTHDAY=-31;SKIP=FORWARD;COUNT=4",
        "20150101 20150201 20150301 20150401",
    ),
    (
        "20150101",
        "FREQ=MONTHLY;BYMONTHDAY=-31;SKIP=BACKWARD;COUNT=4",
        "20150101 20150131 20150301 20150331",
    ),
    # the months of BYMONTH are chosen before a day is moved, the weekdays of BYDAY after
    ("20150101", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;SKIP=FORWARD;COUNT=2", "20150301 20160301"),
    (
        "20150101",
        "FREQ=MONTHLY;BYMONTHDAY=31;BYDAY=SA;SKIP=BACKWARD;COUNT=3",
        "20150131 20150228 20151031",
    ),
    ("20150101", "FREQ=YEARLY;BYYEARDAY=366;SKIP=BACKWARD;COUNT=3", "20151231 20161231 20171231"),
    ("20150102", "FREQ=YEARLY;BYYEARDAY=366;SKIP=FORWARD;COUNT=3", "20160101 20161231 20180101"),
    ("20150101", "FREQ=YEARLY;BYYEARDAY=-366;SKIP=FORWARD;COUNT=3", "20150101 20160101 20170101"),
    ("20150102", "FREQ=YEARLY;BYYEARDAY=-366;SKIP=BACKWARD;COUNT=3", "20160101 20161231 20171231"),
    (
        "20150102",
        "FREQ=YEARLY;INTERVAL=2;BYYEARDAY=366;SKIP=FORWARD;COUNT=3",
        "20160101 20180101 20200101",
    ),
    (
        "20150101",
        "FREQ=MONTHLY;BYMONTHDAY=30,31;BYSETPOS=-1;SKIP=FORWARD;COUNT=3",
        "20150131 20150301 20150331",
    ),
]


@pytest.mark.parametrize(("start", "rule", "expected"), SKIPS)
def test_rfc_7529(start: str, rule: str, expected: str) -> None:
    schedule = RRuleSchedule.parse(f"DTSTART;VALUE=DATE:{start}\nRRULE:RSCALE=GREGORIAN;{rule}")

    slots = list(schedule.between(FIRST, LAST)) if "COUNT" in rule else []

    assert " ".join(f"{slot:%Y%m%d}" for slot in slots) == expected
