"""Times of day that an odd interval meets, and what is counted as bits, against one by one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronkit_core.schedules import rrule_residues
from cronkit_core.schedules._changes import change_days
from cronkit_core.schedules._local import DAY, clock_changes, load_zone, zone_clock
from cronkit_core.schedules.rrule import RRuleSchedule
from cronkit_core.schedules.rrule_days import bits, marked
from cronkit_core.schedules.rrule_residues import Pattern, met
from cronkit_core.schedules.rrule_times import Grid, Marked

LAST_DAY = 3_652_058
ZONES = ["America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "UTC"]


def some_of(size: int) -> st.SearchStrategy[list[int]]:
    few = st.lists(st.integers(0, size - 1), min_size=1, max_size=9, unique=True).map(sorted)
    return st.one_of(few, st.just(list(range(size))))


strides = st.one_of(
    st.integers(20, 3000),
    st.integers(1, 1500).map(lambda minutes: 60 * minutes),
    st.integers(1, 400).map(lambda hours: 3600 * hours),
    st.integers(20_000, 1_000_000),
    st.integers(1, 30).flatmap(lambda n: st.sampled_from([n * m for m in (27, 54, 72, 128, 675)])),
).filter(lambda stride: stride >= 20)


def brute(times: Grid, phase: int, stride: int, day: int) -> int:
    hours, minutes, seconds = set(times.hours), set(times.minutes), set(times.seconds)
    on = range((phase - day * DAY) % stride, DAY, stride)
    return sum(s // 3600 in hours and s // 60 % 60 in minutes and s % 60 in seconds for s in on)


def added(weights: list[tuple[int, Pattern]], day: int) -> int:
    return sum(weight * pattern.among(day, 1) for weight, pattern in weights)


@given(
    st.builds(Grid, some_of(24), some_of(60), some_of(60)),
    st.integers(0, 10**9),
    strides,
    st.lists(st.integers(0, LAST_DAY), min_size=1, max_size=4),
)
def test_the_times_that_an_interval_meets(
    times: Grid, phase: int, stride: int, days: list[int]
) -> None:
    expected = [brute(times, phase, stride, day) for day in days]
    for listed in (0, 2000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rrule_residues, "_LISTED", listed)
            patch.setattr(rrule_residues, "_APART", 10**6)
            weights = met(times, phase, stride)
        assert [added(weights, day) for day in days] == expected
    if stride >= DAY:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rrule_residues, "LONG", 0)
            weights = met(times, phase, stride)
        assert [added(weights, day) for day in days] == expected
        # as many days as there are, and few of them
        for on in ((1 << 400) - 1, sum(1 << day for day in range(0, 400, 97))):
            found = sum(pattern.among(days[0], on) for _, pattern in weights)
            each = [day for day in range(400) if on >> day & 1]
            assert bits(found) == [d for d in each if brute(times, phase, stride, days[0] + d)]


@given(st.lists(st.integers(0, 5000), unique=True).map(sorted))
def test_bits_of_long_numbers(places: list[int]) -> None:
    number = sum(1 << place for place in places)
    assert bits(number) == places
    assert marked(places, 5001) == number


@given(st.lists(st.integers(0, DAY - 1), min_size=1, unique=True).map(sorted), st.integers(0, DAY))
def test_marked_times(seconds: list[int], second: int) -> None:
    times = Marked(sum(1 << s for s in seconds))
    assert [times.at(i) for i in range(times.size)] == seconds == times.slice(0, times.size)
    assert times.index(second) == sum(s < second for s in seconds)
    assert times.next(second) == next((s for s in seconds if s >= second), None)
    assert times.previous(second) == next((s for s in seconds[::-1] if s < second), None)


@pytest.mark.parametrize("zone", [*ZONES, "Europe/Dublin", "America/Nuuk", "Antarctica/Troll"])
def test_the_days_on_which_a_clock_changes(zone: str) -> None:
    clock = zone_clock(load_zone(zone))
    first, last = 712_000, 742_000
    expected = set()
    for stretch in clock_changes(clock, first * DAY, last * DAY):
        low, high = sorted((stretch.start + stretch.offset, stretch.start + stretch.before))
        expected |= {(stretch.offset < stretch.before, second) for second in range(low, high)}
    found = set()
    for change, on in change_days(clock, first, last - first).items():
        for day in bits(on):
            midnight = (first + day + change.later) * DAY
            seconds = range(midnight + change.first, midnight + change.stop)
            found |= {(change.again, second) for second in seconds}
    assert found == expected


LIMITS = ["", ";BYDAY=MO,SU", ";BYMONTH=3,4,10,11", ";BYMONTHDAY=-1,1,13", ";BYMONTH=3;BYDAY=SU"]
WITHIN = ["", ";BYHOUR=0,1,2,3", ";BYMINUTE=0,30,45", ";BYHOUR=2;BYMINUTE=15,30"]


@settings(max_examples=60)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(
        [
            "HOURLY;INTERVAL=5",
            "HOURLY;INTERVAL=7;BYMINUTE=10,40",
            "MINUTELY;INTERVAL=97",
            "MINUTELY;INTERVAL=1439",
            "SECONDLY;INTERVAL=5003",
            "SECONDLY;INTERVAL=700001",
        ]
    ),
    st.sampled_from(LIMITS),
    st.sampled_from(WITHIN),
    st.integers(1, 4000),
)
def test_decades_of_odd_intervals_are_counted_as_they_are_one_by_one(
    zone: str, freq: str, limit: str, within: str, number: int
) -> None:
    if "BYMINUTE" in freq:
        within = ""
    rule = f"DTSTART;TZID={zone}:19930101T013000\nRRULE:FREQ={freq}{limit}{within}"
    schedule = RRuleSchedule.parse(rule)
    start, end = datetime(1994, 5, 1, tzinfo=UTC), datetime(2012, 5, 1, 1, 30, tzinfo=UTC)
    slots = list(schedule.between(start, end))
    assert schedule.count_between(start, end) == len(slots)
    # and COUNT ends where so many have been
    from_start = list(schedule.between(datetime(1992, 1, 1, tzinfo=UTC), end))
    if number <= len(from_start):
        counted = RRuleSchedule.parse(f"{rule};COUNT={number}")
        last = from_start[number - 1]
        assert counted.previous_before(end + timedelta(days=9999)) == last
        assert RRuleSchedule.parse(f"{rule};COUNT={number}").next_after(last) is None


@settings(max_examples=60)
@given(
    st.sampled_from(
        [
            "WEEKLY;BYDAY=MO,WE,SA,SU",
            "WEEKLY;BYDAY=MO,WE,SU;BYMONTH=1,2,9;WKST=SU",
            "MONTHLY;BYMONTHDAY=29,-31,5",
            "MONTHLY;BYDAY=FR,SU;BYMONTH=2,3",
            "YEARLY",
            "YEARLY;BYWEEKNO=1,53,-1",
            "YEARLY;BYWEEKNO=1,20,53;BYDAY=MO,TH,SU",
            "YEARLY;BYYEARDAY=1,366,-366;RSCALE=GREGORIAN;SKIP=BACKWARD",
        ]
    ),
    st.sampled_from([1, 2, 3, 5, 7, 8, 13, 100]),
    st.sampled_from(["", ";BYHOUR=9,17"]),
    st.sampled_from(["", ";BYSETPOS=1", ";BYSETPOS=-1,2", ";BYSETPOS=3,-5"]),
    st.sampled_from([1, 1600, 1990]),
    st.integers(0, 3000),
    st.integers(0, 60_000),
)
def test_weeks_months_and_years_are_counted_as_they_are_one_by_one(
    freq: str, interval: int, times: str, chosen: str, year: int, days: int, length: int
) -> None:
    if chosen and freq + times == "YEARLY":
        chosen = ""  # which needs another part
    text = f"DTSTART:{year:04}0107T093000\nRRULE:FREQ={freq};INTERVAL={interval}{times}{chosen}"
    schedule = RRuleSchedule.parse(text)
    start = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=days)
    end = start + timedelta(days=length)
    assert schedule.count_between(start, end) == len(list(schedule.between(start, end)))


@pytest.mark.parametrize("freq", ["SECONDLY;INTERVAL=54", "SECONDLY;INTERVAL=27", "SECONDLY"])
def test_an_interval_that_divides_the_day_is_counted_as_it_is_one_by_one(freq: str) -> None:
    rule = f"DTSTART;TZID=Europe/Berlin:20220406T102800\nRRULE:FREQ={freq};BYMONTH=5,7,12"
    schedule = RRuleSchedule.parse(rule)
    end = datetime(2027, 5, 2, 1, 2, 3, tzinfo=UTC)
    for start in (end - timedelta(days=3), end - timedelta(days=125, seconds=30)):
        assert schedule.count_between(start, end) == len(list(schedule.between(start, end)))
