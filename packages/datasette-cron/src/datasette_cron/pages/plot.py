"""The runs of a task over time: when, how long, with what outcome, and what did not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cronkit_core.runs import Reason, Run, Skip, SkipReason, Status

from .words import clock_text, count, duration, on_clock

RUNS = 100
HEIGHT = 120
_FLOOR = 110
_TOP = 10
_MILLISECOND = timedelta(milliseconds=1)
_PATTERNS = (
    (timedelta(minutes=10), "%H:%M:%S"),
    (timedelta(days=7), "%a %H:%M"),
    (timedelta.max, "%Y-%m-%d"),
)
"""How the marks of a plot of less than that length are written, so that no two are the same."""
WHY = {
    SkipReason.OVERLAP: "the run before was still active",
    SkipReason.MISSED: "nobody was running it in time",
    SkipReason.DISABLED: "the task was paused",
    SkipReason.EDITED: "the schedule was edited",
    SkipReason.ENDED: "the task had had its last run",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A run. `x` is in percent of the width, `y` in pixels."""

    x: str
    y: int
    kind: str
    """As in the pictures' styles: s, e, c or r."""
    title: str


@dataclass(frozen=True, slots=True)
class Band:
    """Slots that did not run, from `x` on, in percent of the width."""

    x: str
    width: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    x: str
    label: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Plot:
    points: list[Point]
    bands: list[Band]
    marks: list[Mark]
    longest: str
    label: str
    height: int = HEIGHT
    floor: int = _FLOOR


def plot(
    runs: Sequence[Run], skips: Sequence[Skip], now: datetime, timezone: str | None
) -> Plot | None:
    """The plot of `runs`, which are newest first, and of `skips`. None where there is nothing."""
    runs = [run for run in runs[:RUNS] if run.started_at is not None]
    times = [run.started_at for run in runs if run.started_at is not None]
    times += [skip.last_slot for skip in skips]
    if not times:
        return None
    first = min(times)
    start = min(first, now - timedelta(minutes=1))
    # A little room at the left, so that the first mark is whole.
    start -= (now - start) / 60
    spans = [_took(run, now) for run in runs]
    longest = max(spans, default=0) or 1
    points = [
        _point(run, span, longest, start, now, timezone)
        for run, span in zip(runs, spans, strict=True)
    ]
    bands = [_band(skip, start, now, timezone) for skip in skips]
    failed = sum(point.kind == "e" for point in points)
    label = (
        f"{count(len(points), 'run')} since {clock_text(first, timezone)}: "
        f"{failed} failed, the longest took {duration(longest)}; "
        f"{count(sum(skip.count for skip in skips), 'slot')} did not run"
    )
    return Plot(points, bands, _marks(start, now, timezone), duration(longest), label)


def run_kind(run: Run) -> str:
    """The outcome of a run, as the pictures' styles name it."""
    if run.status is Status.SUCCESS:
        return "s"
    if run.status is Status.ERROR:
        return "c" if run.reason is Reason.CANCELLED else "e"
    return "r"


def _took(run: Run, now: datetime) -> float:
    if run.duration_ms is not None:
        return run.duration_ms
    if run.status is Status.RUNNING and run.started_at is not None:
        return max(0.0, (now - run.started_at) / _MILLISECOND)
    return 0.0


def _point(
    run: Run, span: float, longest: float, start: datetime, now: datetime, timezone: str | None
) -> Point:
    assert run.started_at is not None
    kind = run_kind(run)
    said = {"s": "succeeded", "e": "failed", "c": "cancelled", "r": "running"}[kind]
    tries = f", attempt {run.attempt}" if run.attempt > 1 else ""
    title = f"run {run.id} {said} {clock_text(run.started_at, timezone)}, {duration(span)}{tries}"
    y = round(_FLOOR - (_FLOOR - _TOP) * span / longest)
    return Point(_percent(run.started_at, start, now), y, kind, title)


def _band(skip: Skip, start: datetime, now: datetime, timezone: str | None) -> Band:
    first = max(skip.first_slot, start)
    width = max((skip.last_slot - first) / (now - start) * 100, 0.4)
    missed = skip.reason is SkipReason.MISSED
    title = (
        f"{count(skip.count, 'slot')} {'missed' if missed else 'skipped'}: {WHY[skip.reason]}, "
        f"{clock_text(skip.first_slot, timezone)} to {clock_text(skip.last_slot, timezone)}"
    )
    return Band(_percent(first, start, now), f"{width:.2f}", "m" if missed else "k", title)


def _marks(start: datetime, now: datetime, timezone: str | None) -> list[Mark]:
    pattern = next(pattern for longest, pattern in _PATTERNS if now - start < longest)
    marks = []
    for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
        at = start + (now - start) * share
        marks.append(Mark(f"{share:.0%}", f"{on_clock(at, timezone):{pattern}}", anchor))
    return marks


def _percent(at: datetime, start: datetime, now: datetime) -> str:
    return f"{min(max((at - start) / (now - start), 0), 1) * 100:.2f}"
