""" "Why didn't it run?": the fate of the slots that a person means by a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from cronkit_core.errors import CronkitError
from cronkit_core.explain import Explanation, Fate
from cronkit_core.schedules._local import SECOND, at_or_after, instants, load_zone
from cronkit_core.tasks import Task

from ..call import Call
from ..paging import YEARS
from . import address
from .words import Badge, Moment, moment

MICROSECOND = timedelta(microseconds=1)
MOST = 10
"""How many slots of one minute are explained."""
_BADGES = {
    Fate.RAN: Badge("success", "ran"),
    Fate.RUNNING: Badge("running", "running"),
    Fate.PENDING: Badge("pending", "waiting"),
    Fate.SKIPPED: Badge("skipped", "skipped"),
    Fate.MISSED: Badge("missed", "missed"),
    Fate.NO_SLOT: Badge("none", "no slot"),
    Fate.FUTURE: Badge("pending", "to come"),
    Fate.DUE: Badge("pending", "due"),
    Fate.BEFORE: Badge("none", "before its time"),
    Fate.ENDED: Badge("over", "over"),
    Fate.BROKEN: Badge("broken", "broken"),
    Fate.UNKNOWN: Badge("none", "not known"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a slot; or, with an error, why the question makes no sense."""

    at: Moment | None
    badge: Badge
    text: str
    runs: Sequence[tuple[int, str]] = ()
    """The attempts: ids, and where they are."""


class NeverShown(ValueError):
    """A time that a clock passed over, since it was set forward."""

    def __init__(self, wall: datetime, timezone: str | None, then: datetime) -> None:
        super().__init__(f"the clock in {timezone} never showed {wall}: it was set forward then")
        self.then = then
        """The first instant after."""


async def answers(call: Call, task: Task, typed: str) -> list[Answer]:
    """What became of the slots at the time `typed`, on the clock of the task's zone.

    A time without seconds stands for its minute; one that the clock showed twice, for both.
    """
    results = []
    try:
        found = read_local(typed, task.timezone)
    except ValueError as error:
        results.append(Answer(None, Badge("broken", "bad time"), str(error)))
        # A slot of that time may have moved to the end of the gap.
        if not isinstance(error, NeverShown) or not _slots(task, error.then, error.then + SECOND):
            return results
        found = (error.then,)
    precision = SECOND if typed.count(":") > 1 else timedelta(minutes=1)
    now = call.scheduler.clock.now()
    for start in found:
        for at in _slots(task, start, start + precision) or [start]:
            explanation = await call.scheduler.explain(task.name, at)
            results.append(_answer(call, explanation, now, task.timezone))
    return results


def read_local(typed: str, timezone: str | None) -> tuple[datetime, ...]:
    """The instants at which the clock of that zone shows the time `typed`, as browsers send it: two
    where the clock was set back. A time with an offset is that instant.

    Raises ValueError for what is no time, or one that the clock never showed.
    """
    try:
        wall = datetime.fromisoformat(typed.strip())
    except ValueError:
        raise ValueError(
            f"bad time {typed!r:.40}: such as 2027-01-31T09:00, or with seconds or an offset"
        ) from None
    if not YEARS[0] <= wall.year <= YEARS[1]:
        raise ValueError(f"bad time {typed!r:.40}: in the years {YEARS[0]} to {YEARS[1]}")
    if wall.tzinfo is not None:
        return (wall.astimezone(UTC),)
    try:
        zone = UTC if timezone is None else load_zone(timezone)
    except CronkitError:  # the zone of a broken task
        zone = UTC
    found = instants(wall, zone)
    if not found:
        raise NeverShown(wall, timezone, at_or_after(wall, zone))
    return found


def _slots(task: Task, start: datetime, end: datetime) -> list[datetime]:
    if task.schedule is None:
        return []
    named = task.schedule.between(start - MICROSECOND, end - MICROSECOND)
    slots = list(islice(named, MOST))
    if task.next_slot is not None and start <= task.next_slot < end and task.next_slot not in slots:
        slots.append(task.next_slot)
    return slots


def _answer(call: Call, found: Explanation, now: datetime, timezone: str | None) -> Answer:
    badge = _BADGES[found.fate]
    if found.fate is Fate.RAN and found.runs[-1].reason is not None:
        badge = Badge("error", "ran and failed")
    links = [(run.id, address.run_path(call.datasette, run.id)) for run in found.runs]
    return Answer(moment(found.instant, now, timezone), badge, found.text, links)
