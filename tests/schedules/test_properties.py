"""What holds for every schedule, whatever its kind."""

import copy
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import cronkit_core.schedules
from cronkit_core.errors import InvalidSchedule, NaiveDatetime
from cronkit_core.schedules import Schedule, parse_schedule
from cronkit_core.testing import (
    CRON_FEATURES,
    cron_expressions,
    instants,
    instants_near_transitions,
    intervals,
    rrules,
    schedules,
    timezones,
)

ENGINES = str(Path(cronkit_core.schedules.__file__).parent)
MICROSECOND = timedelta(microseconds=1)
SEED = "a-task"


@st.composite
def parsed(draw) -> Schedule:
    """Any schedule in any zone."""
    return parse_schedule(draw(schedules()), draw(timezones()), seed=SEED)


@st.composite
def asked(draw) -> tuple[Schedule, datetime]:
    """Any schedule, and an instant to ask it about: near a change of its clock, or any."""
    zone = draw(timezones())
    schedule = parse_schedule(draw(schedules()), zone, seed=SEED)
    return schedule, draw(st.one_of(instants_near_transitions(zone), instants()))


def lengths(days: int) -> st.SearchStrategy[timedelta]:
    return st.timedeltas(timedelta(0), timedelta(days=days))


# Going forward and backward


@given(asked())
def test_slots_are_after_what_was_asked_aware_utc_and_strictly_increasing(case) -> None:
    schedule, after = case
    slots = schedule.upcoming(after, 6)
    assert all(slot.tzinfo is UTC for slot in slots)
    assert all(a < b for a, b in pairwise([after, *slots]))
    assert schedule.upcoming(after, 0) == []
    for previous, slot in pairwise([after, *slots]):
        assert schedule.next_after(previous) == slot
    if len(slots) < 6:
        assert schedule.next_after(slots[-1] if slots else after) is None


@given(asked())
def test_previous_undoes_next(case) -> None:
    schedule, at = case
    slots = schedule.upcoming(at, 4)
    for earlier, later in pairwise(slots):
        assert schedule.previous_before(later) == earlier
    if slots:
        before = schedule.previous_before(slots[0])
        assert before is None or before <= at
        assert schedule.next_after(slots[0] - MICROSECOND) == slots[0]
        assert schedule.previous_before(slots[0] + MICROSECOND) == slots[0]


@given(asked())
def test_next_undoes_previous(case) -> None:
    schedule, at = case
    slot = schedule.previous_before(at)
    for _ in range(4):
        if slot is None:
            break
        assert slot < at
        assert schedule.next_after(slot - MICROSECOND) == slot
        following = schedule.next_after(slot)
        assert following is None or following >= at
        at, slot = slot, schedule.previous_before(slot)


@given(asked(), lengths(3))
def test_between_is_repeated_next_and_count_between_its_length(case, length) -> None:
    schedule, start = case
    slots, slot = [], schedule.next_after(start)
    while slot is not None and slot <= start + length and len(slots) < 60:
        slots.append(slot)
        slot = schedule.next_after(slot)
    end = slots[-1] if len(slots) == 60 else start + length
    assert list(schedule.between(start, end)) == slots
    assert schedule.count_between(start, end) == len(slots)


@given(schedules(nested=False), timezones(), instants(), lengths(400), lengths(400))
def test_counts_add_up(spec, zone, start, one, other) -> None:
    schedule = parse_schedule(spec, zone)
    middle, end = start + one, start + one + other
    total = schedule.count_between(start, end)
    assert total == schedule.count_between(start, middle) + schedule.count_between(middle, end)
    first = schedule.next_after(start)
    assert (total > 0) == (first is not None and first <= end)


@given(asked())
def test_nothing_lies_between_an_instant_and_itself_or_an_earlier_one(case) -> None:
    schedule, at = case
    assert list(schedule.between(at, at)) == []
    assert list(schedule.between(at, at - timedelta(hours=30))) == []
    assert schedule.count_between(at, at - timedelta(hours=30)) == 0


@given(asked())
def test_asking_changes_nothing(case) -> None:
    schedule, at = case
    before = (hash(schedule), schedule.to_dict(), schedule.upcoming(at, 3))
    schedule.previous_before(at)
    next(schedule.between(at, at + timedelta(days=2)), None)
    assert (hash(schedule), schedule.to_dict(), schedule.upcoming(at, 3)) == before


@given(asked())
def test_the_zone_of_the_instant_makes_no_difference(case) -> None:
    schedule, at = case
    assert schedule.next_after(at.astimezone(ZoneInfo("Asia/Tokyo"))) == schedule.next_after(at)


@given(parsed())
def test_a_naive_datetime_is_an_error(schedule) -> None:
    naive = datetime(2027, 1, 1)
    for ask in (schedule.next_after, schedule.previous_before):
        with pytest.raises(NaiveDatetime, match="2027-01-01 00:00:00 has no time zone"):
            ask(naive)
    with pytest.raises(NaiveDatetime):
        schedule.upcoming(naive, 1)
    with pytest.raises(NaiveDatetime):
        schedule.count_between(naive, naive)


# Values


@given(asked())
def test_to_dict_round_trips_through_json(case) -> None:
    schedule, at = case
    again = parse_schedule(json.loads(json.dumps(schedule.to_dict())))
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.to_dict() == schedule.to_dict()
    assert again.describe() == schedule.describe()
    assert again.upcoming(at, 3) == schedule.upcoming(at, 3)


@given(schedules(), timezones())
def test_equal_schedules_hash_alike(spec, zone) -> None:
    one, other = parse_schedule(spec, zone), parse_schedule(spec, zone)
    assert one == other
    assert hash(one) == hash(other)


@given(parsed())
def test_copies_are_equal_and_hash_alike(schedule) -> None:
    copies = [
        pickle.loads(pickle.dumps(schedule, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for again in (*copies, copy.copy(schedule), copy.deepcopy(schedule)):
        assert again == schedule
        assert hash(again) == hash(schedule)
        assert again.to_dict() == schedule.to_dict()


@pytest.mark.parametrize(
    "spec",
    [
        {"calendar": "Mon..Fri 09:00"},
        {"cron": "0 8 * * *", "dialect": "croniter"},
        {"at": "2027-01-01T09:00"},
        {"schedule": 60, "except": ["2027-01-01", {"from": "2027-02-01", "to": "2027-02-03"}]},
    ],
)
def test_copies_of_what_is_not_drawn(spec) -> None:
    schedule = parse_schedule(spec, "Europe/Berlin")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(schedule, protocol))
        assert (again, hash(again)) == (schedule, hash(schedule))
    assert copy.deepcopy(schedule) == schedule


@given(cron_expressions(CRON_FEATURES), st.sampled_from((str.upper, str.lower, "  {} ".format)))
def test_the_spelling_of_a_cron_expression_makes_no_difference(expression, respell) -> None:
    one = parse_schedule({"cron": expression}, "Europe/Berlin", seed=SEED)
    other = parse_schedule({"cron": respell(expression)}, "Europe/Berlin", seed=SEED)
    assert one == other
    assert hash(one) == hash(other)


@given(schedules(nested=False), timezones(), instants())
def test_a_schedule_is_the_union_of_itself(spec, zone, at) -> None:
    schedule = parse_schedule(spec, zone)
    union = parse_schedule({"any": [spec, spec]}, zone)
    assert union.upcoming(at, 4) == schedule.upcoming(at, 4)
    assert union.previous_before(at) == schedule.previous_before(at)


@given(schedules(nested=False), timezones(), instants())
def test_a_schedule_without_itself_is_empty(spec, zone, at) -> None:
    nothing = parse_schedule(
        {"schedule": spec, "except": [spec], "end_at": (at + timedelta(days=2)).isoformat()}, zone
    )
    assert nothing.next_after(at) is None


@given(parsed())
def test_describe_is_one_line(schedule) -> None:
    words = schedule.describe()
    assert words
    assert words == words.strip()
    assert "\n" not in words


# Phases


@given(intervals(), instants(), instants(), st.integers(-1000, 1000))
def test_shifting_the_anchor_by_whole_intervals_changes_nothing(every, anchor, at, n) -> None:
    schedule = parse_schedule(every, anchor=anchor)
    try:
        shifted = parse_schedule(every, anchor=anchor + n * schedule.every)
    except OverflowError:
        return
    assert shifted.next_after(at) == schedule.next_after(at)
    assert shifted.previous_before(at) == schedule.previous_before(at)


@given(rrules(ends=False, zones=st.sampled_from(("UTC", "Europe/Berlin"))), st.integers(1, 60))
def test_shifting_dtstart_by_whole_periods_changes_nothing_later(text, n) -> None:
    start = datetime.strptime(re.search(r":(\d{8}T\d{6})", text)[1], "%Y%m%dT%H%M%S")
    freq = re.search(r"FREQ=(\w+)", text)[1]
    interval = int((re.search(r"INTERVAL=(\d+)", text) or [0, "1"])[1])
    # A DTSTART that a shorter month lacks, or on another weekday, would be another rule.
    assume(freq not in ("MONTHLY", "YEARLY"))
    unit = {"HOURLY": "hours", "MINUTELY": "minutes", "SECONDLY": "seconds", "DAILY": "days"}
    earlier = start - n * interval * timedelta(**{unit.get(freq, "weeks"): 1})
    shifted = text.replace(f"{start:%Y%m%dT%H%M%S}", f"{earlier:%Y%m%dT%H%M%S}")
    at = start.replace(tzinfo=UTC) + timedelta(days=1)
    assert parse_schedule(shifted).upcoming(at, 5) == parse_schedule(text).upcoming(at, 5)


# No input hangs


class TooManySteps(AssertionError):
    """A search that does not end soon."""


@contextmanager
def steps_at_most(limit: int) -> Iterator[None]:
    """Raise TooManySteps when more than `limit` lines of the engines run in the block."""
    left = limit

    def count(frame, event, _arg):
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                raise TooManySteps(f"over {limit} lines, in {frame.f_code.co_qualname}")
        return count

    def enter(frame, _event, _arg):
        return count if frame.f_code.co_filename.startswith(ENGINES) else None

    previous = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(previous)


STEPS = 30_000

THROUGH_ALL_YEARS = {"schedule": "0 12 * * *", "except": ["0 */2 * * *"]}

HARD = [
    "0 0 30 2 *",
    "0 0 0 31 feb,apr,jun,sep,nov ? *",
    "0 0 0 29 2 1#5 2001-2099",
    {"cron": "0 0 29 2 mon", "days": "both"},
    {"cron": "59 59 23 31 12 ? 9999"},
    {"cron": "0 0 31W 2,4,6,9,11 *", "days": "both"},
    "DTSTART:20200101T000000Z\nRRULE:FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
    "DTSTART:20200101T000000Z\nRRULE:FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;BYHOUR=3",
    "DTSTART:20200101T000000Z\nRRULE:FREQ=HOURLY;INTERVAL=24;BYHOUR=3",
    "DTSTART:20200101T000001Z\nRRULE:FREQ=SECONDLY;INTERVAL=2;BYSECOND=0",
    "DTSTART:20200101T000000Z\nRRULE:FREQ=MINUTELY;INTERVAL=2;BYMINUTE=1",
    "DTSTART:20200101T000000Z\nRRULE:FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=30",
    "DTSTART:20210101T000000Z\nRRULE:FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29",
    "DTSTART:20200101T000000Z\nRRULE:FREQ=DAILY;INTERVAL=9999;BYMONTHDAY=31;BYMONTH=1",
    "DTSTART:20200101T000000Z\nRRULE:FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO;BYMONTH=6",
    "DTSTART:00010101T000000Z\nRRULE:FREQ=SECONDLY",
    "DTSTART:20200101T000000Z\nRRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6",
    "DTSTART:20200101T000000Z\nRRULE:FREQ=YEARLY;BYYEARDAY=366;BYDAY=MO;INTERVAL=3",
    {"any": ["0 0 30 2 *", "0 0 31 4 *"]},
    {"schedule": "0 0 * * *", "except": [{"from": "2020-01-01", "to": "9999-12-30"}]},
    {"schedule": "* * * * *", "except": ["0-59 * * * *"]},
    {"schedule": "* * * * * *", "except": ["* * * * * *"]},
    THROUGH_ALL_YEARS,
    {"schedule": "* * * * * *", "start_at": "9999-12-31T23:59:59Z"},
    {"interval": 0.01},
]


@pytest.mark.parametrize("spec", HARD, ids=str)
@pytest.mark.parametrize("year", [1, 1970, 2026, 9999])
def test_a_hard_search_ends_soon(spec, year) -> None:
    at = datetime(year, 6, 15, 12, tzinfo=UTC)
    with steps_at_most(STEPS):
        schedule = parse_schedule(spec, "Europe/Berlin")
    # but one: a gap of the clock could move noon, so all of the zone is looked at
    limit = 21 * STEPS if spec == THROUGH_ALL_YEARS else STEPS
    with steps_at_most(limit):
        schedule.next_after(at)
    with steps_at_most(limit):
        schedule.previous_before(at)


@given(asked())
def test_no_search_takes_more_than_so_many_steps(case) -> None:
    schedule, at = case
    with steps_at_most(STEPS):
        schedule.next_after(at)
    with steps_at_most(STEPS):
        schedule.previous_before(at)


@given(rrules(), instants(datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)))
def test_no_rule_is_slow_at_any_distance(text, at) -> None:
    with steps_at_most(STEPS):
        schedule = parse_schedule(text)
        schedule.next_after(at)
        schedule.previous_before(at)


CRONISH = "* ? L W # H / - , 0 1 5 7 15 23 31 59 60 99 -1 mon FRI jan 5L L-3 15W LW fri#2 #6 H(1-5)"
RULISH = (
    "FREQ= DAILY ; RRULE: DTSTART: EXDATE: UNTIL= COUNT= INTERVAL= BYDAY= MO -1SU BYSETPOS= TZID="
)
OTHERS = "2027 @daily @every @reboot 20270101T000000Z Z T PT 1h 30m s ms . : \n \t é \x00 \ud800"
PIECES = [piece for pieces in (CRONISH, RULISH, OTHERS) for piece in pieces.split(" ")]


@given(
    st.one_of(
        st.lists(st.sampled_from([*PIECES, " ", " "]), max_size=12).map("".join),
        st.lists(st.sampled_from(PIECES), min_size=5, max_size=7).map(" ".join),
        st.text(max_size=30),
    )
)
def test_any_text_parses_or_is_an_invalid_schedule(text) -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    for spec in (text, {"cron": text}, {"rrule": text}, {"at": text}, {"calendar": text}):
        with steps_at_most(4 * STEPS):
            try:
                schedule = parse_schedule(spec, "Europe/Berlin", seed=SEED)
            except InvalidSchedule:
                continue
            schedule.next_after(at)
            schedule.previous_before(at)
            schedule.describe()


@given(st.one_of(cron_expressions(), rrules()), st.data())
@example("0 0 1 1 * 0", None)
def test_a_damaged_schedule_parses_or_is_an_invalid_schedule(text, data) -> None:
    if data is not None:
        place = data.draw(st.integers(0, len(text)), "place")
        cut = data.draw(st.integers(0, 3), "cut")
        text = text[:place] + data.draw(st.sampled_from(PIECES), "put") + text[place + cut :]
    with steps_at_most(4 * STEPS):
        try:
            schedule = parse_schedule(text, "Europe/Berlin", seed=SEED)
        except InvalidSchedule:
            return
        schedule.next_after(datetime(2027, 1, 1, tzinfo=UTC))


KINDS = ("cron", "interval", "rrule", "at", "any", "schedule", "calendar")
KEYS = (*KINDS, "except", "timezone", "start_at", "end_at", "days", "gap", "dtstart", "exdate")
plain_data = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


@given(plain_data)
def test_any_data_parses_or_is_an_invalid_schedule(spec) -> None:
    with steps_at_most(4 * STEPS):
        try:
            schedule = parse_schedule(spec)
        except InvalidSchedule:
            return
        schedule.next_after(datetime(2027, 1, 1, tzinfo=UTC))


# The host


ASK = """
import sys
from datetime import UTC, datetime
from cronkit_core.schedules import parse_schedule
for spec, zone in [
    ("30 2 * * *", "Europe/Berlin"), ("*/20 * * * *", "America/New_York"), ("@daily", None),
    ("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "America/New_York"), ("FREQ=HOURLY", "Australia/Lord_Howe"),
    ("1h30m", None), ({"at": "2027-03-28T02:30"}, "Europe/Berlin"), ("0 0 1 * mon", "Asia/Tokyo"),
    ({"schedule": "0 9 * * *", "except": ["2027-03-15"]}, "America/New_York"),
]:
    schedule = parse_schedule(spec, zone)
    for day in ((2027, 3, 13), (2027, 3, 27), (2027, 10, 30), (2027, 11, 6)):
        at = datetime(*day, 20, tzinfo=UTC)
        print(schedule, schedule.to_dict(), schedule.upcoming(at, 30), schedule.previous_before(at))
"""


def test_the_zone_of_the_host_makes_no_difference() -> None:
    said = set()
    for zone in ("UTC", "America/New_York", "Australia/Lord_Howe"):
        done = subprocess.run(
            [sys.executable, "-c", ASK],
            env={**os.environ, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(done.stdout.splitlines()) == 36
        said.add(done.stdout)
    assert len(said) == 1
