"""What text and arguments mean, and every error."""

import copy
import pickle
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cronkit_core.errors import InvalidSchedule, NaiveDatetime
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


ERRORS = [
    ("", "no RRULE in '': write one such as 'RRULE:FREQ=WEEKLY;BYDAY=MO'", "RRULE"),
    (
        "INTERVAL=2",
        "no FREQ in 'INTERVAL=2': "
        "one of SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY",
        "FREQ",
    ),
    (
        "FREQ=FORTNIGHTLY",
        "bad FREQ 'FORTNIGHTLY': one of SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY, YEARLY",
        "FREQ",
    ),
    (
        "FREQ=DAILY;INTERVAL=0",
        "bad INTERVAL '0' in 'FREQ=DAILY;INTERVAL=0': "
        "a whole number from 1 on, of at most 18 digits",
        "INTERVAL",
    ),
    (
        "FREQ=DAILY;INTERVAL=-1",
        "bad INTERVAL '-1' in 'FREQ=DAILY;INTERVAL=-1': "
        "a whole number from 1 on, of at most 18 digits",
        "INTERVAL",
    ),
    (
        "FREQ=DAILY;COUNT=x",
        "bad COUNT 'X' in 'FREQ=DAILY;COUNT=x': a whole number from 1 on, of at most 18 digits",
        "COUNT",
    ),
    (
        "FREQ=DAILY;COUNT=2;UNTIL=20270101",
        "COUNT and UNTIL in 'FREQ=DAILY;COUNT=2;UNTIL=20270101': leave one out",
        "COUNT",
    ),
    (
        "FREQ=DAILY;COUNT=2",
        "COUNT without DTSTART in 'FREQ=DAILY;COUNT=2': add a DTSTART to count from",
        "COUNT",
    ),
    (
        "FREQ=DAILY;FREQ=WEEKLY",
        "FREQ twice in RRULE 'FREQ=DAILY;FREQ=WEEKLY': write one with all values",
        "FREQ",
    ),
    (
        "FREQ=DAILY;BYHOURS=9",
        "unknown part 'BYHOURS' in RRULE 'FREQ=DAILY;BYHOURS=9': did you mean 'BYHOUR'?",
        "BYHOURS",
    ),
    (
        "FREQ=DAILY;",
        "an empty part in RRULE 'FREQ=DAILY;': parts are such as 'BYDAY=MO', with ';' between",
        "RRULE",
    ),
    (
        "FREQ=DAILY;BYHOUR",
        "bad part 'BYHOUR' in RRULE 'FREQ=DAILY;BYHOUR': "
        "parts are such as 'BYDAY=MO', with ';' between",
        "BYHOUR",
    ),
    (
        "FREQ=DAILY;BYMONTH=13",
        "bad BYMONTH '13' in 'FREQ=DAILY;BYMONTH=13': 1 to 12",
        "BYMONTH",
    ),
    ("FREQ=DAILY;BYHOUR=24", "bad BYHOUR '24' in 'FREQ=DAILY;BYHOUR=24': 0 to 23", "BYHOUR"),
    ("FREQ=DAILY;BYHOUR=-1", "bad BYHOUR '-1' in 'FREQ=DAILY;BYHOUR=-1': 0 to 23", "BYHOUR"),
    (
        "FREQ=DAILY;BYMINUTE=60",
        "bad BYMINUTE '60' in 'FREQ=DAILY;BYMINUTE=60': 0 to 59",
        "BYMINUTE",
    ),
    (
        "FREQ=DAILY;BYSECOND=61",
        "bad BYSECOND '61' in 'FREQ=DAILY;BYSECOND=61': 0 to 60",
        "BYSECOND",
    ),
    (
        "FREQ=DAILY;BYMONTHDAY=0",
        "bad BYMONTHDAY '0' in 'FREQ=DAILY;BYMONTHDAY=0': 1 to 31, or -1 to -31 from the end",
        "BYMONTHDAY",
    ),
    (
        "FREQ=MONTHLY;BYMONTHDAY=1,32",
        "bad BYMONTHDAY '32' in 'FREQ=MONTHLY;BYMONTHDAY=1,32': 1 to 31, or -1 to -31 from the end",
        "BYMONTHDAY",
    ),
    (
        "FREQ=YEARLY;BYYEARDAY=367",
        "bad BYYEARDAY '367' in 'FREQ=YEARLY;BYYEARDAY=367': 1 to 366, or -1 to -366 from the end",
        "BYYEARDAY",
    ),
    (
        "FREQ=YEARLY;BYWEEKNO=54",
        "bad BYWEEKNO '54' in 'FREQ=YEARLY;BYWEEKNO=54': 1 to 53, or -1 to -53 from the end",
        "BYWEEKNO",
    ),
    (
        "FREQ=DAILY;BYHOUR=9;BYSETPOS=0",
        "bad BYSETPOS '0' in 'FREQ=DAILY;BYHOUR=9;BYSETPOS=0': "
        "1 to 366, or -1 to -366 from the end",
        "BYSETPOS",
    ),
    (
        "FREQ=DAILY;BYHOUR=9,",
        "bad BYHOUR '' in 'FREQ=DAILY;BYHOUR=9,': 0 to 23",
        "BYHOUR",
    ),
    (
        "FREQ=WEEKLY;BYDAY=MON",
        "bad BYDAY 'MON' in 'FREQ=WEEKLY;BYDAY=MON': one of MO, TU, WE, TH, FR, SA, SU, "
        "with a number from 1 to 53 or -1 to -53 before it where one of them is meant",
        "BYDAY",
    ),
    (
        "FREQ=MONTHLY;BYDAY=54MO",
        "bad BYDAY '54MO' in 'FREQ=MONTHLY;BYDAY=54MO': one of MO, TU, WE, TH, FR, SA, SU, "
        "with a number from 1 to 53 or -1 to -53 before it where one of them is meant",
        "BYDAY",
    ),
    (
        "FREQ=MONTHLY;BYDAY=0MO",
        "bad BYDAY '0MO' in 'FREQ=MONTHLY;BYDAY=0MO': one of MO, TU, WE, TH, FR, SA, SU, "
        "with a number from 1 to 53 or -1 to -53 before it where one of them is meant",
        "BYDAY",
    ),
    (
        "FREQ=WEEKLY;WKST=XX",
        "bad WKST 'XX': one of MO, TU, WE, TH, FR, SA, SU",
        "WKST",
    ),
    (
        "FREQ=DAILY;BYSETPOS=1",
        "BYSETPOS alone in 'FREQ=DAILY;BYSETPOS=1': "
        "it chooses among what another BY part names; add one",
        "BYSETPOS",
    ),
    (
        "FREQ=MONTHLY;BYWEEKNO=1",
        "BYWEEKNO with FREQ=MONTHLY in 'FREQ=MONTHLY;BYWEEKNO=1': it goes with FREQ=YEARLY only",
        "BYWEEKNO",
    ),
    (
        "FREQ=MONTHLY;BYYEARDAY=1",
        "BYYEARDAY with FREQ=MONTHLY in 'FREQ=MONTHLY;BYYEARDAY=1': use FREQ=YEARLY, or BYMONTHDAY",
        "BYYEARDAY",
    ),
    (
        "FREQ=WEEKLY;BYMONTHDAY=1",
        "BYMONTHDAY with FREQ=WEEKLY in 'FREQ=WEEKLY;BYMONTHDAY=1': use FREQ=DAILY or FREQ=MONTHLY",
        "BYMONTHDAY",
    ),
    (
        "FREQ=WEEKLY;BYDAY=1MO",
        "BYDAY with a number, with FREQ=WEEKLY in 'FREQ=WEEKLY;BYDAY=1MO': "
        "use FREQ=MONTHLY or FREQ=YEARLY",
        "BYDAY",
    ),
    (
        "FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO",
        "BYDAY with a number, with BYWEEKNO in 'FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO': "
        "leave the number or BYWEEKNO out",
        "BYDAY",
    ),
    (
        "FREQ=MONTHLY;SKIP=BACKWARD",
        "SKIP without RSCALE in 'FREQ=MONTHLY;SKIP=BACKWARD': add RSCALE=GREGORIAN",
        "SKIP",
    ),
    ("RSCALE=HEBREW;FREQ=YEARLY", "bad RSCALE 'HEBREW': one of GREGORIAN", "RSCALE"),
    (
        "RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=YES",
        "bad SKIP 'YES': one of OMIT, BACKWARD, FORWARD",
        "SKIP",
    ),
    (
        "FREQ=DAILY;UNTIL=2027-01-01",
        "bad UNTIL '2027-01-01': a date such as '20270101', or a time such as "
        "'20270101T090000' or '20270101T090000Z'",
        "UNTIL",
    ),
    (
        "DTSTART:20270230T090000\nRRULE:FREQ=DAILY",
        "bad DTSTART '20270230T090000': a date such as '20270101', or a time such as "
        "'20270101T090000' or '20270101T090000Z'",
        "DTSTART",
    ),
    (
        "DTSTART:20270101\nDTSTART:20270102\nRRULE:FREQ=DAILY",
        "DTSTART twice: a schedule has one",
        "DTSTART",
    ),
    (
        "DTSTART;TZID=Europe/Berlin:20270101T090000Z\nRRULE:FREQ=DAILY",
        "bad DTSTART '20270101T090000Z': TZID and 'Z' exclude each other; leave one out",
        "DTSTART",
    ),
    (
        "DTSTART;VALUE=DATE:20270101T090000\nRRULE:FREQ=DAILY",
        "bad DTSTART '20270101T090000': VALUE=DATE asks for a date such as '20270101'",
        "DTSTART",
    ),
    (
        "DTSTART;VALUE=TEXT:20270101\nRRULE:FREQ=DAILY",
        "bad VALUE 'TEXT' of DTSTART: DATE or DATE-TIME",
        "DTSTART",
    ),
    (
        "RRULE:FREQ=DAILY\nRDATE;VALUE=PERIOD:20270101T090000Z",
        "bad RDATE '20270101T090000Z': a period such as '20270101T090000Z/PT1H'",
        "RDATE",
    ),
    (
        "RRULE:FREQ=DAILY\nSUMMARY:lunch",
        "bad line 'SUMMARY:lunch': it begins with one of DTSTART, RRULE, EXRULE, RDATE, EXDATE, "
        "or is a rule such as 'FREQ=WEEKLY;BYDAY=MO'",
        "SUMMARY",
    ),
    (
        "DTSTART;TZID:20270101\nRRULE:FREQ=DAILY",
        "bad line 'DTSTART;TZID:20270101': ':' goes before the value",
        "DTSTART",
    ),
    (
        "EXRULE:FREQ=DAILY;BYHOUR=25\nRRULE:FREQ=DAILY",
        "bad BYHOUR '25' in 'FREQ=DAILY;BYHOUR=25': 0 to 23",
        "BYHOUR",
    ),
    (
        "DTSTART:20270101T090000\nEXDATE:20270102",
        "no RRULE in 'DTSTART:20270101T090000\\nEXDATE:20270102': "
        "write one such as 'RRULE:FREQ=WEEKLY;BYDAY=MO'",
        "RRULE",
    ),
]


@pytest.mark.parametrize(("text", "message", "where"), ERRORS)
def test_errors_name_the_part_and_the_remedy(text: str, message: str, where: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        parse(text)
    assert str(caught.value) == message
    assert caught.value.where == where


def test_an_unknown_tzid_suggests_a_close_one() -> None:
    with pytest.raises(
        InvalidSchedule, match=r"unknown timezone 'Europe/Berln': .*'Europe/Berlin'"
    ):
        parse("DTSTART;TZID=Europe/Berln:20270101T090000\nRRULE:FREQ=DAILY")


ARGUMENT_ERRORS = [
    ({"dtstart": "tomorrow"}, "bad dtstart 'tomorrow': ISO 8601, such as '2027-01-01T09:00'"),
    ({"dtstart": 7}, "bad dtstart 7: ISO 8601 text, a datetime or a date"),
    ({"exdate": ["2027-13-01"]}, "bad exdate '2027-13-01': ISO 8601, such as"),
    ({"rdate": [None]}, "bad rdate None: ISO 8601 text, a datetime or a date"),
    ({"nonexistent": "later"}, "bad nonexistent 'later': 'shift' or 'skip'"),
    ({"timezone": "Mars/Base"}, "unknown timezone 'Mars/Base'"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENT_ERRORS)
def test_errors_of_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        parse("FREQ=DAILY", **arguments)
    assert str(caught.value).startswith(message)


def test_text_has_a_longest_length_and_is_text() -> None:
    with pytest.raises(InvalidSchedule, match="bad rrule of 70012 characters: at most 65536"):
        parse("FREQ=DAILY\n\n" + " " * 70_000)
    with pytest.raises(InvalidSchedule, match="bad rrule 5: it is text"):
        parse(5)  # type: ignore[arg-type]


def test_a_datetime_that_is_asked_about_has_a_zone() -> None:
    schedule = parse("FREQ=DAILY")
    naive = datetime(2027, 1, 1)
    for ask in (
        lambda: schedule.next_after(naive),
        lambda: schedule.previous_before(naive),
        lambda: schedule.upcoming(naive, 2),
        lambda: schedule.count_between(START, naive),
        lambda: list(schedule.between(naive, START)),
        lambda: parse("FREQ=DAILY;COUNT=1", anchor=naive),
    ):
        with pytest.raises(NaiveDatetime):
            ask()
    with pytest.raises(TypeError):
        schedule.next_after("2027-01-01")  # type: ignore[arg-type]


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


ALPHABET = 'FREQ=DAILYWKMONTHSUBVPRXTZID;:,-+0123456789/\n\t Zz\\"é'
PIECES = st.sampled_from(
    [
        "RRULE:",
        "EXRULE:",
        "DTSTART",
        "RDATE",
        "EXDATE:",
        ";TZID=Europe/Berlin",
        ";VALUE=DATE",
        ":20270101",
        "T090000",
        "Z",
        "FREQ=",
        "DAILY",
        "SECONDLY",
        "YEARLY",
        ";INTERVAL=",
        ";COUNT=",
        ";UNTIL=",
        ";BYDAY=",
        "MO",
        "-1FR",
        ";BYMONTHDAY=",
        ";BYSETPOS=",
        ";BYYEARDAY=",
        "366",
        "-1",
        "9999999",
        ",",
        "\n",
        "\n ",
        "/PT1H",
    ]
)


@given(st.one_of(st.text(ALPHABET), st.lists(PIECES, max_size=14).map("".join), st.text()))
@example("RRULE:FREQ=DAILY;INTERVAL=999999999999999999")
@example("RRULE:FREQ=SECONDLY;INTERVAL=999999999999999999;BYHOUR=1;BYMONTH=2")
@example("DTSTART:00010101T000000\nRRULE:FREQ=YEARLY;BYWEEKNO=1")
@example("DTSTART:99991231T235959\nRRULE:FREQ=YEARLY;BYWEEKNO=-1")
@example("DTSTART;TZID=Asia/Tokyo:00010101T000000\nRRULE:FREQ=MINUTELY;UNTIL=00010101")
@example("DTSTART;TZID=America/New_York:99991231T235959\nRRULE:FREQ=SECONDLY;COUNT=5")
@example("RDATE;TZID=Asia/Tokyo:00010101T000000")
@example("RRULE:FREQ=DAILY\nEXDATE:00010101,99991231")
def test_any_text_is_a_schedule_or_a_clear_error(text: str) -> None:
    for timezone in (None, BERLIN):
        try:
            schedule = parse(text, timezone)
        except InvalidSchedule:
            continue
        for instant in (START, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
            slot = schedule.next_after(instant)
            assert slot is None or slot > instant
            slot = schedule.previous_before(instant)
            assert slot is None or slot < instant
        assert schedule.describe()
        assert parse_schedule(schedule.to_dict()) == schedule
