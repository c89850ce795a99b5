"""How the parsers of specs check data and show it in errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import InvalidSchedule

FORMS = (
    "a cron expression ('0 8 * * 1-5'), a duration ('90s', '1h30m'), an RRULE "
    "('FREQ=WEEKLY;BYDAY=MO'), seconds as a number, or a dict such as "
    "{'cron': ...}, {'interval': ...}, {'rrule': ...}, {'at': ...}, {'any': [...]}, "
    "{'schedule': ..., 'except': [...]}, {'calendar': ...}"
)

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


def shown(value: object) -> str:
    """`value` as an error shows it: text and numbers as they are but not at length, of anything
    else the type."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return "a number of 19 digits or more"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return repr(value) if len(value) <= 80 else f"{value[:60]!r}... ({len(value)} characters)"
    return f"a {type(value).__name__}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """What to do about the unknown `word`: "did you mean 'x'?", else what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(word[:80], known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    return "known are " + ", ".join(known)


def check_keys(data: Mapping[Any, Any], known: Iterable[str], place: str) -> None:
    """Raise InvalidSchedule for the first key of `data` that is not known, with close names.

    `place` says where that is: "in a range".
    """
    known = frozenset(known)
    for key in data:
        if not isinstance(key, str):
            raise InvalidSchedule(f"bad key {shown(key)} {place}: keys are text", spec=data)
        if key not in known:
            raise InvalidSchedule(
                f"unknown key {shown(key)} {place}: {suggestion(key, known)}",
                spec=data,
                where=key,
            )


def no_schedule(spec: object) -> InvalidSchedule:
    """The error for `spec`, which is nothing that a schedule is made of."""
    return InvalidSchedule(f"{shown(spec)} is no schedule: {FORMS}", spec=spec)


def no_schedule_text(text: str) -> InvalidSchedule:
    """The error for text that is no schedule, with what was probably meant."""
    stripped = text.strip()
    if re.fullmatch(r"[0-9.]+", stripped):
        return InvalidSchedule(
            f"{shown(text)} has no unit: write '{stripped[:20]}s', or a number of seconds",
            spec=text,
        )
    if stripped[0] in "{[":
        return InvalidSchedule(
            f"{shown(text)} looks like JSON: pass the dict that it holds", spec=text
        )
    if match := re.fullmatch(rf"({_DAY}[^/\s]*)(?:/|\.\.| - | to )({_DAY}\S*)", stripped):
        first, last = match.groups()
        return InvalidSchedule(
            f"{shown(text)} looks like a range: in 'except' write "
            f"{{'from': {shown(first)}, 'to': {shown(last)}}}; elsewhere 'start_at' and 'end_at'",
            spec=text,
        )
    if re.match(_DAY, stripped):
        return InvalidSchedule(
            f"{shown(text)} looks like a moment: write {{'at': {shown(stripped)}}}", spec=text
        )
    if ":" in stripped or re.fullmatch(r"[a-z]+ly", stripped):
        return InvalidSchedule(
            f"{shown(text)} looks like a calendar expression: write "
            f"{{'calendar': {shown(stripped)}}}, or a cron expression such as '@daily'",
            spec=text,
        )
    return no_schedule(text)
