"""Every error: it names the datum, the part and the remedy. And any text at all."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cronkit_core.errors import InvalidSchedule, NaiveDatetime
from cronkit_core.schedules import parse_schedule
from cronkit_core.schedules.rrule import RRuleSchedule

parse = RRuleSchedule.parse
START = datetime(2027, 1, 1, tzinfo=UTC)
BERLIN = "Europe/Berlin"


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
