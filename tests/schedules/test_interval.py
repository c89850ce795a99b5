"""Intervals: elapsed time from an anchor, in whole microseconds."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core.errors import InvalidSchedule, NaiveDatetime
from cronkit_core.schedules import IntervalSchedule, parse_schedule
from cronkit_core.schedules.duration import (
    format_duration,
    is_duration,
    parse_duration,
    spell_duration,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)

instants = st.datetimes(
    datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC), allow_imaginary=False
)
everys = st.one_of(
    st.integers(10_000, 10_000_000),
    st.integers(1, 86_400 * 40).map(lambda seconds: seconds * 1_000_000),
).map(lambda micros: timedelta(microseconds=micros))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (60, 60),
        (60.0, 60),
        (0.01, 0.01),
        (0.1, 0.1),
        (timedelta(hours=1), 3600),
        ("90s", 90),
        ("5m", 300),
        ("5 min", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1 hour, 30 minutes", 5400),
        ("1.5h", 5400),
        ("1d", 86_400),
        ("2 weeks", 1_209_600),
        ("1w1d1h1m1s1ms", 694_861.001),
        ("250ms", 0.25),
        ("0.25s", 0.25),
        ("PT15M", 900),
        ("PT1H30M", 5400),
        ("PT0.5S", 0.5),
        ("P1D", 86_400),
        ("P1DT12H", 129_600),
        ("P2W", 1_209_600),
        ("@every 1h30m", 5400),
        ("@Every 90s", 90),
        ({"cron": " @EVERY 1h"}, 3600),
        ({"interval": "10m"}, 600),
        ({"interval": 3_155_760_000}, 3_155_760_000),
    ],
)
def test_ways_to_write_one(written: object, seconds: float) -> None:
    schedule = parse_schedule(written)
    assert isinstance(schedule, IntervalSchedule)
    assert schedule.every == timedelta(seconds=seconds)
    assert parse_schedule(schedule.to_dict()) == schedule


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (0, "bad interval 0"),
        (0.009, "bad interval 0.009"),
        (-5, "bad interval -5"),
        (float("nan"), "bad interval nan"),
        (float("inf"), "bad interval inf"),
        (float("-inf"), "bad interval -inf"),
        (10**400, "19 digits"),
        (3_155_760_001, "36525 days"),
        (timedelta(0), "0.01 seconds to 36525 days"),
        (timedelta.max, "0.01 seconds to 36525 days"),
        ("0s", "0.01 seconds"),
        ("99999999999d", "36525 days"),
        ("90", "has no unit: write '90s'"),
        ("1M", "months and years differ in length"),
        ("1 month", "months and years differ in length"),
        ("P1M", "months and years differ in length"),
        ("P1Y", "months and years differ in length"),
        ("PT", "such as PT15M"),
        ("30m1h", "largest first"),
        ("1h1h", "each unit once"),
        ("1 fortnight", "bad unit 'fortnight'"),
        ("5S", "bad unit 'S'"),
        ("@every", "a duration"),
        ("@Everything", "a duration"),
        ({"cron": "@every 1h", "gap": "skip"}, "'gap' with '@every'"),
        ({"cron": "@every 1h", "overlap": "both"}, "'overlap' with '@every'"),
        ({"cron": "@Every 1h", "days": "both"}, "'days' with '@every'"),
        ("@every1h", "a duration"),
        ("@every 1x", "bad unit 'x'"),
        ({"interval": True}, "of type bool"),
        ({"interval": None}, "of type NoneType"),
        ({"interval": [60]}, "of type list"),
        ({"interval": "soon"}, "bad duration 'soon'"),
    ],
)
def test_what_is_no_interval(written: object, words: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        parse_schedule(written)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (1, "1s", "1 second"),
        (90, "1m30s", "1 minute 30 seconds"),
        (0.25, "0.25s", "0.25 seconds"),
        (3600, "1h", "1 hour"),
        (90_000, "1d1h", "1 day 1 hour"),
        (1_209_600, "14d", "2 weeks"),
        (0, "0s", "0 seconds"),
    ],
)
def test_a_duration_in_words(seconds: float, short: str, long: str) -> None:
    micros = round(seconds * 1_000_000)
    assert format_duration(micros) == short
    assert spell_duration(micros) == long


@given(st.integers(0, 10**16))
def test_a_formatted_duration_reads_back(micros: int) -> None:
    assert is_duration(format_duration(micros))
    assert parse_duration(format_duration(micros)) == micros
    assert parse_duration(spell_duration(micros)) == micros


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (60, "every minute"),
        (90, "every 1 minute 30 seconds"),
        (1, "every second"),
        (0.5, "every 0.5 seconds"),
        (86_400, "every day"),
        (7 * 86_400, "every week"),
        (
            {"interval": 60, "anchor": "2027-01-01T00:00:30"},
            "every minute, counted from 2027-01-01T00:00:30+00:00",
        ),
    ],
)
def test_describe(spec: object, words: str) -> None:
    assert parse_schedule(spec).describe() == words


def test_no_drift() -> None:
    """0.1 is no binary fraction; adding it up ten million times would show."""
    schedule = parse_schedule(0.1)
    at = EPOCH + timedelta(days=20_000) - MICRO
    for _ in range(50):
        slot = schedule.next_after(at)
        assert slot is not None
        at = slot
    assert at == EPOCH + timedelta(days=20_000, seconds=4.9)


def test_anchor() -> None:
    anchor = datetime(2027, 1, 1, 9, 30, tzinfo=UTC)
    schedule = parse_schedule({"interval": "1h"}, anchor=anchor)
    assert schedule.next_after(anchor) == datetime(2027, 1, 1, 10, 30, tzinfo=UTC)
    assert schedule.previous_before(anchor) == datetime(2027, 1, 1, 8, 30, tzinfo=UTC)
    assert parse_schedule({"interval": "1h", "anchor": anchor.isoformat()}) == schedule
    # a naive anchor is on the wall clock of the schedule's zone
    local = {"interval": "1d", "anchor": "2027-07-01T09:00", "timezone": "Europe/Berlin"}
    slot = parse_schedule(local).next_after(datetime(2027, 12, 1, 12, tzinfo=UTC))
    assert slot == datetime(2027, 12, 2, 7, tzinfo=UTC)


def test_elapsed_time_ignores_the_clock_change() -> None:
    schedule = parse_schedule("1h", "Europe/Berlin")
    before = datetime(2027, 3, 28, 0, tzinfo=UTC)
    slots = schedule.upcoming(before, 4)
    assert {b - a for a, b in zip([before, *slots], slots, strict=False)} == {timedelta(hours=1)}


def test_naive_datetimes_are_refused() -> None:
    with pytest.raises(NaiveDatetime):
        parse_schedule(60).next_after(datetime(2027, 1, 1))
    with pytest.raises(NaiveDatetime):
        IntervalSchedule(timedelta(minutes=1), datetime(2027, 1, 1))


def test_the_ends_of_time() -> None:
    schedule = parse_schedule(3600)
    first, last = (moment.replace(tzinfo=UTC) for moment in (datetime.min, datetime.max))
    assert schedule.next_after(last) is None
    assert schedule.previous_before(first) is None
    assert schedule.previous_before(last) == last.replace(minute=0, second=0, microsecond=0)
    assert schedule.count_between(first, last) == len(range(1, 3_652_059 * 24))


@given(everys, instants, instants)
def test_around_an_instant(every: timedelta, anchor: datetime, at: datetime) -> None:
    schedule = IntervalSchedule(every, anchor)
    after, before = schedule.next_after(at), schedule.previous_before(at)
    assert after is not None
    assert before is not None
    assert before < at < after
    assert after - before in (every, 2 * every)
    assert (after - before == 2 * every) == ((at - anchor) % every == timedelta(0))
    assert (after - anchor) % every == timedelta(0)
    assert schedule.previous_before(after + MICRO) == after
    assert schedule.next_after(before - MICRO) == before


@given(everys, instants, instants, st.integers(0, 50), st.integers(-50, 50))
def test_between_and_count(
    every: timedelta, anchor: datetime, start: datetime, steps: int, offset: int
) -> None:
    schedule = IntervalSchedule(every, anchor)
    end = start + every * steps + timedelta(milliseconds=offset)
    slots = list(schedule.between(start, end))
    walked = []
    slot = schedule.next_after(start)
    while slot is not None and slot <= end:
        walked.append(slot)
        slot = schedule.next_after(slot)
    assert slots == walked
    assert schedule.count_between(start, end) == len(slots)
    assert schedule.upcoming(start, len(slots)) == slots


@given(everys, instants, st.integers(-1000, 1000), instants)
def test_an_anchor_that_moves_by_whole_periods_changes_nothing(
    every: timedelta, anchor: datetime, periods: int, at: datetime
) -> None:
    moved = IntervalSchedule(every, anchor + every * periods)
    assert moved.next_after(at) == IntervalSchedule(every, anchor).next_after(at)


@given(everys, instants)
def test_round_trip(every: timedelta, anchor: datetime) -> None:
    schedule = IntervalSchedule(every, anchor)
    again = parse_schedule(schedule.to_dict())
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert schedule != IntervalSchedule(every + MICRO, anchor)
    assert schedule != parse_schedule({"at": "2027-01-01T00:00"})
