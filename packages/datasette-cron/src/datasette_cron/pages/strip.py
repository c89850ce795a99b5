"""The newest runs of a task as a strip of bars: height is duration, colour and shape outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from cronkit_core.runs import Reason, Run, Status

from .words import count, duration

RUNS = 30
WIDTH, HEIGHT = 150, 30
_STEP = WIDTH // RUNS
_FLOOR = 22
"""Where bars stand; below it is room for the mark of a failure."""
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Strip:
    """The bars of each outcome as one path of an SVG of WIDTH by HEIGHT."""

    succeeded: str
    failed: str
    marks: str
    """A cross below each failure."""
    cancelled: str
    running: str
    label: str
    """All of it in words."""
    median: str


def strip(runs: Sequence[Run]) -> Strip | None:
    """The strip of `runs`, which are newest first; the newest is at its right. None without any."""
    if not runs:
        return None
    times = [run.duration_ms for run in runs if run.duration_ms is not None]
    longest = max(times, default=0) or 1
    bars: dict[str, list[str]] = {}
    marks = []
    for i, run in enumerate(runs):
        x = WIDTH - _STEP * i - _STEP // 2 - 1
        kind = _kind(run)
        share = 1.0 if run.duration_ms is None else sqrt(run.duration_ms / longest)
        height = _FLOOR - 1 if kind == "running" else max(_LEAST, round((_FLOOR - 1) * share))
        bars.setdefault(kind, []).append(f"M{x} {_FLOOR}v-{height}")
        if kind == "failed":
            marks.append(f"M{x - 2} {_FLOOR + 3}l4 4m0-4l-4 4")
    paths = {kind: "".join(parts) for kind, parts in bars.items()}
    return Strip(
        paths.get("succeeded", ""),
        paths.get("failed", ""),
        "".join(marks),
        paths.get("cancelled", ""),
        paths.get("running", ""),
        _label(runs),
        duration(median(times)) if times else "",
    )


def _kind(run: Run) -> str:
    if run.status is Status.SUCCESS:
        return "succeeded"
    if run.status is Status.ERROR:
        return "cancelled" if run.reason is Reason.CANCELLED else "failed"
    return "running"


def _label(runs: Sequence[Run]) -> str:
    kinds = Counter(map(_kind, runs))
    parts = [
        f"{kinds[kind]} {kind}"
        for kind in ("succeeded", "failed", "cancelled", "running")
        if kinds[kind]
    ]
    return f"last {count(len(runs), 'run')}: {', '.join(parts)}; the newest {_kind(runs[0])}"
