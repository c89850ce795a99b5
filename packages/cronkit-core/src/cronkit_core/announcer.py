"""What is said of what happened: log lines with structured extras, events, and metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .events import (
    Events,
    LeaseLost,
    RunFailed,
    RunLost,
    RunStarted,
    RunSucceeded,
    SlotsMissed,
    SlotsSkipped,
    TaskDisabled,
)
from .runs import Finish, Reason, Run, Skip, SkipReason, Status, Trigger, counted_slots
from .storage.base import Claim
from .tasks import TaskRecord
from .telemetry import Telemetry

logger = logging.getLogger("cronkit.engine")


class Announcer:
    """Tells whoever listens what an engine does."""

    def __init__(self, events: Events, telemetry: Telemetry | None) -> None:
        self._events = events
        self._telemetry = telemetry

    def started(self, run: Run, late: float | None) -> None:
        """`run` is about to be executed, `late` by so many seconds; None: it had to wait."""
        if self._events.wants(RunStarted):
            self._events.emit(RunStarted(run.task_name, run))
        if late is not None:
            self._measure(lambda telemetry: telemetry.started(run.task_name, late))

    def ended(self, run: Run, finish: Finish) -> None:
        """The end of `run` is recorded."""
        self._measure(lambda telemetry: telemetry.ended(finish))
        if finish.status is Status.SUCCESS:
            if self._events.wants(RunSucceeded):
                self._events.emit(RunSucceeded(finish.task_name, run, finish.duration_ms or 0))
            return
        assert finish.reason is not None
        retry_at = None if finish.retry is None else finish.retry.due_at
        logger.log(
            logging.WARNING if retry_at else logging.ERROR,
            "run %d of %r failed (attempt %d, %s): %s%s",
            run.id,
            run.task_name,
            run.attempt,
            finish.reason,
            one_line(finish.error_message or ""),
            f"; next attempt at {retry_at:%H:%M:%S} UTC" if retry_at else "",
            extra={**_about(run), "reason": finish.reason.value},
        )
        self._events.emit(
            RunFailed(run.task_name, run, finish.reason, finish.error_message or "", retry_at)
        )

    def refused(self, run: Run) -> None:
        """The end of `run` was not recorded: it was somebody else's by then."""
        logger.warning(
            "run %d of %r lost its lease: its outcome is not recorded",
            run.id,
            run.task_name,
            extra=_about(run),
        )
        self._events.emit(LeaseLost(run.task_name, run))

    def claimed(self, claim: Claim) -> None:
        """A claim was written; of the runs that it started, `started` tells."""
        for skip in claim.skips:
            self._skipped(skip)
        for finish in claim.finishes:
            if finish.reason is Reason.LOST:
                self._lost(finish)
            else:
                logger.info(
                    "run %d of %r did not start: %s",
                    finish.run_id,
                    finish.task_name,
                    finish.error_message,
                    extra={"task": finish.task_name, "run_id": finish.run_id},
                )

    def _skipped(self, skip: Skip) -> None:
        logger.info(
            "%s of %r did not run (%s): %s to %s",
            counted_slots(skip.count),
            skip.task_name,
            skip.reason,
            skip.first_slot,
            skip.last_slot,
            extra={"task": skip.task_name, "reason": skip.reason.value, "slots": skip.count},
        )
        self._measure(lambda telemetry: telemetry.skipped(skip))
        if self._events.wants(SlotsMissed):
            kind = SlotsMissed if skip.reason is SkipReason.MISSED else SlotsSkipped
            self._events.emit(
                kind(skip.task_name, skip.first_slot, skip.last_slot, skip.count, skip.reason)
            )

    def _lost(self, finish: Finish) -> None:
        retry_at = None if finish.retry is None else finish.retry.due_at
        logger.warning(
            "run %d of %r was lost: %s",
            finish.run_id,
            finish.task_name,
            f"next attempt at {retry_at}" if retry_at else "no attempt is left",
            extra={
                "task": finish.task_name,
                "run_id": finish.run_id,
                "reason": Reason.LOST.value,
            },
        )
        self._measure(lambda telemetry: telemetry.ended(finish))
        self._events.emit(RunLost(finish.task_name, finish.run_id, retry_at))

    def _measure(self, report: Callable[[Telemetry], None]) -> None:
        """Report to the metrics, which are the application's and may raise."""
        if self._telemetry is not None:
            try:
                report(self._telemetry)
            except Exception:
                logger.exception("a metric could not be reported")

    def paused(self, record: TaskRecord) -> None:
        """The failures of a task have disabled it."""
        logger.error(
            "task %r is disabled: %s", record.name, record.paused_note, extra={"task": record.name}
        )
        self._events.emit(TaskDisabled(record.name, record.paused_by, record.paused_note))


def lateness(run: Run) -> float | None:
    """How many seconds after its time `run` started; None when it was not to be on time."""
    if run.started_at is None or run.attempt > 1 or run.triggered_by is not Trigger.SCHEDULE:
        return None
    return (run.started_at - run.scheduled_for).total_seconds()


def _about(run: Run) -> dict[str, object]:
    return {
        "task": run.task_name,
        "run_id": run.id,
        "slot": run.slot.isoformat(),
        "attempt": run.attempt,
    }


def one_line(text: str) -> str:
    """`text` without what would begin another line of a log, or command a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
