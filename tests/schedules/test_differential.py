"""The engines against independent implementations: the reference oracle of `cronkit_core.testing`
everywhere, croniter, cronsim and python-dateutil where they are right.

Their known errors are listed beside the code that leaves them out, a line of reason each.
"""

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from croniter import CroniterError, croniter
from cronsim import CronSim, CronSimError
from dateutil.rrule import rrulestr
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cronkit_core.schedules import parse_schedule
from cronkit_core.schedules.cron import CronSchedule
from cronkit_core.testing import (
    CRON_FEATURES,
    cron_expressions,
    instants,
    instants_near_transitions,
    oracle_cron_next,
    oracle_rrule_next,
    reference_next_after,
    reference_slots,
    rrules,
    schedules,
    timezones,
    transitions,
)

MANY = settings(max_examples=settings().max_examples * 3)
SECOND = timedelta(seconds=1)

policies = st.fixed_dictionaries(
    {},
    optional={
        "days": st.sampled_from(("either", "both")),
        "gap": st.sampled_from(("skip", "after")),
        "overlap": st.sampled_from(("first", "both")),
    },
)


# Offsets with seconds, the data of the zones, their rules for the years to come, the last years.
ERAS = [
    (datetime(a, 1, 1, tzinfo=UTC), datetime(b, 1, 1, tzinfo=UTC))
    for a, b in ((1970, 2038), (1970, 2038), (1860, 1970), (2038, 2060), (9900, 9990))
]


def until(schedule, start: datetime, end: datetime, n: int) -> list[datetime]:
    """The first `n` slots after `start` and up to `end`."""
    return list(islice(schedule.between(start, end), n))


# The oracle


@MANY
@given(cron_expressions(), timezones(), policies, st.data())
def test_cron_agrees_with_the_oracle_near_transitions(expression, zone, options, data) -> None:
    start, end = data.draw(st.sampled_from(ERAS), "era")
    after = data.draw(instants_near_transitions(zone, start=start, end=end), "after")
    spec = {"cron": expression, **options}
    schedule = parse_schedule(spec, zone)
    expected = list(islice(reference_slots(spec, zone, after, after + timedelta(days=3)), 6))
    assert until(schedule, after, after + timedelta(days=3), 6) == expected


@given(cron_expressions(), timezones(), policies, instants())
def test_cron_agrees_with_the_oracle_anywhere(expression, zone, options, after) -> None:
    spec = {"cron": expression, **options}
    expected = reference_next_after(spec, zone, after, timedelta(days=400))
    slot = parse_schedule(spec, zone).next_after(after)
    if expected is None:
        assert slot is None or slot > after + timedelta(days=400)
    else:
        assert slot == expected


@MANY
@given(timezones(), st.data())
def test_rrule_agrees_with_the_oracle_near_transitions(zone, data) -> None:
    start, end = data.draw(st.sampled_from(ERAS), "era")
    after = data.draw(instants_near_transitions(zone, start=start, end=end), "after")
    # COUNT starts nearby, for the oracle walks from there.
    near = after.replace(tzinfo=None)
    starts = st.one_of(
        st.datetimes(near - timedelta(hours=6), near + timedelta(hours=3)),
        st.datetimes(near - timedelta(days=40), near + timedelta(days=1)),
    )
    text = data.draw(rrules(zones=st.just(zone), starts=starts), "rule")
    assume("SECONDLY" not in text or "COUNT" not in text)
    expected = list(islice(reference_slots(text, None, after, after + timedelta(days=3)), 6))
    assert until(parse_schedule(text), after, after + timedelta(days=3), 6) == expected


@given(rrules(), st.integers(-100, 20_000))
def test_rrule_agrees_with_the_oracle_from_its_start_on(text, delay) -> None:
    sub_daily = re.search(r"FREQ=(HOURLY|MINUTELY|SECONDLY)", text)
    unit = timedelta(seconds=1) if sub_daily else timedelta(hours=1)
    schedule = parse_schedule(text)
    start = schedule.next_after(datetime(1980, 1, 1, tzinfo=UTC))
    after = (start or datetime(2000, 1, 1, tzinfo=UTC)) + delay * unit
    end = after + 10_000 * unit
    expected = list(islice(reference_slots(text, None, after, end), 6))
    assert until(schedule, after, end, 6) == expected


@given(schedules(), timezones(), st.data())
def test_every_spec_agrees_with_the_oracle(spec, zone, data) -> None:
    near = instants_near_transitions(zone)
    after = data.draw(st.one_of(near, instants()), "after")
    end = after + timedelta(days=1)
    expected = list(islice(reference_slots(spec, zone, after, end), 5))
    assert until(parse_schedule(spec, zone), after, end, 5) == expected


# Debian's cron, run on a simulated clock, answered so; it shares no code with the oracle either.
DEBIAN = [
    # Berlin: the fixed 02:30 runs at the end of the gap, and once in the overlap.
    ("30 2 * * *", "Europe/Berlin", "2025-03-30T00:30Z", "2025-03-30T01:00Z"),
    ("30 2 * * *", "Europe/Berlin", "2025-10-26T00:30Z", "2025-10-27T01:30Z"),
    # Riga: what a wildcard names in the gap does not exist.
    ("*/30 3 * * *", "Europe/Riga", "2012-03-24T23:30Z", "2012-03-26T00:00Z"),
    # Casey: back by three hours, and forward by three, which is a correction.
    ("42 22 * * *", "Antarctica/Casey", "2021-03-13T11:42Z", "2021-03-14T14:42Z"),
    ("28 0 * * *", "Antarctica/Casey", "2016-10-21T14:00Z", "2016-10-22T13:28Z"),
    # Apia: the day begins at 04:00 for 03:00; 30 December 2011 was left out.
    ("6,9,58 3,4,5 * * *", "Pacific/Apia", "2016-09-24T12:00Z", "2016-09-24T14:00Z"),
    ("19,30,54 0-3 * * */4", "Pacific/Apia", "2010-09-25T10:00Z", "2010-09-26T11:00Z"),
]


@pytest.mark.parametrize(("expression", "zone", "after", "expected"), DEBIAN)
def test_the_oracle_answers_what_debians_cron_answers(expression, zone, after, expected) -> None:
    start, slot = datetime.fromisoformat(after), datetime.fromisoformat(expected)
    assert oracle_cron_next(expression, zone, start) == slot
    assert CronSchedule.parse(expression, zone).next_after(start) == slot


def test_the_oracle_reads_rules_without_dtstart_from_1970() -> None:
    after = datetime(2027, 1, 1, tzinfo=UTC)
    slot = oracle_rrule_next("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "UTC", after)
    assert slot == datetime(2027, 1, 11, tzinfo=UTC)


def test_the_oracle_ends_at_its_horizon_and_refuses_what_it_does_not_read() -> None:
    after = datetime(2027, 1, 1, tzinfo=UTC)
    assert oracle_cron_next("0 0 30 2 *", "UTC", after) is None
    assert oracle_cron_next("0 0 1 6 *", "UTC", after, horizon=timedelta(days=30)) is None
    with pytest.raises(ValueError, match="'h'"):
        oracle_cron_next("H 0 * * *", "UTC", after)
    with pytest.raises(ValueError, match="aware"):
        oracle_cron_next("0 0 * * *", "UTC", after.replace(tzinfo=None))
    with pytest.raises(ValueError, match="calendar"):
        reference_next_after({"calendar": "daily"}, None, after)


# croniter and cronsim

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
WEEKDAYS = "sun mon tue wed thu fri sat"
NAMES = {name: str(n) for n, name in enumerate(MONTHS.split(" "), 1)}
NAMES |= {name: str(n) for n, name in enumerate(WEEKDAYS.split(" "))}


def ranges(expression: str) -> list[tuple[int, int, bool]]:
    """Each range in `expression`: from, to, whether it has a step."""
    plain = re.sub("[a-z]{3}", lambda name: NAMES.get(name[0], name[0]), expression.lower())
    found = re.findall(r"(?<![\w-])(\d+)-(\d+)(/\d+)?", plain)
    return [(int(a), int(b), bool(step)) for a, b, step in found]


def day_fields(expression: str) -> list[str]:
    fields = expression.split()
    return [fields[-3], fields[-1]] if len(fields) > 1 else []


def croniter_errs(expression: str) -> bool:
    """Where croniter 7.0 has another reading."""
    days = day_fields(expression)
    return (
        # `8-8` is the whole field to it.
        any(a == b for a, b, _ in ranges(expression))
        # The steps of a range that wraps land elsewhere: `23-5/3` is 3 and 23.
        or any(a > b and step for a, b, step in ranges(expression))
        # `*/2` in a day field restricts, so that either field matches.
        or any(day.startswith("*/") for day in days)
        # A list that starts with `*` does not, as `*` does not.
        or any(day.startswith("*,") for day in days)
        # Where the day of the week has a `#`, the day of the month is not looked at.
        or any("#" in day for day in days)
    )


def cronsim_errs(expression: str) -> bool:
    """Where cronsim 2.8 has another reading."""
    return (
        # `8-8/2` is `8/2` to it: from 8 to the field's end.
        any(a == b and step for a, b, step in ranges(expression))
        # The week ends with a Sunday of number 7 in `1/2`, though it begins with one.
        or re.search(r"(?<![*-])\b\d/\d", day_fields(expression)[1]) is not None
    )


CRONITER_READS = CRON_FEATURES - {
    "hash",
    "weekday",  # `expand` drops W
    "seconds",  # seconds are last
    "years",  # as above
    "question",  # `?` restricts the day of the month
    "last",  # L-3, 5L and friL are errors
}
CRONSIM_READS = CRON_FEATURES - {
    "hash",
    "weekday",  # 15W is an error
    "years",
    "question",
    "macros",
    "wrapping",
}
A_DECADE = instants(datetime(2015, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))


def away_from_transitions(zone: str, start: datetime, end: datetime) -> bool:
    """No change of the clock from two days before `start` to two days after `end`: cronsim answers
    with times in the past inside a repeated hour, croniter adds runs there and at a gap's end."""
    margin = timedelta(days=2)
    return not any(start - margin < t.instant < end + margin for t in transitions(zone))


@MANY
@given(cron_expressions(CRONITER_READS), timezones(), A_DECADE)
def test_cron_agrees_with_croniter(expression, zone, after) -> None:
    assume(not croniter_errs(expression))
    after = after.replace(microsecond=0)
    slots = CronSchedule.parse(expression, zone).upcoming(after, 3)
    assume(slots and away_from_transitions(zone, after, slots[-1]))
    try:
        witness = croniter(expression, after.astimezone(ZoneInfo(zone)))
        expected = [witness.get_next(datetime) for _ in slots]
    except CroniterError:
        return
    assert slots == expected


@MANY
@given(cron_expressions(CRONSIM_READS), timezones(), A_DECADE)
def test_cron_agrees_with_cronsim(expression, zone, after) -> None:
    assume(not cronsim_errs(expression))
    after = after.replace(microsecond=0)
    slots = CronSchedule.parse(expression, zone).upcoming(after, 3)
    assume(slots and away_from_transitions(zone, after, slots[-1]))
    try:
        witness = CronSim(expression, after.astimezone(ZoneInfo(zone)))
    except CronSimError:
        return
    assert slots == list(islice(witness, len(slots)))


@given(cron_expressions(CRONSIM_READS), A_DECADE)
def test_cron_agrees_with_cronsim_backwards(expression, before) -> None:
    assume(not cronsim_errs(expression))
    before = before.replace(microsecond=0)
    try:
        witness = CronSim(expression, before, reverse=True)
    except CronSimError:
        return
    assert CronSchedule.parse(expression).previous_before(before) == next(witness)


# python-dateutil


def dateutil_errs(text: str) -> bool:
    """Where python-dateutil 4.0 has another reading of a rule."""
    by_day = re.search(r"BYDAY=([^;\n]*)", text)
    days = by_day[1].split(",") if by_day else []
    numbered = [day for day in days if len(day) > 2]
    return (
        # `BYDAY=1MO,TU` yields nothing.
        0 < len(numbered) < len(days)
        # Without BYDAY it takes every day of the week, not that of DTSTART.
        or ("BYWEEKNO" in text and not days)
        # The days of week 1 that lie in December are to it of the year before, and so is the week
        # that BYSETPOS chooses from; written as week -52 or -53 they are lost.
        or ("BYWEEKNO" in text and re.search("INTERVAL|BYSETPOS|-5[23]", text) is not None)
        # The first week begins with DTSTART to it, so that BYSETPOS chooses among fewer days.
        or ("FREQ=WEEKLY" in text and "BYSETPOS" in text and not starts_a_week(text))
    )


WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def starts_a_week(text: str) -> bool:
    """DTSTART is a day on which the rule's weeks begin."""
    wkst = re.search("WKST=(..)", text)
    return dtstart(text).weekday() == (WEEKDAYS.index(wkst[1]) if wkst else 0)


def test_what_dateutil_reads_otherwise() -> None:
    """A Wednesday: of the first week it sees three workdays, and calls that day the first."""
    text = "DTSTART:20270106T090000Z\nRRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1;COUNT=2"
    assert dateutil_errs(text)
    theirs, ours = rrulestr(text)[0], parse_schedule(text).upcoming(dtstart(text) - SECOND, 2)
    assert theirs == datetime(2027, 1, 6, 9, tzinfo=UTC)
    assert ours == [datetime(2027, 1, day, 9, tzinfo=UTC) for day in (11, 18)]


def dtstart(text: str) -> datetime:
    """The DTSTART of a rule in UTC."""
    return datetime.fromisoformat(re.search(r"DTSTART:(\w+)", text)[1])


def goes_on(text: str, after: datetime, within: timedelta) -> bool:
    """The rule, without its end, has a slot soon after `after`. Where it has not, dateutil walks
    through its periods to the year 9999, UNTIL or not."""
    slot = parse_schedule(re.sub(r";(UNTIL|COUNT)=\w+", "", text)).next_after(after)
    return slot is not None and slot - after < within


DAILY_AND_COARSER = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")


@MANY
@given(rrules(frequencies=DAILY_AND_COARSER, zones=st.just("UTC")))
@example("DTSTART:20240131T090000Z\nRRULE:FREQ=MONTHLY;COUNT=4")
@example("DTSTART:20240229T090000Z\nRRULE:FREQ=YEARLY;COUNT=3")
def test_rrule_agrees_with_dateutil(text) -> None:
    start = dtstart(text)
    end = start + timedelta(days=1500)
    assume(not dateutil_errs(text))
    assume(goes_on(text, end + timedelta(days=365), timedelta(days=3000)))
    # It wants an UNTIL in UTC; ours may be a date, which is meant whole.
    in_utc = re.sub(r"UNTIL=(\d{8})(?!T)", r"UNTIL=\1T235959Z", text)
    witness = rrulestr(in_utc).between(start - SECOND, end, inc=True)
    schedule = parse_schedule(text)
    assert list(schedule.between(start - SECOND, end)) == witness
    assert schedule.count_between(start - SECOND, end) == len(witness)


@given(rrules(frequencies=("HOURLY", "MINUTELY", "SECONDLY"), zones=st.just("UTC"), ends=False))
def test_rrule_agrees_with_dateutil_within_hours(text) -> None:
    start = dtstart(text)
    end = start + timedelta(hours=8)
    assume(not dateutil_errs(text))
    assume(goes_on(text, end, timedelta(days=1)))
    text += f";UNTIL={end:%Y%m%dT%H%M%SZ}"
    witness = list(islice(rrulestr(text), 20))
    assert parse_schedule(text).upcoming(start - SECOND, 20) == witness
