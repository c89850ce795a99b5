"""What text and arguments mean."""

import copy
import pickle
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cronkit_core.errors import InvalidSchedule
from cronkit_core.schedules import parse_schedule
from cronkit_core.schedules.rrule import RRuleSchedule
from cronkit_core.schedules.rrule_rule import Rule

parse = RRuleSchedule.parse
START = datetime(2027, 1, 1, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def following(schedule: RRuleSchedule, n: int = 3, after: datetime = START) -> list[str]:
    return [f"{slot:%Y-%m-%dT%H:%M}" for slot in schedule.upcoming(after, n)]


# Input


SAME = [
    "FREQ=WEEKLY;BYDAY=MO,FR",
    "RRULE:FREQ=WEEKLY;BYDAY=MO,FR",
    "rrule:freq=weekly;byday=fr,mo",
    " RRULE : FREQ=WEEKLY;BYDAY=MO,FR".replace(" : ", ":"),
    "RRULE:BYDAY=MO,FR;FREQ=WEEKLY",
    "RRULE:FREQ=WEEKLY;BYDAY=FR,MO,FR",
    "RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,FR;WKST=MO",
    "RRULE:FREQ=WEE\r\n KLY;BYDAY=MO,\n\tFR\r\n",
    "RRULE:RSCALE=GREGORIAN;FREQ=WEEKLY;BYDAY=MO,FR;SKIP=OMIT",
    "\n\nRRULE:FREQ=WEEKLY; BYDAY = MO, FR\n\n",
]


@pytest.mark.parametrize("text", SAME)
def test_the_same_rule_written_otherwise_is_the_same_schedule(text: str) -> None:
    assert parse(text) == parse(SAME[0])
    assert hash(parse(text)) == hash(parse(SAME[0]))


DIFFERENT = [
    parse(SAME[0]),
    parse(SAME[0], "UTC"),
    parse(SAME[0], BERLIN),
    parse(SAME[0], nonexistent="skip"),
    parse(SAME[0], dtstart="2027-01-01"),
    parse(SAME[0], dtstart="2027-01-01T09:00"),
    parse(SAME[0], exdate=["2027-01-01"]),
    parse(SAME[0], exdate=["2027-01-01T00:00"]),
    parse(SAME[0], rdate=["2027-01-01T00:00"]),
    parse("FREQ=WEEKLY;BYDAY=MO"),
    parse("FREQ=WEEKLY;BYDAY=MO,FR;WKST=SU"),
    parse("FREQ=WEEKLY;BYDAY=MO,FR;INTERVAL=2"),
]


def test_different_schedules_are_not_equal() -> None:
    assert len(set(DIFFERENT)) == len(DIFFERENT)
    assert DIFFERENT[0] != SAME[0]


ZONES = [
    # text, timezone argument -> zone, first slot after 2027-01-01
    ("RRULE:FREQ=DAILY;BYHOUR=9", None, None, "2027-01-01T09:00"),
    ("RRULE:FREQ=DAILY;BYHOUR=9", BERLIN, BERLIN, "2027-01-01T08:00"),
    ("DTSTART:20261201T090000\nRRULE:FREQ=DAILY", BERLIN, BERLIN, "2027-01-01T08:00"),
    ("DTSTART:20261201T090000Z\nRRULE:FREQ=DAILY", BERLIN, "UTC", "2027-01-01T09:00"),
    ("DTSTART:20261201\nRRULE:FREQ=DAILY", BERLIN, BERLIN, "2027-01-01T23:00"),
    ("DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=DAILY", None, None, "2027-01-02T00:00"),
    (
        "DTSTART;TZID=America/New_York:20261201T090000\nRRULE:FREQ=DAILY",
        BERLIN,
        "America/New_York",
        "2027-01-01T14:00",
    ),
    (
        'DTSTART;TZID="Asia/Tokyo";VALUE=DATE-TIME:20261201T090000\nRRULE:FREQ=DAILY',
        None,
        "Asia/Tokyo",
        "2027-01-02T00:00",
    ),
]


@pytest.mark.parametrize(("text", "timezone", "zone", "first"), ZONES)
def test_where_the_zone_comes_from(
    text: str, timezone: str | None, zone: str | None, first: str
) -> None:
    schedule = parse(text, timezone)

    assert schedule.timezone == zone
    assert following(schedule, 1) == [first]


DTSTARTS = [
    "2026-12-02T09:30",
    "2026-12-02T09:30:00",
    "20261202T093000",
    "2026-12-02T08:30:00Z",
    "2026-12-02T03:30-05:00",
    datetime(2026, 12, 2, 9, 30),
    datetime(2026, 12, 2, 9, 30, 0, 700_000),
    datetime(2026, 12, 2, 8, 30, tzinfo=UTC),
    datetime(2026, 12, 2, 3, 30, tzinfo=ZoneInfo("America/New_York")),
]


@pytest.mark.parametrize("dtstart", DTSTARTS, ids=repr)
def test_dtstart_as_an_argument_is_a_time_on_the_wall_clock(dtstart: object) -> None:
    schedule = parse("FREQ=DAILY;INTERVAL=2", BERLIN, dtstart=dtstart)

    assert schedule == parse(f"DTSTART;TZID={BERLIN}:20261202T093000\nRRULE:FREQ=DAILY;INTERVAL=2")
    assert following(schedule, 2) == ["2027-01-01T08:30", "2027-01-03T08:30"]


def test_an_aware_dtstart_brings_its_zone_where_no_other_is_named() -> None:
    start = datetime(2026, 12, 2, 9, 30, tzinfo=ZoneInfo(BERLIN))

    assert parse("FREQ=DAILY", dtstart=start).timezone == BERLIN
    assert parse("FREQ=DAILY", dtstart=start.astimezone(UTC)).timezone is None


def test_a_date_as_dtstart_is_its_midnight() -> None:
    assert parse("FREQ=DAILY", dtstart=date(2026, 12, 1)) == parse(
        "FREQ=DAILY", dtstart="2026-12-01T00:00"
    )


def test_dtstart_twice_is_an_error() -> None:
    with pytest.raises(InvalidSchedule, match="DTSTART twice: in the text and as dtstart"):
        parse("DTSTART:20270101\nRRULE:FREQ=DAILY", dtstart="2027-01-01")


def test_dtstart_is_a_slot_only_where_the_rule_names_it() -> None:
    """1 January 2027 is a Friday."""
    schedule = parse("DTSTART:20270101T090000\nRRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=2")

    assert following(schedule, 5) == ["2027-01-04T09:00", "2027-01-11T09:00"]


def test_without_dtstart_the_phase_is_midnight_1970_01_01_on_the_wall() -> None:
    """It was a Thursday, in the week of 29 December; so the second week from then is even."""
    monday = parse("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", BERLIN)
    origin = datetime(1969, 12, 29, tzinfo=ZoneInfo(BERLIN))

    for slot in monday.upcoming(START, 5):
        local = slot.astimezone(ZoneInfo(BERLIN))
        assert (local.weekday(), local.hour) == (0, 0)
        assert (local.date() - origin.date()).days % 14 == 0
    assert following(parse("FREQ=DAILY", BERLIN), 1) == ["2027-01-01T23:00"]
    assert parse("FREQ=DAILY").next_after(at("1960-01-01T00:00+00:00")) == at(
        "1970-01-01T00:00+00:00"
    )


def test_anchor_is_the_dtstart_of_rules_with_count_only() -> None:
    anchor = at("2027-01-01T09:00:00.250+00:00")
    counted = parse("FREQ=DAILY;COUNT=2", BERLIN, anchor=anchor)

    assert [slot.isoformat() for slot in counted.upcoming(anchor, 5)] == [
        "2027-01-01T09:00:01+00:00",
        "2027-01-02T09:00:01+00:00",
    ]
    assert counted == parse("FREQ=DAILY;COUNT=2", BERLIN, dtstart="2027-01-01T10:00:01")
    assert parse("FREQ=DAILY", BERLIN, anchor=anchor) == parse("FREQ=DAILY", BERLIN)
    given = parse("DTSTART:20270105T000000\nRRULE:FREQ=DAILY;COUNT=1", anchor=anchor)
    assert following(given) == ["2027-01-05T00:00"]


UNTILS = [
    ("UNTIL=20270103T080000Z", 3),
    ("UNTIL=20270103T075959Z", 2),
    ("UNTIL=20270103T090000", 3),
    ("UNTIL=20270103T085959", 2),
    ("UNTIL=20270103", 3),
    ("UNTIL=20270102", 2),
    ("UNTIL=20261231", 0),
]


@pytest.mark.parametrize(("until", "count"), UNTILS)
def test_until_is_included_whether_utc_floating_or_a_date(until: str, count: int) -> None:
    schedule = parse(f"DTSTART;TZID={BERLIN}:20270101T090000\nRRULE:FREQ=DAILY;{until}")

    assert len(schedule.upcoming(START, 10)) == count


def test_until_as_a_date_is_the_whole_local_day() -> None:
    """In Auckland the day ends at 11:00 UTC."""
    schedule = parse("FREQ=HOURLY;UNTIL=20270101", "Pacific/Auckland")

    assert schedule.previous_before(at("2028-01-01T00:00+00:00")) == at("2027-01-01T10:00+00:00")


def test_a_second_60_is_read_as_59() -> None:
    """RFC 5545 section 3.3.12: for who knows no leap seconds."""
    assert parse("FREQ=DAILY;BYSECOND=60") == parse("FREQ=DAILY;BYSECOND=59")
    assert parse("DTSTART:20161231T235960Z\nRRULE:FREQ=DAILY") == parse(
        "DTSTART:20161231T235959Z\nRRULE:FREQ=DAILY"
    )


# Sets


def test_rules_dates_and_exclusions_make_one_sequence() -> None:
    schedule = parse(
        "DTSTART;TZID=Europe/Berlin:20270101T090000\n"
        "RRULE:FREQ=WEEKLY;BYDAY=MO\n"
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=4,5\n"
        "EXRULE:FREQ=MONTHLY;BYDAY=2MO\n"
        "RDATE;TZID=America/New_York:20270106T040000,20270104T030000\n"
        "RDATE;VALUE=PERIOD:20270107T100000Z/PT2H,20270108T100000Z/20270108T110000Z\n"
        "EXDATE;TZID=Europe/Berlin:20270118T090000\n"
        "EXDATE;VALUE=DATE:20270125\n"
    )

    assert following(schedule, 9) == [
        "2027-01-04T08:00",  # once, though two rules and a date name it
        "2027-01-05T08:00",
        "2027-01-06T09:00",
        "2027-01-07T10:00",
        "2027-01-08T10:00",
        "2027-02-01T08:00",
        "2027-02-04T08:00",
        "2027-02-05T08:00",
        "2027-02-15T08:00",
    ]


def test_dates_alone_are_a_schedule_too() -> None:
    schedule = parse("DTSTART:20270101T090000\nRDATE:20270201T090000,20270301")

    assert following(schedule) == ["2027-02-01T09:00", "2027-03-01T00:00"]
    assert schedule.previous_before(START) is None
    assert schedule.count_between(START, START + timedelta(days=50)) == 1


def test_an_rdate_may_lie_before_dtstart() -> None:
    schedule = parse("DTSTART:20270101T090000\nRRULE:FREQ=DAILY\nRDATE:20250101T000000Z")

    assert schedule.previous_before(START) == at("2025-01-01T00:00+00:00")


ADDED = [
    ["2027-01-02T12:00"],
    "2027-01-02T12:00",
    ["2027-01-02T11:00Z"],
    [datetime(2027, 1, 2, 12)],
    [datetime(2027, 1, 2, 11, tzinfo=UTC)],
    (datetime(2027, 1, 2, 6, tzinfo=ZoneInfo("America/New_York")),),
]


@pytest.mark.parametrize("dates", ADDED, ids=repr)
def test_dates_as_arguments(dates: object) -> None:
    added = parse("FREQ=WEEKLY;BYDAY=FR", BERLIN, rdate=dates)
    taken = parse("FREQ=DAILY;BYHOUR=12", BERLIN, exdate=dates)

    assert following(added, 2) == ["2027-01-02T11:00", "2027-01-07T23:00"]
    assert following(taken, 2) == ["2027-01-01T11:00", "2027-01-03T11:00"]


@pytest.mark.parametrize("day", ["2027-01-02", "20270102", date(2027, 1, 2)], ids=repr)
def test_a_date_takes_out_the_whole_local_day_and_adds_its_midnight(day: object) -> None:
    taken = parse("FREQ=HOURLY;INTERVAL=6", BERLIN, exdate=[day])
    added = parse("FREQ=YEARLY", BERLIN, rdate=[day])

    assert following(taken, 4) == [
        "2027-01-01T05:00",
        "2027-01-01T11:00",
        "2027-01-01T17:00",
        "2027-01-02T23:00",
    ]
    assert following(added, 1) == ["2027-01-01T23:00"]


def test_an_exclusion_that_names_no_slot_changes_nothing() -> None:
    schedule = parse("FREQ=DAILY", exdate=["2027-01-02T12:00", "2026-01-01T12:00"])

    assert schedule.count_between(START, START + timedelta(days=10)) == 10


# Out again


WRITTEN = [
    ("FREQ=WEEKLY;BYDAY=MO", {}),
    ("RRULE:FREQ=DAILY;BYHOUR=9\n", {"timezone": BERLIN}),
    ("DTSTART;TZID=Europe/Berlin:20270101T090000\nRRULE:FREQ=DAILY;COUNT=3", {}),
    ("FREQ=DAILY", {"dtstart": "2027-01-01T09:00:30", "nonexistent": "skip"}),
    ("FREQ=DAILY", {"dtstart": datetime(2027, 1, 1, 9, tzinfo=ZoneInfo(BERLIN))}),
    ("FREQ=DAILY", {"exdate": [date(2027, 1, 1), "2027-01-02T09:00", "2027-01-03T09:00Z"]}),
    ("FREQ=DAILY", {"rdate": [datetime(2027, 1, 1, 9, tzinfo=ZoneInfo(BERLIN)), "2027-02-01"]}),
    ("FREQ=DAILY;COUNT=5", {"anchor": START, "timezone": BERLIN}),
]


@pytest.mark.parametrize(("text", "arguments"), WRITTEN)
def test_what_is_written_reads_as_the_same(text: str, arguments: dict) -> None:
    schedule = parse(text, **arguments)
    data = schedule.to_dict()

    assert data["rrule"] == text
    assert parse_schedule(data) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert copy.deepcopy(schedule) == schedule
    assert eval(repr(schedule), {"RRuleSchedule": RRuleSchedule}) == schedule
    assert parse_schedule(data).upcoming(START, 20) == schedule.upcoming(START, 20)


def test_rules_are_there_as_data() -> None:
    schedule = parse(
        "DTSTART:20270101T090000\nRRULE:FREQ=MONTHLY;INTERVAL=2;BYDAY=-1FR,MO;UNTIL=20280101\n"
        "EXRULE:FREQ=DAILY;COUNT=3"
    )

    assert schedule.rules == (
        Rule(
            freq="MONTHLY",
            interval=2,
            byday=((-1, 4), (0, 0)),
            until=date(2028, 1, 1),
            dtstart=datetime(2027, 1, 1, 9),
        ),
    )
    assert schedule.exrules == (Rule("DAILY", count=3, dtstart=datetime(2027, 1, 1, 9)),)
    assert parse("FREQ=DAILY").rules == (Rule("DAILY"),)
