"""The plugin's configuration: `plugins: datasette-cron:` in datasette.yaml, read and checked as a
whole when Datasette starts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasette.utils import StartupError

from cronkit_core.changes import define
from cronkit_core.definition import MAX_SECONDS, check_config, check_name, make_policies, unknown
from cronkit_core.errors import CronkitError, InvalidSchedule, InvalidTask
from cronkit_core.schedules.parse import parse_schedule
from cronkit_core.tasks import Policies

from .allow_list import AllowList, check_entries
from .checks import Check, mapping, optional, seconds, text, whole

if TYPE_CHECKING:
    from datasette.app import Datasette

PLUGIN = "datasette-cron"
SECTION = f"plugins.{PLUGIN}"
MAX_KEY = 100
"""Characters of a key that an error repeats."""

TASK_KEYS = ("handler", "schedule", "timezone", "config", "enabled")
POLICY_KEYS = tuple(f.name for f in fields(Policies))


@dataclass(frozen=True, slots=True)
class ConfiguredTask:
    """A task as datasette.yaml describes it, checked."""

    wish: Mapping[str, Any]
    """The arguments of `Scheduler.add_task`."""
    enabled: bool | None
    """Whether it is to be enabled at each start; None: it is left as it is."""


@dataclass(frozen=True, slots=True)
class Config:
    """What datasette.yaml says, checked as far as it can be without handlers and databases."""

    scheduler: bool = True
    """Whether tasks run in this process."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the Scheduler."""
    tasks: Mapping[str, ConfiguredTask] | None = None
    """None where there is no configuration, so that nothing is said about tasks."""
    http_allow: AllowList = field(default_factory=AllowList)
    snapshot_directory: Path | None = None
    compress: bool = True
    """Whether pages are sent in gzip to those who accept it."""


def read_config(datasette: Datasette, now: datetime) -> Config:
    """The plugin's configuration. Raises StartupError that lists all its mistakes by key."""
    try:
        data = datasette.plugin_config(PLUGIN)
    except OSError as error:  # a {"$file": ...}
        raise StartupError(f"{SECTION}: {error}") from error
    if data is None:
        return Config()
    reader = _Reader(now)
    config = reader.read(data)
    if reader.mistakes:
        raise StartupError("\n".join(reader.mistakes))
    return config


def place(*keys: str) -> str:
    """Where in datasette.yaml something is: plugins.datasette-cron.tasks.nightly.schedule"""
    plain = re.compile(r"[\w:-]+")
    path = SECTION
    for key in keys:
        short = key if len(key) <= MAX_KEY else f"{key[:MAX_KEY]}..."
        path += (
            f".{short}" if plain.fullmatch(short) else f"[{json.dumps(short, ensure_ascii=False)}]"
        )
    return path


# --- settings --------------------------------------------------------------------------------


def _switch(key: str, value: object) -> bool:
    # YAML reads a plain on or off as true or false; JSON has only the texts.
    match value:
        case True | "on":
            return True
        case False | "off":
            return False
    raise InvalidTask(f"bad {key} {value!r:.80}: on or off")


def _groups(key: str, value: object) -> dict[str, int]:
    limit = whole(1)
    groups = mapping(key, value)
    return {check_name(name, "group"): limit(f"{key}.{name}", n) for name, n in groups.items()}


def _allow(key: str, value: object) -> AllowList:
    if not isinstance(value, list):
        raise InvalidTask(f"bad {key} {value!r:.80}: a list of hosts and of beginnings of URLs")
    entries = tuple(text(f"{key}[{i}]", entry) for i, entry in enumerate(value))
    check_entries(entries)
    return AllowList(entries)


def _directory(key: str, value: object) -> Path:
    directory = Path(text(key, value)).expanduser()
    if not directory.is_dir():
        raise InvalidTask(f"bad {key} {str(directory)!r}: there is no such directory: create it")
    return directory.resolve()


CHECKS: Mapping[str, Check] = {
    "scheduler": _switch,
    "tasks": mapping,
    "concurrency": whole(1),
    "threads": whole(1),
    "groups": _groups,
    "poll": seconds(0.01, 3_600),
    "lease": seconds(1, 86_400),
    "grace": seconds(0, 3_600),
    "keep_runs": optional(whole(1)),
    "keep_for": optional(seconds(1, MAX_SECONDS)),
    "http_allow": _allow,
    "snapshot_directory": _directory,
    "compress": _switch,
}
"""All keys of the section, and what their values may be."""

SETTINGS = {
    "concurrency": "max_concurrency",
    "threads": "threads",
    "groups": "groups",
    "poll": "poll",
    "lease": "lease",
    "grace": "shutdown_grace",
    "keep_runs": "keep_runs",
    "keep_for": "keep_for",
}
"""The keys that are arguments of the Scheduler, and what they are called there."""


# --- reading ---------------------------------------------------------------------------------


class _Reader:
    """Reads a section, and collects what is wrong with it."""

    def __init__(self, now: datetime) -> None:
        self.mistakes: list[str] = []
        self._now = now

    @contextmanager
    def _at(self, *keys: str) -> Iterator[None]:
        try:
            yield
        except CronkitError as error:
            self.mistakes.append(f"{place(*keys)}: {error}")

    def read(self, data: object) -> Config:
        if not isinstance(data, Mapping):
            self.mistakes.append(f"{SECTION}: bad {data!r:.80}: keys and their values are wanted")
            return Config()
        found: dict[str, Any] = {}
        for key, value in data.items():
            with self._at(str(key)):
                if key not in CHECKS:
                    raise InvalidTask(unknown("key", key, CHECKS))
                found[key] = CHECKS[key](key, value)
        tasks = {}
        for name, wish in found.get("tasks", {}).items():
            if (task := self._task(name, wish)) is not None:
                tasks[name] = task
        return Config(
            scheduler=found.get("scheduler", True),
            settings={SETTINGS[key]: found[key] for key in SETTINGS if key in found},
            tasks=tasks,
            http_allow=found.get("http_allow", AllowList()),
            snapshot_directory=found.get("snapshot_directory"),
            compress=found.get("compress", True),
        )

    def _task(self, name: str, data: object) -> ConfiguredTask | None:
        before = len(self.mistakes)
        if not isinstance(data, Mapping):
            with self._at("tasks", name):
                raise InvalidTask(f"bad task {data!r:.80}: its handler and its schedule are wanted")
            return None
        for key, value in data.items():
            with self._at("tasks", name, str(key)):
                if key not in TASK_KEYS and key not in POLICY_KEYS:
                    raise InvalidTask(unknown("key", key, (*TASK_KEYS, *POLICY_KEYS)))
                self._check_part(data, key, value)
        for key in ("handler", "schedule"):
            if key not in data:
                with self._at("tasks", name):
                    raise InvalidTask(f"no {key}: every task needs one")
        if len(self.mistakes) > before:
            return None
        wish = {"name": name, **{key: data[key] for key in data if key != "enabled"}}
        try:
            define(self._now, **wish)  # for what is wrong with no part alone
        except InvalidSchedule as error:
            self.mistakes.append(f"{place('tasks', name, 'schedule')}: {error}")
        except CronkitError as error:
            self.mistakes.append(f"{place('tasks', name)}: {error}")
        return ConfiguredTask(wish, optional(_switch)("enabled", data.get("enabled")))

    def _check_part(self, data: Mapping[str, Any], key: str, value: object) -> None:
        checks: dict[str, Callable[[], object]] = {
            "handler": lambda: check_name(value, "handler"),
            "schedule": lambda: self._check_schedule(value, data.get("timezone")),
            "timezone": lambda: parse_schedule("@daily", value),  # type: ignore[arg-type]
            "config": lambda: check_config(value),
            "enabled": lambda: optional(_switch)(key, value),
        }
        checks.get(key, lambda: make_policies(**{key: value}))()

    def _check_schedule(self, spec: object, timezone: str | None) -> None:
        try:
            parse_schedule(spec, timezone, anchor=self._now, seed="")
        except InvalidSchedule as error:
            if error.where != "timezone" or error.spec != timezone:
                raise  # else it is told of the key `timezone`
