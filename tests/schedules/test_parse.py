"""parse_schedule: what people write, what is refused and how, and what comes back."""

import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import cronkit_core.schedules as public
from cronkit_core.errors import InvalidSchedule
from cronkit_core.schedules import Schedule, parse_schedule
from cronkit_core.schedules.parse import MAX_DEPTH, MAX_PARTS, MAX_TEXT

START = datetime(2027, 1, 1, 0, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("0 8 * * 1-5", "cron"),
        ("  0 8 * * 1-5  ", "cron"),
        ("30 0 8 * * 1-5", "cron"),
        ("0 0 8 * * 1-5 2027", "cron"),
        ("@daily", "cron"),
        ("0 8 1 jan mon", "cron"),
        ({"cron": "0 8 13 * 5", "days": "both", "gap": "skip", "overlap": "both"}, "cron"),
        ({"cron": "@every 5m"}, "interval"),
        ("@every 5m", "interval"),
        ("90s", "interval"),
        (60, "interval"),
        (timedelta(minutes=1), "interval"),
        ("FREQ=DAILY;BYHOUR=9", "rrule"),
        ("RRULE:FREQ=DAILY", "rrule"),
        ("INTERVAL=2;FREQ=DAILY", "rrule"),
        ("DTSTART:20270101T090000\nRRULE:FREQ=DAILY", "rrule"),
        ({"rrule": "FREQ=DAILY", "dtstart": "2027-01-01T09:00", "exdate": ["2027-01-02"]}, "rrule"),
        ({"at": "2027-01-01T09:00"}, "once"),
        (datetime(2027, 1, 1, 9), "once"),
        ({"any": [60, "0 8 * * *"]}, "any"),
        ({"schedule": 60, "except": ["2027-12-25"]}, "except"),
        ({"schedule": 60}, "interval"),
        ({"calendar": "Mon..Fri 09:00"}, "calendar"),
        ({"interval": 60, "start_at": "2027-01-01"}, "bounded"),
        ({"cron": "0 8 * * *", "dialect": "croniter"}, "croniter"),
        # what JSON has for "not given"
        ({"cron": "0 8 * * *", "timezone": None, "gap": None, "dialect": None}, "cron"),
    ],
)
def test_ways_to_write_one(spec: object, kind: str) -> None:
    schedule = parse_schedule(spec, "Europe/Berlin")
    assert schedule.kind == kind
    data = json.loads(json.dumps(schedule.to_dict()))
    again = parse_schedule(data)
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again.to_dict() == schedule.to_dict()
    assert again.upcoming(START, 5) == schedule.upcoming(START, 5)
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert repr(schedule)
    assert schedule != 5


@pytest.mark.parametrize(
    ("spec", "words", "where"),
    [
        (None, "None is no schedule: a cron expression", ""),
        (True, "True is no schedule", ""),
        (object(), "a object is no schedule", ""),
        (b"@daily", "a bytes is no schedule", ""),
        ([60], "several together are {'any': [...]}", ""),
        ((), "several together are {'any': [...]}", ""),
        ("", "is no schedule: a cron expression", ""),
        (" \n", "is no schedule: a cron expression", ""),
        ("hello", "'hello' is no schedule", ""),
        ("* * *", "'* * *' is no schedule", ""),
        ("300", "write '300s'", ""),
        ("daily", "write {'calendar': 'daily'}, or a cron expression such as '@daily'", ""),
        ("Mon..Fri 09:00", "write {'calendar': 'Mon..Fri 09:00'}", ""),
        ("2027-01-01T09:00", "write {'at': '2027-01-01T09:00'}", ""),
        ('{"interval": 60}', "pass the dict that it holds", ""),
        ("x" * (MAX_TEXT + 1), f"{MAX_TEXT + 1} characters: at most {MAX_TEXT}", ""),
        ({}, "a dict without a kind: one of cron, interval", ""),
        ({"timezone": "UTC"}, "a dict without a kind", ""),
        ({"corn": "0 8 * * *"}, "unknown key 'corn' in a schedule: did you mean 'cron'?", "corn"),
        ({5: 1}, "bad key 5 in a schedule: keys are text", ""),
        ({"cron": "0 8 * * *", 5: 1}, "bad key 5 beside 'cron'", ""),
        ({"cron": "0 8 * * *", "timezome": "UTC"}, "did you mean 'timezone'?", "timezome"),
        ({"interval": 60, "days": "both"}, "unknown key 'days' beside 'interval'", "days"),
        ({"interval": 60, "cron": "@daily"}, "'cron' and 'interval' in one dict", ""),
        ({"cron": 5}, "bad cron 5: it is text", "cron"),
        ("CRON_TZ=Asia/Tokyo 0 8 * * *", "write {'cron': ..., 'timezone': 'Asia/Tokyo'}", "cron"),
        ({"cron": "TZ=Asia/Tokyo 0 8 * * *"}, "'timezone': 'Asia/Tokyo'", "cron"),
        ({"cron": None}, "bad cron None: it is text", "cron"),
        ({"cron": "x" * (MAX_TEXT + 1)}, "characters: at most", "cron"),
        ({"cron": "0 8 32 * *"}, "bad day-of-month '32' in '0 8 32 * *'", "day-of-month"),
        ({"cron": "0 8 * * *", "days": 5}, "bad days 5: it is text", "days"),
        ({"cron": "0 8 * * *", "days": "all"}, "bad days 'all'", "days"),
        ({"cron": "0 8 * * *", "gap": "maybe"}, "bad gap 'maybe'", "gap"),
        ({"cron": "0 8 * * *", "overlap": ["both"]}, "bad overlap a list", "overlap"),
        ({"cron": "0 8 * * *", "seed": 5}, "bad seed 5: text", "seed"),
        ({"cron": "H 8 * * *"}, "seed", "minute"),
        ({"rrule": 5}, "bad rrule 5", "rrule"),
        ({"rrule": ""}, "", "RRULE"),
        ({"rrule": "FREQ=DAILY", "nonexistent": "x"}, "bad nonexistent 'x'", "nonexistent"),
        ({"calendar": 5}, "bad calendar 5", "calendar"),
        ({"interval": 60, "timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'", "timezone"),
        ({"interval": 60, "timezone": ""}, "bad timezone ''", "timezone"),
        ({"interval": 60, "timezone": 5}, "bad timezone 5", "timezone"),
        ({"interval": 60, "timezone": ["UTC"]}, "bad timezone a list", "timezone"),
        ({"interval": 60, "timezone": "../../etc/passwd"}, "unknown timezone", "timezone"),
        ({"interval": 60, "anchor": "x"}, "bad anchor 'x'", "anchor"),
        ({"interval": 60, "anchor": 5}, "bad anchor of type int", "anchor"),
    ],
)
def test_what_is_refused(spec: object, words: str, where: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        parse_schedule(spec)
    assert words in str(raised.value)
    assert raised.value.where == where
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"timezone": "Nowhere"}, "unknown timezone 'Nowhere'"),
        ({"timezone": 5}, "bad timezone 5"),
        ({"timezone": {}}, "bad timezone a dict"),
        ({"anchor": "x"}, "bad anchor 'x'"),
        ({"anchor": 5}, "bad anchor of type int"),
        ({"seed": 5}, "bad seed 5"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSchedule, match=words):
        parse_schedule(60, **arguments)


def test_the_zone_of_a_dict_goes_before_the_zone_around_it() -> None:
    nine = {"cron": "0 9 * * *"}
    assert parse_schedule(nine, "Asia/Tokyo").timezone == "Asia/Tokyo"
    assert parse_schedule(nine, ZoneInfo("Asia/Tokyo")).timezone == "Asia/Tokyo"
    own = {**nine, "timezone": "Europe/Berlin"}
    assert parse_schedule(own, "Asia/Tokyo").timezone == "Europe/Berlin"
    nested = {"any": [own, nine], "timezone": "Africa/Cairo"}
    zones = [member["timezone"] for member in parse_schedule(nested, "Asia/Tokyo").to_dict()["any"]]
    assert zones == ["Europe/Berlin", "Africa/Cairo"]
    assert parse_schedule(nested, "Asia/Tokyo").timezone is None
    assert parse_schedule({"any": [nine, 60]}, "Asia/Tokyo").timezone == "Asia/Tokyo"


def test_an_alias_is_kept_as_written() -> None:
    assert parse_schedule("0 9 * * *", "US/Eastern").timezone == "US/Eastern"


def test_anchor_and_seed_go_inward() -> None:
    anchor = datetime(2027, 1, 1, 0, 0, 7, tzinfo=UTC)
    spec = {
        "any": [{"interval": 60}, {"interval": 60, "anchor": "2027-01-01T00:00:09"}, "H H * * *"]
    }
    outer = parse_schedule(spec, anchor=anchor, seed="task")
    inner = parse_schedule({**spec, "anchor": anchor, "seed": "task"}, seed="other")
    assert outer == inner
    assert [slot.second for slot in outer.upcoming(START, 2)] == [7, 9]


def test_a_schedule_is_returned() -> None:
    schedule = parse_schedule("0 8 * * *", "Europe/Berlin")
    assert parse_schedule(schedule) is schedule
    assert parse_schedule(schedule, "Europe/Berlin") is schedule
    with pytest.raises(InvalidSchedule, match="'Asia/Tokyo' for a schedule in 'Europe/Berlin'"):
        parse_schedule(schedule, "Asia/Tokyo")
    # inside another one, its own zone goes before the zone around it
    assert parse_schedule({"any": [schedule]}, "Asia/Tokyo").timezone == "Europe/Berlin"


def test_a_schedule_without_a_zone_takes_the_one_given() -> None:
    for spec in ("0 8 * * *", {"any": ["0 8 * * *", 60]}, {"calendar": "daily"}, "FREQ=DAILY"):
        given = parse_schedule(parse_schedule(spec), "Asia/Tokyo", anchor=START, seed="x")
        assert given == parse_schedule(spec, "Asia/Tokyo")
    interval = parse_schedule(60)
    assert parse_schedule(interval, "Asia/Tokyo", anchor=START) is interval


def nested(depth: int) -> Any:
    spec: Any = 60
    for _ in range(depth):
        spec = {"any": [spec]}
    return spec


def test_depth_and_size_are_bounded() -> None:
    assert parse_schedule(nested(MAX_DEPTH)).next_after(START)
    with pytest.raises(InvalidSchedule, match=f"nested over {MAX_DEPTH} deep"):
        parse_schedule(nested(MAX_DEPTH + 1))
    with pytest.raises(InvalidSchedule, match="nested over"):
        parse_schedule(nested(500))
    endless: dict[str, Any] = {}
    endless["any"] = [endless, endless]
    with pytest.raises(InvalidSchedule, match="nested over"):
        parse_schedule(endless)
    assert parse_schedule({"any": [60] * (MAX_PARTS - 1)}).next_after(START)
    with pytest.raises(InvalidSchedule, match=f"over {MAX_PARTS} parts"):
        parse_schedule({"any": [60] * MAX_PARTS})
    with pytest.raises(InvalidSchedule, match=f"over {MAX_PARTS} parts"):
        parse_schedule({"schedule": 60, "except": ["2027-12-25"] * MAX_PARTS})
    wide: list[Any] = [60]
    for _ in range(MAX_DEPTH - 1):
        wide = [{"any": wide}, {"any": wide}]
    with pytest.raises(InvalidSchedule, match=f"over {MAX_PARTS} parts"):
        parse_schedule({"any": wide})


def test_a_spec_is_not_changed() -> None:
    spec = {"schedule": {"cron": "0 8 * * *"}, "except": ["2027-12-25"], "timezone": "Asia/Tokyo"}
    before = json.dumps(spec)
    parse_schedule(spec)
    assert json.dumps(spec) == before


# Anything either parses or raises InvalidSchedule, and nothing hangs.

WORDS = (
    "* */5 0 8 1-5 L 15W 5#2 H @daily @every 90s 1h30m PT5M FREQ=DAILY RRULE: COUNT=3 INTERVAL=2 "
    "DTSTART:20270101T000000 Mon..Fri 09:00 *-*-* ~1 2027-01-01 T09:00 UTC Europe/Berlin either "
    "both after skip first shift croniter \n ; , / ? nan 1e400 \x00 \ud800 ٣ null"
)
KEYS = (
    "cron interval rrule at any schedule except calendar timezone start_at end_at anchor seed days "
    "gap overlap dialect dtstart exdate rdate nonexistent from to x"
)
words = st.sampled_from(WORDS.split(" "))
texts = st.one_of(
    st.text(max_size=30),
    st.lists(words, max_size=8).map(" ".join),
    st.lists(words, max_size=8).map("".join),
)
keys = st.sampled_from(KEYS.split())
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    texts,
    st.datetimes(timezones=st.one_of(st.none(), st.just(UTC), st.just(ZoneInfo("Asia/Tokyo")))),
    st.dates(),
    st.timedeltas(),
    st.binary(max_size=3),
)
specs = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(keys, keys, keys, texts, st.integers()), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(specs, st.one_of(st.none(), texts, st.just("Asia/Tokyo")), st.booleans())
@example(datetime.min, "Asia/Tokyo", False)
@example(datetime.max, "America/New_York", False)
@example({"schedule": 60, "except": ["0001-01-01", "9999-12-31"]}, "Asia/Tokyo", False)
@example({"interval": 60, "start_at": "0001-01-01", "end_at": "9999-12-31"}, "Asia/Tokyo", False)
@example({"cron": "* * * * *", "dialect": "croniter"}, "UTC", False)
@example({"rrule": "FREQ=DAILY", "exdate": [datetime.min], "dtstart": "0001-01-01"}, None, False)
@example({"rrule": "FREQ=DAILY", "exdate": {"a": 1}}, None, False)
@example({"rrule": "FREQ=DAILY", "rdate": [True], "dtstart": 5}, None, False)
@example({"rrule": "FREQ=DAILY;COUNT=2"}, "Asia/Tokyo", True)
def test_anything_parses_or_is_refused(spec: Any, zone: str | None, anchored: bool) -> None:
    anchor = START if anchored else None
    refusal = ""
    try:
        schedule = parse_schedule(spec, zone, anchor=anchor)
    except InvalidSchedule as error:
        refusal = str(error) or "nothing"
    assert len(refusal) < 3000
    if refusal:
        assert refusal != "nothing"
        return
    data = json.loads(json.dumps(schedule.to_dict()))
    again = parse_schedule(data)
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert isinstance(schedule.describe(), str)
    for at in (START, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        after, before = schedule.next_after(at), schedule.previous_before(at)
        assert after is None or after > at
        assert before is None or before < at
        assert again.next_after(at) == after


# Imports


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_a_kind_is_imported_when_it_is_asked_for() -> None:
    base = "cronkit_core.schedules"
    heavy = {"asyncio", "sqlite3", "croniter", "dateutil"}
    modules = loaded_by(f"import {base}")
    kinds = {f"{base}.{m}" for m in ("cron", "rrule", "calendar", "combine", "exclude", "linting")}
    assert not modules & (heavy | kinds)
    modules = loaded_by(f"from {base} import parse_schedule; parse_schedule('0 8 * * *')")
    assert f"{base}.cron" in modules
    assert not modules & (heavy | (kinds - {f"{base}.cron"}))
    modules = loaded_by(f"from {base} import parse_schedule; parse_schedule('FREQ=DAILY')")
    assert not modules & (heavy | (kinds - {f"{base}.rrule"}))


def test_public_names() -> None:
    for name in public.__all__:
        assert getattr(public, name) is getattr(public, name)
    assert set(public.__all__) == set(dir(public))
    assert callable(public.lint)
    assert issubclass(public.CronSchedule, Schedule)
    with pytest.raises(AttributeError, match="no attribute 'Cron'"):
        _ = public.Cron
