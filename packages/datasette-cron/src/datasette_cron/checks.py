"""How mappings that people write, in datasette.yaml or as the config of a task, are checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from cronkit_core.definition import unknown
from cronkit_core.errors import InvalidTask

Check = Callable[[str, object], Any]
"""Takes a key and its value, and returns what the value means. Raises InvalidTask."""


def checked(data: object, checks: Mapping[str, Check], what: str) -> dict[str, Any]:
    """What the mapping `data` means, key by key. Raises InvalidTask for the first that is wrong."""
    if not isinstance(data, Mapping):
        raise InvalidTask(f"{what} is {data!r:.80}: keys and their values are wanted")
    for key in data:
        if key not in checks:
            raise InvalidTask(unknown(f"key in {what}", key, checks))
    return {key: checks[key](key, value) for key, value in data.items()}


def required(data: Mapping[str, object], key: str, what: str) -> None:
    """Raise InvalidTask where `data` lacks `key`."""
    if key not in data:
        raise InvalidTask(f"{what} has no {key!r}: add it")


def text(key: str, value: object) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidTask(f"bad {key} {value!r:.80}: a text is wanted")
    return value


def whole(low: int, high: int = 10**9) -> Check:
    """Makes a check: a whole number from `low` to `high`."""

    def check(key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InvalidTask(f"bad {key} {value!r:.80}: a whole number from {low} to {high}")
        return value

    return check


def seconds(least: float, most: float) -> Check:
    """Makes a check: a number of seconds from `least` to `most`."""

    def check(key: str, value: object) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or not least <= value <= most
        ):
            raise InvalidTask(
                f"bad {key} {value!r:.80}: a number of seconds from {least:g} to {most:.0f}"
            )
        return float(value)

    return check


def optional(check: Check) -> Check:
    """Makes a check: None, or what `check` takes."""
    return lambda key, value: None if value is None else check(key, value)


def mapping(key: str, value: object) -> dict[str, Any]:
    """A mapping whose keys are texts."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidTask(f"bad {key} {value!r:.80}: names and their values are wanted")
    return dict(value)
