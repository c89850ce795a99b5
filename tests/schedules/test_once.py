"""Once: the moment as it was written, and the instant that it means.

The clock changes of the tables:

| zone | forward | back |
| --- | --- | --- |
| Europe/Berlin | 2027-03-28 02:00 to 03:00 | 2027-10-31 03:00 to 02:00 |
| America/New_York | 2027-03-14 02:00 to 03:00 | 2027-11-07 02:00 to 01:00 |
| Australia/Lord_Howe | 2027-10-03 02:00 to 02:30 | 2027-04-04 02:00 to 01:30 |
| Pacific/Apia | 2011-12-29 24:00 to 2011-12-31 00:00 | |
| America/Sao_Paulo | 2018-11-04 00:00 to 01:00 | 2018-02-18 00:00 to 2018-02-17 23:00 |
"""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from cronkit_core.errors import InvalidSchedule
from cronkit_core.schedules import OnceSchedule, parse_schedule
from cronkit_core.schedules.moment import parse_moment

MICRO = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("zone", "wall", "instant"),
    [
        ("Europe/Berlin", "2027-01-01T09:00", "2027-01-01T08:00:00+00:00"),
        ("Europe/Berlin", "2027-03-28T02:30", "2027-03-28T01:00:00+00:00"),
        ("Europe/Berlin", "2027-03-28T02:00", "2027-03-28T01:00:00+00:00"),
        ("Europe/Berlin", "2027-03-28T03:00", "2027-03-28T01:00:00+00:00"),
        ("Europe/Berlin", "2027-10-31T02:30", "2027-10-31T00:30:00+00:00"),
        ("America/New_York", "2027-03-14T02:30", "2027-03-14T07:00:00+00:00"),
        ("America/New_York", "2027-11-07T01:30", "2027-11-07T05:30:00+00:00"),
        ("Australia/Lord_Howe", "2027-10-03T02:15", "2027-10-02T15:30:00+00:00"),
        ("Australia/Lord_Howe", "2027-04-04T01:45", "2027-04-03T14:45:00+00:00"),
        ("Pacific/Apia", "2011-12-30T09:00", "2011-12-30T10:00:00+00:00"),
        ("America/Sao_Paulo", "2018-11-04T00:30", "2018-11-04T03:00:00+00:00"),
        ("America/Sao_Paulo", "2018-02-17T23:30", "2018-02-18T01:30:00+00:00"),
        (None, "2027-01-01T09:00:00.000001", "2027-01-01T09:00:00.000001+00:00"),
        ("Europe/Berlin", "2027-01-01T09:00Z", "2027-01-01T09:00:00+00:00"),
        ("Europe/Berlin", "2027-01-01T09:00-05:30", "2027-01-01T14:30:00+00:00"),
    ],
)
def test_the_instant(zone: str | None, wall: str, instant: str) -> None:
    schedule = parse_schedule({"at": wall}, zone)
    slot = datetime.fromisoformat(instant)
    assert schedule.next_after(slot - MICRO) == slot
    assert schedule.next_after(slot) is None
    assert schedule.previous_before(slot + MICRO) == slot
    assert schedule.previous_before(slot) is None
    assert list(schedule.between(slot - MICRO, slot)) == [slot]
    assert schedule.count_between(slot, slot + MICRO) == 0
    assert parse_schedule(schedule.to_dict()) == schedule


def test_a_wall_time_stays_a_wall_time() -> None:
    spec = {"at": "2027-01-01T09:00:00", "timezone": "Europe/Berlin"}
    schedule = parse_schedule(spec)
    assert schedule.to_dict() == spec
    assert schedule.timezone == "Europe/Berlin"
    assert schedule.describe() == "once, at 2027-01-01 09:00:00 Europe/Berlin"
    fixed = parse_schedule({"at": "2027-01-01T08:00:00+00:00"}, "Europe/Berlin")
    assert fixed.timezone is None
    assert fixed.to_dict() == {"at": "2027-01-01T08:00:00+00:00"}
    assert fixed != schedule
    assert fixed.describe() == "once, at 2027-01-01 08:00:00 UTC"


def test_a_datetime_object() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert parse_schedule(datetime(2027, 1, 1, 9, tzinfo=berlin)) == parse_schedule(
        {"at": "2027-01-01T08:00Z"}
    )
    naive = datetime(2027, 1, 1, 9)
    assert parse_schedule(naive, "Europe/Berlin") == parse_schedule(
        {"at": "2027-01-01T09:00", "timezone": "Europe/Berlin"}
    )
    east = timezone(timedelta(hours=2))
    assert parse_schedule(datetime(2027, 1, 1, 9, tzinfo=east)) == parse_schedule(
        datetime(2027, 1, 1, 7, tzinfo=UTC)
    )


def test_fold_says_the_second_pass() -> None:
    wall = datetime(2027, 10, 31, 2, 30)
    first, second = (
        parse_schedule(wall.replace(fold=fold), "Europe/Berlin").upcoming(
            datetime(2027, 1, 1, tzinfo=UTC), 1
        )
        for fold in (0, 1)
    )
    assert second[0] - first[0] == timedelta(hours=1)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"at": "soon"}, "bad at 'soon': ISO 8601"),
        ({"at": "2027-02-30T09:00"}, "bad at '2027-02-30T09:00'"),
        ({"at": "2027-01-01"}, "a date without a time; write '2027-01-01T00:00'"),
        ({"at": "2027-02-30"}, "bad at '2027-02-30'"),
        ({"at": 5}, "of type int"),
        ({"at": None}, "of type NoneType"),
        ({"at": ["2027-01-01"]}, "of type list"),
        ({"at": "9" * 5000}, "5000 characters"),
        ({"at": date(2027, 1, 1)}, "a date without a time"),
        (date(2027, 1, 1), "a date without a time"),
        ({"at": "0001-01-01T00:00", "timezone": "Asia/Tokyo"}, "outside the years"),
        ({"at": "9999-12-31T23:00", "timezone": "America/New_York"}, "outside the years"),
        ({"at": "9999-12-31T23:00-05:00"}, "outside the years"),
        ({"at": "2027-01-01T09:00", "after": 1}, "unknown key 'after' beside 'at'"),
    ],
)
def test_what_is_no_moment(spec: object, words: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        parse_schedule(spec)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("zone", "day", "spans"),
    [
        ("Europe/Berlin", "2027-03-28", [("2027-03-27T23:00", "2027-03-28T22:00")]),
        ("Europe/Berlin", "2027-10-31", [("2027-10-30T22:00", "2027-10-31T23:00")]),
        ("America/Sao_Paulo", "2018-11-04", [("2018-11-04T03:00", "2018-11-05T02:00")]),
        ("America/Sao_Paulo", "2018-02-17", [("2018-02-17T02:00", "2018-02-18T03:00")]),
        ("Pacific/Apia", "2011-12-30", [("2011-12-30T10:00", "2011-12-30T10:00")]),
        # the clock went back at 00:01, so midnight came twice
        (
            "America/St_Johns",
            "2006-10-29",
            [("2006-10-29T02:30", "2006-10-29T02:31"), ("2006-10-29T03:30", "2006-10-30T03:30")],
        ),
        (None, "0001-01-01", [("0001-01-01T00:00", "0001-01-02T00:00")]),
        ("Asia/Tokyo", "0001-01-01", [("0001-01-01T00:00", "0001-01-02T00:00")]),
        (None, "9999-12-31", [("9999-12-31T00:00", "9999-12-31T23:59:59.999999")]),
    ],
)
def test_the_instants_of_a_date(zone: str | None, day: str, spans: list[tuple[str, str]]) -> None:
    moment = parse_moment(day, zone, where="date", dates=True)
    assert moment.spans == [
        tuple(datetime.fromisoformat(edge).replace(tzinfo=UTC) for edge in span) for span in spans
    ]


def test_equality() -> None:
    a = parse_schedule({"at": "2027-01-01T09:00"}, "Europe/Berlin")
    assert a == OnceSchedule.parse("2027-01-01T09:00:00", "Europe/Berlin")
    assert hash(a) == hash(OnceSchedule.parse("20270101T0900", "Europe/Berlin"))
    assert a != OnceSchedule.parse("2027-01-01T09:00", "Europe/Paris")
