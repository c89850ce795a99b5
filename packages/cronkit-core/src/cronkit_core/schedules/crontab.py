"""Crontab files as crontab(5) describes them: the schedules, and what they run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidSchedule
from ._spec import shown
from .base import Schedule
from .parse import MAX_TEXT, parse_schedule

_NAME = re.compile(r"""("[^"]*"|'[^']*'|[^\s=#"'][^\s=]*)\s*=""")
_FIELD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class CrontabEntry:
    """One line of a crontab that runs something.

    `line` counts from 1. `schedule` is None for `@reboot`, which names no time. `command` is what
    the shell gets, `input` what it reads on standard input (the text after the first unescaped `%`,
    further ones being line breaks; None without a `%`), `env` the variables that were set above
    the line, `user` the user of a line in a system crontab.
    """

    line: int
    expression: str
    schedule: Schedule | None
    command: str
    input: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    user: str | None = None

    @property
    def config(self) -> dict[str, Any]:
        """What a task that runs the command needs: `command` and `env`, and `input` and `user`
        where the line has them."""
        config: dict[str, Any] = {"command": self.command, "env": dict(self.env)}
        if self.input is not None:
            config["input"] = self.input
        if self.user is not None:
            config["user"] = self.user
        return config


def parse_crontab(
    text: str, *, timezone: str | None = None, system: bool = False
) -> list[CrontabEntry]:
    """The entries of a crontab.

    Blank lines and lines that start with `#` are passed over. `NAME = value` sets a variable for
    the lines below it, and `CRON_TZ` (as in cronie) also their time zone, for which `timezone`
    stands above the first one; `TZ` is a variable like any other, for it is for the commands. With
    `system`, the sixth field is a user, as in /etc/crontab. An `H` is hashed from the command.

    Raises InvalidSchedule, with the number of the line, for a line that has no meaning.
    """
    if not isinstance(text, str):
        raise InvalidSchedule(f"a crontab is text, not {shown(text)}", spec=text)
    entries: list[CrontabEntry] = []
    env: dict[str, str] = {}
    zone = timezone
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            if variable := _variable(stripped):
                name, value = variable
                if name == "CRON_TZ":
                    zone = value or timezone
                    parse_schedule(1, zone)  # an unknown zone is an error of this line
                env[name] = value
                continue
            entries.append(_entry(number, stripped, zone, dict(env), system))
        except InvalidSchedule as error:
            where = f"line {number}" + (f".{error.where}" if error.where else "")
            raise InvalidSchedule(f"line {number}: {error}", spec=line, where=where) from None
    return entries


def _variable(line: str) -> tuple[str, str] | None:
    """The name and value that `line` sets, as cron's load_env reads them."""
    found = _NAME.match(line)
    return None if found is None else (_unquoted(found[1]), _unquoted(line[found.end() :].strip()))


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def _entry(
    number: int, line: str, timezone: str | None, env: dict[str, str], system: bool
) -> CrontabEntry:
    if len(line) > MAX_TEXT:
        raise InvalidSchedule(f"a line of {len(line)} characters: at most {MAX_TEXT}", spec=line)
    first = line.split(maxsplit=1)[0].lower()
    words = 2 if first == "@every" else 1 if first.startswith("@") else 5
    expression, rest = _split(line, words)
    user = None
    if system:
        user, rest = _split(rest, 1)
        if not user:
            raise InvalidSchedule(
                f"no user in {shown(line)}: a system crontab has one before the command", spec=line
            )
    if not rest:
        raise InvalidSchedule(
            f"no command in {shown(line)}: five fields (or a macro) and a command", spec=line
        )
    command, given = _at_percent(rest)
    reboot = expression.lower() == "@reboot"
    schedule = None if reboot else parse_schedule(expression, timezone, seed=command)
    return CrontabEntry(number, expression, schedule, command, given, env, user)


def _split(text: str, fields: int) -> tuple[str, str]:
    """The first `fields` words of `text`, and what follows them."""
    end = 0
    for i, found in enumerate(_FIELD.finditer(text), 1):
        end = found.end()
        if i == fields:
            break
    return text[:end], text[end:].lstrip()


def _at_percent(text: str) -> tuple[str, str | None]:
    r"""The command and its standard input: an unescaped `%` ends the one, further ones are line
    breaks in the other, and `\%` is a percent sign."""
    parts = re.split(r"(?<!\\)%", text)
    command, *lines = (part.replace("\\%", "%") for part in parts)
    return command.rstrip() if lines else command, "\n".join(lines) if lines else None
