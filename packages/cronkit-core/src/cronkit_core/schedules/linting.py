"""What is probably not meant: schedules that are legal, and surprising."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .base import Schedule, instant
from .combine import Bounded, Union
from .duration import DAY, SECOND, spell_duration
from .exclude import Except
from .interval import IntervalSchedule
from .once import OnceSchedule

BEGINNING = datetime.min.replace(tzinfo=UTC)
FIRST_LOOK = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the search for changes of the clock starts when no instant was given."""

_MICRO = timedelta(microseconds=1)
_CALENDAR_DAYS = {
    1: "a day",
    7: "a week",
    28: "four weeks",
    29: "a month",
    30: "a month",
    31: "a month",
    90: "a quarter",
    91: "a quarter",
    92: "a quarter",
    365: "a year",
    366: "a year",
}


@dataclass(frozen=True, slots=True)
class Warning:  # noqa: A001
    """Something about a schedule that is probably not meant.

    `code` is stable and for programs: "never", "past", "some-months", "both-days", "uneven-step",
    "dst-gap", "dst-overlap", "six-fields", "calendar-interval", "no-dtstart", "until-past",
    "sub-second". `message` says what is the case, `suggestion` what to write instead, in English.
    """

    code: str
    message: str
    suggestion: str


def lint(schedule: Schedule, *, after: datetime | None = None) -> list[Warning]:
    """What is probably not meant in `schedule`; an empty list when nothing stands out.

    `after`, mostly the time it is now, is the instant that "past" and the "next" changes of the
    clock are about. Without it nothing is called past, and changes are looked for from 2026 on.
    The parts of combined schedules are looked at one by one. Raises TypeError for what is no
    schedule, NaiveDatetime for an `after` without a time zone.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(f"lint takes a Schedule, not {type(schedule).__name__}: parse_schedule it")
    if after is not None:
        after = instant(after, "after")
    warnings: list[Warning] = []
    for warning in _warnings(schedule, after):
        if warning not in warnings:
            warnings.append(warning)
    return warnings


def _warnings(schedule: Schedule, after: datetime | None) -> Iterator[Warning]:
    first = _first_slot(schedule)
    if first is None:
        yield Warning("never", *_why_never(schedule))
        # Of what never fires, the parts that never fire are all there is to say.
        for part in _parts(schedule):
            yield from (w for w in _warnings(part, after) if w.code == "never")
        return
    if after is not None and schedule.next_after(after) is None:
        yield _past(schedule, after)
    for part in _parts(schedule):
        yield from _warnings(part, after)
    yield from _of_kind(schedule, after)


def _of_kind(schedule: Schedule, after: datetime | None) -> Iterator[Warning]:
    """The warnings that are about the one kind of schedule."""
    since = FIRST_LOOK if after is None else after
    if isinstance(schedule, IntervalSchedule):
        yield from _interval(schedule)
    elif isinstance(schedule, OnceSchedule):
        from .linting_clock import once_warnings

        yield from once_warnings(schedule)
    elif schedule.kind in ("cron", "calendar"):
        from .linting_cron import cron_warnings

        yield from cron_warnings(schedule, since)
    elif schedule.kind == "rrule":
        from .linting_rrule import rrule_warnings

        yield from rrule_warnings(schedule, since)


def _parts(schedule: Schedule) -> tuple[Schedule, ...]:
    """The schedules that `schedule` takes its slots from."""
    if isinstance(schedule, Union):
        return schedule.members
    return (schedule.schedule,) if isinstance(schedule, Bounded | Except) else ()


def _first_slot(schedule: Schedule) -> datetime | None:
    # The very first instant of all is a slot like any other, but nothing is before it.
    slot = schedule.previous_before(BEGINNING + _MICRO)
    return slot if slot is not None else schedule.next_after(BEGINNING)


def _why_never(schedule: Schedule) -> tuple[str, str]:
    if schedule.kind in ("cron", "calendar"):
        from .linting_cron import names_no_day

        return names_no_day(schedule), "name a day that exists"
    if isinstance(schedule, Except):
        return "never fires: every slot is excluded", "exclude less"
    if isinstance(schedule, Bounded):
        return "never fires: no slot lies within start_at and end_at", "widen the bounds"
    if schedule.kind == "rrule":
        return "never fires: no date matches all parts of the rule", "drop one of its BY... parts"
    return "never fires", "name a time that comes"


def _past(schedule: Schedule, after: datetime) -> Warning:
    last = schedule.previous_before(after + _MICRO)
    when = "" if last is None else f"; the last one was {_iso(last)}"
    message = f"no slot after {_iso(after)}{when}"
    if schedule.kind == "rrule":
        from .linting_rrule import until_of

        if (until := until_of(schedule)) is not None:
            return Warning(
                "until-past",
                f"UNTIL {until} is past: {message}",
                "move UNTIL, or leave it out",
            )
    return Warning("past", message, "move it to a time to come")


def _interval(schedule: IntervalSchedule) -> Iterator[Warning]:
    micros = schedule.every // _MICRO
    if micros < SECOND:
        yield Warning(
            "sub-second",
            f"fires more often than once a second: every {spell_duration(micros)}",
            "an interval of 1 second or more, and a loop of your own for what is faster",
        )
    days, rest = divmod(micros, DAY)
    if rest == 0:
        like = _CALENDAR_DAYS.get(days, "days" if days % 7 else "weeks")
        yield Warning(
            "calendar-interval",
            f"an interval of {spell_duration(micros)} looks like {like} of the calendar, but it is "
            f"elapsed time: it moves by an hour when the clock changes"
            + (", and months and years differ in length" if days >= 28 else ""),
            f"for a time of the day, {_calendar_form(days)} with a timezone",
        )


def _calendar_form(days: int) -> str:
    if days == 1:
        return "a cron expression such as '0 8 * * *'"
    if days == 7:
        return "a cron expression such as '0 8 * * 1'"
    if 28 <= days <= 31:
        return "a cron expression such as '0 8 1 * *'"
    if 90 <= days <= 92:
        return "a cron expression such as '0 8 1 */3 *'"
    if days in (365, 366):
        return "a cron expression such as '0 8 1 1 *'"
    return f"an RRULE with DTSTART and FREQ=DAILY;INTERVAL={days}"


def _iso(at: datetime) -> str:
    return at.replace(microsecond=0).isoformat()
