"""What a handler is given: the run that it is executing."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from .definition import dump_json, make_storable
from .runs import Run, Trigger
from .tasks import Task

MAX_LOG_LINES = 1_000
MAX_LOG_LINE = 2_000
MAX_PROGRESS_MESSAGE = 500

_current: ContextVar[ActiveRun] = ContextVar("cronkit_run")


class Retry(Exception):
    """Raised by a handler: this attempt failed, try again after so many seconds.

    It counts as a retry like any other; when the policy allows none, the slot has failed. `after`
    is seconds or a timedelta; None: as long as the policy's backoff says.
    """

    def __init__(
        self,
        message: str = "the handler asked for a retry",
        *,
        after: float | timedelta | None = None,
    ) -> None:
        super().__init__(message)
        seconds = after.total_seconds() if isinstance(after, timedelta) else after
        if seconds is not None and not 0 <= seconds < math.inf:
            raise ValueError(f"bad after {after!r}: seconds, 0 or more")
        self.after = seconds


class Fail(Exception):
    """Raised by a handler: this slot has failed, and another try would not help."""


class ActiveRun:
    """The run that a handler is executing. (`task.name`, `slot`, `attempt`) is the idempotency key:
    a handler may see a slot again, with a higher attempt, when a process died."""

    def __init__(self, run: Run, task: Task, config: Mapping[str, Any]) -> None:
        self.id = run.id
        self.task = task
        self.config = config
        self.slot: datetime = run.slot
        """The nominal time (UTC); for a manual run, when it was asked for."""
        self.scheduled_for: datetime = run.scheduled_for
        """The slot plus jitter (UTC)."""
        self.attempt = run.attempt
        """1 for the first try of the slot."""
        self.triggered_by: Trigger = run.triggered_by
        self.started_at = run.started_at
        self.last_success_at: datetime | None = task.record.last_success_at
        """When the task last ended well (UTC), or None."""
        self.epoch = run.epoch
        """Grows with each claim of the task: a fencing token for what is written elsewhere."""
        self._lock = threading.Lock()
        self._lines: deque[str] | None = None  # half a kilobyte that most runs do not need
        self._dropped = 0
        self._progress: str | None = None
        self._changes = self._offered = self._reported = 0
        self._cancelled = False

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.task.name!r}, {self.slot:%Y-%m-%d %H:%M:%S}Z>"

    @property
    def cancelled(self) -> bool:
        """Whether this run is to stop. Async handlers are cancelled; a sync one, whose thread
        cannot be, may look here and return."""
        return self._cancelled

    def log(self, message: str) -> None:
        """Add a line to the run's log. The last 1,000 are kept."""
        line = make_storable(str(message)[:MAX_LOG_LINE])
        with self._lock:
            if self._lines is None:
                self._lines = deque(maxlen=MAX_LOG_LINES)
            if len(self._lines) == MAX_LOG_LINES:
                self._dropped += 1
            self._lines.append(line)
            self._changes += 1

    async def progress(
        self, done: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Say how far the run is; stored within a second or so, and only the last value."""
        self.set_progress(done, total, message)

    def set_progress(
        self, done: float, total: float | None = None, message: str | None = None
    ) -> None:
        """`progress` for sync handlers."""
        report: dict[str, Any] = {"done": _finite("done", done)}
        if total is not None:
            report["total"] = _finite("total", total)
        if message is not None:
            report["message"] = make_storable(str(message)[:MAX_PROGRESS_MESSAGE])
        with self._lock:
            self._progress = dump_json(report)
            self._changes += 1

    # --- for the engine

    def cancel(self) -> None:
        """Tell a sync handler that it is to stop."""
        self._cancelled = True

    def log_text(self) -> str | None:
        """The log so far; None when there is none."""
        with self._lock:
            lines = list(self._lines or ())
        if not lines:
            return None
        head = [f"... {self._dropped} earlier lines were dropped"] if self._dropped else []
        return "\n".join([*head, *lines])

    def report(self) -> tuple[str | None, str | None] | None:
        """Progress and log, if either changed since the last ones that were `reported`."""
        if self._changes == self._reported:
            return None
        self._offered = self._changes
        return self._progress, self.log_text()

    def reported(self) -> None:
        """What `report` gave last is stored."""
        self._reported = self._offered


def current_run() -> ActiveRun:
    """The run that the calling code is part of, in its task or thread.

    Raises LookupError outside of a handler.
    """
    try:
        return _current.get()
    except LookupError:
        raise LookupError("no run is executing here: call this from a handler") from None


def enter(run: ActiveRun) -> None:
    """Make `run` the current one of this context."""
    _current.set(run)


def _finite(what: str, value: float) -> float:
    if not -math.inf < value < math.inf:
        raise ValueError(f"bad {what} {value!r} of a progress: a finite number")
    return value


class _Capture(logging.Handler):
    """Copies what a handler's code logs, through the standard `logging`, to its run."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        # With a handler on the root, logging no longer prints what nobody else takes.
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and _nobody_else_takes(record):
            last.handle(record)
        run = _current.get(None)
        if run is None or record.name.startswith("cronkit."):
            return
        try:
            run.log(self.format(record))
        except Exception:  # noqa: BLE001  # a bad log call is reported as logging does, not raised
            self.handleError(record)


def _nobody_else_takes(record: logging.LogRecord) -> bool:
    """Whether the capture is the only handler that `record` reaches."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        if any(handler is not _capture for handler in logger.handlers):
            return False
        logger = logger.parent if logger.propagate else None
    return True


_capture = _Capture()
_capturing = 0


@contextmanager
def captured_logging() -> Iterator[None]:
    """While this lasts, what handlers log in this process goes to their runs too.

    It is attached once, however many schedulers are at work.
    """
    global _capturing
    root = logging.getLogger()
    if _capturing == 0:
        root.addHandler(_capture)
    _capturing += 1
    try:
        yield
    finally:
        _capturing -= 1
        if _capturing == 0:
            root.removeHandler(_capture)
