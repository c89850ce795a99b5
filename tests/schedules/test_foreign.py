"""What people bring along: croniter's reading of an expression, and dateutil's rules as objects."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from dateutil import rrule as du
from dateutil import tz
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core.errors import InvalidSchedule
from cronkit_core.schedules import CroniterSchedule, RRuleSchedule, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2027, 2, 1, 12, 0, 30, 500_000, tzinfo=UTC)
MICRO = timedelta(microseconds=1)


def in_croniter(expression: str, zone: str | None = None, **options: str) -> CroniterSchedule:
    spec = {"cron": expression, "dialect": "croniter", **options}
    schedule = parse_schedule(spec, zone)
    assert isinstance(schedule, CroniterSchedule)
    return schedule


# croniter


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
)
@pytest.mark.parametrize(
    "expression",
    ["*/5 * * * *", "30 2 * * *", "0 8 13 * 5", "0 0 l * *", "15 10 * * 5#3", "0 8 * * * 15"],
)
def test_croniter_answers(expression: str, zone: str) -> None:
    schedule = in_croniter(expression, zone)
    start = START.astimezone(ZoneInfo(zone)).replace(microsecond=0)
    theirs = croniter(expression, start)
    expected = [theirs.get_next(datetime).astimezone(UTC) for _ in range(40)]
    assert schedule.upcoming(START, 40) == expected
    back = croniter(expression, expected[-1].astimezone(ZoneInfo(zone)))
    assert schedule.previous_before(expected[-1]) == back.get_prev(datetime).astimezone(UTC)


def test_the_second_stands_last() -> None:
    slots = in_croniter("0 8 * * * 5").upcoming(START, 1)
    assert slots == [datetime(2027, 2, 2, 8, 0, 5, tzinfo=UTC)]
    assert parse_schedule("0 8 * * * 5").upcoming(START, 1) != slots


def test_sub_second_instants() -> None:
    schedule = in_croniter("* * * * *")
    slot = datetime(2027, 2, 1, 12, 1, tzinfo=UTC)
    assert schedule.next_after(slot - MICRO) == slot
    assert schedule.next_after(slot) == slot + timedelta(minutes=1)
    assert schedule.previous_before(slot + MICRO) == slot
    assert schedule.previous_before(slot) == slot - timedelta(minutes=1)


@given(
    st.sampled_from(["*/10 * * * *", "30 2 * * *", "0 */2 * * *", "5,35 1-3 * * *", "0 0 * * 0"]),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2027, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
)
def test_answers_lie_on_the_far_side(expression: str, zone: str, at: datetime) -> None:
    """Whatever croniter makes of a clock change, slots ascend."""
    schedule = in_croniter(expression, zone)
    after, before = schedule.next_after(at), schedule.previous_before(at)
    assert after is not None
    assert before is not None
    assert before < at < after


def test_the_fields_of_the_dialect() -> None:
    both = in_croniter("0 0 13 * 5", days="both")
    assert both.upcoming(START, 1) == [datetime(2027, 8, 13, tzinfo=UTC)]
    assert both.to_dict() == {"cron": "0 0 13 * 5", "dialect": "croniter", "days": "both"}
    assert "both day fields" in both.describe()
    hashed = in_croniter("H H * * *", "Europe/Berlin", seed="a")
    assert hashed == parse_schedule(hashed.to_dict())
    assert hash(hashed) == hash(parse_schedule(hashed.to_dict()))
    assert hashed != in_croniter("H H * * *", "Europe/Berlin", seed="b")
    assert in_croniter("0 8 * * *", seed="a") == in_croniter("0 8 * * *", seed="b")
    assert in_croniter("0 8 * * *") != parse_schedule("0 8 * * *")
    assert hashed.describe() == "cron 'H H * * *' in croniter's reading, Europe/Berlin"


def test_never_and_the_ends_of_time() -> None:
    assert in_croniter("0 0 30 2 *").next_after(START) is None
    assert in_croniter("0 0 30 2 *").previous_before(START) is None
    daily = in_croniter("0 0 * * *", "Europe/Berlin")
    first, last = (moment.replace(tzinfo=UTC) for moment in (datetime.min, datetime.max))
    for at in (first, first + timedelta(days=1), last - timedelta(days=1), last):
        after, before = daily.next_after(at), daily.previous_before(at)
        assert after is None or after > at
        assert before is None or before < at


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"cron": "zz", "dialect": "croniter"}, "bad expression 'zz' for croniter"),
        ({"cron": "61 * * * *", "dialect": "croniter"}, "bad expression '61 * * * *'"),
        ({"cron": "R * * * *", "dialect": "croniter"}, "R names other times"),
        ({"cron": "H * * * *", "dialect": "croniter"}, "H is hashed from a seed"),
        ({"cron": "* * * * *", "dialect": "quartz"}, "bad dialect 'quartz': 'croniter'"),
        ({"cron": "* * * * *", "dialect": "croniter", "gap": "skip"}, "'gap' with the dialect"),
        ({"cron": "* * * * *", "dialect": "croniter", "overlap": "both"}, "'overlap' with the"),
        ({"cron": "* * * * *", "dialect": "croniter", "days": "x"}, "bad days 'x'"),
        ({"cron": "", "dialect": "croniter"}, "bad expression ''"),
        ({"cron": "0 0 * * 5#9", "dialect": "croniter"}, "for croniter"),
    ],
)
def test_what_croniter_refuses(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        parse_schedule(spec)
    assert words in str(raised.value)


def test_without_croniter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "croniter", None)
    with pytest.raises(InvalidSchedule, match=r"install cronkit-core\[croniter\]") as raised:
        parse_schedule({"cron": "* * * * *", "dialect": "croniter"})
    assert raised.value.where == "dialect"


def test_dateutil_is_never_imported() -> None:
    code = (
        "import sys; from cronkit_core.schedules import parse_schedule\n"
        "parse_schedule('FREQ=DAILY')\n"
        "try: parse_schedule(object())\n"
        "except ValueError: pass\n"
        "sys.exit('dateutil' in sys.modules or 'croniter' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York", "Pacific/Apia"])
@pytest.mark.parametrize(
    ("expression", "options"),
    [
        ("*/20 * * * *", {}),
        ("7,7,37 */5 * * *", {}),
        ("30 2 13 * 5", {}),
        ("30 2 13 * 5", {"days": "both"}),
        ("0 0 l * *", {}),
        ("H H * * *", {"seed": "task"}),
        ("0 1-3 * * 0 15,45", {}),
        ("0 12 1 * * 0 2027-2028", {}),
        ("30 0 31 2 *", {}),
    ],
)
def test_counting_is_as_a_walk(expression, options, zone) -> None:
    seed = options.get("seed")
    options = {key: value for key, value in options.items() if key != "seed"}
    spec = {"cron": expression, "dialect": "croniter", **options}
    schedule = parse_schedule(spec, zone, seed=seed)
    for start, days in (
        (START + timedelta(days=38), 21),
        (START + timedelta(days=265), 9),
        (START, 0),
    ):
        end = start + timedelta(days=days, hours=7, microseconds=days)
        assert schedule.count_between(start, end) == len(list(schedule.between(start, end)))
    assert schedule.count_between(START, START - timedelta(days=9)) == 0


def test_counting_a_long_downtime_asks_croniter_once_a_day(monkeypatch) -> None:
    schedule = in_croniter("* * * * *", "Europe/Berlin")
    asked = []
    ask = CroniterSchedule._ask
    monkeypatch.setattr(CroniterSchedule, "_ask", lambda *args: asked.append(1) or ask(*args))
    year = START + timedelta(days=365)
    assert schedule.count_between(START, year) == 365 * 24 * 60
    # Two ends, and three days around each of two changes, are walked through.
    assert len(asked) < 365 + 8 * 24 * 60 + 100


# dateutil

RULES = [
    lambda start: du.rrule(du.DAILY, dtstart=start, count=10),
    lambda start: du.rrule(du.DAILY, dtstart=start, interval=3, byhour=(9, 17)),
    lambda start: du.rrule(
        du.WEEKLY, dtstart=start, interval=2, wkst=du.SU, byweekday=(du.TU, du.TH)
    ),
    lambda start: du.rrule(du.MONTHLY, dtstart=start, byweekday=du.FR(-1)),
    lambda start: du.rrule(du.MONTHLY, dtstart=start, bymonthday=-1, count=7),
    lambda start: du.rrule(du.MONTHLY, dtstart=start, byweekday=(du.MO, du.TU), bysetpos=-1),
    lambda start: du.rrule(du.YEARLY, dtstart=start, byweekno=20),
    lambda start: du.rrule(du.YEARLY, dtstart=start, byyearday=(1, 100, -1)),
    lambda start: du.rrule(du.YEARLY, dtstart=start),
    lambda start: du.rrule(du.HOURLY, dtstart=start, interval=5, until=start + timedelta(days=4)),
    lambda start: du.rrule(du.MINUTELY, dtstart=start, interval=45, count=30),
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "zone", [None, UTC, BERLIN, tz.gettz("Asia/Tokyo"), timezone(timedelta(hours=3))]
)
def test_a_rule(rule: Any, zone: Any) -> None:
    theirs = rule(datetime(2027, 6, 1, 9, 30, tzinfo=zone))
    ours = parse_schedule(theirs, "Asia/Kolkata")
    assert isinstance(ours, RRuleSchedule)
    local = ZoneInfo("Asia/Kolkata")
    expected = [
        slot.replace(tzinfo=slot.tzinfo or local).astimezone(UTC) for slot in islice(theirs, 30)
    ]
    slots = ours.upcoming(datetime(2020, 1, 1, tzinfo=UTC), 30)
    assert slots == expected
    assert parse_schedule(ours.to_dict()) == ours


def test_until_keeps_its_zone() -> None:
    until = datetime(2027, 6, 3, 7, 0, tzinfo=UTC)
    theirs = du.rrule(du.DAILY, dtstart=datetime(2027, 6, 1, 9, tzinfo=BERLIN), until=until)
    assert parse_schedule(theirs).upcoming(START, 9) == [
        datetime(2027, 6, day, 7, tzinfo=UTC) for day in (1, 2, 3)
    ]


@pytest.mark.parametrize("zone", [None, BERLIN])
def test_a_set(zone: Any) -> None:
    start = datetime(2027, 6, 1, 9, tzinfo=zone)
    theirs = du.rruleset()
    theirs.rrule(du.rrule(du.DAILY, dtstart=start, count=10))
    theirs.rrule(du.rrule(du.WEEKLY, dtstart=start, count=4, byhour=17))
    theirs.exrule(du.rrule(du.WEEKLY, dtstart=start, byweekday=du.SU))
    theirs.rdate(datetime(2027, 7, 4, 12, tzinfo=zone))
    theirs.exdate(datetime(2027, 6, 3, 9, tzinfo=zone))
    ours = parse_schedule(theirs, "Europe/Berlin")
    assert isinstance(ours, RRuleSchedule)
    expected = [slot.replace(tzinfo=BERLIN).astimezone(UTC) for slot in theirs]
    assert len(expected) == 13
    assert ours.upcoming(START, 99) == expected
    assert parse_schedule(ours.to_dict()) == ours


def test_a_set_of_rules_that_start_apart() -> None:
    theirs = du.rruleset()
    theirs.rrule(du.rrule(du.DAILY, dtstart=datetime(2027, 6, 1, 9, tzinfo=BERLIN), count=3))
    theirs.rrule(du.rrule(du.DAILY, dtstart=datetime(2027, 6, 2, 8, tzinfo=BERLIN), count=3))
    theirs.exdate(datetime(2027, 6, 2, 9, tzinfo=BERLIN))
    theirs.rdate(datetime(2027, 6, 9, 9, tzinfo=BERLIN))
    ours = parse_schedule(theirs)
    assert ours.upcoming(START, 99) == [slot.astimezone(UTC) for slot in theirs]
    assert parse_schedule(ours.to_dict()) == ours
    dates = du.rruleset()
    dates.rdate(datetime(2027, 6, 9, 9, tzinfo=BERLIN))
    assert parse_schedule(dates).upcoming(START, 9) == [datetime(2027, 6, 9, 7, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (du.rrule(du.YEARLY, dtstart=datetime(2027, 1, 1), byeaster=0), "byeaster"),
        (
            du.rrule(du.DAILY, dtstart=datetime(2027, 1, 1, tzinfo=tz.tzoffset("x", 5400))),
            "it needs one with an IANA name",
        ),
        (du.rruleset(), "'any' is an empty list"),
    ],
)
def test_what_has_no_form(rule: Any, words: str) -> None:
    with pytest.raises(InvalidSchedule, match=words):
        parse_schedule(rule)
