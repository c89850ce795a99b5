"""The fields of the form that makes and changes tasks: what was typed, what it means, and what is
wrong with it. Every field is text until it is read here, so that nothing typed is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from cronkit_core.changes import anchor_of
from cronkit_core.definition import DEFAULTS, check_config, check_name, make_policies, make_retry
from cronkit_core.errors import CronkitError, InvalidSchedule, InvalidTask, NaiveDatetime
from cronkit_core.retry import BACKOFFS
from cronkit_core.schedules import Schedule, parse_schedule
from cronkit_core.tasks import CatchUp, Overlap, Policies, Task

Kind = Literal["choice", "number", "instant", "text", "names"]


@dataclass(frozen=True, slots=True)
class Field:
    """A policy in the form."""

    name: str
    """As `Policies` has it; "retry.base" is a field of its `retry`."""
    label: str
    hint: str
    kind: Kind = "number"
    choices: tuple[tuple[str, str], ...] = ()
    """Values, and what they mean."""


POLICIES: tuple[tuple[str, tuple[Field, ...]], ...] = (
    (
        "When slots pile up",
        (
            Field(
                "overlap",
                "Overlap",
                "What becomes of a slot that is due while the task is still running.",
                "choice",
                (
                    (Overlap.SKIP.value, "skip: the new slot does not run"),
                    (Overlap.QUEUE.value, "queue: the newest slot waits for its turn"),
                    (Overlap.CANCEL.value, "cancel: the old run makes way"),
                    (Overlap.ALLOW.value, "allow: both run side by side"),
                ),
            ),
            Field(
                "catch_up",
                "Catch-up",
                "What becomes of slots that passed while no server was running.",
                "choice",
                (
                    (CatchUp.LATEST.value, "latest: the last of them runs"),
                    (CatchUp.ALL.value, "all: they run one after the other"),
                    (CatchUp.SKIP.value, "skip: none of them runs"),
                ),
            ),
            Field("catch_up_limit", "Catch-up limit", "How many slots “all” runs at most."),
            Field("grace", "Grace", "How many seconds late a slot still counts as on time."),
        ),
    ),
    (
        "When a run fails",
        (
            Field("retry.max_retries", "Retries", "How often a failed slot is tried again."),
            Field(
                "retry.backoff",
                "Backoff",
                "How the waits between attempts grow.",
                "choice",
                tuple((backoff, backoff) for backoff in BACKOFFS),
            ),
            Field("retry.base", "First wait", "Seconds; empty: 1 (exponential) or 30."),
            Field("retry.max_delay", "Longest wait", "Seconds; empty: 300 if exponential."),
            Field("retry.jitter", "Spread", "0.2 makes each wait up to 20 % shorter or longer."),
            Field(
                "retry.give_up_after",
                "Give up after",
                "Seconds after the slot was due; empty: never.",
            ),
            Field(
                "retry.on",
                "Only for",
                "Names of exceptions, with commas between them; empty: all.",
                "names",
            ),
            Field("timeout", "Timeout", "Seconds that one attempt may take; empty: no limit."),
            Field(
                "pause_after_failures",
                "Pause after failures",
                "After so many failed slots in a row the task is paused; empty: never.",
            ),
        ),
    ),
    (
        "Bounds",
        (
            Field("jitter", "Jitter", "Starts up to so many seconds after the slot."),
            Field(
                "start_at",
                "Not before",
                "No slot before this time, such as 2027-01-01T09:00:00+01:00.",
                "instant",
            ),
            Field("end_at", "Not after", "No slot after this time; empty: no end.", "instant"),
            Field(
                "max_runs", "Runs in all", "The schedule is over after so many slots; empty: never."
            ),
            Field("group", "Group", "Tasks of a group share a limit of runs at once.", "text"),
            Field("priority", "Priority", "-100 to 100; what is due at once starts highest first."),
            Field("keep_runs", "Runs to keep", "Empty: as the server is configured."),
            Field("keep_for", "Keep for", "Seconds; empty: as the server is configured."),
        ),
    ),
)
FIELDS = tuple(found for _, group in POLICIES for found in group)
TEXTS = ("name", "handler", "schedule", "timezone", "config")
NAMES = (*TEXTS, *(found.name for found in FIELDS), "enabled", "updated_at")


@dataclass(slots=True)
class Wish:
    """What a form asks for, as far as it makes sense."""

    values: dict[str, Any] = field(default_factory=dict)
    """Arguments of `define` or `redefine`."""
    problems: dict[str, str] = field(default_factory=dict)
    """What is wrong, by the name of the field; "" for what is wrong with no field alone."""
    schedule: Schedule | None = None

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Keep the error of this context as that of the field `name`."""
        try:
            yield
        except NaiveDatetime:
            self.problems.setdefault(name, "no offset: add one, such as +00:00 or +02:00")
        except CronkitError as error:
            self.problems.setdefault(name, str(error))


def empty() -> dict[str, str]:
    """A form for a new task."""
    typed = dict.fromkeys(NAMES, "")
    return {**typed, **_policies(DEFAULTS), "config": "{}", "enabled": "1"}


def filled(task: Task) -> dict[str, str]:
    """The form as it shows `task`."""
    record = task.record
    return {
        **empty(),
        **_policies(task.policies),
        "name": task.name,
        "handler": task.handler,
        "schedule": schedule_text(record.schedule_config),
        "timezone": task.timezone or "",
        "config": _pretty(record.config),
        "updated_at": record.updated_at.isoformat(),
    }


def read(typed: Mapping[str, str], now: datetime, task: Task | None = None) -> Wish:
    """What was typed means; for a change of `task`, only what is different."""
    wish = Wish()
    before = empty() if task is None else filled(task)
    _read_name_and_handler(typed, wish, task)
    _read_schedule(typed, wish, now, task, before)
    _read_config(typed, wish, task)
    base = DEFAULTS if task is None else task.policies
    _read_policies(typed, wish, base)
    return wish


def schedule_text(config: str) -> str:
    """The schedule in a record as somebody would type it."""
    try:
        spec = json.loads(config)
    except ValueError:
        return config
    if isinstance(spec, dict) and list(spec) == ["cron"]:
        return str(spec["cron"])
    return json.dumps(spec, ensure_ascii=False)


def read_spec(text: str) -> object:
    """The schedule that was typed: JSON where it is an object, or else text. Raises
    InvalidSchedule."""
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise InvalidSchedule("no schedule: such as 0 9 * * 1-5, or 15 minutes, or @daily")
    if not text.startswith("{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidSchedule(f"bad JSON: {error}") from None


def _read_name_and_handler(typed: Mapping[str, str], wish: Wish, task: Task | None) -> None:
    if task is None:
        with wish.at("name"):
            wish.values["name"] = check_name(typed["name"].strip())
    with wish.at("handler"):
        if not typed["handler"]:
            raise InvalidTask("no handler: choose one")
        handler = check_name(typed["handler"], "handler")
        if task is None or handler != task.handler:
            wish.values["handler"] = handler


def _read_schedule(
    typed: Mapping[str, str],
    wish: Wish,
    now: datetime,
    task: Task | None,
    before: Mapping[str, str],
) -> None:
    timezone = typed["timezone"].strip() or None
    anchor = anchor_of(now if task is None else task.record.created_at)
    seed = typed["name"] if task is None else task.name
    try:
        spec = read_spec(typed["schedule"])
        try:
            wish.schedule = parse_schedule(spec, timezone, anchor=anchor, seed=seed)
        except InvalidSchedule as error:
            if error.where != "timezone" or error.spec != timezone:
                raise
            wish.problems["timezone"] = str(error)
            parse_schedule(spec, anchor=anchor, seed=seed)  # there may be more that is wrong
            return
    except InvalidSchedule as error:
        wish.problems["schedule"] = str(error)
        return
    if task is None or timezone != (before["timezone"] or None):
        wish.values["timezone"] = timezone
    if task is None or typed["schedule"].strip() != before["schedule"].strip():
        wish.values["schedule"] = spec


def _read_config(typed: Mapping[str, str], wish: Wish, task: Task | None) -> None:
    with wish.at("config"):
        text = typed["config"].strip() or "{}"
        try:
            config = json.loads(text, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise InvalidTask(
                f"bad JSON in line {error.lineno}, column {error.colno}: {error.msg}"
            ) from None
        except (ValueError, RecursionError) as error:
            raise InvalidTask(f"bad JSON: {error}") from None
        if not isinstance(config, dict):
            raise InvalidTask('not a JSON object: such as {"database": "sales"}')
        stored = check_config(config)
        if task is None or task.broken is not None or json.loads(stored) != task.config:
            wish.values["config"] = config


def _read_policies(typed: Mapping[str, str], wish: Wish, base: Policies) -> None:
    retry: dict[str, Any] = {}
    for found in FIELDS:
        key, _, part = found.name.partition(".")
        with wish.at(found.name):
            value = _value(found, typed[found.name].strip())
            if part:
                make_retry(key, {part: value})
                retry[part] = value
            elif getattr(make_policies(**{key: value}), key) != getattr(base, key):
                wish.values[key] = value
    with wish.at("retry.max_retries"):
        fine = not any(name.startswith("retry.") for name in wish.problems)
        if fine and make_retry("retry", retry) != base.retry:
            wish.values["retry"] = retry
    with wish.at("end_at"):
        if not wish.problems.keys() & {"start_at", "end_at"}:
            bounds = {
                key: _value(_BY_NAME[key], typed[key].strip()) for key in ("start_at", "end_at")
            }
            make_policies(**bounds)


def _value(found: Field, text: str) -> Any:
    """What was typed into the field: the default where that is nothing."""
    if not text:
        key, _, part = found.name.partition(".")
        default = getattr(DEFAULTS, key)
        return getattr(default, part) if part else default
    if found.kind == "names":
        return [name.strip() for name in text.split(",") if name.strip()]
    if found.kind == "number":
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
    return text


def _policies(policies: Policies) -> dict[str, str]:
    typed = {}
    for found in FIELDS:
        key, _, part = found.name.partition(".")
        value = getattr(policies, key)
        value = getattr(value, part) if part else value
        match value:
            case None:
                typed[found.name] = ""
            case datetime():
                typed[found.name] = value.isoformat()
            case tuple():
                typed[found.name] = ", ".join(value)
            case float():
                typed[found.name] = str(int(value) if value.is_integer() else value)
            case _:
                typed[found.name] = str(value)
    return typed


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InvalidTask(f"the key {twice!r:.80} comes twice: leave one of them")
    return found


def _pretty(config: str) -> str:
    try:
        return json.dumps(json.loads(config), indent=2, ensure_ascii=False)
    except ValueError:
        return config


_BY_NAME = {found.name: found for found in FIELDS}
