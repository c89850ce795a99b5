"""Everything that happens between a slot and its outcome.

One loop reads when there is next something to do, claims what is due, starts it, renews leases, and
sleeps until the earliest of all reasons to wake. Beside it, one writer records the ends of runs,
as many in a transaction as gathered while the one before was under way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush

from . import runs
from .clock import Clock
from .context import ActiveRun
from .definition import DEFAULTS, decode, decode_leniently
from .errors import InvalidTask
from .events import (
    Events,
    LeaseLost,
    RunFailed,
    RunLost,
    RunStarted,
    RunSucceeded,
    SlotsSkipped,
)
from .executor import Outcome, Resolve, perform, timed_out
from .planner import Planner, retry_of
from .runs import Finish, Reason, Run, Status
from .storage.base import Claim, Report, Retention, Storage, TaskQuery
from .tasks import Task, TaskRecord
from .threads import Threads

logger = logging.getLogger("cronkit.engine")


@dataclass(frozen=True, slots=True)
class Settings:
    """How an engine works. Times are seconds."""

    max_concurrency: int = 1_000
    """How many runs this process executes at once."""
    threads: int = 32
    """How many sync handlers this process executes at once."""
    groups: Mapping[str, int] = field(default_factory=dict)
    """How many runs of a group may execute at once, in all processes together."""
    poll: float = 1.0
    """How soon changes that other processes made are seen."""
    lease: float = 30.0
    """How long after its last sign of life a process's runs count as lost."""
    batch: int = 500
    """How many slots one transaction claims at most, and how many ends one records."""
    cancel_grace: float = 10.0
    """How long a cancelled handler may take to end before its run is recorded without it."""
    keep_runs: int | None = 10_000
    """How many ended runs of a task are kept, where the task says nothing else."""
    keep_for: float | None = None
    """How long ended runs are kept, where the task says nothing else."""
    prune_every: float = 30.0
    """How often some tasks' history is pruned."""


REPORT_EVERY = 1.0
PRUNED_AT_ONCE = 100
PRUNED_ROWS = 1_000
STOP_GRACE = 2.0
INTERRUPTED = Outcome(reason=Reason.INTERRUPTED, message="interrupted: the scheduler was stopped")


@dataclass(slots=True)
class Execution:
    """A run that this process executes, or whose end it has yet to record."""

    run: Run
    task: Task
    task_id: int
    active: ActiveRun
    started: float
    work: asyncio.Task[None] | None = None
    stop: Outcome | None = None
    """What to record when the handler ends because it was cancelled."""
    ended: bool = False


class Engine:
    """Runs the tasks of one storage in this process, until it is stopped."""

    def __init__(
        self,
        storage: Storage,
        resolve: Resolve,
        clock: Clock,
        events: Events,
        owner: str,
        settings: Settings,
    ) -> None:
        self.storage = storage
        self.clock = clock
        self.owner = owner
        self.settings = settings
        self.executing: dict[int, Execution] = {}
        self.threads = Threads(settings.threads)
        self.lateness: deque[float] = deque(maxlen=1_000)
        """Seconds between when a run should have started and when it did; the last 1,000."""
        self.last_tick: datetime | None = None
        self._resolve = resolve
        self._events = events
        self._lease = timedelta(seconds=settings.lease)
        self._wake = asyncio.Event()
        self._ended: list[tuple[Finish, Execution | None]] = []
        self._unrecorded = asyncio.Event()
        self._recording = False
        self._ticking = False
        self._stopping = False
        self._done = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._deadlines: list[tuple[float, int, str]] = []
        self._full_groups: set[str] = set()
        """Groups that had no room for another run when last looked at."""
        self._forget_full_at = 0.0
        self._renew_at = 0.0
        self._report_at = 0.0
        self._prune_at = 0.0
        self._pruned_up_to = ""

    # --- the loop

    async def run(self) -> None:
        """Work until `stop` has been called and is done."""
        self.storage.subscribe(self.wake)
        recorder = asyncio.create_task(self._record_ends(), name="cronkit-recorder")
        failures = 0
        try:
            while not self._done:
                self._wake.clear()
                self._ticking = True
                try:
                    seconds = await self.tick()
                    failures = 0
                except Exception:
                    failures += 1
                    seconds = min(0.1 * 2**failures, 5.0)
                    # What was under way may have been committed all the same.
                    self._renew_at = 0.0
                    logger.warning("tick failed, trying again in %.1f s", seconds, exc_info=True)
                    self._wake.clear()
                finally:
                    self._ticking = False
                await self.clock.wait(self._wake, seconds)
        finally:
            works = [e.work for e in self.executing.values() if e.work is not None]
            for work in (recorder, *works):
                work.cancel()
            await asyncio.gather(recorder, return_exceptions=True)
            self.threads.stop()

    def wake(self) -> None:
        """Look again now."""
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether this does nothing but wait for the clock, for handlers, or for a call."""
        return not (self._ticking or self._recording or self._ended or self._wake.is_set())

    async def tick(self) -> float:
        """Do all that is due now; the answer is how many seconds may pass until the next tick."""
        await self._keep_alive()
        self._enforce_deadlines()
        if self.clock.monotonic() >= self._forget_full_at:
            # Runs of other processes end without a word to this one.
            self._full_groups.clear()
            self._forget_full_at = self.clock.monotonic() + self.settings.poll
        wake = await self.storage.wake(self.clock.now(), self.owner, sorted(self._full_groups))
        self.last_tick = wake.now
        for run_id in wake.cancels:
            self.cancel(run_id, "cancelled")
        seconds = self.settings.poll
        if wake.at is not None and not self._stopping:
            left = (wake.at - wake.now).total_seconds()
            seconds = min(seconds, left if left > 0 else await self._claim_all())
        await self._prune()
        return max(min(seconds, self._timers() - self.clock.monotonic()), 0.0)

    def _timers(self) -> float:
        """When this process itself has something to do next, by the monotonic clock."""
        timers = [self._prune_at]
        if self.executing:
            timers.append(self._renew_at)
        if self._deadlines:
            timers.append(self._deadlines[0][0])
        return min(timers)

    # --- claiming

    async def _claim_all(self) -> float:
        """Claim and start what is due, as far as there is room; answers as `tick` does."""
        while not self._stopping:
            room = self._room()
            if room <= 0 or len(self._ended) > 2 * self.settings.batch:
                return self.settings.poll  # the end of a run wakes the loop
            planner = Planner(room, self.settings.groups)
            claimed = await self.storage.claim(
                planner.plan,
                self.clock.now(),
                owner=self.owner,
                lease=self._lease,
                limit=min(self.settings.batch, room),
                full_groups=sorted(self._full_groups),
            )
            for run, task_id in claimed.runs:
                self._launch(run, planner.tasks[task_id], task_id)
            self._tell(planner.claim)
            self._full_groups |= planner.full_groups
            if not planner.progress and not planner.full_groups:
                return self.settings.poll
            if not claimed.more:
                break
        return 0.0

    def _tell(self, claim: Claim) -> None:
        """Log and emit what a claim did besides starting runs."""
        for skip in claim.skips:
            logger.info(
                "%d slots of %r did not run (%s): %s to %s",
                skip.count,
                skip.task_name,
                skip.reason,
                skip.first_slot,
                skip.last_slot,
                extra={"task": skip.task_name, "reason": skip.reason.value},
            )
            if self._events.wants(SlotsSkipped):
                self._events.emit(
                    SlotsSkipped(
                        skip.task_name, skip.first_slot, skip.last_slot, skip.count, skip.reason
                    )
                )
        for finish in claim.finishes:
            if finish.reason is Reason.LOST:
                retry_at = None if finish.retry is None else finish.retry.due_at
                logger.warning(
                    "run %d of %r was lost: %s",
                    finish.run_id,
                    finish.task_name,
                    f"next attempt at {retry_at}" if retry_at else "no attempt is left",
                )
                self._events.emit(RunLost(finish.task_name, finish.run_id, retry_at))

    def _room(self) -> int:
        executing = sum(1 for e in self.executing.values() if not e.ended)
        return self.settings.max_concurrency - executing

    # --- executing

    def _launch(self, run: Run, task: Task, task_id: int) -> None:
        config = task.config if run.config is None else json.loads(run.config)
        active = ActiveRun(run, task, config)
        execution = Execution(run, task, task_id, active, self.clock.monotonic())
        self.executing[run.id] = execution
        self._empty.clear()
        if run.started_at is not None and not run.manual and run.attempt == 1:
            self.lateness.append((run.started_at - run.scheduled_for).total_seconds())
        self._renew_at = min(self._renew_at, self.clock.monotonic() + self.settings.lease / 3)
        if task.policies.timeout is not None:
            self._set_deadline(execution, task.policies.timeout, "timeout")
        if self._events.wants(RunStarted):
            self._events.emit(RunStarted(task.name, run))
        execution.work = asyncio.create_task(self._execute(execution))

    async def _execute(self, execution: Execution) -> None:
        try:
            outcome = await perform(self._resolve, execution.active, self.threads)
        except asyncio.CancelledError:
            outcome = execution.stop or Outcome(
                reason=Reason.EXCEPTION,
                message="the handler was cancelled from within",
                error_type="CancelledError",
                error_types=("CancelledError",),
            )
        self._end(execution, outcome)

    def cancel(self, run_id: int, by: str) -> None:
        """Cancel a run that this process executes; silently do nothing when it does not."""
        execution = self.executing.get(run_id)
        if execution is not None:
            self._stop(execution, Outcome(reason=Reason.CANCELLED, message=f"cancelled by {by}"))

    def _stop(self, execution: Execution, outcome: Outcome) -> None:
        """Cancel the handler; the run ends as `outcome`, soon or when the grace is over."""
        if execution.stop is not None or execution.ended:
            return
        execution.stop = outcome
        execution.active.cancel()
        self._set_deadline(execution, self.settings.cancel_grace, "abandon")
        if execution.work is not None:
            execution.work.cancel()

    def _set_deadline(self, execution: Execution, seconds: float, what: str) -> None:
        heappush(self._deadlines, (self.clock.monotonic() + seconds, execution.run.id, what))
        self._wake.set()

    def _enforce_deadlines(self) -> None:
        now = self.clock.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, run_id, what = heappop(self._deadlines)
            execution = self.executing.get(run_id)
            if execution is None or execution.ended:
                continue
            if what == "timeout":
                self._stop(execution, timed_out(execution.task.policies.timeout or 0.0))
            elif execution.stop is not None:
                logger.warning(
                    "run %d of %r ignores its cancellation: recorded without it",
                    run_id,
                    execution.task.name,
                )
                self._end(execution, execution.stop)

    def _end(self, execution: Execution, outcome: Outcome) -> None:
        """Have the end of a run recorded; a second, late one is refused."""
        if execution.ended:
            logger.warning(
                "run %d of %r ended after its end was recorded: refused",
                execution.run.id,
                execution.task.name,
            )
            return
        execution.ended = True
        self._ended.append((self._finish(execution, outcome), execution))
        self._unrecorded.set()

    def _finish(self, execution: Execution, outcome: Outcome) -> Finish:
        run, task = execution.run, execution.task
        assert run.started_at is not None
        took = max(self.clock.monotonic() - execution.started, 0.0)
        finished_at = run.started_at + timedelta(seconds=took)
        duration_ms = int(took * 1000)
        log = execution.active.log_text()
        if outcome.reason is None:
            return runs.succeeded(
                run,
                execution.task_id,
                finished_at=finished_at,
                duration_ms=duration_ms,
                output=outcome.output,
                log=log,
            )
        return runs.failed(
            run,
            execution.task_id,
            outcome.reason,
            outcome.message,
            finished_at=finished_at,
            duration_ms=duration_ms,
            error_type=outcome.error_type,
            traceback=outcome.traceback,
            log=log,
            retry=retry_of(run, task, execution.task_id, outcome, finished_at),
            pause_after=task.policies.pause_after_failures,
        )

    # --- recording

    async def _record_ends(self) -> None:
        failures = 0
        while True:
            await self._unrecorded.wait()
            self._unrecorded.clear()
            while self._ended:
                self._recording = True
                batch = self._ended[: self.settings.batch]
                try:
                    refused = await self.storage.finish(
                        [finish for finish, _ in batch], self.clock.now()
                    )
                    failures = 0
                except Exception:
                    failures += 1
                    seconds = min(0.1 * 2**failures, 5.0)
                    logger.warning(
                        "the ends of %d runs are not recorded yet, trying again in %.1f s",
                        len(batch),
                        seconds,
                        exc_info=True,
                    )
                    await self.clock.sleep(seconds)
                    continue
                finally:
                    self._recording = False
                del self._ended[: len(batch)]
                self._recorded(batch, set(refused))
                self._wake.set()

    def _recorded(self, batch: list[tuple[Finish, Execution | None]], refused: set[int]) -> None:
        for finish, execution in batch:
            if execution is None:
                continue
            del self.executing[finish.run_id]
            run, name = execution.run, finish.task_name
            if run.task_group is not None:
                self._full_groups.discard(run.task_group)
            if finish.run_id in refused:
                logger.warning(
                    "run %d of %r lost its lease: its outcome is not recorded", run.id, name
                )
                self._events.emit(LeaseLost(name, run))
            elif finish.status is Status.SUCCESS:
                if self._events.wants(RunSucceeded):
                    self._events.emit(RunSucceeded(name, run, finish.duration_ms or 0))
            else:
                self._log_failure(run, finish)
        if not self.executing:
            self._empty.set()

    def _log_failure(self, run: Run, finish: Finish) -> None:
        assert finish.reason is not None
        retry_at = None if finish.retry is None else finish.retry.due_at
        logger.log(
            logging.WARNING if retry_at else logging.ERROR,
            "run %d of %r failed (attempt %d, %s): %s%s",
            run.id,
            run.task_name,
            run.attempt,
            finish.reason,
            finish.error_message,
            f"; next attempt at {retry_at:%H:%M:%S} UTC" if retry_at else "",
            extra={"task": run.task_name, "run_id": run.id, "slot": run.slot.isoformat()},
        )
        self._events.emit(
            RunFailed(run.task_name, run, finish.reason, finish.error_message or "", retry_at)
        )

    # --- leases, reports, history

    async def _keep_alive(self) -> None:
        """Renew the leases of this process's runs, and store what they report."""
        now = self.clock.monotonic()
        reports = self._take_reports(now) if now >= self._report_at else []
        if not reports and (now < self._renew_at or not self.executing):
            return
        known = set(self.executing)
        mine = await self.storage.renew(self.owner, self.clock.now(), self._lease, reports)
        self._report_at = now + REPORT_EVERY
        self._renew_at = now + self.settings.lease / 3
        for run in mine:
            if run.id not in known:
                await self._adopt(run)

    def _take_reports(self, now: float) -> list[Report]:
        """What runs have to say that are not over in a moment anyway."""
        found = []
        for execution in self.executing.values():
            if not execution.ended and now - execution.started >= REPORT_EVERY:
                report = execution.active.take_report()
                if report is not None:
                    found.append(Report(execution.run.id, execution.run.epoch, *report))
        return found

    async def _adopt(self, run: Run) -> None:
        """Start a run that was claimed in a transaction whose answer was lost."""
        records = await self.storage.tasks(TaskQuery(names=[run.task_name]))
        try:
            task = decode(records[0])
        except (IndexError, InvalidTask) as error:
            message = f"claimed, but its task cannot be read: {error}"
            task_id = records[0].id if records else 0
            finish = runs.failed(run, task_id, Reason.BROKEN, message, finished_at=self.clock.now())
            self._ended.append((finish, None))
            self._unrecorded.set()
            return
        logger.warning("run %d of %r was claimed unknowingly: starting it", run.id, task.name)
        self._launch(run, task, records[0].id)

    async def _prune(self) -> None:
        """Prune the history of some tasks, of the next ones at the next time."""
        now = self.clock.monotonic()
        if now < self._prune_at:
            return
        self._prune_at = now + self.settings.prune_every
        names = await self.storage.names_with_history(self._pruned_up_to, PRUNED_AT_ONCE)
        if names:
            records = {r.name: r for r in await self.storage.tasks(TaskQuery(names=names))}
            retentions = [self._retention(name, records.get(name)) for name in names]
            if await self.storage.prune(retentions, PRUNED_ROWS) >= PRUNED_ROWS:
                self._prune_at = now + 1.0  # there is more of these
                return
        self._pruned_up_to = names[-1] if len(names) == PRUNED_AT_ONCE else ""

    def _retention(self, name: str, record: TaskRecord | None) -> Retention:
        policies = DEFAULTS if record is None else decode_leniently(record).policies
        keep = self.settings.keep_runs if policies.keep_runs is None else policies.keep_runs
        seconds = self.settings.keep_for if policies.keep_for is None else policies.keep_for
        before = None if seconds is None else self.clock.now() - timedelta(seconds=seconds)
        return Retention(name, keep, before)

    # --- the end

    async def stop(self, grace: float) -> None:
        """Claim nothing more, give the running handlers `grace` seconds, cancel what is left, and
        record the ends of all. What is cancelled so is interrupted, and is retried by policy.

        A second call, while one is under way, cuts the grace short.
        """
        hurry = self._stopping
        self._stopping = True
        self._wake.set()
        if not hurry:
            await self.clock.wait(self._empty, grace)
        for execution in list(self.executing.values()):
            self._stop(execution, INTERRUPTED)
        await self.clock.wait(self._empty, min(self.settings.cancel_grace, STOP_GRACE))
        for execution in list(self.executing.values()):
            if not execution.ended:
                self._end(execution, execution.stop or INTERRUPTED)
        if not await self.clock.wait(self._empty, STOP_GRACE):
            logger.warning(
                "the ends of %d runs could not be recorded: they will count as lost",
                len(self.executing),
            )
        self._done = True
        self._wake.set()
