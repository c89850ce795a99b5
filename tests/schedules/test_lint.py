"""The linter: what it warns of, and what it leaves alone.

The clock of Europe/Berlin goes forward on 2027-03-28 and 2028-03-26 (02:00 to 03:00) and back on
2027-10-31 and 2028-10-29 (03:00 to 02:00).
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from test_rrule_cost import lines_of

from cronkit_core.errors import NaiveDatetime
from cronkit_core.schedules import Warning, lint, parse_schedule  # noqa: A004
from cronkit_core.testing import instants, schedules, timezones

SECOND = timedelta(seconds=1)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def warnings(spec: Any, zone: str | None = None) -> list[Warning]:
    return lint(parse_schedule(spec, zone, seed="task"), after=NOW)


@pytest.mark.parametrize(
    ("spec", "zone", "code", "message"),
    [
        # never
        ("0 0 30 2 *", None, "never", "names no day: 30 February"),
        ("0 0 31 4,6 *", None, "never", "names no day: 31 April, 31 June"),
        ("0 0 31W 9 *", None, "never", "names no day: day-of-month '31W', month '9'"),
        ({"calendar": "2027-02-29"}, None, "never", "names no day: 29 February in 2027"),
        ({"cron": "0 0 0 29 2 * 2027"}, None, "never", "names no day: 29 February in 2027"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", None, "never", "no date matches all parts"),
        ({"schedule": 60, "except": [30]}, None, "never", "every slot is excluded"),
        (
            {"cron": "0 8 * * 1", "start_at": "2027-01-05", "end_at": "2027-01-08"},
            None,
            "never",
            "no slot lies within start_at and end_at",
        ),
        ({"any": [60, "0 0 30 2 *"]}, None, "never", "names no day: 30 February"),
        (
            "DTSTART:20270101T090000\nRRULE:FREQ=DAILY;UNTIL=20261231",
            None,
            "never",
            "UNTIL 2026-12-31 is before the first time that matches, 09:00 on 2027-01-01",
        ),
        ("FREQ=DAILY;UNTIL=19600101", None, "never", "the first time that matches, 00:00 on 1970-"),
        ("FREQ=HOURLY;INTERVAL=24;BYHOUR=5", None, "never", "no date matches all parts"),
        (
            "DTSTART:99990601T000000\nRRULE:FREQ=YEARLY;BYMONTH=1",
            None,
            "never",
            "no date after DTSTART matches",
        ),
        (
            {"cron": "0 30 2 28 3 * 2027", "gap": "skip"},
            BERLIN,
            "never",
            "02:30 on 2027-03-28 does not exist in Europe/Berlin",
        ),
        ("0 0 12 30 12 * 2011", "Pacific/Apia", "never", "12:00 on 2011-12-30 does not exist"),
        ("0 0 0 1 1 * 1-1", "Asia/Tokyo", "never", "00:00 on 0001-01-01 in Asia/Tokyo is outside"),
        (
            {
                "rrule": "DTSTART:20270328T023000\nRRULE:FREQ=DAILY;UNTIL=20270328",
                "nonexistent": "skip",
            },
            BERLIN,
            "never",
            "02:30 on 2027-03-28 does not exist in Europe/Berlin",
        ),
        (
            {"cron": "0 0 30 2 *", "start_at": "2027-01-01"},
            None,
            "never",
            "names no day: 30 February",
        ),
        (
            {"schedule": "0 0 30 2 *", "except": ["2027-01-01"]},
            None,
            "never",
            "names no day: 30 February",
        ),
        ("RRULE:FREQ=DAILY\nEXRULE:FREQ=DAILY", None, "never", "EXDATE or EXRULE takes out every"),
        ("RDATE:20270101T000000\nEXDATE:20270101T000000", None, "never", "takes out every slot"),
        # past
        ({"at": "2020-01-01T00:00"}, None, "past", "the last one was 2020-01-01T00:00:00+00:00"),
        ({"interval": 60, "end_at": "2020-01-01"}, None, "past", "no slot after 2026-11-23"),
        ("FREQ=DAILY;UNTIL=20200101", None, "until-past", "UNTIL 2020-01-01 is past"),
        # some months
        ("0 0 31 * *", None, "some-months", "does not fire in Feb, Apr, Jun, Sep, Nov"),
        ("0 0 30,31 * *", None, "some-months", "does not fire in Feb"),
        ("0 0 31W * *", None, "some-months", "does not fire in Feb, Apr, Jun, Sep, Nov"),
        ("0 0 L-30 * *", None, "some-months", "does not fire in Feb, Apr, Jun, Sep, Nov"),
        ("0 0 29 * *", None, "some-months", "in February of leap years only"),
        ("0 0 29 2 *", None, "some-months", "in February of leap years only"),
        ("0 0 * * fri#5", None, "some-months", "not every month has a fifth one"),
        ({"calendar": "*-*-31"}, None, "some-months", "does not fire in Feb, Apr, Jun, Sep, Nov"),
        ("FREQ=MONTHLY;BYMONTHDAY=31", None, "some-months", "does not fire in Feb, Apr"),
        ("FREQ=MONTHLY;BYMONTHDAY=-31", None, "some-months", "does not fire in Feb, Apr"),
        ("DTSTART:20270131T090000\nRRULE:FREQ=MONTHLY", None, "some-months", "day 31 of the month"),
        ("DTSTART:20280229T090000\nRRULE:FREQ=YEARLY", None, "some-months", "leap years only"),
        ("FREQ=MONTHLY;BYDAY=5FR", None, "some-months", "not every month has a fifth one"),
        # both day fields
        (
            "0 0 13 * 5",
            None,
            "both-days",
            "day-of-month '13' and day-of-week '5': a day that matches",
        ),
        ("0 0 */2 * 5", None, "both-days", "one of them starts with *, so a day must match both"),
        # uneven steps
        ("*/7 * * * *", None, "uneven-step", "7 from one to the next, but 4 from 56 to 0"),
        ("0/7 * * * *", None, "uneven-step", "minute '0/7' is uneven"),
        ("3-59/9 * * * *", None, "uneven-step", "9 from one to the next, but 6 from 57 to 3"),
        ("0 */5 * * *", None, "uneven-step", "5 from one to the next, but 4 from 20 to 0"),
        ("*/40 * * * * *", None, "uneven-step", "second '*/40' is uneven"),
        ("*/90 * * * *", None, "uneven-step", "never comes to a second value"),
        ("0 0 */2 * *", None, "uneven-step", "from the last one to the first is not 2 days"),
        ("0 0 1 */5 *", None, "uneven-step", "5 from one to the next, but 2 from 11 to 1"),
        ("0 0 * * */2", None, "uneven-step", "2 from one to the next, but 1 from 6 to 0"),
        ("H/7 * * * *", None, "uneven-step", ""),
        ({"calendar": "*:0/7"}, None, "uneven-step", "minute '0/7' is uneven"),
        # clock changes
        (
            "30 2 * * *",
            BERLIN,
            "dst-gap",
            "02:30 on 2027-03-28 and 2028-03-26 does not exist in Europe/",
        ),
        (
            "30 2 * * *",
            BERLIN,
            "dst-overlap",
            "02:30 on 2027-10-31 and 2028-10-29 comes twice in Eu",
        ),
        ("30 2 * * 0", BERLIN, "dst-gap", "it runs at the first instant after the gap"),
        ({"cron": "30 2 * * *", "gap": "skip"}, BERLIN, "dst-gap", "it does not run then"),
        ({"cron": "30 2 * * *", "overlap": "both"}, BERLIN, "dst-overlap", "it runs both times"),
        ("*/10 2 * * *", BERLIN, "dst-gap", "it does not run then"),
        ("0 */2 * * *", BERLIN, "dst-overlap", "it runs both times"),
        ("15 2 * * *", "Australia/Lord_Howe", "dst-gap", "02:15 on 2027-10-03 and 2028-10-01"),
        ("45 1 * * *", "Australia/Lord_Howe", "dst-overlap", "01:45 on 2027-04-04 and 2028-04-02"),
        ("30 2 8-14 3 *", "America/New_York", "dst-gap", "02:30 on 2027-03-14 and 2028-03-12"),
        ("30 2 29 3 *", BERLIN, "dst-gap", "02:30 on 2037-03-29 does not exist"),
        ({"calendar": "02:30"}, BERLIN, "dst-gap", "02:30 on 2027-03-28"),
        ({"at": "2027-03-28T02:30"}, BERLIN, "dst-gap", "it runs at 03:00"),
        ({"at": "2027-10-31T02:30"}, BERLIN, "dst-overlap", "it runs the first time"),
        (
            "FREQ=DAILY;BYHOUR=2;BYMINUTE=30",
            BERLIN,
            "dst-gap",
            "it runs later by the width of the gap",
        ),
        ("FREQ=DAILY;BYHOUR=2", BERLIN, "dst-overlap", "02:00 on 2027-10-31 and 2028-10-29"),
        ("FREQ=HOURLY;BYHOUR=2", BERLIN, "dst-gap", "it does not run then"),
        (
            {"rrule": "FREQ=DAILY;BYHOUR=2", "nonexistent": "skip"},
            BERLIN,
            "dst-gap",
            "it does not run then",
        ),
        (
            "FREQ=DAILY;BYHOUR=2;UNTIL=20271101",
            BERLIN,
            "dst-gap",
            "02:00 on 2027-03-28 does not exist",
        ),
        # what is told of each date is true of it
        ("30 30 2 * * *", BERLIN, "dst-gap", "02:30:30 on 2027-03-28 and 2028-03-26 does"),
        (
            "0 20,50 2 28 3 * 2027",
            BERLIN,
            "dst-gap",
            "02:20 on 2027-03-28 does not exist",
        ),
        (
            {"any": ["0 45 2 28 3 * 2027"], "start_at": "2027-01-01"},
            BERLIN,
            "dst-gap",
            "02:45 on 2027-03-28 does not exist",
        ),
        (
            "DTSTART:20270328T021500\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU;BYMINUTE=15;COUNT=1\n"
            "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU;BYMINUTE=40",
            BERLIN,
            "dst-gap",
            "02:15 on 2027-03-28 and 02:40 on 2028-03-26 does not exist",
        ),
        # the next dates are those that the schedule touches
        (
            {"cron": "30 2 * * *", "start_at": "2050-01-01"},
            BERLIN,
            "dst-gap",
            "2050-03-27 and 2051",
        ),
        ("0 30 2 * * * 2050-2051", BERLIN, "dst-gap", "2050-03-27 and 2051-03-26"),
        ("DTSTART:20500101T023000\nRRULE:FREQ=DAILY", BERLIN, "dst-gap", "2050-03-27 and 2051"),
        (
            {"schedule": "30 2 * * *", "except": ["2027-03-28", "2027-10-31"]},
            BERLIN,
            "dst-overlap",
            "2028-10-29 and 2029-10-28",
        ),
        (
            {"rrule": "FREQ=DAILY;BYHOUR=2", "exdate": ["2027-03-28T02:00", "2027-10-31"]},
            BERLIN,
            "dst-gap",
            "2028-03-26 and 2029-03-25",
        ),
        (
            {"cron": "*/10 2 * * *", "start_at": "2027-10-31T02:35+02:00", "end_at": "2027-11-01"},
            BERLIN,
            "dst-overlap",
            "02:40 on 2027-10-31 comes twice",
        ),
        # the rest
        ("0 30 8 * * *", None, "six-fields", "has six fields, of which the first is the second"),
        ({"interval": 86_400}, None, "calendar-interval", "1 day looks like a day"),
        ("2w", None, "calendar-interval", "2 weeks looks like weeks"),
        ("7d", None, "calendar-interval", "1 week looks like a week"),
        ("30d", None, "calendar-interval", "30 days looks like a month"),
        ("365d", None, "calendar-interval", "365 days looks like a year"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", None, "no-dtstart", "every 2 weeks without DTSTART"),
        ("FREQ=MONTHLY;INTERVAL=3", None, "no-dtstart", "every 3 months without DTSTART"),
        (0.5, None, "sub-second", "every 0.5 seconds"),
        ({"any": [3600, {"interval": 0.01}]}, None, "sub-second", "every 0.01 seconds"),
        ({"schedule": "30 2 * * *", "except": ["2027-01-01"]}, BERLIN, "dst-gap", "02:30 on"),
        ({"cron": "0 0 31 * *", "start_at": "2027-01-01"}, None, "some-months", "Feb, Apr"),
    ],
)
def test_what_is_warned_of(spec: Any, zone: str | None, code: str, message: str) -> None:
    found = warnings(spec, zone)
    if not message:
        assert code not in [warning.code for warning in found]
        return
    (warning,) = [warning for warning in found if warning.code == code]
    assert message in warning.message
    assert warning.suggestion
    assert warning.message[0].islower() or warning.message[0] in "0123456789'BFU"


@pytest.mark.parametrize(
    ("spec", "zone"),
    [
        ("0 8 * * 1-5", BERLIN),
        ("*/15 * * * *", BERLIN),
        ("* * * * *", BERLIN),
        ("30 2 * * *", None),
        ("30 2 * * *", "Asia/Tokyo"),
        ("30 2 * * *", "UTC"),
        ("30 8 * * *", "Australia/Lord_Howe"),
        ("30 2 1 7 *", BERLIN),
        ("0 0 L * *", None),
        ("0 0 1 * *", None),
        ("0 0 28-31 * *", None),
        ("0 0 31 1,3,5 *", None),
        ("0 0 * * fri#5,fri#1", None),
        ("0 0 * * 5L", None),
        ("0-30/7 * * * *", None),
        ("10,20 * * * *", None),
        ("H/10 * * * *", None),
        ("0 0 1-15/2 * *", None),
        ("0 0 0 1 1 * 2030", None),
        ({"cron": "0 0 13 * 5", "days": "both"}, None),
        ({"calendar": "Mon..Fri 09:00"}, BERLIN),
        ({"calendar": "*-*~1 18:00"}, BERLIN),
        (3600, BERLIN),
        ("90m", None),
        (1, None),
        ("FREQ=DAILY;BYHOUR=9", BERLIN),
        ("FREQ=HOURLY", BERLIN),
        ("FREQ=HOURLY;INTERVAL=2", None),
        ("DTSTART:20270104T090000\nRRULE:FREQ=WEEKLY;INTERVAL=2", BERLIN),
        ("FREQ=MONTHLY;BYMONTHDAY=31;RSCALE=GREGORIAN;SKIP=BACKWARD", None),
        ("FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1", None),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", None),
        ("FREQ=WEEKLY;BYDAY=MO", None),
        ({"at": "2027-01-01T09:00"}, BERLIN),
        ({"at": "2027-03-28T02:30+01:00"}, BERLIN),
        ({"cron": "30 2 * * *", "start_at": "2027-05-01", "end_at": "2027-10-01"}, BERLIN),
        ({"schedule": "30 2 * * *", "except": ["30 2 * 3,10 *"]}, BERLIN),
        (
            {"schedule": "30 2 * 3 *", "except": [{"from": "2027-03-20", "to": "2099-12-31"}]},
            BERLIN,
        ),
        ("DTSTART:20270501T023000\nRRULE:FREQ=DAILY;UNTIL=20271001", BERLIN),
        ("DTSTART:20270501T023000\nRRULE:FREQ=DAILY;COUNT=100", BERLIN),
        ("RRULE:FREQ=DAILY;BYHOUR=2\nEXRULE:FREQ=DAILY;BYHOUR=2;BYMONTH=3,10", BERLIN),
        (
            {
                "rrule": "RRULE:FREQ=DAILY;BYHOUR=2\nEXRULE:FREQ=DAILY;BYHOUR=2;BYMONTH=3,10",
                "nonexistent": "skip",
            },
            BERLIN,
        ),
        # starts between the passes, ends between them
        (
            {"cron": "*/30 2 * * *", "start_at": "2027-10-31T02:00+01:00", "end_at": "2027-12-01"},
            BERLIN,
        ),
        (
            {"cron": "*/30 2 * * *", "start_at": "2027-05-01", "end_at": "2027-10-31T02:59+02:00"},
            BERLIN,
        ),
        ({"any": [3600, "0 8 * * *"]}, None),
        ({"schedule": "0 8 * * *", "except": ["0 8 13 * *"]}, None),
        ({"cron": "0 8 * * *", "dialect": "croniter"}, BERLIN),
    ],
)
def test_what_is_left_alone(spec: Any, zone: str | None) -> None:
    assert warnings(spec, zone) == []


def test_never_is_all_there_is_to_say() -> None:
    assert [w.code for w in warnings("*/7 2 30 2 *", BERLIN)] == ["never"]


def test_parts_of_a_union_are_said_once() -> None:
    assert [w.code for w in warnings({"any": ["0 0 31 * *", "0 0 31 * *"]})] == ["some-months"]
    never = warnings({"any": ["0 0 30 2 *", {"schedule": 60, "except": [60]}]})
    assert [w.code for w in never] == ["never", "never", "never"]


def test_why_a_union_never_fires() -> None:
    messages = [w.message for w in warnings({"any": ["0 0 30 2 *", "0 0 31 4 *"]})]
    assert messages == [
        "never fires: none of its schedules does",
        "names no day: 30 February",
        "names no day: 31 April",
    ]


def test_an_until_to_come_is_not_past() -> None:
    schedule = parse_schedule("FREQ=YEARLY;UNTIL=20270601")
    assert [w.code for w in lint(schedule, after=datetime(2027, 5, 1, tzinfo=UTC))] == ["past"]
    (warning,) = lint(schedule, after=datetime(2027, 6, 2, tzinfo=UTC))
    assert warning.code == "until-past"


def test_a_clock_change_that_is_over_is_not_warned_of() -> None:
    once = parse_schedule({"at": "2027-03-28T02:30"}, BERLIN)
    assert [w.code for w in lint(once, after=datetime(2028, 1, 1, tzinfo=UTC))] == ["past"]


def test_gaps_are_told_where_all_overlaps_are_taken_out() -> None:
    schedule = parse_schedule({"schedule": "0-59 2 * * *", "except": ["0-59 2 * 10 *"]}, BERLIN)
    (warning,) = lint(schedule, after=datetime(2027, 1, 1, tzinfo=UTC))
    assert warning.code == "dst-gap"
    assert "02:00 on 2027-03-28 and 2028-03-26" in warning.message


ENDS = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]


@pytest.mark.parametrize("after", ENDS)
@pytest.mark.parametrize("zone", [None, BERLIN, "America/New_York", "Pacific/Kiritimati"])
def test_the_ends_of_time(after: datetime, zone: str | None) -> None:
    for spec in (
        "1h",
        "30 2 * * *",
        "FREQ=DAILY;BYHOUR=2",
        "FREQ=DAILY;UNTIL=20200101",
        {"at": ENDS[1].isoformat()},
        {"cron": "30 2 * * *", "start_at": "0001-01-01", "end_at": "9999-12-31"},
        {"schedule": "30 2 * * *", "except": ["0001-01-01", "9999-12-31"]},
    ):
        codes = [w.code for w in lint(parse_schedule(spec, zone), after=after)]
        assert ("past" in codes or "until-past" in codes) == (after == ENDS[1]), spec
    for end, date in zip(ENDS, ("0001-01-01T00:00:00", "9999-12-31T23:59:59"), strict=True):
        (past,) = lint(parse_schedule({"at": end}), after=end)
        assert f"the last one was {date}" in past.message


def test_the_cost_grows_with_the_rules_and_not_with_their_square() -> None:
    def lines(n: int) -> int:
        text = "\n".join(f"RRULE:FREQ=DAILY;BYHOUR={i % 24};BYMINUTE={i % 60}" for i in range(n))
        schedule = parse_schedule(f"DTSTART:20200101T023000\n{text}", BERLIN)
        return lines_of(lambda: lint(schedule, after=NOW))

    lines(1)  # the zone's clock keeps what it has found
    few, many = lines(50), lines(200)
    assert many < 6 * few


@given(schedules(), timezones(), instants())
def test_what_is_warned_of_is_true(spec: Any, zone: str, after: datetime) -> None:
    """The dates of "dst-overlap" have the slot that is told, a "never" has no slots."""
    schedule = parse_schedule(spec, zone, seed="task")
    found = lint(schedule, after=after)
    never = [w for w in found if w.code == "never"]
    slots = schedule.next_after(ENDS[0]) or schedule.previous_before(ENDS[1])
    assert never or slots
    if slots is None:
        assert never
        assert found == never
    past = any(w.code in ("past", "until-past") for w in found)
    assert past or slots is None or schedule.next_after(after) is not None
    for warning in found:
        if warning.code == "dst-overlap":
            told = re.match(r"(\d\d):(\d\d)(?::(\d\d))? on (\d{4}-\d\d-\d\d)", warning.message)
            assert told is not None
            hour, minute, second, day = told.groups(default="0")
            time = f"{hour}:{minute}:{int(second):02}"
            own = re.search(r" comes twice in (\S+),", warning.message)
            assert own is not None
            wall = datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=ZoneInfo(own[1]))
            slot = wall.astimezone(UTC)
            assert slot in list(schedule.between(slot - SECOND, slot))


def test_without_an_instant_nothing_is_past() -> None:
    assert lint(parse_schedule({"at": "2020-01-01T00:00"})) == []
    assert lint(parse_schedule("FREQ=DAILY;UNTIL=20200101")) == []
    gap, overlap = lint(parse_schedule("30 2 * * *", BERLIN))
    assert "02:30 on 2026-03-29 and 2027-03-28" in gap.message
    assert "02:30 on 2026-10-25 and 2027-10-31" in overlap.message


def test_the_next_changes_are_those_after_the_instant() -> None:
    schedule = parse_schedule("30 2 * * *", BERLIN)
    gap, overlap = lint(schedule, after=datetime(2030, 5, 1, tzinfo=UTC))
    assert "2031-03-30 and 2032-03-28" in gap.message
    assert "2030-10-27 and 2031-10-26" in overlap.message
    for year in (1, 9999):
        assert isinstance(lint(schedule, after=datetime(year, 6, 1, tzinfo=UTC)), list)


def test_arguments() -> None:
    with pytest.raises(TypeError, match="parse_schedule it"):
        lint("0 8 * * *")  # type: ignore[arg-type]
    with pytest.raises(NaiveDatetime):
        lint(parse_schedule(60), after=datetime(2027, 1, 1))


def test_a_warning_is_a_value() -> None:
    (warning,) = warnings(0.5)
    assert warning == Warning(warning.code, warning.message, warning.suggestion)
    with pytest.raises(AttributeError):
        warning.code = "x"  # type: ignore[misc]
