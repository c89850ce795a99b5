"""The command `cronkit`: what a schedule means, when it runs, and what is odd about it.

Exit codes: 0 for an answer, 1 where there is nothing to show or the linter warns, 2 for bad input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from .cli_common import positive, print_json
from .cli_look import add_look_commands
from .cli_run import add_run_command
from .errors import CronkitError
from .schedules import Schedule, lint, parse_schedule
from .schedules.moment import parse_moment

OK, NOTHING, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments `argv` (None: those of the process); returns the exit
    code."""
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except CronkitError as error:
        print(f"cronkit: {error}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        # The reader has seen enough; what is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else BAD_INPUT
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cronkit",
        description="What a schedule means, when it runs, and what is odd about it; or run one.",
        epilog="exit codes: 0 an answer, 1 nothing to show or a warning, 2 bad input",
    )
    parser.add_argument("--version", action="version", version=f"cronkit {version('cronkit-core')}")
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "schedule",
        help="a cron expression, a duration, an RRULE, or a schedule as a JSON object",
    )
    common.add_argument("--tz", metavar="ZONE", help="time zone, an IANA name (default: UTC)")
    common.add_argument("--seed", metavar="NAME", help="what H in a cron expression is hashed from")
    common.add_argument("--anchor", metavar="ISO", help="where an interval counts from")
    common.add_argument("--json", action="store_true", help="print JSON")
    after = argparse.ArgumentParser(add_help=False)
    after.add_argument(
        "--after", metavar="ISO", help="the instant to start from (default: now); local to --tz"
    )

    command = commands.add_parser(
        "next", parents=[common, after], help="the next slots, in UTC and local time"
    )
    command.add_argument("-n", type=positive, default=5, metavar="N", help="how many (default: 5)")
    command.set_defaults(run=_next)

    command = commands.add_parser(
        "between", parents=[common], help="the slots after START and not after END"
    )
    command.add_argument("start", metavar="START", help="ISO 8601; local to --tz")
    command.add_argument("end", metavar="END", help="ISO 8601; local to --tz")
    command.add_argument("--count", action="store_true", help="only count them")
    command.add_argument(
        "-n", type=positive, default=1000, metavar="N", help="at most so many (default: 1000)"
    )
    command.set_defaults(run=_between)

    command = commands.add_parser(
        "explain", parents=[common, after], help="the schedule in plain English"
    )
    command.set_defaults(run=_explain)

    command = commands.add_parser(
        "lint", parents=[common, after], help="what is probably not meant (exit code 1)"
    )
    command.set_defaults(run=_lint)

    add_run_command(commands)
    add_look_commands(commands)
    return parser


# Commands


def _next(arguments: argparse.Namespace) -> int:
    schedule = _schedule(arguments)
    after = _after(arguments, schedule)
    return _show(arguments, schedule, after, schedule.upcoming(after, arguments.n))


def _between(arguments: argparse.Namespace) -> int:
    schedule = _schedule(arguments)
    start = _moment(arguments.start, arguments, schedule, "START")
    end = _moment(arguments.end, arguments, schedule, "END")
    if arguments.count:
        count = schedule.count_between(start, end)
        print(json.dumps({"count": count}) if arguments.json else count)
        return OK if count else NOTHING
    slots = list(islice(schedule.between(start, end), arguments.n + 1))
    if len(slots) > arguments.n:
        print(f"cronkit: only the first {arguments.n}; see -n and --count", file=sys.stderr)
    return _show(arguments, schedule, start, slots[: arguments.n])


def _explain(arguments: argparse.Namespace) -> int:
    schedule = _schedule(arguments)
    after = _after(arguments, schedule)
    warnings = lint(schedule, after=after)
    slot = schedule.next_after(after)
    if arguments.json:
        print_json(
            {
                "description": schedule.describe(),
                "kind": schedule.kind,
                "schedule": schedule.to_dict(),
                "next": None if slot is None else slot.isoformat(),
                "warnings": [_as_data(warning) for warning in warnings],
            }
        )
        return OK
    print(schedule.describe())
    print(f"kind:     {schedule.kind}")
    print(f"written:  {json.dumps(schedule.to_dict())}")
    print(f"next:     {'never' if slot is None else _both(slot, _zone(arguments, schedule))}")
    for warning in warnings:
        print(f"warning:  {warning.message}")
    return OK


def _lint(arguments: argparse.Namespace) -> int:
    schedule = _schedule(arguments)
    warnings = lint(schedule, after=_after(arguments, schedule))
    if arguments.json:
        print_json([_as_data(warning) for warning in warnings])
    elif not warnings:
        print("no warnings")
    else:
        for warning in warnings:
            print(f"{warning.code}: {warning.message}\n    {warning.suggestion}")
    return NOTHING if warnings else OK


# Input


def _schedule(arguments: argparse.Namespace) -> Schedule:
    text: str = arguments.schedule
    spec: Any = text
    if text.lstrip().startswith("{"):
        try:
            spec = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CronkitError(f"bad JSON {text[:60]!r}: {error}") from None
    return parse_schedule(spec, arguments.tz, anchor=arguments.anchor, seed=arguments.seed)


def _after(arguments: argparse.Namespace, schedule: Schedule) -> datetime:
    if arguments.after is not None:
        return _moment(arguments.after, arguments, schedule, "--after")
    from .clock import SystemClock

    return SystemClock().now()


def _moment(text: str, arguments: argparse.Namespace, schedule: Schedule, where: str) -> datetime:
    return parse_moment(text, arguments.tz or schedule.timezone, where=where, dates=True).first


def _zone(arguments: argparse.Namespace, schedule: Schedule) -> str | None:
    """The zone of the local column; None where it would say the same as UTC."""
    name: str | None = arguments.tz or schedule.timezone
    return None if name in (None, "UTC", "Etc/UTC") else name


# Output


def _show(
    arguments: argparse.Namespace, schedule: Schedule, after: datetime, slots: list[datetime]
) -> int:
    zone = _zone(arguments, schedule)
    if arguments.json:
        data = {"schedule": schedule.to_dict(), "timezone": zone or "UTC"}
        print_json({**data, "slots": [_slot_data(*row, zone) for row in _rows(slots, zone, after)]})
    elif not slots:
        print("no slots", file=sys.stderr)
    else:
        print("UTC" if zone is None else f"{'UTC':<22}{zone}")
        for slot, change in _rows(slots, zone, after):
            if change:
                print(f"  -- the clock goes {_spell_change(change)} --")
            print(_both(slot, zone))
    return OK if slots else NOTHING


def _rows(
    slots: Iterable[datetime], zone: str | None, after: datetime
) -> Iterable[tuple[datetime, timedelta]]:
    """Each slot, and by how much the clock of `zone` has changed since the one before it (since
    `after`, for the first)."""
    before = _offset(after, zone)
    for slot in slots:
        offset = _offset(slot, zone)
        yield slot, offset - before
        before = offset


def _offset(at: datetime, zone: str | None) -> timedelta:
    return _local(at, zone).utcoffset() or timedelta(0)


def _local(at: datetime, zone: str | None) -> datetime:
    try:
        return at if zone is None else at.astimezone(ZoneInfo(zone))
    except OverflowError:  # the first and the last day of all
        return at


def _spell_change(change: timedelta) -> str:
    minutes = int(abs(change).total_seconds()) // 60
    hours, rest = divmod(minutes, 60)
    words = [f"{hours} h"] if hours else []
    words += [f"{rest} min"] if rest or not hours else []
    return f"{'forward' if change > timedelta(0) else 'back'} by {' '.join(words)}"


def _both(slot: datetime, zone: str | None) -> str:
    utc = _text(slot)
    if zone is None:
        return utc
    local = _local(slot, zone)
    again = " (again)" if local.fold else ""
    return f"{utc:<22}{local:%a} {_text(local)} {_spell_offset(local)}{again}"


def _spell_offset(local: datetime) -> str:
    return local.isoformat().removeprefix(local.replace(tzinfo=None).isoformat())


def _text(at: datetime) -> str:
    return at.replace(tzinfo=None).isoformat(" ")


def _slot_data(slot: datetime, change: timedelta, zone: str | None) -> dict[str, Any]:
    return {
        "utc": slot.isoformat(),
        "local": _local(slot, zone).isoformat(),
        "clock_change_seconds": int(change.total_seconds()),
    }


def _as_data(warning: Any) -> dict[str, str]:
    return {
        "code": warning.code,
        "message": warning.message,
        "suggestion": warning.suggestion,
    }
