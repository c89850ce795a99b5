"""What is refused at the door, with the words that people read, and what is kept faithfully."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core import (
    CatchUp,
    InvalidSchedule,
    InvalidTask,
    NaiveDatetime,
    Overlap,
    Policies,
    RetryPolicy,
    changes,
)
from cronkit_core.definition import (
    check_config,
    check_name,
    decode,
    decode_leniently,
    dump_policies,
    load_policies,
    make_policies,
)
from cronkit_core.tasks import TaskRecord

NOW = datetime(2027, 1, 1, tzinfo=UTC)
SECONDS = "a number from 0 to 315360000 seconds (10 years)"
SURROGATE = "holds half of a surrogate pair at position"


# --- policies --------------------------------------------------------------------------------

BAD_POLICIES: list[tuple[dict[str, Any], str]] = [
    ({"overlap": "skp"}, "bad overlap 'skp': one of skip, queue, cancel, allow"),
    ({"overlap": None}, "bad overlap None: one of skip, queue, cancel, allow"),
    ({"overlap": "SKIP"}, "bad overlap 'SKIP': one of skip, queue, cancel, allow"),
    ({"overlap": ["skip"]}, "bad overlap a list: one of skip, queue, cancel, allow"),
    ({"catch_up": "newest"}, "bad catch_up 'newest': one of latest, all, skip"),
    ({"catch_up_limit": 0}, "bad catch_up_limit 0: a whole number from 1 to 10000"),
    ({"catch_up_limit": 2.5}, "bad catch_up_limit 2.5: a whole number from 1 to 10000"),
    ({"catch_up_limit": True}, "bad catch_up_limit True: a whole number from 1 to 10000"),
    ({"grace": -1}, f"bad grace -1: {SECONDS}"),
    ({"grace": "5m"}, f"bad grace '5m': {SECONDS}"),
    ({"grace": None}, f"bad grace None: {SECONDS}"),
    ({"grace": float("nan")}, f"bad grace nan: {SECONDS}"),
    ({"grace": float("inf")}, f"bad grace inf: {SECONDS}"),
    ({"grace": 10**400}, f"bad grace a number of 19 digits or more: {SECONDS}"),
    ({"grace": True}, f"bad grace True: {SECONDS}"),
    ({"grace": timedelta(days=-1)}, f"bad grace -86400.0: {SECONDS}"),
    ({"timeout": 0}, "bad timeout 0: more than 0 seconds"),
    ({"timeout": -3}, f"bad timeout -3: {SECONDS}"),
    ({"jitter": 1e12}, f"bad jitter 1000000000000.0: {SECONDS}"),
    (
        {"start_at": "soon"},
        "bad start_at 'soon': an ISO 8601 time such as '2027-01-01T09:00:00+00:00'",
    ),
    ({"end_at": 5}, "bad end_at 5: an aware datetime"),
    (
        {"end_at": "9999-12-31T23:59:59-05:00"},
        "bad end_at 9999-12-31 23:59:59-05:00: in UTC it is not in the years 1 to 9999",
    ),
    (
        {"start_at": NOW, "end_at": NOW - timedelta(seconds=1)},
        "end_at 2026-12-31 23:59:59+00:00 is before start_at 2027-01-01 00:00:00+00:00",
    ),
    ({"max_runs": 0}, "bad max_runs 0: a whole number from 1 to 1000000000000"),
    ({"max_runs": "3"}, "bad max_runs '3': a whole number from 1 to 1000000000000"),
    (
        {"pause_after_failures": 0},
        "bad pause_after_failures 0: a whole number from 1 to 1000000",
    ),
    ({"group": ""}, "group is empty: give it at least one character"),
    ({"group": 5}, "group must be a string, not 5"),
    ({"group": "a\0b"}, "group holds a NUL character, which not every storage can keep"),
    ({"priority": 101}, "bad priority 101: a whole number from -100 to 100"),
    ({"priority": None}, "bad priority None: a whole number from -100 to 100"),
    ({"keep_runs": -1}, "bad keep_runs -1: a whole number from 0 to 1000000000"),
    ({"keep_for": "a week"}, f"bad keep_for 'a week': {SECONDS}"),
    ({"overlp": "skip"}, "unknown option 'overlp': did you mean 'overlap'?"),
    ({"max_retries": 5}, "unknown option 'max_retries': did you mean 'max_runs'?"),
    (
        {"zzz": 1},
        "unknown option 'zzz': known: catch_up, catch_up_limit, end_at, grace, group, jitter, "
        "keep_for, keep_runs, max_runs, overlap, pause_after_failures, priority, retry, start_at, "
        "timeout",
    ),
]

BAD_RETRIES: list[tuple[object, str]] = [
    (3, "bad retry 3: a dict such as {'max_retries': 3, 'backoff': 'exponential'}"),
    ([], "bad retry a list: a dict such as {'max_retries': 3, 'backoff': 'exponential'}"),
    ({"max_retries": -5}, "bad retry['max_retries'] -5: a whole number from 0 to 1000"),
    ({"max_retries": "3"}, "bad retry['max_retries'] '3': a whole number from 0 to 1000"),
    ({"max_retries": None}, "bad retry['max_retries'] None: a whole number from 0 to 1000"),
    (
        {"backoff": "fibonacci"},
        "bad retry['backoff'] 'fibonacci': one of exponential, linear, constant",
    ),
    ({"base": -1}, f"bad retry['base'] -1: {SECONDS}"),
    ({"max_delay": "1m"}, f"bad retry['max_delay'] '1m': {SECONDS}"),
    ({"give_up_after": -1}, f"bad retry['give_up_after'] -1: {SECONDS}"),
    ({"jitter": 2}, "bad retry['jitter'] 2: a number from 0 to 1"),
    ({"jitter": None}, "bad retry['jitter'] None: a number from 0 to 1"),
    ({"on": "OSError"}, "bad retry['on'] 'OSError': a list of names of exceptions, as strings"),
    ({"on": 5}, "bad retry['on'] 5: a list of names of exceptions, as strings"),
    ({"on": None}, "bad retry['on'] None: a list of names of exceptions, as strings"),
    ({"on": [OSError]}, "retry['on']: exception name must be a string, not a type"),
    ({"on": [""]}, "retry['on']: exception name is empty: give it at least one character"),
    ({"retries": 3}, "unknown key in retry 'retries': did you mean 'max_retries'?"),
    (
        {5: 3},
        "unknown key in retry 5: known: backoff, base, give_up_after, jitter, max_delay, "
        "max_retries, on",
    ),
]
BAD_POLICIES += [({"retry": value}, message) for value, message in BAD_RETRIES]


@pytest.mark.parametrize(("options", "message"), BAD_POLICIES, ids=[m for _, m in BAD_POLICIES])
def test_a_bad_policy_names_the_datum_and_the_remedy(options: dict, message: str) -> None:
    with pytest.raises(InvalidTask) as error:
        make_policies(**options)
    assert str(error.value) == message


def test_naive_bounds_are_refused() -> None:
    for value in (datetime(2027, 1, 1), "2027-01-01T09:00"):
        with pytest.raises(NaiveDatetime, match="start_at 2027-01-01"):
            make_policies(start_at=value)


def test_what_is_accepted() -> None:
    summer = timezone(timedelta(hours=2))
    policies = make_policies(
        overlap="queue",
        catch_up=CatchUp.ALL,
        grace=timedelta(minutes=2),
        retry={"max_retries": 3, "on": ["OSError"], "base": None},
        timeout=30,
        start_at="2027-06-01T09:00:00+02:00",
        end_at=datetime(2027, 6, 2, tzinfo=summer),
        max_runs=None,
    )
    assert policies == Policies(
        overlap=Overlap.QUEUE,
        catch_up=CatchUp.ALL,
        grace=120.0,
        retry=RetryPolicy(max_retries=3, on=("OSError",)),
        timeout=30.0,
        start_at=datetime(2027, 6, 1, 7, tzinfo=UTC),
        end_at=datetime(2027, 6, 1, 22, tzinfo=UTC),
    )
    assert make_policies(policies, timeout=None) == replace(policies, timeout=None)
    assert make_policies(retry=policies.retry).retry == policies.retry
    assert make_policies(retry=None).retry == RetryPolicy()


# --- names and configs -----------------------------------------------------------------------

BAD_NAMES = [
    ("", "task name is empty: give it at least one character"),
    (None, "task name must be a string, not None"),
    (5, "task name must be a string, not 5"),
    (b"a", "task name must be a string, not a bytes"),
    ("a" * 1001, f"task name '{'a' * 40}'... has 1001 bytes in UTF-8: at most 1000"),
    ("a\0", "task name holds a NUL character, which not every storage can keep"),
    ("\ud800", f"task name {SURROGATE} 0: not valid Unicode"),
]


@pytest.mark.parametrize(("name", "message"), BAD_NAMES)
def test_bad_names(name: object, message: str) -> None:
    with pytest.raises(InvalidTask) as error:
        check_name(name)
    assert str(error.value) == message


@pytest.mark.parametrize("name", [" ", "a\nb", "'; DROP TABLE x", "🦆", "\\u0000", "a" * 1000])
def test_odd_names_are_fine(name: str) -> None:
    assert check_name(name) == name


SELF: dict[str, Any] = {}
SELF["self"] = SELF
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


class Liar(dict):
    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


BAD_CONFIGS = [
    ([1], "config must be a dict, not a list"),
    ("{}", "config must be a dict, not '{}'"),
    ({"a": {1, 2}}, "config cannot be written as JSON: Object of type set is not JSON"),
    ({"a": float("nan")}, "config cannot be written as JSON: Out of range float values"),
    ({"a": NOW}, "config cannot be written as JSON: Object of type datetime is not JSON"),
    (SELF, "config cannot be written as JSON: Circular reference detected"),
    ({"a": DEEP}, "config cannot be written as JSON: maximum recursion depth exceeded"),
    ({1: "a"}, "config does not survive JSON: keys must be strings, and tuples must be lists"),
    ({"a": (1,)}, "config does not survive JSON: keys must be strings, and tuples must be lists"),
    ({"a": "x" * 1_000_000}, "config has 1000009 characters of JSON: at most 1000000"),
    ({"a": "\0"}, "config holds a NUL character, which not every storage can keep"),
    ({"a": "\\\\\0"}, "config holds a NUL character, which not every storage can keep"),
    ({"\0": 1}, "config holds a NUL character, which not every storage can keep"),
    ({"a": "\udfff"}, f"config {SURROGATE} 7: not valid Unicode"),
]


@pytest.mark.parametrize(("config", "message"), BAD_CONFIGS, ids=[m[:60] for _, m in BAD_CONFIGS])
def test_bad_configs(config: object, message: str) -> None:
    with pytest.raises(InvalidTask) as error:
        check_config(config)
    assert str(error.value).startswith(message)


keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(keys, json_values, max_size=4))
def test_a_config_comes_back_as_it_was(config: dict) -> None:
    assert json.loads(check_config(config)) == config
    assert check_config(MappingProxyType(config)) == check_config(config)


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "a\\\\\\u0000b"])
def test_a_backslash_and_five_letters_are_no_nul(text: str) -> None:
    assert json.loads(check_config({"a": text})) == {"a": text}


def test_no_config_is_an_empty_one() -> None:
    assert check_config(None) == check_config({}) == "{}"


# --- whole definitions -----------------------------------------------------------------------

BAD_DEFINITIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"name": ""}, InvalidTask, "task name is empty"),
    ({"handler": ""}, InvalidTask, "handler is empty"),
    ({"handler": None}, InvalidTask, "handler must be a string, not None"),
    ({"schedule": None}, InvalidSchedule, "None is no schedule"),
    ({"schedule": "0 8 * *"}, InvalidSchedule, "'0 8 * *' is no schedule"),
    ({"schedule": {"interval": 0}}, InvalidSchedule, "bad interval 0"),
    ({"schedule": {"interval": 60, "every": 5}}, InvalidSchedule, "unknown key 'every'"),
    (
        {"schedule": "0 0 30 2 *"},
        InvalidSchedule,
        "names no day: 30 February: task 'task' would never run",
    ),
    (
        {"schedule": {"schedule": {"at": "2027-01-01T00:00Z"}, "except": ["2027-01-01"]}},
        InvalidSchedule,
        "never fires: every slot is excluded: task 'task' would never run",
    ),
    ({"timezone": "Mars/Olympus"}, InvalidSchedule, "unknown timezone 'Mars/Olympus'"),
    ({"timezone": 5}, InvalidSchedule, "bad timezone 5: an IANA name"),
    ({"config": "x"}, InvalidTask, "config must be a dict"),
    ({"enabled": True}, InvalidTask, "unknown option 'enabled'"),
    ({"now": 5}, InvalidTask, "unknown option 'now'"),
]


@pytest.mark.parametrize(
    ("wrong", "kind", "message"), BAD_DEFINITIONS, ids=[str(row[0]) for row in BAD_DEFINITIONS]
)
def test_bad_definitions(wrong: dict, kind: type[Exception], message: str) -> None:
    right = {"name": "task", "handler": "handler", "schedule": {"interval": 60}}
    with pytest.raises(kind) as error:
        changes.define(NOW, **{**right, **wrong})
    assert str(error.value).startswith(message)


# --- records ---------------------------------------------------------------------------------

seconds = st.floats(0, 10 * 365 * 86400.0)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
retries = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 1000),
    backoff=st.sampled_from(["exponential", "linear", "constant"]),
    base=st.none() | seconds,
    max_delay=st.none() | seconds,
    jitter=st.floats(0, 1),
    on=st.lists(names, max_size=3).map(tuple),
    give_up_after=st.none() | seconds,
)


@st.composite
def policies(draw: Any) -> Policies:
    start, end = sorted(draw(st.tuples(instants, instants)))
    return Policies(
        overlap=draw(st.sampled_from(Overlap)),
        catch_up=draw(st.sampled_from(CatchUp)),
        catch_up_limit=draw(st.integers(1, 10_000)),
        grace=draw(seconds),
        retry=draw(retries),
        timeout=draw(st.none() | seconds.filter(bool)),
        jitter=draw(seconds),
        start_at=draw(st.none() | st.just(start)),
        end_at=draw(st.none() | st.just(end)),
        max_runs=draw(st.none() | st.integers(1, 10**12)),
        pause_after_failures=draw(st.none() | st.integers(1, 10**6)),
        group=draw(st.none() | names),
        priority=draw(st.integers(-100, 100)),
        keep_runs=draw(st.none() | st.integers(0, 10**9)),
        keep_for=draw(st.none() | seconds),
    )


@given(policies())
def test_policies_come_back_as_they_were(wanted: Policies) -> None:
    found = load_policies(
        dump_policies(wanted),
        wanted.overlap.value,
        wanted.retry.max_retries,
        wanted.retry.backoff,
        wanted.group,
        wanted.priority,
    )
    assert found == wanted
    # And what people may write is what they mean.
    assert make_policies(**{f.name: getattr(wanted, f.name) for f in fields(Policies)}) == wanted


SPECS: list[tuple[object, str | None]] = [
    ({"interval": 60}, None),
    ("90s", None),
    ("*/5 * * * *", None),
    ("30 2 * * mon#1", "America/New_York"),
    ("H H * * *", "Europe/Berlin"),
    ({"rrule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO"}, "Asia/Tokyo"),
    ({"rrule": "FREQ=DAILY;COUNT=3"}, None),
    ({"at": "2027-06-01T09:00"}, "Australia/Lord_Howe"),
    ({"any": ["0 8 * * *", {"interval": 3600}]}, "Europe/Berlin"),
    ({"schedule": "0 8 * * *", "except": ["2027-12-25"]}, "Europe/Berlin"),
    ({"calendar": "Mon..Fri *-*-* 09:00"}, "Europe/Berlin"),
]


@pytest.mark.parametrize(("spec", "zone"), SPECS, ids=[str(s) for s, _ in SPECS])
@given(wanted=policies(), config=st.dictionaries(keys, json_values, max_size=2))
def test_a_task_comes_back_as_it_was_defined(
    spec: object, zone: str | None, wanted: Policies, config: dict
) -> None:
    options = {f.name: getattr(wanted, f.name) for f in fields(Policies)}
    wish = changes.define(NOW, "task", "handler", spec, config, zone, **options)
    write = changes.save(None, wish, NOW, keep_earlier=True)
    assert write is not None
    task = decode(write.record)
    assert task.schedule == wish.schedule
    assert (task.name, task.handler, task.config) == ("task", "handler", config)
    assert task.policies == wanted
    assert task.timezone == zone
    # Made again of what it is, it is the same: nothing to write.
    stored = replace(write.record, id=1, revision=1)
    again = changes.define(
        NOW, "task", "handler", json.loads(stored.schedule_config), config, zone, **options
    )
    assert changes.save(stored, again, NOW, keep_earlier=True) is None
    assert changes.save(stored, changes.redefine(stored, {}), NOW, keep_earlier=False) is None


# --- records that other hands wrote ----------------------------------------------------------


def record(**wrong: Any) -> TaskRecord:
    wish = changes.define(NOW, "task", "handler", {"interval": 60})
    write = changes.save(None, wish, NOW, keep_earlier=True)
    assert write is not None
    return replace(write.record, id=1, revision=1, **wrong)


CORRUPT: list[tuple[dict[str, Any], str]] = [
    ({"config": "{"}, "JSONDecodeError: "),
    ({"config": "[]"}, "InvalidTask: config is not a JSON object: []"),
    ({"config": "[" * 100_000}, "RecursionError: "),
    ({"schedule_config": "nonsense"}, "JSONDecodeError: "),
    ({"schedule_config": '{"lunar": 1}'}, "InvalidSchedule: "),
    ({"schedule_config": "null"}, "InvalidSchedule: "),
    ({"timezone": "Mars/Olympus"}, "InvalidSchedule: unknown timezone"),
    ({"policies": "{"}, "JSONDecodeError: "),
    ({"policies": "[]"}, "TypeError: "),
    ({"policies": '{"retry": 5}'}, "TypeError: "),
    ({"policies": '{"overlap": "skip"}'}, "TypeError: "),
    ({"policies": '{"graec": 5}'}, "InvalidTask: unknown option 'graec': did you mean 'grace'?"),
    ({"overlap_policy": "sometimes"}, "InvalidTask: bad overlap 'sometimes': one of"),
    ({"retry_max": -5}, "InvalidTask: bad retry['max_retries'] -5"),
    ({"retry_backoff": "slow"}, "InvalidTask: bad retry['backoff'] 'slow'"),
    ({"priority": 1000}, "InvalidTask: bad priority 1000"),
]


@pytest.mark.parametrize(("wrong", "message"), CORRUPT, ids=[str(c)[:40] for c, _ in CORRUPT])
def test_a_corrupt_record_says_what_is_wrong_with_it(wrong: dict, message: str) -> None:
    with pytest.raises(InvalidTask) as error:
        decode(record(**wrong))
    assert str(error.value).startswith(message)
    task = decode_leniently(record(**wrong))
    assert task.schedule is None
    assert task.broken is not None
    assert task.broken.startswith(message)
    assert isinstance(task.config, Mapping)
