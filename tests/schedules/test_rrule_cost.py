"""No rule is slow, whatever its distance from DTSTART, and one that never matches is found out.

Cost is counted in lines of the engine that run, which no other load on the machine changes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cronkit_core.schedules import rrule
from cronkit_core.schedules.rrule import RRuleSchedule

ENGINE = str(Path(rrule.__file__).parent)
NOW = datetime(2026, 6, 15, 12, 30, 1, tzinfo=UTC)
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
BERLIN = "Europe/Berlin"


def lines_of(work: Callable[[], object]) -> int:
    """How many lines of the schedules run in `work`."""
    lines = 0

    def count(_frame, event, _arg):
        nonlocal lines
        lines += event == "line"
        return count

    def enter(frame, _event, _arg):
        return count if frame.f_code.co_filename.startswith(ENGINE) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def parse(rule: str, start: str = "20200101T000000") -> RRuleSchedule:
    return RRuleSchedule.parse(f"DTSTART;TZID={BERLIN}:{start}\nRRULE:{rule}")


TYPICAL = [
    "FREQ=DAILY",
    "FREQ=DAILY;INTERVAL=3;BYHOUR=9,17",
    "FREQ=WEEKLY;BYDAY=MO,WE,FR",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU",
    "FREQ=MONTHLY;BYMONTHDAY=31",
    "FREQ=MONTHLY;BYDAY=-1FR",
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
    "FREQ=YEARLY;BYWEEKNO=53;BYDAY=FR",
    "FREQ=HOURLY;INTERVAL=5",
    "FREQ=MINUTELY;INTERVAL=7;BYHOUR=9,10;BYDAY=MO",
    "FREQ=SECONDLY;BYMONTH=2",
]


@pytest.mark.parametrize("rule", TYPICAL)
def test_a_distant_start_costs_nothing(rule: str) -> None:
    near, far = parse(rule), parse(rule, "00040101T000000")
    for schedule in (near, far):
        schedule.next_after(NOW)
        schedule.previous_before(NOW)

    for ask in ("next_after", "previous_before"):
        cost = lines_of(lambda ask=ask: getattr(near, ask)(NOW))
        assert cost < 250
        assert lines_of(lambda ask=ask: getattr(far, ask)(NOW)) < cost + 60


NEVER = [
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "20200101T000000"),
    ("FREQ=MONTHLY;BYMONTH=4,6,9,11;BYMONTHDAY=31", "20200101T000000"),
    ("FREQ=MONTHLY;INTERVAL=2;BYMONTH=2", "20200101T000000"),
    ("FREQ=MONTHLY;INTERVAL=36;BYMONTH=2", "20200101T000000"),
    ("FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=30", "20200201T000000"),
    ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6", "20200101T000000"),
    ("FREQ=MONTHLY;BYDAY=6MO", "20200101T000000"),
    ("FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29", "20210101T000000"),
    ("FREQ=YEARLY;INTERVAL=100;BYYEARDAY=366;BYDAY=FR", "20000101T000000"),
    ("FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6;BYDAY=MO", "20200101T000000"),
    ("FREQ=YEARLY;BYDAY=53MO;BYMONTH=1", "20200101T000000"),
    ("FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=3", "20200101T000000"),
    ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=9,17;BYSETPOS=3,-3", "20200101T000000"),
    ("FREQ=DAILY;BYHOUR=9,10;BYSETPOS=3", "20200101T000000"),
    ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "20200101T000000"),
    ("FREQ=DAILY;INTERVAL=7;BYDAY=TU", "20240101T000000"),
    ("FREQ=DAILY;INTERVAL=14;BYDAY=SU;BYMONTH=5", "20240101T000000"),
    ("FREQ=DAILY;INTERVAL=146097;BYMONTH=7", "20240101T000000"),
    ("FREQ=HOURLY;INTERVAL=24;BYHOUR=5", "20200101T060000"),
    ("FREQ=HOURLY;INTERVAL=168;BYDAY=TU", "20240101T060000"),
    ("FREQ=HOURLY;INTERVAL=36;BYHOUR=5", "20200101T060000"),
    ("FREQ=HOURLY;BYMINUTE=0,30;BYSETPOS=3", "20200101T060000"),
    ("FREQ=MINUTELY;INTERVAL=1440;BYHOUR=5", "20200101T060000"),
    ("FREQ=MINUTELY;INTERVAL=2;BYMINUTE=1,3,5", "20200101T060000"),
    ("FREQ=MINUTELY;INTERVAL=45;BYMINUTE=10,20", "20200101T060000"),
    ("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", "20200101T000000"),
    ("FREQ=SECONDLY;INTERVAL=7200;BYHOUR=5", "20200101T060000"),
    ("FREQ=SECONDLY;INTERVAL=36;BYSECOND=6,23", "20200101T060000"),
    ("FREQ=SECONDLY;INTERVAL=604800;BYDAY=TU", "20240101T060000"),
    ("FREQ=SECONDLY;INTERVAL=2;BYSECOND=1", "20200101T060000"),
    ("FREQ=SECONDLY;BYSETPOS=2;BYHOUR=5", "20200101T060000"),
    ("FREQ=SECONDLY;INTERVAL=648417;BYMONTHDAY=24;BYYEARDAY=-57;BYHOUR=3,4,13", "20200101T060000"),
    ("FREQ=SECONDLY;INTERVAL=54;BYMINUTE=1,7;BYSECOND=5,25", "20200101T060000"),
    ("FREQ=SECONDLY;INTERVAL=43433;BYMONTH=2;BYMONTHDAY=30;BYHOUR=3", "20200101T060000"),
    ("FREQ=MINUTELY;INTERVAL=77;BYMONTH=4,6;BYMONTHDAY=31;BYMINUTE=7", "20200101T060000"),
    ("FREQ=DAILY;INTERVAL=616;BYMONTHDAY=-23,-5,1,2,12,21,28;BYDAY=FR,MO", "19750610T203008"),
    ("FREQ=HOURLY;INTERVAL=13;BYYEARDAY=60;BYMONTH=4", "20200101T060000"),
]


@pytest.mark.parametrize(("rule", "start"), NEVER)
def test_what_never_matches_is_found_out_at_once(rule: str, start: str) -> None:
    schedule = parse(rule, start)
    parse("FREQ=DAILY", start).upcoming(NOW, 3)  # the zone's clock is known

    assert lines_of(lambda: schedule.next_after(NOW)) < 7000
    assert lines_of(lambda: schedule.previous_before(LAST)) < 4500
    for ask in (schedule.next_after, schedule.previous_before):
        assert ask(NOW) is None
        assert ask(LAST) is None
        assert ask(FIRST) is None
        assert lines_of(lambda ask=ask: ask(NOW)) < 4000
    assert schedule.count_between(FIRST, LAST) == 0
    assert list(islice(schedule.between(FIRST, LAST), 1)) == []


# Worked out by adding the interval until it fits.
RARE = [
    ("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", "2044-02-29"),
    ("FREQ=YEARLY;INTERVAL=100;BYMONTH=2;BYMONTHDAY=29", "2120-02-29"),
    ("FREQ=DAILY;INTERVAL=1000;BYMONTH=2;BYMONTHDAY=29", "2436-02-29"),
    ("FREQ=DAILY;INTERVAL=9973;BYMONTH=12;BYMONTHDAY=25", "8818-12-25"),
    ("FREQ=WEEKLY;INTERVAL=500;BYDAY=SA;BYMONTH=2", "2087-02-01"),
    ("FREQ=HOURLY;INTERVAL=25;BYHOUR=3;BYMONTH=2;BYDAY=MO", "2035-02-19"),
    ("FREQ=MINUTELY;INTERVAL=1441;BYHOUR=3;BYMONTH=2", "2048-02-10"),
    ("FREQ=SECONDLY;INTERVAL=86401;BYHOUR=3;BYMINUTE=0;BYSECOND=0", "2049-07-27"),
    ("FREQ=SECONDLY;INTERVAL=100003;BYMONTH=2;BYMONTHDAY=29", "2028-02-29"),
    ("FREQ=YEARLY;BYYEARDAY=366;BYDAY=SU;INTERVAL=3", "2056-12-31"),
]


@pytest.mark.parametrize(("rule", "expected"), RARE)
def test_what_matches_rarely_is_reached_by_arithmetic(rule: str, expected: str) -> None:
    schedule = parse(rule)

    assert lines_of(lambda: schedule.next_after(NOW)) < 2_500
    slot = schedule.next_after(NOW)
    assert slot is not None
    assert slot.astimezone(ZoneInfo(BERLIN)).date().isoformat() == expected
    assert schedule.previous_before(slot + timedelta(seconds=1)) == slot
    assert schedule.count_between(NOW, slot) == 1


ENDS = [
    # rule, its last slot
    ("FREQ=SECONDLY;COUNT=1000000000", "2051-09-09T00:46:39+00:00"),
    ("FREQ=MINUTELY;INTERVAL=5;COUNT=1000000", "2029-07-04T04:15:00+00:00"),
    ("FREQ=DAILY;COUNT=1000000", "4757-11-26T23:00:00+00:00"),
    ("FREQ=DAILY;COUNT=1000000000", "9999-12-30T23:00:00+00:00"),
    ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;COUNT=1000", "2023-10-30T23:00:00+00:00"),
    ("FREQ=YEARLY;COUNT=7000", "9018-12-31T23:00:00+00:00"),
    ("FREQ=MONTHLY;BYDAY=-1FR;COUNT=100", "2028-04-27T22:00:00+00:00"),
]


@pytest.mark.parametrize(("rule", "last"), ENDS)
def test_a_count_of_any_size_is_worked_out_once(rule: str, last: str) -> None:
    schedule = parse(rule)

    assert lines_of(lambda: schedule.next_after(NOW)) < 6_000
    found = schedule.previous_before(LAST)
    assert found is not None
    assert found.isoformat() == last
    assert schedule.next_after(found) is None
    count = int(rule.rpartition("=")[2])
    counted = schedule.count_between(FIRST, LAST)
    assert counted == count or (found.year == 9999 and counted < count)
    assert lines_of(lambda: schedule.next_after(NOW)) < 300


# Exclusions


def less(rule: str, exrule: str, more: str = "") -> RRuleSchedule:
    return RRuleSchedule.parse(
        f"DTSTART;TZID={BERLIN}:20200101T000000\nRRULE:{rule}\nEXRULE:{exrule}{more}"
    )


EMPTY = [
    ("FREQ=MINUTELY", "FREQ=MINUTELY"),
    ("FREQ=DAILY;COUNT=5000", "FREQ=DAILY"),
    ("FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU"),
    ("FREQ=MONTHLY;BYDAY=-1FR", "FREQ=WEEKLY;BYDAY=FR"),
    ("FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=1", "FREQ=DAILY;BYDAY=MO,TU"),
    ("FREQ=HOURLY;INTERVAL=2", "FREQ=MINUTELY;INTERVAL=10"),
    ("FREQ=MINUTELY;INTERVAL=7", "FREQ=MINUTELY"),
    ("FREQ=MINUTELY;INTERVAL=7", "FREQ=MINUTELY;INTERVAL=7"),
    ("FREQ=SECONDLY", "FREQ=SECONDLY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11,12"),
    ("FREQ=SECONDLY;INTERVAL=13", "FREQ=SECONDLY"),
]


@pytest.mark.parametrize(("rule", "exrule"), EMPTY)
def test_a_rule_that_is_wholly_excluded_ends_with_a_proof(rule: str, exrule: str) -> None:
    schedule = less(rule, exrule)

    assert lines_of(lambda: schedule.next_after(NOW)) < 300_000
    assert lines_of(lambda: schedule.next_after(NOW)) < 20_000  # the proof is kept
    assert schedule.next_after(NOW) is None
    assert schedule.previous_before(NOW) is None
    assert schedule.upcoming(NOW, 20) == []
    assert schedule.count_between(NOW, NOW + timedelta(days=3)) == 0


FAR = [
    # the end of COUNT lies centuries on, at intervals that no cycle of the calendar divides
    ("FREQ=DAILY;INTERVAL=97;COUNT=20000", 4_500),
    ("FREQ=WEEKLY;INTERVAL=13;COUNT=20000", 4_500),
    ("FREQ=WEEKLY;INTERVAL=11;BYDAY=MO,WE;BYMONTH=1,2,3;COUNT=4000", 4_500),
    ("FREQ=MONTHLY;INTERVAL=7;COUNT=5000", 4_500),
    ("FREQ=MONTHLY;INTERVAL=7;BYDAY=MO,TU;BYHOUR=8,9;BYSETPOS=1,-1;COUNT=5000", 4_500),
    ("FREQ=YEARLY;INTERVAL=3;BYWEEKNO=1,53;BYDAY=MO,SU;COUNT=5000", 4_500),
    ("FREQ=MINUTELY;INTERVAL=97;COUNT=2000000", 4_500),
    ("FREQ=MINUTELY;INTERVAL=97;BYMONTH=1,3,5;COUNT=500000", 4_500),
    ("FREQ=MINUTELY;INTERVAL=37;BYHOUR=2;COUNT=100000", 4_500),
    ("FREQ=SECONDLY;INTERVAL=37;BYMONTHDAY=13;COUNT=10000000", 4_500),
    # what took 2 to 60 ms when first asked
    ("FREQ=SECONDLY;INTERVAL=881111;BYHOUR=1,5,6,14,16,18,20,23;COUNT=444", 25_000),
    ("FREQ=SECONDLY;INTERVAL=17449;BYDAY=TU,MO,FR;BYHOUR=1,2,3,9,16,20,22;COUNT=9606", 4_500),
    ("FREQ=SECONDLY;INTERVAL=43433;BYMONTH=5;BYMONTHDAY=10;BYHOUR=2,6,8,9,12;COUNT=154", 4_500),
    ("FREQ=SECONDLY;INTERVAL=11;BYMONTHDAY=-8,2,11;BYMINUTE=1,7;BYSECOND=3,14;COUNT=11256", 5_000),
    ("FREQ=SECONDLY;INTERVAL=42419;BYHOUR=3,4,6,14,18,22,23;COUNT=100000", 4_500),
    ("FREQ=SECONDLY;INTERVAL=54;BYYEARDAY=-191;COUNT=10000", 7_000),
    ("FREQ=SECONDLY;INTERVAL=944067;BYMONTHDAY=-24,23;BYDAY=MO;COUNT=41", 4_500),
    ("FREQ=MINUTELY;INTERVAL=11;BYDAY=SA;BYMINUTE=46;COUNT=26178", 4_500),
    ("FREQ=MINUTELY;INTERVAL=7;BYHOUR=9,10;BYMONTH=7;BYSECOND=2,19;COUNT=12000", 5_000),
    ("FREQ=HOURLY;INTERVAL=5;BYMONTH=7;COUNT=4000", 4_500),
    ("FREQ=HOURLY;INTERVAL=7;BYSECOND=22,39;COUNT=100000", 4_500),
    ("FREQ=WEEKLY;INTERVAL=3;BYDAY=TH,WE,SU;BYHOUR=9,17,22;BYSETPOS=-3,-2,1,2,4;COUNT=792", 8_000),
    ("FREQ=DAILY;INTERVAL=992;BYMONTH=2;BYMONTHDAY=4,29;BYHOUR=4,23;COUNT=24", 4_500),
]


@pytest.fixture(scope="module")
def known_changes() -> None:
    """The zone's clock keeps the changes that it has found."""
    since = NOW.replace(year=1970)  # old rules count from there
    parse("FREQ=HOURLY", "19700101T090000").count_between(since, NOW.replace(year=2400))


@pytest.mark.usefixtures("known_changes")
@pytest.mark.parametrize(("rule", "most"), FAR)
def test_a_distant_end_of_count_is_found_by_arithmetic(rule: str, most: int) -> None:
    assert lines_of(lambda: parse(rule).next_after(NOW)) < most
    last = parse(rule).previous_before(LAST)
    assert last is not None
    number = int(rule.rpartition("=")[2])
    start = datetime(2020, 1, 1, tzinfo=ZoneInfo(BERLIN)) - timedelta(seconds=1)
    uncounted = parse(rule.rpartition(";")[0])
    assert uncounted.count_between(start, last) == number
    assert uncounted.count_between(start, last - timedelta(seconds=1)) == number - 1
    assert parse(rule).next_after(last) is None


OLD = [
    # a start long ago, and a COUNT that ended long ago or is far from reached
    ("FREQ=DAILY;COUNT=10", 1_500),
    ("FREQ=HOURLY;COUNT=10", 1_500),
    ("FREQ=SECONDLY;INTERVAL=7;BYHOUR=8,9,10;COUNT=1000000000", 1_300),
    ("FREQ=DAILY;COUNT=1000", 2_500),
    ("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYHOUR=9,17;COUNT=5000", 2_500),
    ("FREQ=MINUTELY;INTERVAL=5;BYDAY=MO,TU;BYHOUR=8,9,10;COUNT=10000", 3_500),
    ("FREQ=YEARLY;COUNT=40", 5_000),
    # a few in a century: the end is thousands of years away, and not looked for
    ("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;COUNT=60", 5_000),
]


@pytest.mark.usefixtures("known_changes")
@pytest.mark.parametrize(("rule", "most"), OLD)
def test_an_old_rule_with_a_count_answers_at_once_when_first_asked(rule: str, most: int) -> None:
    for ask in ("next_after", "previous_before"):
        cost = lines_of(lambda ask=ask: getattr(parse(rule, "19700101T090000"), ask)(NOW))
        assert cost < most


BY_THE_YEAR = [
    "FREQ=DAILY;BYDAY=MO,TU",
    "FREQ=DAILY;BYMONTHDAY=29,-31;BYHOUR=2,3",
    "FREQ=WEEKLY;WKST=SU;BYDAY=SU,SA",
    "FREQ=MONTHLY;INTERVAL=3;BYDAY=-1FR",
    "FREQ=MONTHLY;BYDAY=MO,WE;BYHOUR=2,14;BYSETPOS=2,-1",
    "FREQ=YEARLY;BYWEEKNO=1,53;BYDAY=MO,SU",
    "FREQ=YEARLY;BYWEEKNO=1,-1;BYHOUR=2,14;BYSETPOS=1,-1",
    "FREQ=YEARLY;BYYEARDAY=366,-366;SKIP=FORWARD;RSCALE=GREGORIAN",
    "FREQ=MINUTELY;INTERVAL=7;BYHOUR=2;BYDAY=MO,SU",
    "FREQ=YEARLY;INTERVAL=3;BYWEEKNO=53",
    "FREQ=DAILY;INTERVAL=3;BYMONTH=2",
    "FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,SU;BYMONTH=2;BYHOUR=2,14;BYSETPOS=-1,3",
    "FREQ=MONTHLY;INTERVAL=7;BYMONTHDAY=31,1;BYHOUR=2,14;BYSETPOS=-1,1",
    "FREQ=MONTHLY;INTERVAL=29;BYMONTH=1,2;BYDAY=-1FR",
    "FREQ=YEARLY;INTERVAL=2;BYWEEKNO=1,53;BYDAY=MO,SU",
    "FREQ=SECONDLY;INTERVAL=43201;BYDAY=MO,SU",
    "FREQ=SECONDLY;INTERVAL=881111;BYHOUR=1,2,14",
]


@pytest.mark.parametrize("rule", BY_THE_YEAR)
@pytest.mark.parametrize("first", [1, 1850, 2026, 9690])
def test_centuries_are_counted_as_their_years_are_one_by_one(rule: str, first: int) -> None:
    schedule = parse(rule, "00010102T000000")
    years = [datetime(year, 1, 1, tzinfo=UTC) for year in range(first, first + 310)]

    one_by_one = sum(schedule.count_between(a, b) for a, b in pairwise(years))
    assert schedule.count_between(years[0], years[-1]) == one_by_one > 0


def test_a_date_among_what_is_wholly_excluded_is_found() -> None:
    schedule = less("FREQ=DAILY", "FREQ=DAILY", "\nRDATE;VALUE=DATE:20400102,20300104")
    dates = RRuleSchedule.parse(
        f"DTSTART;TZID={BERLIN}:20200101T000000\nRRULE:FREQ=DAILY\nEXRULE:FREQ=WEEKLY;"
        f"BYDAY=MO,TU,WE,TH,FR,SA,SU\nRDATE:20300104T120000,20400102T120000"
    )

    assert schedule.next_after(NOW) is None  # the rule excludes it, too
    assert [f"{slot:%Y-%m-%d}" for slot in dates.upcoming(NOW, 20)] == ["2030-01-04", "2040-01-02"]
    assert dates.previous_before(LAST) == dates.upcoming(NOW, 2)[1]
    assert dates.previous_before(dates.upcoming(NOW, 2)[1]) == dates.next_after(NOW)


LONG = [
    (
        "FREQ=MINUTELY",
        "FREQ=MINUTELY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11",
        "2026-11-30T23:00:00+00:00",
        "2025-12-31T22:59:00+00:00",
    ),
    (
        "FREQ=MINUTELY",
        "FREQ=MINUTELY;UNTIL=20400101T000000Z",
        "2040-01-01T00:01:00+00:00",
        None,
    ),
    (
        "FREQ=SECONDLY",
        f"FREQ=SECONDLY;BYHOUR={','.join(map(str, range(23)))}",
        "2026-06-15T21:00:00+00:00",
        "2026-06-14T21:59:59+00:00",
    ),
    (
        "FREQ=DAILY;BYHOUR=9",
        "FREQ=DAILY;BYHOUR=9;COUNT=5000",
        "2033-09-09T07:00:00+00:00",
        None,
    ),
    (
        # in the summer's hours these are the same; the first pass of an hour shown twice is not
        "FREQ=HOURLY",
        f"FREQ=DAILY;BYHOUR={','.join(map(str, range(24)))}",
        "2026-10-25T01:00:00+00:00",
        "2025-10-26T01:00:00+00:00",
    ),
]


@pytest.mark.parametrize(("rule", "exrule", "following", "previous"), LONG)
def test_a_long_exclusion_is_jumped_over(
    rule: str, exrule: str, following: str, previous: str | None
) -> None:
    schedule = less(rule, exrule)

    slot = schedule.next_after(NOW)
    assert slot is not None
    assert slot.isoformat() == following
    before = schedule.previous_before(NOW)
    assert (before.isoformat() if before else None) == previous


def test_rules_that_read_the_clock_in_other_ways_are_compared_too() -> None:
    """A daily rule reads a time in a gap with the offset before it; an hourly one has none there,
    but the hour that it comes to be."""
    schedule = less("FREQ=DAILY;BYHOUR=2", "FREQ=HOURLY")
    half_past = less("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "FREQ=DAILY;BYHOUR=2;BYMINUTE=30,0")
    in_utc = RRuleSchedule.parse("RRULE:FREQ=DAILY;BYHOUR=9\nEXRULE:FREQ=HOURLY")

    for found in (schedule, half_past, in_utc):
        assert lines_of(lambda found=found: found.next_after(NOW)) < 400_000
        assert found.next_after(NOW) is None
        assert found.previous_before(NOW) is None


def test_exclusions_that_name_nothing_change_nothing() -> None:
    schedule = less("FREQ=DAILY", "FREQ=DAILY;UNTIL=20190101")
    both = less("FREQ=DAILY", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30;COUNT=3")
    none = RRuleSchedule.parse(
        "RRULE:FREQ=DAILY\nEXRULE:FREQ=DAILY;BYHOUR=0\nEXRULE:FREQ=DAILY;UNTIL=19600101"
    )

    assert schedule.upcoming(NOW, 40) == parse("FREQ=DAILY").upcoming(NOW, 40)
    assert both.upcoming(NOW, 40) == parse("FREQ=DAILY").upcoming(NOW, 40)
    assert none.next_after(NOW) is None
    assert none.previous_before(NOW) is None


def test_many_dates_cost_little() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    dates = [start + timedelta(hours=i) for i in range(20_000)]
    schedule = RRuleSchedule.parse("FREQ=MINUTELY;INTERVAL=30", exdate=dates, rdate=dates[::7])

    assert lines_of(lambda: schedule.next_after(NOW)) < 500
    assert schedule.next_after(NOW) == datetime(2026, 6, 15, 13, 30, tzinfo=UTC)
    assert schedule.count_between(start, dates[-1]) == 19_999
    assert len(list(schedule.between(start, dates[-1]))) == 19_999
