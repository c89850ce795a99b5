"""How the definition of a task is checked at the door, and how it is written to a record and read
back. What passes here can be stored faithfully by every storage."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from typing import Any

from .errors import InvalidTask
from .retry import BACKOFFS, RetryPolicy
from .schedules._spec import shown
from .schedules.base import Schedule, instant
from .schedules.parse import parse_schedule
from .tasks import CatchUp, Overlap, Policies, Task, TaskRecord

# In UTF-8. An index of PostgreSQL takes 2,704 bytes a row, and some hold two names.
MAX_NAME = 1_000
MAX_CONFIG = 1_000_000
MAX_SECONDS = 10 * 365 * 86400.0

DEFAULTS = Policies()
# What the record keeps in columns of its own, since others read them there.
COLUMNS = ("overlap", "retry", "group", "priority")

NUL = "holds a NUL character, which not every storage can keep"
ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""A NUL in JSON text, with the backslashes before it that are escaped themselves."""

# --- at the door -----------------------------------------------------------------------------


def check_name(name: object, what: str = "task name") -> str:
    """`name`, if it can be stored faithfully by every storage. Raises InvalidTask."""
    if not isinstance(name, str):
        raise InvalidTask(f"{what} must be a string, not {shown(name)}")
    if not name:
        raise InvalidTask(f"{what} is empty: give it at least one character")
    _check_text(name, what)
    if (size := len(name.encode())) > MAX_NAME:
        raise InvalidTask(f"{what} {name[:40]!r}... has {size} bytes in UTF-8: at most {MAX_NAME}")
    return name


def check_config(config: object, what: str = "config") -> str:
    """`config` as JSON text. Raises InvalidTask when it is no object, or not JSON."""
    if config is None:
        return "{}"
    if not isinstance(config, Mapping):
        raise InvalidTask(f"{what} must be a dict, not {shown(config)}")
    try:
        text = json.dumps(dict(config), ensure_ascii=False, allow_nan=False)
        survives = json.loads(text) == dict(config)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTask(f"{what} cannot be written as JSON: {error}") from None
    if not survives:
        raise InvalidTask(
            f"{what} does not survive JSON: keys must be strings, and tuples must be lists"
        )
    if len(text) > MAX_CONFIG:
        raise InvalidTask(f"{what} has {len(text)} characters of JSON: at most {MAX_CONFIG}")
    if ESCAPED_NUL.search(text):
        raise InvalidTask(f"{what} {NUL}")
    _check_text(text, what)
    return text


def make_storable(text: str) -> str:
    """`text` with a replacement character for what not every storage can keep: NUL, and halves of
    surrogate pairs."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _check_text(text: str, what: str) -> None:
    if "\0" in text:
        raise InvalidTask(f"{what} {NUL}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidTask(
            f"{what} holds half of a surrogate pair at position {error.start}: not valid Unicode"
        ) from None


def make_policies(base: Policies = DEFAULTS, /, **options: Any) -> Policies:
    """`base` with `options` in place of what it had. Raises InvalidTask for what has no meaning."""
    if not options:
        return base
    known = {f.name for f in fields(Policies)}
    checked: dict[str, Any] = {}
    for key, value in options.items():
        if key not in known:
            raise InvalidTask(unknown("option", key, known))
        checked[key] = _CHECKS[key](key, value)
    policies = replace(base, **checked)
    if policies.start_at and policies.end_at and policies.end_at < policies.start_at:
        raise InvalidTask(f"end_at {policies.end_at} is before start_at {policies.start_at}")
    return policies


def unknown(what: str, key: object, known: Iterable[str]) -> str:
    """A message that says that `key` is not known, and what may have been meant."""
    close = get_close_matches(str(key)[:80], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(sorted(known))
    return f"unknown {what} {shown(key)}: {hint}"


def make_retry(key: str, value: object) -> RetryPolicy:
    """A RetryPolicy from the dict that people write. Raises InvalidTask."""
    if value is None:
        return RetryPolicy()
    if isinstance(value, RetryPolicy):
        value = {f.name: getattr(value, f.name) for f in fields(RetryPolicy)}
    if not isinstance(value, Mapping):
        raise InvalidTask(
            f"bad {key} {shown(value)}: a dict such as "
            f"{{'max_retries': 3, 'backoff': 'exponential'}}"
        )
    known = {f.name for f in fields(RetryPolicy)}
    checked: dict[str, Any] = {}
    for name, item in value.items():
        if name not in known:
            raise InvalidTask(unknown(f"key in {key}", name, known))
        where = f"{key}[{name!r}]"
        match name:
            case "max_retries":
                checked[name] = check_integer(where, item, 0, 1_000)
            case "backoff":
                if item not in BACKOFFS:
                    raise InvalidTask(f"bad {where} {shown(item)}: one of {', '.join(BACKOFFS)}")
                checked[name] = item
            case "base" | "max_delay" | "give_up_after":
                checked[name] = None if item is None else check_seconds(where, item)
            case "jitter":
                checked[name] = _number(where, item, 0, 1)
            case "on":
                checked[name] = _names(where, item)
    return RetryPolicy(**checked)


def _names(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidTask(f"bad {key} {shown(value)}: a list of names of exceptions, as strings")
    return tuple(check_name(name, f"{key}: exception name") for name in value)


def check_seconds(key: str, value: object) -> float:
    """`value`, seconds or a timedelta, as seconds: 0 to ten years. Raises InvalidTask."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return _number(key, value, 0, MAX_SECONDS, " seconds (10 years)")


def _number(key: str, value: object, low: float, high: float, unit: str = "") -> float:
    # False for what is no number, for NaN and for the infinities.
    fits = not isinstance(value, bool) and isinstance(value, int | float) and low <= value <= high
    if not fits:
        raise InvalidTask(f"bad {key} {shown(value)}: a number from {low:.0f} to {high:.0f}{unit}")
    return float(value)  # type: ignore[arg-type]  # it fits


def check_integer(key: str, value: object, low: int, high: int) -> int:
    """`value`, if it is a whole number from `low` to `high`. Raises InvalidTask."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidTask(f"bad {key} {shown(value)}: a whole number from {low} to {high}")
    return value


def _choice(kind: type[StrEnum]) -> Any:
    def check(key: str, value: object) -> StrEnum:
        if not isinstance(value, str) or value not in set(kind):
            raise InvalidTask(f"bad {key} {shown(value)}: one of {', '.join(kind)}")
        return kind(value)

    return check


def _optional(check: Any, *bounds: float) -> Any:
    return lambda key, value: None if value is None else check(key, value, *bounds)


def _positive_seconds(key: str, value: object) -> float:
    seconds = check_seconds(key, value)
    if seconds == 0:
        raise InvalidTask(f"bad {key} {shown(value)}: more than 0 seconds")
    return seconds


def _instant(key: str, value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidTask(
                f"bad {key} {shown(value)}: an ISO 8601 time such as '2027-01-01T09:00:00+00:00'"
            ) from None
    if not isinstance(value, datetime):
        raise InvalidTask(f"bad {key} {shown(value)}: an aware datetime")
    found = instant(value, key)
    if found.utcoffset():
        raise InvalidTask(f"bad {key} {value}: in UTC it is not in the years 1 to 9999")
    return found


_CHECKS: dict[str, Any] = {
    "overlap": _choice(Overlap),
    "catch_up": _choice(CatchUp),
    "catch_up_limit": lambda key, value: check_integer(key, value, 1, 10_000),
    "grace": check_seconds,
    "retry": make_retry,
    "timeout": _optional(_positive_seconds),
    "jitter": check_seconds,
    "start_at": _optional(_instant),
    "end_at": _optional(_instant),
    "max_runs": _optional(check_integer, 1, 10**12),
    "pause_after_failures": _optional(check_integer, 1, 10**6),
    "group": _optional(lambda key, value: check_name(value, key)),
    "priority": lambda key, value: check_integer(key, value, -100, 100),
    "keep_runs": _optional(check_integer, 0, 10**9),
    "keep_for": _optional(check_seconds),
}


# What decoding texts that other hands wrote may raise.
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)

# --- records ---------------------------------------------------------------------------------


def dump_json(value: object) -> str:
    """Compact JSON with sorted keys, so that equal values are equal texts."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=1024)
def dump_policies(policies: Policies) -> str:
    """The policies that have no column of their own and are not the default, as JSON text."""
    out: dict[str, Any] = {}
    for f in fields(Policies):
        value = getattr(policies, f.name)
        if f.name in COLUMNS or value == getattr(DEFAULTS, f.name):
            continue
        out[f.name] = value.isoformat() if isinstance(value, datetime) else value
    retry = policies.retry
    extra = {
        f.name: getattr(retry, f.name)
        for f in fields(RetryPolicy)
        if f.name not in ("max_retries", "backoff") and getattr(retry, f.name) != f.default
    }
    if extra:
        out["retry"] = extra
    return dump_json(out)


@lru_cache(maxsize=1024)
def load_policies(
    policies: str,
    overlap: str,
    retry_max: int,
    retry_backoff: str,
    group: str | None,
    priority: int,
) -> Policies:
    """The inverse of `dump_policies`, from what a record holds. Raises InvalidTask."""
    options = json.loads(policies)
    retry = options.pop("retry", {})
    return make_policies(
        **options,
        overlap=overlap,
        retry={**retry, "max_retries": retry_max, "backoff": retry_backoff},
        group=group,
        priority=priority,
    )


@lru_cache(maxsize=4096)
def load_schedule(config: str, timezone: str | None) -> Schedule:
    """The schedule in a record's `schedule_config`. Raises InvalidSchedule."""
    return parse_schedule(json.loads(config), timezone)


def dump_schedule(schedule: Schedule, timezone: str | None) -> str:
    """The inverse of `load_schedule`: JSON text, without the zone where it is `timezone`."""
    spec = schedule.to_dict()
    if spec.get("timezone") == timezone:
        spec.pop("timezone", None)
    return dump_json(spec)


def decode(record: TaskRecord) -> Task:
    """The task in `record`. Raises InvalidTask when the record makes no sense.

    Records are checked before they are stored; what is wrong here was written by other hands.
    """
    try:
        config = {} if record.config == "{}" else json.loads(record.config)
        if not isinstance(config, dict):
            raise InvalidTask(f"config is not a JSON object: {record.config:.80}")
        return Task(
            name=record.name,
            handler=record.handler,
            schedule=load_schedule(record.schedule_config, record.timezone),
            config=config,
            policies=load_policies(
                record.policies,
                record.overlap_policy,
                record.retry_max,
                record.retry_backoff,
                record.task_group,
                record.priority,
            ),
            record=record,
        )
    except UNREADABLE as error:
        raise InvalidTask(f"{type(error).__name__}: {error}") from error


def decode_leniently(record: TaskRecord) -> Task:
    """The task in `record`, with what could not be decoded left out and said in `broken`."""
    try:
        return decode(record)
    except InvalidTask as error:
        reason = record.broken or str(error)
        return Task(
            name=record.name,
            handler=record.handler,
            schedule=None,
            config={},
            policies=DEFAULTS,
            record=replace(record, broken=reason),
        )
