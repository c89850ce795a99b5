"""What holds for every cron schedule: agreement with a minute-by-minute walk where clocks change,
forward and backward, one by one and counted; and at the ends of the calendar."""

import struct
import time
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cronkit_core.errors import NaiveDatetime
from cronkit_core.schedules._local import BLOCK, ORIGIN, TABLES_END, zone_clock
from cronkit_core.schedules.cron import CronSchedule

MIN, MAX = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MICRO = timedelta(microseconds=1)
ZONES = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "UTC",
]


# The zone data, read by other means than zoneinfo's


class Change(NamedTuple):
    at: int  # seconds since 1970
    before: int
    after: int


@cache
def changes(zone: str) -> list[Change]:
    """The changes of offset that a TZif file (RFC 8536) lists."""
    for folder in zoneinfo.TZPATH:
        path = Path(folder, zone)
        if path.is_file():
            data = path.read_bytes()
            break
    else:
        data = resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()
    header = struct.Struct(">4s1c15x6l")
    _, _, isut, isstd, leap, times, types, chars = header.unpack_from(data)
    start = header.size + times * 5 + types * 6 + chars + leap * 8 + isstd + isut
    _, _, _, _, _, times, types, _ = header.unpack_from(data, start)
    start += header.size
    at = struct.unpack_from(f">{times}q", data, start)
    kinds = data[start + 8 * times : start + 9 * times]
    offsets = [
        struct.unpack_from(">l", data, start + 9 * times + 6 * kind)[0] for kind in range(types)
    ]
    found = []
    before = offsets[0]
    for moment, kind in zip(at, kinds, strict=True):
        if offsets[kind] != before:
            found.append(Change(moment, before, offsets[kind]))
        before = offsets[kind]
    return found


def second_of(moment: datetime) -> int:
    return (moment - ORIGIN) // timedelta(seconds=1)


EPOCH = second_of(datetime(1970, 1, 1, tzinfo=UTC))
# before it the data has no changes but for a clock that once was set to a standard time
MODERN = second_of(datetime(1835, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("zone", [*ZONES, "Africa/Freetown", "Asia/Gaza", "Asia/Manila"])
def test_the_zone_clock_knows_every_change(zone: str) -> None:
    clock = zone_clock(ZoneInfo(zone))
    listed = [change for change in changes(zone) if change.at + EPOCH > MODERN]
    end = max([EPOCH, *(change.at + EPOCH for change in listed)])
    found = []
    at = MODERN
    while at <= end:
        stretch = clock.stretch(at)
        assert stretch.start <= at < stretch.end
        if stretch.before != stretch.offset and stretch.start == at:
            found.append(Change(at - EPOCH, stretch.before, stretch.offset))
        at = stretch.end
    assert found == listed
    # a fast answer needs two days without a change on both sides
    margin = 2 * 86_400
    for change in listed:
        near = range(
            (change.at + EPOCH - margin) >> BLOCK, ((change.at + EPOCH + margin) >> BLOCK) + 1
        )
        assert {clock.calm[block] for block in near} == {None}
    quiet = EPOCH + 1_752_000_000 >> BLOCK  # July 2025
    offset = ZoneInfo(zone).utcoffset(datetime(2025, 7, 8))
    assert offset is not None
    assert clock.calm[quiet] == offset.total_seconds()


def test_what_the_search_relies_on_in_the_zone_data() -> None:
    for zone in sorted(zoneinfo.available_timezones()):
        for one, other in pairwise(changes(zone)):
            assert other.at - one.at > 3 * 86_400, f"{zone} kept an offset for less than 3 days"
        for change in changes(zone):
            assert change.at + EPOCH < TABLES_END, f"{zone} has a change of its own after 2100"


# The walk: slow, and as plain as can be


def walk(schedule: CronSchedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """The slots after `start` and up to `end`, minute by minute. Whole-minute zones only."""
    parts = schedule.parts
    zone = ZoneInfo(parts.timezone or "UTC")

    def named(wall: datetime) -> bool:
        in_month = bool(parts.day.mask >> wall.day & 1)
        in_week = bool(parts.weekday.mask >> wall.isoweekday() % 7 & 1)
        return bool(
            parts.minute.mask >> wall.minute & 1
            and parts.hour.mask >> wall.hour & 1
            and parts.month.mask >> wall.month & 1
            and ((in_month or in_week) if parts.either_day else (in_month and in_week))
        )

    at = start.replace(second=0, microsecond=0) + MINUTE
    while at <= end:
        local = at.astimezone(zone)
        wall = local.replace(tzinfo=None)
        due = named(wall) and not (local.fold and parts.overlap == "first")
        before = (at - MINUTE).astimezone(zone).replace(tzinfo=None) + MINUTE
        if parts.gap == "after" and before < wall < before + timedelta(hours=3):
            while before < wall:
                due = due or named(before)
                before += MINUTE
        if due:
            yield at
        at += MINUTE


minute_fields = st.sampled_from(
    ["0", "*", "*/7", "*/20", "30", "0,30", "15-17", "59", "1/13", "50-10/5"]
)
hour_fields = st.sampled_from(
    ["*", "*/2", "*/5", "0", "1", "2", "3", "23", "0-3", "22-3", "1,2,3", "2-3,23", "12"]
)
day_fields = st.sampled_from(["*", "*/2", "1-7", "8-14", "25-31", "1,30", "15"])
weekday_fields = st.sampled_from(["*", "sun", "sat", "1-5", "*/3", "fri-mon"])
expressions = st.builds(
    "{} {} {} {} {}".format,
    minute_fields,
    hour_fields,
    day_fields,
    st.sampled_from(["*", "*", "3-4,10-11", "12"]),
    weekday_fields,
)
options = st.fixed_dictionaries(
    {},
    optional={
        "days": st.sampled_from(["either", "both"]),
        "gap": st.sampled_from(["after", "skip"]),
        "overlap": st.sampled_from(["first", "both"]),
    },
)


@st.composite
def near_changes(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and an instant near one of its clock changes since 1990."""
    zone = draw(st.sampled_from(ZONES))
    recent = [change.at for change in changes(zone) if change.at > 631_152_000]
    centre = draw(st.sampled_from(recent or [1_700_000_000]))
    shift = draw(st.integers(-40 * 3600, 30 * 3600))
    return zone, datetime.fromtimestamp(centre + shift, UTC)


@settings(max_examples=settings().max_examples * 3)
@given(near_changes(), expressions, options)
def test_agrees_with_the_walk_near_changes(
    near: tuple[str, datetime], expression: str, options: dict[str, Any]
) -> None:
    zone, start = near
    end = start + timedelta(days=3)
    schedule = CronSchedule.parse(expression, zone, **options)
    expected = list(walk(schedule, start, end))
    assert list(schedule.between(start, end)) == expected
    assert schedule.count_between(start, end) == len(expected)
    assert schedule.upcoming(start, len(expected)) == expected
    for earlier, later in pairwise([start, *expected]):
        assert schedule.next_after(earlier) == later
        assert schedule.next_after(later - MICRO) == later
    for earlier, later in pairwise([*expected, end + MICRO]):
        assert schedule.previous_before(later) == earlier
        assert schedule.previous_before(earlier + MICRO) == earlier
    following = schedule.next_after(expected[-1] if expected else start)
    assert following is None or following > end


# Forward, backward, one by one, counted


@given(
    st.sampled_from([None, *ZONES]),
    st.one_of(
        expressions,
        st.sampled_from(
            [
                "* * * * * *",
                "*/25 59 23 * * *",
                "15,45 30 1-3 * * *",
                "0 0 L * *",
                "30 2 LW 3,10 *",
                "0 12 15W * *",
                "0 3 * * 0L",
                "30 1 * * sun#1",
                "0 0 29 2 *",
                "0 0 0 1 1 * 1950-2050/7",
            ]
        ),
    ),
    st.datetimes(datetime(1850, 1, 1), datetime(2150, 1, 1)),
    st.integers(1, 40),
)
def test_all_questions_have_one_answer(
    zone: str | None, expression: str, naive: datetime, n: int
) -> None:
    schedule = CronSchedule.parse(expression, zone)
    start = naive.replace(tzinfo=UTC)
    slots = schedule.upcoming(start, n)
    at = start
    for slot in slots:
        assert schedule.next_after(at) == slot > at
        at = slot
    if len(slots) < n:
        assert schedule.next_after(at) is None
    for earlier, later in pairwise(slots):
        assert schedule.previous_before(later) == earlier
    if slots:
        before = schedule.previous_before(slots[0])
        assert before is None or before <= start
        assert list(schedule.between(start, slots[-1])) == slots
        assert schedule.count_between(start, slots[-1]) == len(slots)
        assert schedule.count_between(slots[0], slots[-1]) == len(slots) - 1


@given(
    st.sampled_from([None, *ZONES]),
    expressions,
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 1)),
    st.timedeltas(timedelta(0), timedelta(days=400)),
    st.timedeltas(timedelta(0), timedelta(days=400)),
)
def test_counts_add_up(
    zone: str | None, expression: str, naive: datetime, one: timedelta, other: timedelta
) -> None:
    schedule = CronSchedule.parse(expression, zone)
    start = naive.replace(tzinfo=UTC)
    try:
        middle, end = start + one, start + one + other
    except OverflowError:
        middle = end = MAX
    assert schedule.count_between(start, end) == (
        schedule.count_between(start, middle) + schedule.count_between(middle, end)
    )
    assert schedule.count_between(end, start) == 0 or start == end
    if one < timedelta(days=20):
        assert schedule.count_between(start, middle) == len(list(schedule.between(start, middle)))


def test_counts_are_arithmetic() -> None:
    start = datetime(2000, 1, 1, tzinfo=UTC)
    century = datetime(2100, 1, 1, tzinfo=UTC)
    began = time.perf_counter()
    assert CronSchedule.parse("0 8 * * *", "Europe/Berlin").count_between(start, century) == 36_525
    # in UTC every second counts once, and so it does on a clock whose both passes count
    seconds = (century - start) // timedelta(seconds=1)
    for zone in (None, "America/New_York"):
        every = CronSchedule.parse("* * * * * *", zone)
        assert every.count_between(start, century) == seconds
        assert every.count_between(start, start + timedelta(days=7)) == 7 * 86_400
    weekdays = CronSchedule.parse("0 0 * * 1-5")
    assert weekdays.count_between(MIN, MAX) == 2_608_614
    assert time.perf_counter() - began < 2


def test_the_days_of_a_year_in_a_zone_with_clock_changes() -> None:
    start = datetime(2025, 1, 1, 5, tzinfo=UTC)
    end = datetime(2026, 1, 1, 5, tzinfo=UTC)
    count = {
        expression: CronSchedule.parse(expression, "America/New_York").count_between(start, end)
        for expression in ("30 2 * * *", "30 1 * * *", "*/30 2 * * *", "*/30 1 * * *", "* * * * *")
    }
    assert count == {
        "30 2 * * *": 365,
        "30 1 * * *": 365,
        "*/30 2 * * *": 2 * 364,
        "*/30 1 * * *": 2 * 366,
        "* * * * *": 365 * 1440,
    }


# The instants asked about


def test_an_instant_may_come_in_any_zone_and_with_a_fold() -> None:
    schedule = CronSchedule.parse("30 1 * * *", "America/New_York", overlap="both")
    zone = ZoneInfo("America/New_York")
    first = datetime(2025, 11, 2, 1, 15, tzinfo=zone)
    second = first.replace(fold=1)
    assert schedule.next_after(first) == datetime(2025, 11, 2, 5, 30, tzinfo=UTC)
    assert schedule.next_after(second) == datetime(2025, 11, 2, 6, 30, tzinfo=UTC)
    elsewhere = second.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert schedule.next_after(elsewhere) == datetime(2025, 11, 2, 6, 30, tzinfo=UTC)


def test_an_instant_may_have_parts_of_a_second() -> None:
    schedule = CronSchedule.parse("0 8 * * *")
    slot = datetime(2025, 1, 1, 8, tzinfo=UTC)
    day = timedelta(days=1)
    assert schedule.next_after(slot - MICRO) == slot
    assert schedule.next_after(slot) == slot + day
    assert schedule.next_after(slot + MICRO) == slot + day
    assert schedule.previous_before(slot - MICRO) == slot - day
    assert schedule.previous_before(slot) == slot - day
    assert schedule.previous_before(slot + MICRO) == slot
    assert schedule.count_between(slot - MICRO, slot) == 1
    assert schedule.count_between(slot, slot + MICRO) == 0
    assert list(schedule.between(slot - MICRO, slot + MICRO)) == [slot]


def test_a_naive_datetime_is_refused() -> None:
    schedule = CronSchedule.parse("0 8 * * *")
    naive, aware = datetime(2025, 1, 1), datetime(2025, 1, 1, tzinfo=UTC)
    for ask in (
        lambda: schedule.next_after(naive),
        lambda: schedule.previous_before(naive),
        lambda: schedule.upcoming(naive, 1),
        lambda: schedule.between(naive, aware),
        lambda: schedule.between(aware, naive),
        lambda: schedule.count_between(aware, naive),
    ):
        with pytest.raises(NaiveDatetime, match="has no time zone"):
            ask()
    with pytest.raises(TypeError, match="must be a datetime, not date"):
        schedule.next_after(naive.date())


@pytest.mark.parametrize("zone", [None, "Pacific/Kiritimati", "America/Adak", "Europe/Berlin"])
def test_the_ends_of_the_calendar(zone: str | None) -> None:
    for expression in ("* * * * * *", "* * * * *", "0 0 * * *", "59 23 31 12 *", "0 0 29 2 1"):
        schedule = CronSchedule.parse(expression, zone, days="both")
        first, last = schedule.next_after(MIN), schedule.previous_before(MAX)
        assert first is not None
        assert last is not None
        assert MIN < first < last <= MAX
        assert schedule.next_after(last) is None
        assert schedule.upcoming(last, 3) == []
        assert schedule.previous_before(first) in (None, MIN)
        assert schedule.next_after(MAX) is None
        assert schedule.previous_before(MIN) is None
        assert schedule.count_between(last - MICRO, MAX) == 1
        assert list(schedule.between(last - MICRO, MAX)) == [last]
        assert list(schedule.between(MIN, first)) == [first]


@pytest.mark.parametrize("hours", [-23, -12, 12, 23])
def test_instants_beyond_the_calendar(hours: int) -> None:
    """datetime.min and datetime.max in a zone are instants that UTC has no date for."""
    zone = timezone(timedelta(hours=hours))
    lowest, highest = datetime.min.replace(tzinfo=zone), datetime.max.replace(tzinfo=zone)
    schedule = CronSchedule.parse("0 * * * *", "Asia/Tokyo")
    assert schedule.next_after(lowest) is not None
    assert schedule.previous_before(highest) is not None
    assert schedule.next_after(highest) is None or hours > 0
    assert schedule.previous_before(lowest) is None or hours < 0
    assert len(list(schedule.between(highest - timedelta(hours=5), highest))) <= 5
    assert schedule.count_between(lowest, lowest + timedelta(hours=30)) <= 30


def test_the_whole_of_time_in_a_zone() -> None:
    midnight = CronSchedule.parse("0 0 1 1 *", "Europe/Berlin")
    slots = list(midnight.between(MIN, MAX))
    # 0001-01-01 00:00 in Berlin is in the year before the first
    assert len(slots) == midnight.count_between(MIN, MAX) == 9_998
    assert all(one < other for one, other in pairwise(slots))


def test_the_zone_of_the_host_has_no_influence(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers() -> list[object]:
        epoch, start = datetime(1970, 1, 1, tzinfo=UTC), datetime(2025, 3, 29, tzinfo=UTC)
        found: list[object] = []
        for zone in (None, "Europe/Berlin", "America/New_York"):
            schedule = CronSchedule.parse("30 0-3 * * *", zone)
            found += schedule.upcoming(start, 12)
            found += [schedule.previous_before(start), schedule.count_between(epoch, start)]
        return found

    expected = answers()
    try:
        for host in ("Asia/Kathmandu", "America/New_York", "Pacific/Apia"):
            monkeypatch.setenv("TZ", host)
            time.tzset()
            assert answers() == expected
    finally:
        monkeypatch.undo()
        time.tzset()
