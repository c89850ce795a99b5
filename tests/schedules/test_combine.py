"""Unions, bounds and exclusions, against the same thing done with lists."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core.errors import InvalidSchedule, NaiveDatetime
from cronkit_core.schedules import (
    Bounded,
    Except,
    Schedule,
    Union,
    _book,
    exclude,
    parse_schedule,
)
from cronkit_core.schedules._local import EVERY_KIND, years_by_kind

MICRO = timedelta(microseconds=1)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Counted(Schedule):
    """A schedule that counts how often it is asked."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.asked = 0

    kind = "counted"

    @property
    def timezone(self) -> str | None:
        return self.schedule.timezone

    def next_after(self, after: datetime) -> datetime | None:
        self.asked += 1
        return self.schedule.next_after(after)

    def previous_before(self, before: datetime) -> datetime | None:
        self.asked += 1
        return self.schedule.previous_before(before)

    def describe(self) -> str:
        return self.schedule.describe()

    def to_dict(self) -> dict[str, Any]:
        return self.schedule.to_dict()


def forward(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    """By next_after alone."""
    slots = []
    slot = schedule.next_after(start)
    while slot is not None and slot <= end:
        slots.append(slot)
        slot = schedule.next_after(slot)
    return slots


def backward(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    """By previous_before alone."""
    slots = []
    slot = schedule.previous_before(end + MICRO)
    while slot is not None and slot > start:
        slots.append(slot)
        slot = schedule.previous_before(slot)
    return slots[::-1]


def all_ways(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    """The slots after `start` and up to `end`, when all questions agree on them."""
    slots = forward(schedule, start, end)
    assert backward(schedule, start, end) == slots
    assert list(schedule.between(start, end)) == slots
    assert schedule.count_between(start, end) == len(slots)
    assert schedule.upcoming(start, len(slots)) == slots
    assert all(a < b for a, b in pairwise(slots))
    assert all(slot.tzinfo is UTC for slot in slots)
    return slots


# Schedules around the changes of the clock: in Berlin at 2027-03-28T01:00Z and 2027-10-31T01:00Z,
# in St. John's at 2006-10-29T02:31Z, one minute after midnight, back to 23:01.
ZONES = {
    "Europe/Berlin": ("2027-03-26T00:00", "2027-10-29T00:00", "1893-03-30T00:00"),
    "America/St_Johns": ("2006-10-27T12:00", "2006-04-01T00:00"),
    "UTC": ("2028-02-27T00:00",),
}
minutes = st.sampled_from(["0", "*/20", "30", "0-59", "5,35", "*", "1"])
hours = st.sampled_from(["*", "*/2", "2", "0", "0-3", "23,0,1", "0-23", "8-18"])
days = st.sampled_from(["* * *", "* * 1-5", "* * sun", "28 * *", "* 3 *", "28-31 3,10 *", "L * *"])
policies = st.fixed_dictionaries(
    {},
    optional={
        "gap": st.sampled_from(["after", "skip"]),
        "overlap": st.sampled_from(["first", "both"]),
    },
)
crons = st.builds(
    lambda minute, hour, day, policy: {"cron": f"{minute} {hour} {day}", **policy},
    minutes,
    hours,
    days,
    policies,
)
calendars = st.sampled_from(
    [
        {"calendar": text}
        for text in ("*:0/30", "Mon..Fri 02:30", "*-*~1..3 00:00", "*-*-28 *:10", "0/2:00")
    ]
)
intervals = st.sampled_from([{"interval": n} for n in (600, 900, 3600, 5400, 86_400)])
onces = st.sampled_from([{"at": "2027-03-28T02:30"}, {"at": "2027-10-31T02:30"}])
parts = st.one_of(crons, crons, calendars, intervals, onces)


@st.composite
def places(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """A zone, and some days around a change of its clock."""
    zone = draw(st.sampled_from(sorted(ZONES)))
    start = utc(draw(st.sampled_from(ZONES[zone])))
    start += timedelta(minutes=draw(st.integers(0, 1440)))
    return zone, start, start + timedelta(days=4)


@given(st.lists(parts, min_size=1, max_size=4), places())
def test_union(members: list[dict[str, Any]], place: tuple[str, datetime, datetime]) -> None:
    zone, start, end = place
    expected: set[datetime] = set()
    for member in members:
        expected.update(parse_schedule(member, zone).between(start, end))
    union = parse_schedule({"any": members}, zone)
    assert all_ways(union, start, end) == sorted(expected)


@given(parts, places(), st.integers(-600, 6000), st.integers(-600, 6000))
def test_bounds(
    part: dict[str, Any], place: tuple[str, datetime, datetime], first: int, last: int
) -> None:
    zone, start, end = place
    from_, to = (start + timedelta(minutes=n) for n in sorted((first, last)))
    bounded = parse_schedule({**part, "start_at": from_.isoformat(), "end_at": to}, zone)
    expected = [s for s in parse_schedule(part, zone).between(start, end) if from_ <= s <= to]
    assert all_ways(bounded, start, end) == expected


@pytest.fixture(autouse=True, scope="module")
def impatient() -> Iterator[None]:
    """Look into the book after every excluded slot: that is tested, not the walk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exclude, "_PATIENCE", 1)
        yield


@given(parts, st.lists(parts, min_size=1, max_size=3), places())
def test_exclusion_of_schedules(
    part: dict[str, Any], out: list[dict[str, Any]], place: tuple[str, datetime, datetime]
) -> None:
    zone, start, end = place
    spec = {"schedule": part, "except": out}
    gone = {slot for item in out for slot in parse_schedule(item, zone).between(start, end)}
    expected = [s for s in parse_schedule(part, zone).between(start, end) if s not in gone]
    schedule = parse_schedule(spec, zone)
    assert list(schedule.between(start, end)) == expected
    # from any instant in the window, in both directions
    for at in (start, *expected[:3], start + timedelta(hours=31, seconds=1), end - MICRO):
        after = next((s for s in expected if s > at), None)
        before = next((s for s in reversed(expected) if s < at), None)
        if after is not None:
            assert schedule.next_after(at) == after
        else:
            assert (schedule.next_after(at) or end + MICRO) > end
        if before is not None:
            assert schedule.previous_before(at) == before
        else:
            assert (schedule.previous_before(at) or start) <= start


@given(
    parts,
    places(),
    st.lists(st.integers(0, 5), max_size=3),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 600)), max_size=2),
)
def test_exclusion_of_dates_and_ranges(
    part: dict[str, Any],
    place: tuple[str, datetime, datetime],
    offsets: list[int],
    ranges: list[tuple[int, int]],
) -> None:
    zone, start, end = place
    schedule = parse_schedule(part, zone)
    dates = {start.date() + timedelta(days=offset) for offset in offsets}
    spans = [
        (start + timedelta(minutes=at), start + timedelta(minutes=at + length))
        for at, length in ranges
    ]
    out: list[Any] = [day.isoformat() for day in sorted(dates)]
    out += [{"from": a.isoformat(), "to": b.isoformat()} for a, b in spans]
    if not out:
        return
    local = ZoneInfo(schedule.timezone or zone)
    expected = [
        slot
        for slot in schedule.between(start, end)
        if slot.astimezone(local).date() not in dates and not any(a <= slot <= b for a, b in spans)
    ]
    assert all_ways(parse_schedule({"schedule": part, "except": out}, zone), start, end) == expected


@pytest.mark.parametrize(
    ("spec", "zone", "start", "slots"),
    [
        # a date is the local one
        (
            {"schedule": "0 */6 * * *", "except": ["2027-12-25"]},
            "America/New_York",
            "2027-12-24T20:00",
            ["2027-12-24T23:00", "2027-12-26T05:00", "2027-12-26T11:00"],
        ),
        # of the schedule's own zone, where it has one
        (
            {
                "schedule": {"cron": "0 8 * * *", "timezone": "Asia/Tokyo"},
                "except": ["2027-12-25"],
            },
            "America/New_York",
            "2027-12-23T12:00",
            ["2027-12-23T23:00", "2027-12-25T23:00", "2027-12-26T23:00"],
        ),
        # dates of a range are meant whole, moments to the instant, both ends included
        (
            {"schedule": "0 */12 * * *", "except": [{"from": "2027-12-24", "to": "2027-12-26"}]},
            "Europe/Berlin",
            "2027-12-23T00:00",
            ["2027-12-23T11:00", "2027-12-26T23:00", "2027-12-27T11:00"],
        ),
        (
            {
                "schedule": "0 */12 * * *",
                "except": [{"from": "2027-12-23T12:00", "to": "2027-12-24T12:00"}],
            },
            "Europe/Berlin",
            "2027-12-23T00:00",
            ["2027-12-24T23:00", "2027-12-25T11:00", "2027-12-25T23:00"],
        ),
        # a date that the zone left out takes nothing with it
        (
            {"schedule": "0 0,12 * * *", "except": ["2011-12-30"]},
            "Pacific/Apia",
            "2011-12-29T12:00",
            ["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"],
        ),
        # weekdays but for the first Monday of the month
        (
            {"schedule": "0 9 * * 1-5", "except": ["0 9 * * mon#1"]},
            None,
            "2027-01-01T12:00",
            ["2027-01-05T09:00", "2027-01-06T09:00", "2027-01-07T09:00"],
        ),
        (
            {"any": [{"cron": "0 8 * * *", "timezone": "Asia/Tokyo"}, "0 8 * * *"]},
            "Europe/Berlin",
            "2027-06-01T00:00",
            ["2027-06-01T06:00", "2027-06-01T23:00", "2027-06-02T06:00"],
        ),
        (
            {"cron": "0 8 * * *", "start_at": "2027-06-02", "end_at": "2027-06-03"},
            "Asia/Tokyo",
            "2027-01-01T00:00",
            ["2027-06-01T23:00", "2027-06-02T23:00"],
        ),
    ],
)
def test_worked_examples(
    spec: dict[str, Any], zone: str | None, start: str, slots: list[str]
) -> None:
    schedule = parse_schedule(spec, zone)
    assert schedule.upcoming(utc(start), 3) == [utc(slot) for slot in slots]


@pytest.mark.parametrize(
    ("spec", "asked"),
    [
        # excluded ranges are jumped over, whatever they hold
        ({"schedule": 0.01, "except": [{"from": "2026-01-01", "to": "9998-12-31"}]}, 3),
        ({"schedule": 60, "except": [{"from": "1000-01-01", "to": "9999-12-31"}]}, 3),
        # so is what schedules take out
        ({"schedule": "* * * * * *", "except": ["* * * * 7 *"]}, 16),
        ({"schedule": 1, "except": ["* * * * 7 *"]}, 16),
        ({"schedule": "*/5 * * * *", "except": [{"calendar": "*-7-* *:0/5"}]}, 16),
    ],
)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_jumps(spec: dict[str, Any], asked: int, zone: str | None, monkeypatch: Any) -> None:
    monkeypatch.setattr(exclude, "_PATIENCE", 16)
    schedule = parse_schedule(spec, zone)
    assert isinstance(schedule, Except)
    book = _book.book_of(schedule)
    monkeypatch.setattr(_book, "book_of", lambda _: book)
    counted = Counted(schedule.schedule)
    schedule._schedule = counted
    schedule.next_after(utc("2027-07-11T12:00"))
    schedule.previous_before(utc("2027-07-11T12:00"))
    assert counted.asked <= 2 * asked


@pytest.mark.parametrize(
    "spec",
    [
        {"schedule": "*/5 * * * *", "except": ["* * * * *"]},
        {"schedule": "0 8 * * *", "except": ["0 8 * * *"]},
        {"schedule": "0 8 * * 1-5", "except": ["0 8,20 * * *"]},
        {"schedule": "30 8 * * *", "except": ["*/30 * * * *"]},
        {"schedule": 60, "except": [30]},
        {"schedule": {"any": [60, 120]}, "except": [{"any": [7, 60]}]},
        {"schedule": {"calendar": "hourly"}, "except": ["0 * * * *"]},
        {"schedule": {"interval": 60, "start_at": "2027-01-01"}, "except": [60]},
        {"schedule": {"interval": 60, "start_at": "2027-01-01"}, "except": ["* * * * *"]},
        {"schedule": {"at": "2027-01-01T00:00"}, "except": ["2027-01-01"]},
        {"schedule": "0 0 * * *", "except": ["0 0 * * 0-3", "0 0 * * 4-6"]},
        {"schedule": "* * * * *", "except": ["* 0-11 * * *", "* 12-23 * * *"]},
        {
            "schedule": 0.01,
            "except": [0.02, {"interval": 0.02, "anchor": "1970-01-01T00:00:00.01"}],
        },
        {
            "schedule": 86_399,
            "except": [{"any": ["FREQ=SECONDLY", "* * * * * *"]}],
            "start_at": "2000-01-01",
        },
        {"schedule": "FREQ=DAILY;BYHOUR=9", "except": ["FREQ=HOURLY"]},
        {"schedule": 120, "except": [{"schedule": 60, "except": ["30 0 0 1 1 *"]}]},
        {"schedule": "0 0 30 2 *", "except": [60]},
        # a year with an interval of quarter seconds takes long, and is of no matter here
        {"schedule": "21-25 * L * *", "except": [{"any": [777.25, {"any": ["* * * * *"]}]}]},
    ],
)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_nothing_left(spec: dict[str, Any], zone: str | None, monkeypatch: Any) -> None:
    monkeypatch.setattr(exclude, "_PATIENCE", 16)
    schedule = parse_schedule(spec, zone)
    assert schedule.next_after(utc("2026-06-15T00:00")) is None
    assert schedule.next_after(FIRST) is None
    assert schedule.previous_before(utc("2026-06-15T00:00")) is None
    assert schedule.previous_before(LAST) is None
    assert schedule.count_between(utc("2020-01-01T00:00"), utc("2030-01-01T00:00")) == 0


def test_beyond_its_bounds_a_schedule_is_not_asked() -> None:
    inner = Counted(parse_schedule("0 9 29 2 *"))
    schedule = Bounded.parse(inner, "2024-01-01", "2026-12-31T12:00", None)
    start, end = utc("2024-01-01T00:00"), utc("2026-12-31T12:00")

    assert schedule.next_after(end) is None
    assert schedule.next_after(LAST) is None
    assert schedule.previous_before(start) is None
    assert schedule.previous_before(FIRST) is None
    assert list(schedule.between(end, LAST)) == []
    assert list(schedule.between(FIRST, start - MICRO)) == []
    assert inner.asked == 0
    assert schedule.next_after(start) == utc("2024-02-29T09:00") == schedule.previous_before(end)


def test_forty_years_in_a_row_have_a_year_of_every_kind() -> None:
    """What a search for a slot that never comes relies on, to end after so many years."""
    every = set(range(len(years_by_kind())))
    kinds = {
        y: k for k, years in enumerate(years_by_kind()) for y in range(10_000) if years >> y & 1
    }

    assert sorted(kinds) == list(range(1, 10_000))
    for begin in range(1, 10_001 - EVERY_KIND):
        assert {kinds[y] for y in range(begin, begin + EVERY_KIND)} == every, begin


def test_times_of_old_that_lie_off_the_minute() -> None:
    """Until April 1893 clocks in Berlin were 53 minutes and 28 seconds ahead of UTC."""
    schedule = parse_schedule({"schedule": "0 8 * * *", "except": [60]}, "Europe/Berlin")
    assert schedule.previous_before(utc("1893-06-01T00:00")) == utc("1893-03-31T07:06:32")
    assert schedule.next_after(utc("1893-03-30T00:00")) == utc("1893-03-30T07:06:32")


@pytest.mark.parametrize(
    ("spec", "words", "where"),
    [
        ({"any": []}, "'any' is an empty list", "any"),
        ({"any": {"a": 1}}, "'any' is a dict", "any"),
        ({"any": "0 8 * * *"}, "'any' is '0 8 * * *'", "any"),
        (
            {"any": [60, {"any": [{"interval": "x"}]}]},
            "any[1]: any[0]: bad dur",
            "any[1].any[0].duration",
        ),
        ({"schedule": 60, "except": []}, "'except' is an empty list", "except"),
        ({"schedule": 60, "except": "2027-12-25"}, "it takes a list", "except"),
        (
            {"schedule": 60, "except": ["2027-02-30"]},
            "except[0]: bad date '2027-02-30'",
            "except[0].date",
        ),
        ({"schedule": 60, "except": ["soon"]}, "except[0]: 'soon' is no schedule", "except[0]"),
        ({"schedule": 60, "except": [{"from": "2027-01-01"}]}, "a range without 'to'", "except[0]"),
        ({"schedule": 60, "except": [{"to": "2027-01-01"}]}, "a range without 'from'", "except[0]"),
        (
            {"schedule": 60, "except": [{"from": "2027-01-01", "till": 1}]},
            "unknown key 'till' in a range: known are from, to",
            "except[0].till",
        ),
        (
            {"schedule": 60, "except": [{"from": "2027-01-02", "to": "2027-01-01"}]},
            "ends before it starts",
            "except[0]",
        ),
        ({"except": ["2027-12-25"]}, "unknown key 'except'", "except"),
        (
            {"interval": 60, "except": ["2027-12-25"]},
            "unknown key 'except' beside 'interval'",
            "except",
        ),
        (
            {"interval": 60, "start_at": "2027-01-02", "end_at": "2027-01-01"},
            "end_at 2027-01-01 is before start_at 2027-01-02",
            "end_at",
        ),
        ({"interval": 60, "start_at": "x"}, "bad start_at 'x'", "start_at"),
        ({"interval": 60, "end_at": 5}, "bad end_at of type int", "end_at"),
    ],
)
def test_what_is_refused(spec: dict[str, Any], words: str, where: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        parse_schedule(spec)
    assert words in str(raised.value)
    assert raised.value.where == where


@pytest.mark.parametrize(
    "spec",
    [
        {"any": [60, "0 8 * * *", {"at": "2027-01-01T09:00"}]},
        {"any": [{"cron": "0 8 * * *", "timezone": "Asia/Tokyo"}, "0 8 * * *"]},
        {"interval": 60, "start_at": "2027-01-01", "end_at": "2027-01-02T08:30"},
        {"cron": "0 8 * * *", "start_at": "2027-01-01T00:00Z"},
        {"schedule": {"cron": "0 8 * * *", "start_at": "2027-01-01"}, "end_at": "2027-05-01"},
        {"schedule": {"cron": "0 8 * * *", "timezone": "Asia/Tokyo"}, "end_at": "2027-05-01"},
        {
            "schedule": {"cron": "0 8 * * *", "timezone": "Asia/Tokyo"},
            "end_at": "2027-05-01",
            "timezone": "America/New_York",
        },
        {
            "schedule": 60,
            "except": [
                "2027-12-25",
                {"from": "2027-01-01", "to": "2027-01-02T09:00"},
                "0 8 * * *",
                {"calendar": "daily UTC"},
            ],
        },
        {
            "schedule": {"schedule": 60, "except": ["2027-12-25"], "timezone": "Asia/Tokyo"},
            "except": [date(2027, 12, 26)],
        },
        {
            "schedule": {"any": [60, {"interval": 90, "end_at": "2027-01-01"}]},
            "except": [{"schedule": 60, "except": [120]}],
            "start_at": datetime(2026, 1, 1),
        },
    ],
)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_round_trips(spec: dict[str, Any], zone: str | None) -> None:
    schedule = parse_schedule(spec, zone)
    again = parse_schedule(schedule.to_dict())
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.to_dict() == schedule.to_dict()
    # what it says goes before the zone of where it is put
    assert parse_schedule(schedule.to_dict(), zone) == schedule
    start = utc("2026-12-20T00:00")
    assert again.upcoming(start, 20) == schedule.upcoming(start, 20)
    assert again.describe() == schedule.describe()


def test_describe() -> None:
    spec = {
        "schedule": {"any": [60, "2h"]},
        "except": ["2027-12-25", {"from": "2027-07-01", "to": "2027-07-31T12:00"}, 120],
        "start_at": "2027-01-01T08:00",
        "end_at": "2027-12-31",
    }
    assert parse_schedule(spec, "Asia/Tokyo").describe() == (
        "any of (every minute; every 2 hours), except (2027-12-25 Asia/Tokyo; "
        "2027-07-01 Asia/Tokyo to 2027-07-31 12:00:00 Asia/Tokyo; every 2 minutes), "
        "from 2027-01-01 08:00:00 Asia/Tokyo, until 2027-12-31 Asia/Tokyo"
    )
    # the zone is said once
    spec = {"cron": "0 8 * * *", "timezone": "Asia/Tokyo", "end_at": "2027-12-31"}
    assert parse_schedule(spec).describe() == "at 08:00 every day (Asia/Tokyo), until 2027-12-31"


def test_equality_and_naive_datetimes() -> None:
    union = parse_schedule({"any": [60, 90]})
    assert isinstance(union, Union)
    assert union != parse_schedule({"any": [60, 91]})
    assert union != parse_schedule(60)
    bounded = parse_schedule({"interval": 60, "start_at": "2027-01-01"})
    assert isinstance(bounded, Bounded)
    assert bounded != parse_schedule({"interval": 60, "start_at": "2027-01-02"})
    out = parse_schedule({"schedule": 60, "except": ["2027-01-01"]})
    for schedule in (union, bounded, out):
        with pytest.raises(NaiveDatetime):
            schedule.next_after(datetime(2027, 1, 1))
        with pytest.raises(NaiveDatetime):
            schedule.previous_before(datetime(2027, 1, 1))


@pytest.mark.parametrize("sign", ["/", "..", " - ", " to "])
def test_a_range_as_text_is_told_how_a_range_is_written(sign: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        parse_schedule({"schedule": "@daily", "except": [f"2027-12-24{sign}2027-12-26"]})
    assert "looks like a range" in str(raised.value)
    assert "{'from': '2027-12-24', 'to': '2027-12-26'}" in str(raised.value)
