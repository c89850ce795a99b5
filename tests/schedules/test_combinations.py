"""Combinations of all kinds in mixed zones: against the oracle, which walks; far beyond what a walk
could reach, against what can be worked out by hand; and as data."""

import json
import pickle
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_properties import steps_at_most

from cronkit_core.errors import InvalidSchedule
from cronkit_core.schedules import Except, Schedule, exclude, parse_schedule, rrule_sets
from cronkit_core.schedules._book import Book
from cronkit_core.testing import instants_near_transitions, reference_slots

MICRO = timedelta(microseconds=1)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
NOW = datetime(2027, 1, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Members as people write them, in zones with other offsets, gaps and overlaps at other times.
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns")
crons = st.builds(
    "{} {} {}".format,
    st.sampled_from(("0", "*/20", "30", "*", "5,35", "0-29")),
    st.sampled_from(("*", "2", "*/2", "0-12", "13-23", "22-2", "1,2,3")),
    st.sampled_from(("* * *", "* * 1-5", "* * 0,6", "*/2 * *", "1-15 * *", "* 3,10 *", "L * *")),
)
rules = st.builds(
    "FREQ={}{}".format,
    st.sampled_from(
        ("HOURLY", "MINUTELY;INTERVAL=20", "MINUTELY;INTERVAL=7", "DAILY;BYHOUR=1,2,3")
    ),
    st.sampled_from(("", ";BYDAY=SA,SU", ";BYMONTH=3,10,11", ";BYMINUTE=0,20,30", ";BYHOUR=1,2,9")),
).filter(lambda rule: rule.count("BYHOUR") < 2)
policies = st.fixed_dictionaries(
    {},
    optional={
        "gap": st.sampled_from(("after", "skip")),
        "overlap": st.sampled_from(("first", "both")),
    },
)
zones = st.fixed_dictionaries({}, optional={"timezone": st.sampled_from(ZONES)})
leaves = st.one_of(
    st.builds(lambda cron, more, zone: {"cron": cron, **more, **zone}, crons, policies, zones),
    st.builds(lambda cron, more, zone: {"cron": cron, **more, **zone}, crons, policies, zones),
    st.builds(lambda rule, zone: {"rrule": rule, **zone}, rules, zones),
    st.sampled_from((300, 420, 1200, 1800, 5400, 0.5 * 3601)).map(lambda n: {"interval": n}),
    st.sampled_from(({"at": "2027-03-28T01:30"}, {"at": "2027-10-31T01:30:00.5"})),
)


def combined(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(parts, min_size=1, max_size=3)
    bounds = st.sampled_from(
        (
            {"start_at": "2027-03-28T01:00:00Z"},
            {"end_at": "2027-10-31T02:00:00Z"},
            {"start_at": "1995-01-01T00:00:00Z", "end_at": "2027-11-07T06:30:00Z"},
        )
    )
    ranges = st.sampled_from(({"from": "2027-10-31T00:40:00Z", "to": "2027-10-31T01:40:00Z"},))
    return st.one_of(
        several.map(lambda members: {"any": members}),
        st.builds(
            lambda part, out: {"schedule": part, "except": out},
            parts,
            st.lists(st.one_of(parts, parts, ranges), min_size=1, max_size=3),
        ),
        st.builds(lambda part, more: {"schedule": part, **more}, parts, bounds),
    )


combinations = st.recursive(leaves, combined, max_leaves=6)


@st.composite
def places(draw: st.DrawFn) -> tuple[str, datetime]:
    zone = draw(st.sampled_from(ZONES))
    years = draw(st.sampled_from(((2026, 2029), (1880, 1960), (9950, 9990))))
    start, end = (datetime(year, 1, 1, tzinfo=UTC) for year in years)
    return zone, draw(instants_near_transitions(zone, start=start, end=end))


@pytest.fixture(autouse=True, scope="module")
def impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exclude, "_PATIENCE", 2)
        patch.setattr(rrule_sets, "_PATIENCE", 2)
        yield


@given(combinations, places())
def test_combinations_agree_with_the_oracle(spec: Any, place: tuple[str, datetime]) -> None:
    zone, start = place
    end = start + timedelta(hours=18)
    expected = list(islice(reference_slots(spec, zone, start, end), 40))
    if len(expected) == 40:
        end = expected[-1]
    schedule = parse_schedule(spec, zone)
    assert list(schedule.between(start, end)) == expected
    assert schedule.count_between(start, end) == len(expected)
    # forward, from slot to slot
    slot, found = schedule.next_after(start), []
    while slot is not None and slot <= end:
        found.append(slot)
        slot = schedule.next_after(slot)
    assert found == expected
    # backward
    slot, found = schedule.previous_before(end + MICRO), []
    while slot is not None and slot > start:
        found.append(slot)
        slot = schedule.previous_before(slot)
    assert found[::-1] == expected


def the_book_says_the_same(schedule: Schedule, start: datetime, end: datetime) -> None:
    """As the engines do, of 40 slots at most after `start` and up to `end`, and of those around."""
    book = Book.of(schedule)
    assert book is not None
    assert book.exact
    slots = list(islice(schedule.between(start, end), 40))
    if len(slots) == 40:
        end = slots[-1]
    assert book.count_between(start, end) == len(slots)
    assert book.next_after(start) == schedule.next_after(start)
    assert book.next_after(end) == schedule.next_after(end)
    assert book.previous_before(start) == schedule.previous_before(start)
    assert book.previous_before(end) == schedule.previous_before(end)
    slot = start
    for expected in slots:
        found = book.next_after(slot)
        assert found == expected
        slot = found
    for slot, expected in zip([*slots[1:], end + MICRO], slots, strict=False):
        assert book.previous_before(slot) == expected


@given(combinations, places())
def test_the_book_says_the_same_as_the_engines(spec: Any, place: tuple[str, datetime]) -> None:
    zone, start = place
    end = start + timedelta(hours=18)
    schedule = parse_schedule(spec, zone)
    the_book_says_the_same(schedule, start, end)


@given(combinations, st.sampled_from((None, *ZONES)), combinations, zones)
def test_combinations_round_trip(spec: Any, zone: str | None, other: Any, outer: Any) -> None:
    one = parse_schedule(spec, zone)
    # schedules that were made elsewhere, put into another one
    for schedule in (
        one,
        parse_schedule({"any": [one, other], "start_at": "2027-01-01", **outer}),
        parse_schedule({"schedule": one, "except": [other, "2027-12-25"], **outer}),
        parse_schedule({"schedule": other, "except": [one, "2027-12-25"], "end_at": "2028-01-01"}),
    ):
        again = parse_schedule(json.loads(json.dumps(schedule.to_dict())))
        assert again == schedule
        assert hash(again) == hash(schedule)
        assert again.to_dict() == schedule.to_dict()


@pytest.mark.parametrize(
    "data",
    [
        {
            "schedule": {"cron": "0 */6 * * *", "timezone": "Europe/Berlin"},
            "except": [{"cron": "0 12 * * *"}],
        },
        {
            "any": [{"cron": "0 8 * * *", "timezone": "Europe/Berlin"}, {"cron": "0 8 * * *"}],
            "start_at": "2027-01-01",
        },
        {
            "schedule": {"cron": "0 8 * * *"},
            "except": ["2027-12-25[Asia/Tokyo]", {"from": "2027-07-01T09:00:00[Asia/Tokyo]",
                                                  "to": "2027-07-31[Asia/Tokyo]"}],
        },
        {"interval": 60, "start_at": "2027-01-01", "timezone": "Asia/Tokyo"},
    ],
)  # fmt: skip
def test_a_member_without_a_zone_keeps_none(data: dict[str, Any]) -> None:
    schedule = parse_schedule(data)
    assert schedule.to_dict() == data
    assert parse_schedule(schedule.to_dict()) == schedule


def test_a_moment_with_its_zone() -> None:
    spec = {"schedule": "0 * * * *", "except": ["2027-12-25[Asia/Tokyo]"]}
    slots = parse_schedule(spec).upcoming(utc("2027-12-24T13:30"), 2)
    assert slots == [utc("2027-12-24T14:00"), utc("2027-12-25T15:00")]
    at = parse_schedule({"at": "2027-01-01T09:00[Asia/Tokyo]"}, "Europe/Berlin")
    assert at.next_after(FIRST) == NOW
    assert at.to_dict() == {"at": "2027-01-01T09:00:00", "timezone": "Asia/Tokyo"}
    with pytest.raises(InvalidSchedule, match="unknown timezone 'Asia/Tokio'"):
        parse_schedule({"at": "2027-01-01T09:00[Asia/Tokio]"})


# Far beyond a walk. The answers were worked out on a calendar.
def parts_of(micros: int, number: int, part: int) -> dict[str, Any]:
    """Of every so many microseconds one slot in a `number`."""
    anchor = datetime(1970, 1, 1, tzinfo=UTC) + part * micros * MICRO
    return {"interval": micros * number / 1_000_000, "anchor": anchor.isoformat()}


FAR = [
    ({"schedule": "2s", "except": ["*/2 * * * * 0,6"]}, None, "2027-01-02", "2027-01-04T00:00"),
    (
        {"schedule": "* * * * *", "except": ["FREQ=MINUTELY;BYMONTH=7,8"]},
        None,
        "2027-07-01",
        "2027-09-01T00:00",
    ),
    (
        {"schedule": "1s", "except": ["FREQ=SECONDLY;BYDAY=SA,SU"]},
        "Europe/Berlin",
        "2027-01-02",
        "2027-01-03T23:00",
    ),
    (
        {"schedule": "1s", "except": [{"schedule": "1s", "except": ["0 0 0 29 2 *"]}]},
        None,
        "2025-01-01",
        "2028-02-29T00:00",
    ),
    (
        "RRULE:FREQ=SECONDLY\nEXRULE:FREQ=SECONDLY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11",
        None,
        "2027-01-01",
        "2027-12-01T00:00",
    ),
    (
        {"schedule": "1s", "except": ["* * 0-21 * * *"]},
        "Europe/Berlin",
        "0001-01-01",
        "0001-01-01T21:06:32",
    ),
    ({"schedule": "* * * * * *", "except": ["* * * * 1-11 *"]}, None, "0001-01-01", "0001-12-01"),
    (
        {"schedule": "*/5 * * * *", "except": ["* * * * * * 2027-2127"]},
        None,
        "2026-12-31T23:55",
        "2128-01-01T00:00",
    ),
    (
        {"schedule": 0.01, "except": [{"schedule": 0.01, "except": ["0 0 1 1 *"]}]},
        None,
        "2027-01-01",
        "2028-01-01",
    ),
    (
        {"schedule": "1s", "except": [{"cron": "* * * * * *", "timezone": "Asia/Tokyo",
                                       "end_at": "2030-01-01"}]},
        "Europe/Berlin",
        "2027-01-01",
        "2030-01-01T15:00",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "zone", "after", "expected"), FAR)
def test_a_long_exclusion_is_jumped_over(
    spec: Any, zone: str | None, after: str, expected: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(exclude, "_PATIENCE", 16)
    with steps_at_most(110_000):
        schedule = parse_schedule(spec, zone)
        slot = schedule.next_after(utc(after))
    assert slot == utc(expected)
    assert schedule.count_between(utc(after), slot) == 1
    assert list(schedule.between(utc(after), slot)) == [slot]
    before = schedule.previous_before(slot)
    assert before is None or before <= utc(after)
    with steps_at_most(10_000):  # what was found out is kept, for each of 100 fractions of a second
        assert schedule.next_after(utc(after)) == slot


BETWEEN_SECONDS = [
    # At many fractions of a second, and seldom on a whole one: then it need not be looked farther.
    (
        {"schedule": 0.977123, "except": [
            *(parts_of(977_123, prime, 0) for prime in (2, 3, 5, 7)), "0 * * * *",
            {"schedule": 0.977123, "end_at": "2026-01-20T00:00:00"},
        ]},
        "2026-01-01",
        "2026-01-20T00:00:00.585877",
    ),
    (
        {"schedule": {"schedule": 0.010007, "except": ["*/5 * * * * *"]}, "except": [
            parts_of(10_007, 2, 0),
            {"schedule": parts_of(10_007, 2, 1), "end_at": "2026-01-01T01:00:00"},
        ]},
        "2026-01-01",
        "2026-01-01T01:00:00.013437",
    ),
    # Each date would double what the four have in common.
    (
        {"schedule": 0.977123, "except": [
            *(parts_of(977_123, prime, 0) for prime in (2, 3, 5, 7)),
            *((date(2026, 2, 1) + timedelta(5 * i)).isoformat() for i in range(66)),
            {"schedule": 0.977123, "end_at": "2026-01-20T00:00:00"},
        ]},
        "2026-01-01",
        "2026-01-20T00:00:00.585877",
    ),
    # Of the union's members one has nothing left after that, the other never has.
    (
        {"schedule": {"any": [0.977123, "0 8 * * *"]}, "except": [
            parts_of(977_123, 3, 0), parts_of(977_123, 6, 4), parts_of(977_123, 6, 1),
            "FREQ=DAILY;BYHOUR=8",
            {"schedule": parts_of(977_123, 3, 2),
             "except": [{"from": "1986-02-04", "to": "2013-06-30"}]},
        ]},
        "2026-01-01",
        None,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "after", "expected"), BETWEEN_SECONDS)
def test_what_is_left_at_many_fractions_is_found_by_arithmetic(
    spec: Any, after: str, expected: str | None
) -> None:
    schedule = parse_schedule(spec)
    with steps_at_most(110_000):
        slot = schedule.next_after(utc(after))
    assert slot == (None if expected is None else utc(expected))
    if slot is not None:
        assert schedule.previous_before(slot + MICRO) == slot
        assert schedule.count_between(utc(after), slot) == 1
    with steps_at_most(20_000):
        assert schedule.next_after(utc(after)) == slot


def test_dates_are_jumped_over_where_schedules_take_out_the_rest(monkeypatch: Any) -> None:
    monkeypatch.setattr(exclude, "_MOST_UNKNOWN", 40)
    firsts = [f"2027-{month:02}-01" for month in range(1, 13)]
    spec = {"schedule": "1s", "except": [{"schedule": "1s", "except": ["0 12 1 * *"]}, *firsts]}
    schedule = parse_schedule(spec)
    assert schedule.next_after(NOW) == utc("2028-01-01T12:00")
    assert schedule.previous_before(utc("2028-01-01T12:00")) == utc("2026-12-01T12:00")


@pytest.mark.parametrize("members", [3, 20])
def test_what_is_left_of_a_union_is_asked_for_together_or_one_by_one(members: int) -> None:
    crons = [f"{minute} 3 * * *" for minute in range(members)]
    out = [{"cron": cron, "end_at": "2026-12-31"} for cron in crons]
    spec = {"schedule": {"any": crons}, "except": [*out, {"cron": "* 3 1-20 1 *"}]}
    schedule = parse_schedule(spec)
    for again in (schedule, pickle.loads(pickle.dumps(schedule))):
        assert again.next_after(utc("2020-01-01")) == utc("2027-01-21T03:00")
        assert again.previous_before(utc("2027-01-21T03:00")) is None
        assert again == schedule


def test_bounds_in_another_zone_leave_excluded_dates_where_they_are() -> None:
    """The date is one of Berlin, which only the cron expression names."""
    inner = {"cron": "0 23 * * *", "timezone": "Europe/Berlin"}
    spec = {
        "schedule": {"schedule": inner, "except": ["2027-03-28"]},
        "end_at": "2027-11-07[Asia/Tokyo]",
    }
    schedule = parse_schedule(spec)
    again = parse_schedule(schedule.to_dict())
    assert again == schedule
    assert again.upcoming(utc("2027-03-27T12:00"), 2) == schedule.upcoming(
        utc("2027-03-27T12:00"), 2
    )


STRIDES = {"rrule": "FREQ=SECONDLY;INTERVAL=61", "dtstart": "2026-09-30T10:30:00"}

PROOFS = [
    ({"schedule": "30 9 * * *", "except": ["30 * * * *", "2190s"]}, None),
    ({"schedule": "30 9 * * *", "except": ["30 * * * *", "FREQ=MINUTELY;INTERVAL=37"]}, None),
    ({"schedule": "* * * * * *", "except": ["* * 0-11 * * *", "* * 12-23 * * *"]}, None),
    ({"schedule": "0 0 * * *", "except": ["0 0 * * 0-3", "0 0 * * 4-6"]}, None),
    ({"schedule": "FREQ=DAILY;BYHOUR=9", "except": ["FREQ=HOURLY"]}, None),
    ({"schedule": "7m", "except": ["FREQ=SECONDLY"]}, "1969-12-31T22:57"),  # it starts in 1970
    ({"schedule": "1m", "except": ["* * * * *"]}, "1893-03-31T23:06"),
    ({"schedule": 86_399, "except": ["* * * * * *"]}, None),
    # Steps that no day is a multiple of: all years are different.
    ({"schedule": 510, "except": ["0,30 * * * * *"]}, "1893-03-31T23:00:30"),
    ({"schedule": 7_002, "except": ["*/2 * * * * *"]}, None),
    (
        {
            "schedule": "DTSTART:20200101T000000\nRRULE:FREQ=HOURLY;INTERVAL=5",
            "except": ["300s"],
        },
        None,
    ),
    ({"schedule": "FREQ=DAILY;INTERVAL=97;BYHOUR=9", "except": ["0 * * * *"]}, None),
    ({"schedule": "FREQ=MONTHLY;INTERVAL=7;BYHOUR=9", "except": ["0 * * * *"]}, None),
    ({"schedule": "FREQ=YEARLY;INTERVAL=3;BYHOUR=9", "except": ["0 * * * *"]}, None),
    (
        {"schedule": 510, "except": [
            {"schedule": 15_540, "except": [{"from": "1991-02-04", "to": "2013-06-30"}]},
            {"schedule": 30, "except": [{"from": "2000-01-04", "to": "2000-06-04"}]},
        ]},
        "2000-06-04T21:53",
    ),
    # Of odd intervals and rules it matters only that they are the same each time.
    (
        {"schedule": "* * * * *",
         "except": [{"schedule": "*/5 * * * * *", "except": [0.333333]}, 0.333333]},
        None,
    ),
    (
        {"schedule": STRIDES, "except": [
            20.014, {"schedule": STRIDES, "start_at": "2026-10-03T14:41:38.766625"},
        ]},
        "2026-10-03T12:40:56",
    ),
    (
        {"schedule": {"schedule": "* * * * *", "except": [20.014]}, "except": [
            {"schedule": {"schedule": "* * * * *", "except": [20.014]},
             "start_at": "2026-10-03T14:41:38.766625"},
        ]},
        "2026-10-03T12:41",
    ),
    # At more fractions of a second than can be written down, or nearly so many.
    ({"schedule": 0.97, "except": [parts_of(970_000, 2, 0), parts_of(970_000, 2, 1)]}, None),
    ({"schedule": 0.977, "except": [parts_of(977_000, 2, 0), parts_of(977_000, 2, 1)]}, None),
    (
        {"schedule": {"schedule": 0.977123, "except": ["*/2 * * * * *"]}, "except": [
            parts_of(977_123, 2, 0), parts_of(977_123, 2, 1),
        ]},
        None,
    ),
    ({"schedule": 0.977123, "except": [parts_of(977_123, 2, 0), parts_of(977_123, 2, 1)]}, None),
    (
        {"schedule": 0.977123, "except": [
            parts_of(977_123, 3, 0), parts_of(977_123, 6, 4), parts_of(977_123, 6, 1),
            parts_of(977_123, 3, 2), "* * * * * *",
        ]},
        None,
    ),
    (
        {"schedule": 0.977123, "except": [
            parts_of(977_123, 3, 0), parts_of(977_123, 3, 1),
            {"schedule": parts_of(977_123, 3, 2),
             "except": [{"from": "1986-02-04", "to": "2013-06-30"}]},
        ]},
        "2013-06-30T21:59:57.174997",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "last"), PROOFS)
def test_that_nothing_is_left_is_proven_in_few_steps(
    spec: Any, last: str | None, monkeypatch: Any
) -> None:
    """In Berlin, whose clocks were 53 minutes and 28 seconds ahead of UTC until April 1893."""
    monkeypatch.setattr(exclude, "_PATIENCE", 16)
    schedule = parse_schedule(spec, "Europe/Berlin")
    with steps_at_most(330_000):
        assert schedule.next_after(NOW) is None
    with steps_at_most(430_000):
        assert schedule.previous_before(NOW) == (None if last is None else utc(last))
    with steps_at_most(6_000):
        assert schedule.next_after(NOW) is None


WEEK = NOW, NOW + timedelta(days=7)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"any": ["1s", "0 8 * * *"]}, 604_800),
        ({"any": ["2s", "FREQ=SECONDLY;INTERVAL=3"]}, 403_200),
        ({"any": ["1s", {"interval": 1, "anchor": "2027-01-01T00:00:00.25Z"}]}, 1_209_600),
        ({"schedule": "1s", "except": ["* * 0-11 * * *"]}, 302_401),
        ("RRULE:FREQ=SECONDLY\nRRULE:FREQ=SECONDLY;INTERVAL=7", 604_800),
        ("RRULE:FREQ=SECONDLY\nEXRULE:FREQ=SECONDLY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11", 302_400),
    ],
)
def test_a_week_of_seconds_is_counted_in_few_steps(spec: Any, expected: int) -> None:
    schedule = parse_schedule(spec)
    if isinstance(schedule, Except):
        expected -= 1  # midnight at the end is among what is taken out
    with steps_at_most(30_000):
        assert schedule.count_between(*WEEK) == expected


# Bounds and ranges


def test_a_range_from_a_date_to_a_moment_ends_there() -> None:
    spec = {
        "schedule": "0 */3 * * *",
        "except": [{"from": "2027-12-24", "to": "2027-12-24T09:00"}],
    }
    slots = parse_schedule(spec).upcoming(utc("2027-12-23T20:00"), 3)
    assert slots == [utc("2027-12-23T21:00"), utc("2027-12-24T12:00"), utc("2027-12-24T15:00")]


def test_a_range_from_a_moment_to_a_date_begins_there() -> None:
    spec = {
        "schedule": "0 */8 * * *",
        "except": [{"from": "2027-12-24T09:00", "to": "2027-12-24"}],
    }
    slots = parse_schedule(spec).upcoming(utc("2027-12-24T00:00"), 2)
    assert slots == [utc("2027-12-24T08:00"), utc("2027-12-25T00:00")]


def test_start_and_end_on_one_day() -> None:
    spec = {"cron": "0 */6 * * *", "start_at": "2027-01-02T09:00", "end_at": "2027-01-02"}
    assert parse_schedule(spec).upcoming(NOW, 3) == [
        utc("2027-01-02T12:00"),
        utc("2027-01-02T18:00"),
    ]
    with pytest.raises(InvalidSchedule, match="end_at 2027-01-01 is before start_at"):
        parse_schedule({**spec, "end_at": "2027-01-01"})


# The ends of the calendar

EVERYTHING = [
    "0 0 * * *",
    "FREQ=DAILY",
    86_400,
    {"at": "2027-01-01T00:00"},
    {"any": ["0 0 * * *", 86_400]},
    {"schedule": 86_400, "except": ["0 0 * * 1"]},
    {"schedule": 86_400, "except": ["2027-01-01"]},
    {"interval": 86_400, "start_at": "0001-01-01T00:00:00Z"},
    {"interval": 86_400, "end_at": "9999-12-31"},
    {"calendar": "daily"},
]
EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))


@pytest.mark.parametrize("spec", EVERYTHING, ids=str)
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo", "America/New_York"])
def test_instants_beyond_the_calendar_are_instants(spec: Any, zone: str | None) -> None:
    schedule = parse_schedule(spec, zone)
    before, after = datetime(1, 1, 1, 3, tzinfo=EAST), datetime(9999, 12, 31, 20, tzinfo=WEST)
    assert schedule.previous_before(before) is None
    assert schedule.next_after(after) is None
    first, last = schedule.next_after(before), schedule.previous_before(after)
    assert first is not None
    assert last is not None
    assert schedule.previous_before(first) is None
    assert schedule.next_after(last) is None
    assert next(iter(schedule.between(before, after))) == first
    assert schedule.upcoming(after, 3) == []
    count = schedule.count_between(before, after)
    assert count == schedule.count_between(first, last) + 1
    assert list(schedule.between(after, after + timedelta(hours=1))) == []


@pytest.mark.parametrize("spec", EVERYTHING, ids=str)
def test_the_first_and_the_last_instant_may_be_asked_about(spec: Any) -> None:
    for at in (FIRST, LAST):
        schedule = parse_schedule(spec, "Asia/Tokyo")
        schedule.next_after(at)
        schedule.previous_before(at)
        assert schedule.count_between(at, at) == 0


# Faults that were


def test_between_makes_up_no_slot_of_a_gap_to_come() -> None:
    """After two slots close to each other it goes on without a search; a gap may follow."""
    schedule = parse_schedule("30 1,2 * * *", "Europe/Berlin")
    slots = list(schedule.between(utc("2027-03-26T00:00"), utc("2027-03-29T00:00")))
    assert [f"{slot:%d %H:%M}" for slot in slots] == [
        "26 00:30", "26 01:30", "27 00:30", "27 01:30", "28 00:30", "28 01:00", "28 23:30"
    ]  # fmt: skip
    skip = parse_schedule({"cron": "30 1,2 * * *", "gap": "skip"}, "Europe/Berlin")
    slots = list(skip.between(utc("2027-03-26T00:00"), utc("2027-03-29T00:00")))
    assert utc("2027-03-28T01:00") not in slots
    assert len(slots) == 6


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_stride_ends_with_the_year_9999(zone: str) -> None:
    for rule in (
        "FREQ=MINUTELY;INTERVAL=7",
        "FREQ=SECONDLY;INTERVAL=86399",
        "FREQ=HOURLY;INTERVAL=5",
    ):
        schedule = parse_schedule(rule, zone)
        start = datetime(9999, 12, 30, tzinfo=UTC)
        slots = list(schedule.between(start, LAST))
        assert slots
        assert schedule.next_after(slots[-1]) is None
        assert schedule.count_between(start, LAST) == len(slots)
        assert schedule.previous_before(LAST) == slots[-1]


@pytest.mark.parametrize("name", ["exdate", "rdate"])
def test_a_number_as_a_date_of_a_rule(name: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        parse_schedule({"rrule": "FREQ=DAILY", name: 5})
    assert name in str(raised.value)
    assert "5" in str(raised.value) or "int" in str(raised.value)


def test_a_schedule_of_another_library_may_be_taken_out() -> None:
    theirs = {"cron": "0 9 * * *", "dialect": "croniter"}
    schedule = parse_schedule({"schedule": "0 9,10 * * *", "except": [theirs]})
    assert schedule.upcoming(NOW, 2) == [utc("2027-01-01T10:00"), utc("2027-01-02T10:00")]
    ours = {"schedule": theirs, "except": ["* * * 1 *"]}
    assert parse_schedule(ours).next_after(NOW) == utc("2027-02-01T09:00")


def test_what_only_knows_its_slots_is_walked() -> None:
    class Odd(Schedule):
        """A schedule of which nothing but its slots is known."""

        kind = "odd"
        timezone = None

        def next_after(self, after: datetime) -> datetime | None:
            return after + timedelta(hours=1)

        def previous_before(self, before: datetime) -> datetime | None:
            return before - timedelta(hours=1)

        def describe(self) -> str:
            return "odd"

        def to_dict(self) -> dict[str, Any]:
            return {}

    assert Book.of(Odd()) is None
    out = Except(Odd(), [parse_schedule({"interval": 3600, "end_at": "2027-01-03"})])
    assert out.next_after(NOW) == utc("2027-01-04T00:00")
