"""What holds for every rule: its zone against the same rule in UTC, one way of asking against the
others, and sets of rules against their members."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cronkit_core.schedules import rrule_fit, rrule_slots, rrule_stride
from cronkit_core.schedules._local import instants, load_zone, utc
from cronkit_core.schedules.rrule import RRuleSchedule
from cronkit_core.testing import instants_near_transitions, rrules, timezones

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
DAILY_AND_COARSER = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
WITHIN_DAYS = ("HOURLY", "MINUTELY", "SECONDLY")


def start_of(text: str) -> datetime:
    return datetime.fromisoformat(re.search(r"\d{8}T\d{6}", text)[0])


def zone_of(text: str) -> str:
    found = re.search("TZID=([^:]+)", text)
    return found[1] if found else "UTC"


def in_utc(text: str) -> str:
    """The rule as if its wall clock were UTC."""
    return re.sub(r"DTSTART[^\n]*", f"DTSTART:{start_of(text):%Y%m%dT%H%M%SZ}", text)


def walls(text: str, start: datetime, end: datetime, most: int) -> list[datetime]:
    """The wall times that the rule names, by asking it in UTC."""
    schedule = RRuleSchedule.parse(in_utc(text))
    found = list(islice(schedule.between(start, end), most + 1))
    assume(len(found) <= most)
    return [wall.replace(tzinfo=None) for wall in found]


def shifted(wall: datetime, zone: tzinfo) -> datetime:
    """The instant of a wall time by RFC 5545 section 3.3.5."""
    found = instants(wall, zone)
    if found:
        return found[0]
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    assert before is not None
    return utc(wall, before)


@st.composite
def near_changes(draw: st.DrawFn, frequencies: tuple[str, ...]) -> tuple[str, datetime]:
    """A rule in some zone that starts shortly before the clock changes, and that instant."""
    zone = draw(timezones())
    change = draw(instants_near_transitions(zone))
    before = draw(st.integers(0, 3 * 86_400))
    start = (change - before * SECOND).astimezone(load_zone(zone)).replace(tzinfo=None)
    text = draw(
        rrules(frequencies=frequencies, zones=st.just(zone), starts=st.just(start), ends=False)
    )
    return text, change


@given(near_changes(DAILY_AND_COARSER), st.sampled_from(("shift", "skip")), st.integers(0, 12))
def test_a_rule_in_a_zone_is_its_wall_times_as_instants(case, nonexistent, count) -> None:
    text, change = case
    zone = load_zone(zone_of(text))
    start, end = change - 6 * DAY, change + 60 * DAY
    named = walls(text, start - 3 * DAY, end + 3 * DAY, 3000)
    if nonexistent == "skip":
        named = [wall for wall in named if instants(wall, zone)]
    if count:
        text += f";COUNT={count}"
        named = [wall for wall in named if wall >= start_of(text)][:count]
    expected = sorted({slot for wall in named if start < (slot := shifted(wall, zone)) <= end})

    agrees(RRuleSchedule.parse(text, nonexistent=nonexistent), expected, start, end)


@given(near_changes(WITHIN_DAYS), st.integers(0, 12))
def test_a_rule_within_the_day_is_all_instants_whose_wall_time_fits(case, count) -> None:
    text, change = case
    zone = load_zone(zone_of(text))
    start, end = change - 6 * DAY, change + 2 * DAY
    named = walls(text, start - 3 * DAY, end + 3 * DAY, 4000)
    first = shifted(start_of(text), zone)
    # before its start the rule has wall times that the clock may show again after it
    bare = re.sub(r"DTSTART[^\n]*", f"DTSTART:{period_before(text):%Y%m%dT%H%M%SZ}", text)
    named += walls(bare, start - 3 * DAY, start_of(text).replace(tzinfo=UTC), 90_000)
    passes = {slot for wall in named for slot in instants(wall, zone) if slot >= first}
    expected = sorted(passes)
    if count:
        text += f";COUNT={count}"
        expected = expected[:count]
    expected = [slot for slot in expected if start < slot <= end]

    agrees(RRuleSchedule.parse(text), expected, start, end)


def period_before(text: str) -> datetime:
    """A time about four days before the rule's start, a whole number of its intervals before."""
    interval = int((re.search(r"INTERVAL=(\d+)", text) or [0, 1])[1])
    unit = {"HOURLY": 3600, "MINUTELY": 60, "SECONDLY": 1}[re.search(r"FREQ=(\w+)", text)[1]]
    stride = interval * unit
    return start_of(text) - (-(-4 * 86_400 // stride) * stride) * SECOND


def agrees(
    schedule: RRuleSchedule, expected: list[datetime], start: datetime, end: datetime
) -> None:
    """All ways of asking give `expected` for the time after `start` up to `end`."""
    assert list(schedule.between(start, end)) == expected
    assert schedule.count_between(start, end) == len(expected)
    after, before = start, end + timedelta(microseconds=1)
    for slot, last in zip(expected[:300], expected[::-1][:300], strict=True):
        assert schedule.next_after(after) == slot
        assert schedule.next_after(slot - timedelta(microseconds=1)) == slot
        assert schedule.previous_before(before) == last
        assert schedule.previous_before(last + timedelta(microseconds=1)) == last
        after, before = slot, last
    for i in range(1, 24):
        at = start + i * (end - start) / 24
        place = bisect_right(expected, at)
        if place < len(expected):
            assert schedule.next_after(at) == expected[place]
        place = bisect_left(expected, at)
        if place:
            assert schedule.previous_before(at) == expected[place - 1]
    if len(expected) <= 300:
        assert (beyond := schedule.next_after(after)) is None or beyond > end
        assert (beyond := schedule.previous_before(before)) is None or beyond <= start


@given(rrules(), st.integers(0, 20_000), st.integers(0, 40))
def test_counting_is_the_length_of_what_is_between(text, hours, days) -> None:
    schedule = RRuleSchedule.parse(text)
    start = start_of(text).replace(tzinfo=UTC) + timedelta(hours=hours - 50)
    end = start + timedelta(days=days, minutes=hours % 1440)
    slots = list(islice(schedule.between(start, end), 20_000))
    assume(len(slots) < 20_000)

    assert schedule.count_between(start, end) == len(slots)
    assert slots == sorted(set(slots))
    assert all(start < slot <= end for slot in slots)
    assert schedule.upcoming(start, 20) == [*slots, *schedule.upcoming(end, 20)][:20]


@given(rrules(zones=st.just("Europe/Berlin")), st.integers(1, 40))
def test_centuries_are_counted_as_their_parts_are(text, years) -> None:
    schedule = RRuleSchedule.parse(text)
    start = start_of(text).replace(tzinfo=UTC)
    marks = [start + i * timedelta(days=years * 8000) for i in range(10)]

    parts = [schedule.count_between(a, b) for a, b in pairwise(marks)]

    assert schedule.count_between(marks[0], marks[-1]) == sum(parts)


@given(rrules(frequencies=("DAILY", "WEEKLY"), ends=False), st.integers(1, 9))
def test_an_earlier_start_in_phase_names_the_same(text, periods) -> None:
    start = start_of(text)
    interval = int((re.search(r"INTERVAL=(\d+)", text) or [0, 1])[1])
    period = interval * (7 if "WEEKLY" in text else 1) * DAY
    earlier = text.replace(f"{start:%Y%m%dT%H%M%S}", f"{start - periods * period:%Y%m%dT%H%M%S}")
    after = start.replace(tzinfo=UTC) + 2 * DAY

    assert RRuleSchedule.parse(earlier).upcoming(after, 20) == RRuleSchedule.parse(text).upcoming(
        after, 20
    )


@pytest.mark.parametrize("freq", ["MONTHLY", "YEARLY"])
@pytest.mark.parametrize("rule", ["BYMONTHDAY=31,-31", "BYDAY=-1FR,2MO", "BYDAY=MO;BYSETPOS=-1"])
def test_an_earlier_start_of_whole_months_or_years_names_the_same(freq: str, rule: str) -> None:
    after = datetime(2027, 1, 1, tzinfo=UTC)
    expected = RRuleSchedule.parse(f"DTSTART:20240501T093000\nRRULE:FREQ={freq};INTERVAL=3;{rule}")
    for year in (2021, 2015, 1997, 1601, 4):
        text = f"DTSTART:{year:04}0501T093000\nRRULE:FREQ={freq};INTERVAL=3;{rule}"
        if (2024 - year) % 3 == 0:
            assert RRuleSchedule.parse(text).upcoming(after, 30) == expected.upcoming(after, 30)


# Searches that give up looking and work it out otherwise


@given(rrules(frequencies=("DAILY", "WEEKLY"), ends=False), st.integers(0, 3000))
def test_wide_searches_find_what_looking_at_years_finds(text, days) -> None:
    at = start_of(text).replace(tzinfo=UTC) + days * DAY
    looked = RRuleSchedule.parse(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rrule_fit, "_YEARS", 0)
        patch.setattr(rrule_fit, "_WIDE", 5)
        wide = RRuleSchedule.parse(text)
        slots = [wide.next_after(at), wide.previous_before(at)]
    assert slots == [looked.next_after(at), looked.previous_before(at)]


@given(rrules(frequencies=WITHIN_DAYS, ends=False), st.integers(0, 3000))
def test_tables_find_what_walking_finds(text, hours) -> None:
    at = start_of(text).replace(tzinfo=UTC) + timedelta(hours=hours)
    walked = RRuleSchedule.parse(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rrule_stride, "_PATIENCE", 0)
        tabled = RRuleSchedule.parse(text)
        slots = [tabled.next_after(at), tabled.previous_before(at)]
    assert slots == [walked.next_after(at), walked.previous_before(at)]


@given(rrules(ends=False), st.integers(1, 60))
def test_working_out_the_end_of_count_finds_what_stepping_finds(text, count) -> None:
    stepped = RRuleSchedule.parse(f"{text};COUNT={count}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rrule_slots, "_FEW", 0)
        worked_out = RRuleSchedule.parse(f"{text};COUNT={count}")
        last = worked_out.previous_before(LAST)
    assert last == stepped.previous_before(LAST)
    assert worked_out.next_after(LAST - DAY) is None


# Sets


@st.composite
def sets(draw: st.DrawFn) -> tuple[list[str], list[str], str]:
    """Rules and exclusions with the same start."""
    head, rule = draw(rrules(frequencies=(*DAILY_AND_COARSER, "HOURLY"), ends=False)).split("\n")
    start = start_of(head)
    more = rrules(zones=st.just(zone_of(head)), starts=st.just(start))
    known = st.sampled_from(
        (
            "FREQ=DAILY",
            "FREQ=DAILY;BYMONTH=1,2,3,4,5,6",
            "FREQ=HOURLY;INTERVAL=2",
            "FREQ=HOURLY",
            "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
            rule.removeprefix("RRULE:"),
            rule.removeprefix("RRULE:") + ";COUNT=10",
        )
    )
    other = st.one_of(known, more.map(lambda text: text.partition("RRULE:")[2]))
    # the start that `more` has may differ in its seconds, which the others then have too
    return (
        [rule.removeprefix("RRULE:"), *draw(st.lists(other, max_size=2))],
        draw(st.lists(other, max_size=2)),
        head,
    )


@given(sets(), st.data())
def test_a_set_is_what_its_members_name_less_what_its_exclusions_name(case, data) -> None:
    rules, exrules, head = case
    start = start_of(head).replace(tzinfo=UTC) - DAY
    end = start + 50 * DAY

    def named(rule: str) -> set[datetime]:
        slots = RRuleSchedule.parse(f"{head}\nRRULE:{rule}").between(start, end)
        found = list(islice(slots, 5000))
        assume(len(found) < 5000)
        return set(found)

    candidates = set().union(*(named(rule) for rule in rules))
    moments = st.sampled_from(sorted(candidates)) if candidates else st.just(start + DAY)
    moments = st.one_of(moments, st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)))
    added, taken = (
        data.draw(st.lists(moments, max_size=4)),
        data.draw(st.lists(moments, max_size=4)),
    )
    zone = load_zone(zone_of(head))
    added, taken = ([aware(moment, zone) for moment in dates] for dates in (added, taken))
    gone = set().union(set(taken), *(named(rule) for rule in exrules))
    expected = sorted(slot for slot in candidates | set(added) if slot not in gone)
    expected = [slot for slot in expected if start < slot <= end]

    lines = [head, *(f"RRULE:{rule}" for rule in rules), *(f"EXRULE:{rule}" for rule in exrules)]
    schedule = RRuleSchedule.parse("\n".join(lines), rdate=added, exdate=taken)

    agrees(schedule, expected, start, end)


def aware(moment: datetime, zone: tzinfo) -> datetime:
    if moment.tzinfo is not None:
        return moment
    return shifted(moment.replace(microsecond=0), zone)


@given(rrules(), st.data())
def test_asking_changes_nothing(text, data) -> None:
    asked, fresh = RRuleSchedule.parse(text), RRuleSchedule.parse(text)
    at = start_of(text).replace(tzinfo=UTC)
    for _ in range(4):
        where = at + timedelta(hours=data.draw(st.integers(-1000, 100_000)))
        asked.next_after(where)
        asked.previous_before(where)
        asked.upcoming(where, 3)
    assert asked == fresh
    assert hash(asked) == hash(fresh)
    assert asked.upcoming(at, 10) == fresh.upcoming(at, 10)


# The ends of the calendar


EDGES = [
    "FREQ=SECONDLY;BYMINUTE=0,59",
    "FREQ=SECONDLY;INTERVAL=7;BYMONTH=1,12;BYMINUTE=0,59",
    "FREQ=MINUTELY;INTERVAL=7;BYHOUR=0,1,12,22,23",
    "FREQ=HOURLY",
    "FREQ=HOURLY;INTERVAL=5;BYDAY=MO,FR",
    "FREQ=HOURLY;BYMONTH=1;BYYEARDAY=-1,1;BYSETPOS=1",
    "FREQ=DAILY;INTERVAL=3",
    "FREQ=DAILY;INTERVAL=5000",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;BYSETPOS=-1",
    "FREQ=WEEKLY;BYDAY=MO,FR,SU",
    "FREQ=MONTHLY;BYMONTHDAY=1,-1",
    "FREQ=MONTHLY;INTERVAL=17;BYMONTHDAY=1,-1",
    "FREQ=YEARLY;BYWEEKNO=1,53;BYDAY=MO,SU",
    "FREQ=YEARLY;BYYEARDAY=1,-1",
    "FREQ=YEARLY;INTERVAL=400",
]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York", "Pacific/Apia"])
@pytest.mark.parametrize("rule", EDGES)
def test_the_first_and_the_last_days_of_the_calendar(rule: str, zone: str) -> None:
    """Slots are those whose instant and wall time both lie in the years 1 to 9999."""
    schedule = RRuleSchedule.parse(f"DTSTART;TZID={zone}:00010101T000000\nRRULE:{rule}")
    in_utc = RRuleSchedule.parse(f"DTSTART:00010101T000000Z\nRRULE:{rule}")
    span = timedelta(hours=5) if "SECONDLY" in rule else 4 * DAY
    day = timedelta(hours=16)  # no zone's clock is further from UTC, there and then
    for start, end in ((FIRST, FIRST + span), (LAST - span, LAST)):
        low, high = max(start, FIRST + day) - day, min(end, LAST - day) + day
        named = list(in_utc.between(low, high))
        if (first := in_utc.previous_before(FIRST + SECOND)) is not None and low == FIRST:
            named.insert(0, first)
        expected = []
        for wall in named:
            try:
                slot = shifted(wall.replace(tzinfo=None), load_zone(zone))
            except OverflowError:
                continue
            if start < slot <= end:
                expected.append(slot)
        agrees_at_the_edge(schedule, expected, start, end)


def agrees_at_the_edge(
    schedule: RRuleSchedule, expected: list[datetime], start: datetime, end: datetime
) -> None:
    assert list(schedule.between(start, end)) == expected
    assert schedule.count_between(start, end) == len(expected)
    if not expected:
        return
    assert schedule.next_after(start) == expected[0]
    assert schedule.previous_before(expected[0] + SECOND) == expected[0]
    if end == LAST:
        assert schedule.previous_before(LAST) == expected[-1]
        assert schedule.next_after(expected[-1]) is None
