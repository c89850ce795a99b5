"""Times, durations and states in few words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronkit_core.runs import Reason, Run, Status
from cronkit_core.schedules._local import load_zone
from cronkit_core.storage.sqlite_rows import text
from cronkit_core.tasks import Task

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant as a page shows it."""

    iso: str
    """For machines: UTC with offset."""
    relative: str
    """Seen from now: "in 5 min", "2 h 10 min ago"."""
    local: str
    """On the clock of the zone that counts, with the zone's abbreviation."""
    utc: str

    @property
    def exact(self) -> str:
        """On all clocks that count."""
        return self.utc if self.local == self.utc else f"{self.local} · {self.utc}"


def moment(at: datetime | None, now: datetime, timezone: str | None = None) -> Moment | None:
    """`at`, as seen from `now`, and in `timezone` (an IANA name; None: UTC)."""
    if at is None:
        return None
    utc = clock_text(at, None)
    local = utc if timezone is None else clock_text(at, timezone)
    return Moment(text(at), relative(at - now), local, utc)


def clock_text(at: datetime, timezone: str | None) -> str:
    """What the clock shows in that zone: "Fri 2027-01-01 09:00:00 CET"."""
    local = on_clock(at, timezone)
    return f"{local:%a %Y-%m-%d %H:%M:%S} {local.tzname()}"


def on_clock(at: datetime, timezone: str | None) -> datetime:
    """`at` in that zone (an IANA name; None: UTC)."""
    try:
        return at.astimezone(UTC if timezone is None else load_zone(timezone))
    except (ValueError, OverflowError):  # a broken task, or the ends of time
        return at.astimezone(UTC)


def relative(delta: timedelta) -> str:
    """How far off that is: "in 5 min", "2 h 10 min ago", "now"."""
    seconds = round(abs(delta.total_seconds()))
    if seconds == 0:
        return "now"
    span = long_span(seconds)
    return f"in {span}" if delta > timedelta(0) else f"{span} ago"


def long_span(seconds: int) -> str:
    """Whole seconds in one unit or two: "45 s", "2 h 10 min", "3 d 4 h"."""
    for i, (unit, size) in enumerate(UNITS):
        if seconds >= size:
            count, rest = divmod(seconds, size)
            # Of long spans, nobody wants to know the small part; of minutes, not the seconds.
            if i < 2 and count < 10 and (smaller := rest // UNITS[i + 1][1]):
                return f"{count} {unit} {smaller} {UNITS[i + 1][0]}"
            return f"{count:,} {unit}"
    return "0 s"


def duration(ms: float | None) -> str:
    """How long something took: "420 ms", "3.1 s", "2 min 5 s", "1 h 3 min"."""
    if ms is None:
        return ""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 9_950:
        return f"{ms / 1_000:.1f} s"
    seconds = round(ms / 1_000)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3_600:
        minutes, seconds = divmod(seconds, 60)
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    return long_span(seconds)


def count(number: int, one: str, many: str | None = None) -> str:
    """A number of things: "1 run", "3 runs"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def shortened(text: str, longest: int) -> str:
    """The beginning of a text that is longer than that."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


@dataclass(frozen=True, slots=True)
class Badge:
    """A state: `status` chooses shape and colour, `label` is the word."""

    status: str
    label: str


_REASONS = {
    Reason.EXCEPTION: "failed",
    Reason.TIMEOUT: "timed out",
    Reason.CANCELLED: "cancelled",
    Reason.LOST: "lost",
    Reason.INTERRUPTED: "interrupted",
    Reason.NO_HANDLER: "no handler",
    Reason.BROKEN: "broken",
}


def run_badge(run: Run) -> Badge:
    """The state of a run."""
    match run.status:
        case Status.SUCCESS:
            return Badge("success", "succeeded")
        case Status.RUNNING:
            return Badge("running", "cancelling" if run.cancel_requested_by else "running")
        case Status.PENDING:
            return Badge("pending", "retry to come" if run.attempt > 1 else "waiting")
    if run.reason is Reason.CANCELLED:
        return Badge("skipped", "cancelled")
    return Badge("error", "failed" if run.reason is None else _REASONS[run.reason])


def task_badge(task: Task) -> Badge:
    """Whether a task is to run at all."""
    if task.broken is not None:
        return Badge("broken", "broken")
    if not task.enabled:
        return Badge("paused", "paused")
    if task.next_run_at is None:
        return Badge("over", "over")
    return Badge("scheduled", "scheduled")
