"""Calendar events: what systemd.time(7) says, what systemd answers, and what the clock does.

`data/calendar_systemd.jsonl` holds what `systemd-analyze calendar` of systemd 252 answers: `expr`,
`after` (exclusive), `expect` (the next eight at most, in UTC; null: refused). It has no line near a
change of the clock, for what happens then is our own.

The clock changes of the tables:

| zone | forward | back |
| --- | --- | --- |
| Europe/Berlin | 2027-03-28 02:00 to 03:00 | 2027-10-31 03:00 to 02:00 |
| America/New_York | 2027-03-14 02:00 to 03:00 | 2027-11-07 02:00 to 01:00 |
| Australia/Lord_Howe | 2027-10-03 02:00 to 02:30 | 2027-04-04 02:00 to 01:30 |
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cronkit_core.errors import InvalidSchedule
from cronkit_core.schedules import CalendarSchedule, parse_schedule

MICRO = timedelta(microseconds=1)
CORPUS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "calendar_systemd.jsonl").read_text().splitlines()
]


def slots_on(text: str, zone: str, day: str, **options: str) -> list[str]:
    """The slots of a local date, in local time."""
    schedule = CalendarSchedule.parse(text, zone, **options)
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    end = (start.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone))
    slots = schedule.between(start - MICRO, end - MICRO)
    return [slot.astimezone(ZoneInfo(zone)).strftime("%H:%M%z") for slot in slots]


def test_the_corpus_is_there() -> None:
    assert len(CORPUS) > 200


@pytest.mark.parametrize("line", CORPUS, ids=lambda line: f"{line['expr']}-{line['after'][:10]}")
def test_systemd_answers_the_same(line: dict[str, Any]) -> None:
    if line["expect"] is None:
        with pytest.raises(InvalidSchedule):
            CalendarSchedule.parse(line["expr"])
        return
    schedule = CalendarSchedule.parse(line["expr"])
    slots = schedule.upcoming(datetime.fromisoformat(line["after"]), 8)
    assert [slot.isoformat() for slot in slots] == line["expect"]


def test_the_years_do_not_end_in_2199() -> None:
    at = datetime(2199, 12, 31, tzinfo=UTC)
    assert CalendarSchedule.parse("yearly").next_after(at) == datetime(2200, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "zone", "day", "slots"),
    [
        # a time of the day in the gap runs at the first instant after it, once
        ("02:30", "Europe/Berlin", "2027-03-28", ["03:00+0200"]),
        ("02:30", "Europe/Berlin", "2027-10-31", ["02:30+0200"]),
        ("2,3:0,30", "Europe/Berlin", "2027-03-28", ["03:00+0200", "03:30+0200"]),
        (
            "2,3:0,30",
            "Europe/Berlin",
            "2027-10-31",
            ["02:00+0200", "02:30+0200", "03:00+0100", "03:30+0100"],
        ),
        ("02:15", "America/New_York", "2027-03-14", ["03:00-0400"]),
        ("01:15", "America/New_York", "2027-11-07", ["01:15-0400"]),
        ("02:15", "Australia/Lord_Howe", "2027-10-03", ["02:30+1100"]),
        ("01:45", "Australia/Lord_Howe", "2027-04-04", ["01:45+1100"]),
        # a wildcard is about what the clock shows: nothing in the gap, both passes
        ("1..3:*/30", "Europe/Berlin", "2027-03-28", None),
        ("*:30", "Europe/Berlin", "2027-03-28", 23),
        ("*:30", "Europe/Berlin", "2027-10-31", 25),
        ("*:0/30", "Australia/Lord_Howe", "2027-10-03", 47),
        ("*:0/30", "Australia/Lord_Howe", "2027-04-04", 49),
        ("hourly", "America/New_York", "2027-03-14", 23),
        ("hourly", "America/New_York", "2027-11-07", 25),
        # a repetition without an end is a wildcard, one with an end is not
        ("0/2:00", "Europe/Berlin", "2027-03-28", 11),
        ("0/2:00", "Europe/Berlin", "2027-10-31", 13),
        ("0..22/2:00", "Europe/Berlin", "2027-03-28", 12),
        ("0..22/2:00", "Europe/Berlin", "2027-10-31", 12),
        ("02:0/30", "Europe/Berlin", "2027-03-28", []),
        (
            "02:0/30",
            "Europe/Berlin",
            "2027-10-31",
            ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"],
        ),
    ],
)
def test_clock_changes(text: str, zone: str, day: str, slots: list[str] | int | None) -> None:
    if slots is None:
        with pytest.raises(InvalidSchedule, match="write 0/30"):
            CalendarSchedule.parse(text, zone)
    elif isinstance(slots, int):
        assert len(slots_on(text, zone, day)) == slots
    else:
        assert slots_on(text, zone, day) == slots


def test_other_choices_for_clock_changes() -> None:
    zone = "Europe/Berlin"
    assert slots_on("02:30", zone, "2027-03-28", gap="skip") == []
    assert slots_on("02:30", zone, "2027-10-31", overlap="both") == ["02:30+0200", "02:30+0100"]
    assert slots_on("02:0/30", zone, "2027-03-28", gap="after") == ["03:00+0200"]
    assert slots_on("02:0/30", zone, "2027-10-31", overlap="first") == ["02:00+0200", "02:30+0200"]


@pytest.mark.parametrize(
    ("text", "words", "where"),
    [
        ("", "bad calendar ''", "calendar"),
        ("Xyz 09:00", "bad day-of-week 'Xyz'", "day-of-week"),
        ("Sat..Mon 09:00", "bad day-of-week 'Sat..Mon'", "day-of-week"),
        ("Mon; 09:00", "bad day-of-week 'Mon;'", "day-of-week"),
        ("2027-13-01", "bad month '13'", "month"),
        ("*-*-32", "bad day-of-month '32'", "day-of-month"),
        ("*-*~29", "bad day-of-month '29' in '*-*~29': 1 to 28", "day-of-month"),
        ("*-*-5..1", "a range runs forward", "day-of-month"),
        ("0000-01-01", "bad year '0000'", "year"),
        ("24:00", "bad hour '24'", "hour"),
        ("9:60", "bad minute '60'", "minute"),
        ("9:5:60", "bad second '60'", "second"),
        ("9:05:30.5", "bad second '30.5' in '9:05:30.5': whole seconds", "second"),
        ("9", "bad date '9'", "date"),
        ("9:00 10:00", "bad part '10:00'", "part"),
        ("9:00 Mon", "bad part 'Mon'", "part"),
        ("9:0/60", "never comes to a second value", "minute"),
        ("9:0/0", "a repetition of 1 or more", "minute"),
        ("*/2:00", "a repetition has a start; write 0/2", "hour"),
        ("*-*-*/2", "a repetition has a start; write 1/2", "day-of-month"),
        ("daily Europe/Berln", "unknown timezone 'Europe/Berln'", "timezone"),
        ("٣:00", "bad hour", "hour"),
        ("09:00 cet", "unknown timezone 'cet': did you mean 'CET'", "timezone"),
        ("09:00 localtime", "bad timezone 'localtime'", "timezone"),
        ("Mon daily", "bad date 'daily'", "date"),
        ("Mon Tue..Fri", "bad date 'Tue..Fri'", "date"),
    ],
)
def test_what_is_refused(text: str, words: str, where: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        parse_schedule({"calendar": text})
    assert words in str(raised.value)
    assert raised.value.where == where


@pytest.mark.parametrize("option", ["gap", "overlap"])
def test_options_are_checked(option: str) -> None:
    with pytest.raises(InvalidSchedule, match=f"bad {option} 'x'"):
        parse_schedule({"calendar": "daily", option: "x"})
    with pytest.raises(InvalidSchedule, match="unknown key 'days'"):
        parse_schedule({"calendar": "daily", "days": "both"})


def test_the_zone() -> None:
    own = parse_schedule({"calendar": "daily Asia/Tokyo"}, "Europe/Berlin")
    assert own.timezone == "Asia/Tokyo"
    assert own == parse_schedule({"calendar": "daily", "timezone": "Asia/Tokyo"})
    assert parse_schedule({"calendar": "daily utc"}, "Europe/Berlin").timezone == "UTC"
    assert parse_schedule({"calendar": "daily"}, "Europe/Berlin").timezone == "Europe/Berlin"
    assert parse_schedule({"calendar": "daily"}).timezone is None
    for zone in ("CET", "Japan", "GMT", "GMT+0", "UTC", "EST5EDT", "America/New_York", "Etc/GMT-3"):
        schedule = parse_schedule({"calendar": f"Mon,Wed..Fri  09:00 {zone}"}, "Asia/Tokyo")
        assert schedule.timezone == zone
        assert schedule.to_dict() == {"calendar": "Mon,Wed..Fri  09:00", "timezone": zone}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mon..Fri 09:00", "at 09:00, Monday to Friday (Europe/Berlin)"),
        ("daily", "at 00:00 every day (Europe/Berlin)"),
        ("hourly", "every hour (Europe/Berlin)"),
        ("*-*~1 18:00", "at 18:00 on the last day of the month (Europe/Berlin)"),
    ],
)
def test_describe(text: str, words: str) -> None:
    assert parse_schedule({"calendar": text}, "Europe/Berlin").describe() == words


@pytest.mark.parametrize("line", CORPUS[::7], ids=lambda line: line["expr"])
def test_round_trip(line: dict[str, Any]) -> None:
    if line["expect"] is None:
        return
    schedule = parse_schedule({"calendar": line["expr"]}, "Europe/Berlin")
    again = parse_schedule(json.loads(json.dumps(schedule.to_dict())))
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.to_dict() == schedule.to_dict()
    start = datetime(2027, 3, 20, tzinfo=UTC)
    end = start + timedelta(days=14)
    slots = list(schedule.between(start, min(end, start + timedelta(hours=30))))
    assert schedule.upcoming(start, len(slots)) == slots
    assert schedule.count_between(start, min(end, start + timedelta(hours=30))) == len(slots)
    last = schedule.previous_before(end)
    assert last is None or schedule.next_after(last - MICRO) == last


def test_equality() -> None:
    daily = parse_schedule({"calendar": "daily"})
    assert daily == parse_schedule({"calendar": "*-*-* 00:00"})
    assert daily != parse_schedule({"calendar": "daily", "gap": "skip"})
    assert daily != parse_schedule("0 0 * * *")
