"""Everything that happens between a slot and its outcome.

One loop reads when there is next something to do, claims what is due, starts it, renews leases, and
sleeps until the earliest of all reasons to wake. Beside it, one task enforces limits of time and
another records the ends of runs, so that neither waits for the other.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from . import runs
from .announcer import Announcer, lateness
from .clock import Clock
from .definition import decode
from .errors import InvalidTask
from .events import Events
from .executions import Execution, Executions, no_span
from .executor import Resolve
from .outcome import INTERRUPTED, LEASE_LOST, cancelled
from .planner import Planner
from .pruner import Pruner
from .recorder import Recorder, ends_this_task
from .runs import Finish, Reason, Run, Status
from .storage.base import PAUSED_BY_FAILURES, Report, RunQuery, Storage, TaskQuery
from .tasks import Task
from .telemetry import Telemetry
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


# Seconds.
REPORT_EVERY = 1.0
LONGEST_BACKOFF = 5.0
PRUNE_ON_AFTER = 1.0
RESTART_AFTER = 0.1
STOP_GRACE = 2.0


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
        telemetry: Telemetry | None = None,
    ) -> None:
        self.storage = storage
        self.clock = clock
        self.owner = owner
        self.settings = settings
        self.threads = Threads(settings.threads)
        self.executions = Executions(
            clock,
            resolve,
            self.threads,
            settings.cancel_grace,
            self._ended,
            no_span if telemetry is None else telemetry.span,
        )
        self.turn = asyncio.Lock()
        """Held while runs are claimed, or their ends recorded."""
        self.recorder = Recorder(storage, clock, settings.batch, self._recorded, self.turn)
        self.lateness: deque[float] = deque(maxlen=1_000)
        """Seconds between when a slot should have started and when it did: the last 1,000 that were
        not pending before, as queued runs and retries are. A wait for room counts."""
        self.last_tick: datetime | None = None
        self.running = False
        """Whether `run` has begun."""
        self.finished = asyncio.Event()
        """Set when `run` is over."""
        self._announcer = Announcer(events, telemetry)
        self._telemetry = telemetry
        self._pruner = Pruner(storage, clock, settings.keep_runs, settings.keep_for)
        self._lease = timedelta(seconds=settings.lease)
        self._wake = asyncio.Event()
        self._resting = asyncio.Event()
        """Set while no tick is under way."""
        self._resting.set()
        self._stopping = False
        self._done = False
        self._full_groups: set[str] = set()
        """Groups that had no room for another run when last looked at."""
        self._due_by = math.inf
        """When something is due, as the storage said last, by the monotonic clock."""
        self._look_again_at = 0.0
        """When what is full is looked at again."""
        self._in_doubt = False
        """Whether a claim failed: it may have been committed all the same."""
        self._nothing_done = False
        """Whether the last claim found nothing that it could do."""
        self._renew_at = 0.0
        self._renew_when = datetime.min.replace(tzinfo=UTC)
        """When to renew leases by the wall clock, which may jump; `_renew_at`: by the monotonic."""
        self._restarting = 0
        """How many of its helpers wait to be started anew."""
        self._report_at = 0.0
        self._prune_at = 0.0
        self._paused: dict[int, datetime | None] = {}
        """When the failures of a task disabled it, for those of which that was told and other runs
        are under way here."""

    # --- the loop

    async def run(self) -> None:
        """Work until `stop` has been called and is done."""
        self.running = True
        self.storage.subscribe(self.wake)
        helpers = [
            asyncio.create_task(self._keep(work), name=f"cronkit-{name}")
            for name, work in (("recorder", self.recorder.run), ("watch", self.executions.watch))
        ]
        failures = 0
        try:
            while not self._done:
                self._wake.clear()
                self._resting.clear()
                try:
                    seconds = await self.tick()
                    failures = 0
                except (Exception, asyncio.CancelledError) as error:
                    if ends_this_task(error):
                        raise
                    failures += 1
                    seconds = min(0.1 * 2**failures, LONGEST_BACKOFF)
                    logger.warning("tick failed, trying again in %.1f s", seconds, exc_info=True)
                    if not self._stopping:
                        self._wake.clear()
                finally:
                    self._resting.set()
                await self.clock.wait(self._wake, seconds)
        finally:
            for work in [*helpers, *self.executions.works()]:
                work.cancel()
            self.threads.stop()
            try:
                await asyncio.gather(*helpers, return_exceptions=True)
            finally:  # a stop that lost its patience may cancel even this
                self.finished.set()

    async def _keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Have `work` go on, whatever ends it."""
        while True:
            try:
                await work()
            except (Exception, asyncio.CancelledError) as error:
                if ends_this_task(error):
                    raise
                logger.exception("a part of the scheduler ended, starting it anew")
            self._restarting += 1
            await self.clock.sleep(RESTART_AFTER)
            self._restarting -= 1

    def wake(self) -> None:
        """Look again now."""
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether this does nothing but wait for the clock, for handlers, or for a call."""
        if not self.running or self.finished.is_set():
            return True
        return (
            self._resting.is_set()
            and not self._wake.is_set()
            and (self._restarting > 0 or (self.recorder.idle and self.executions.idle))
            and self.threads.busy == self.threads.stuck
        )

    async def tick(self) -> float:
        """Do all that is due now; the answer is how many seconds may pass until the next tick."""
        await self._keep_alive()
        now = self.clock.monotonic()
        if now >= self._look_again_at:
            # Runs of other processes end without a word to this one.
            self._full_groups.clear()
        if now >= self._due_by and not self._stopping and not self._full:
            # It was asked before the wait, and need not be asked again before what is due starts.
            self._due_by = math.inf
            self.last_tick = self.clock.now()
            seconds = await self._claim_all()
        else:
            seconds = await self._look()
        if now >= self._prune_at and not self._stopping:
            self._prune_at = now + self.settings.prune_every
            if await self._pruner.prune_some():
                self._prune_at = now + PRUNE_ON_AFTER
        if self._telemetry is not None and self._telemetry.wants_counts:
            self._telemetry.counted(await self.storage.counts())
        return max(min(seconds, self._timers() - self.clock.monotonic()), 0.0)

    async def _look(self) -> float:
        """Ask the storage when there is something to do, and do it when that is now; answers as
        `tick` does."""
        wake = await self.storage.wake(self.clock.now(), self.owner, sorted(self._full_groups))
        self.last_tick = wake.now
        await self._cancel_asked(wake.cancels)
        self._due_by = math.inf
        if self._stopping:
            return self.settings.poll
        left = math.inf if wake.at is None else (wake.at - wake.now).total_seconds()
        if left <= 0:
            return await self._claim_all()
        self._nothing_done = False
        self._due_by = self.clock.monotonic() + left
        return min(self.settings.poll, left)

    def _timers(self) -> float:
        """When this process itself has something to do next, by the monotonic clock."""
        prune_at = math.inf if self._stopping else self._prune_at
        return min(prune_at, self._renew_at) if self.executions.all else prune_at

    async def _cancel_asked(self, run_ids: Sequence[int]) -> None:
        """Cancel the runs of this process that somebody wants cancelled."""
        mine = [i for i in run_ids if (e := self.executions.all.get(i)) and e.stop is None]
        if mine:
            for run in await self.storage.runs(RunQuery(ids=mine, limit=len(mine))):
                by = run.cancel_requested_by or "request"
                self.executions.cancel(run.id, cancelled(by))

    # --- claiming

    @property
    def _full(self) -> bool:
        """Whether this process is to claim nothing for now."""
        if len(self.recorder.waiting) > 2 * self.settings.batch:
            return True
        room = self.settings.max_concurrency - self.executions.active
        return room <= 0 and self.clock.monotonic() < self._look_again_at

    async def _claim_all(self) -> float:
        """Claim and start what is due, as far as there is room, and as long as nothing else has to
        be done; answers as `tick` does."""
        look_by = self.clock.monotonic() + self.settings.poll
        while not self._stopping:
            if self._full:
                return self.settings.poll  # when a run ends, or its end is recorded, the loop wakes
            room = self.settings.max_concurrency - self.executions.active
            if room <= 0:
                # Nothing can start, but slots that are skipped, or cancel a run, need no room.
                self._look_again_at = self.clock.monotonic() + self.settings.poll
            if not await self._take_turn(min(look_by, self._timers())):
                return 0.0
            planner = Planner(room, self.settings.groups, self.executions.all)
            try:
                if self._stopping:  # the turn may have been long in coming
                    break
                self._in_doubt = True
                asked, wall = self.clock.monotonic(), self.clock.now()
                claimed = await self.storage.claim(
                    planner.plan,
                    wall,
                    owner=self.owner,
                    lease=self._lease,
                    limit=min(self.settings.batch, room) if room > 0 else self.settings.batch,
                    full_groups=sorted(self._full_groups),
                )
            finally:
                self.turn.release()
            waited = {owed.run.id for owed in planner.claim.resumes}
            if not self.executions.all:
                # The leases begin with the claim, whose answer may have been long in coming; with
                # other runs under way, theirs run out first.
                self._renew_at = asked + self.settings.lease / 3
                self._renew_when = wall + self._lease / 3
            for run, task_id in claimed.runs:
                self._start(run, planner.tasks[task_id], task_id, waited=run.id in waited)
            self._in_doubt = False
            self._announcer.claimed(planner.claim)
            await self._tell_paused(planner.claim.finishes, planner.enabled)
            if planner.own_expired:
                self._renew_at = 0.0
            if planner.full_groups - self._full_groups:
                self._full_groups |= planner.full_groups
                self._look_again_at = self.clock.monotonic() + self.settings.poll
            elif not planner.progress:
                # Another process was faster: then it is to be asked anew what comes next. Or what
                # is due cannot be had yet, and asking again at once would go on and on.
                self._nothing_done = not self._nothing_done
                return 0.0 if self._nothing_done else self.settings.poll
            self._nothing_done = False
            if not claimed.more or self.clock.monotonic() >= min(look_by, self._timers()):
                break
        return 0.0

    async def _take_turn(self, by: float) -> bool:
        """Wait for the turn, but not longer than to `by` on the monotonic clock: who has it waits
        for the storage, which may take longer than leases last. Returns whether it is taken."""
        if not self.turn.locked():
            return await self.turn.acquire()
        taking, taken = asyncio.create_task(self.turn.acquire()), asyncio.Event()
        taking.add_done_callback(lambda _: taken.set())
        try:
            await self.clock.wait(taken, max(by - self.clock.monotonic(), 0.0))
        except BaseException:
            if _succeeded(taking):
                self.turn.release()
            raise
        finally:
            taking.cancel()
        return _succeeded(taking)

    def _start(self, run: Run, task: Task, task_id: int, *, waited: bool = False) -> None:
        # A run that was pending, such as a queued one, had something to wait for.
        late = None if waited else lateness(run)
        if late is not None:
            self.lateness.append(late)
        self._announcer.started(run, late)
        self.executions.start(run, task, task_id)

    # --- ends

    def _ended(self, finish: Finish, execution: Execution) -> None:
        self.recorder.add(finish)

    async def _recorded(self, finishes: Sequence[Finish], refused: set[int]) -> None:
        """The storage has taken the ends of runs, except for those that it refused."""
        known = self.executions.all
        # One that is not known could not be adopted.
        ended = [(known[f.run_id], f) for f in finishes if f.run_id in known]
        try:
            for execution, finish in ended:
                if finish.run_id in refused:
                    self._announcer.refused(execution.run)
                else:
                    self._announcer.ended(execution.run, finish)
            enabled = {execution.task_id for execution, _ in ended if execution.task.enabled}
            await self._tell_paused([f for f in finishes if f.run_id not in refused], enabled)
        finally:  # whatever is raised while it is told, the runs are over
            for execution, _ in ended:
                self.executions.forget(execution.run.id)
                if execution.run.task_group is not None:
                    self._full_groups.discard(execution.run.task_group)
            if self._paused:
                active = {execution.task_id for execution in self.executions.all.values()}
                self._paused = {i: at for i, at in self._paused.items() if i in active}
            self._wake.set()

    async def _tell_paused(self, finishes: Iterable[Finish], enabled: Container[int]) -> None:
        """Announce the tasks that these ends have disabled; `enabled` are those that were not so
        before."""
        suspects = {
            f.task_name: f.task_id
            for f in finishes
            if f.pause_after is not None
            and f.counts
            and f.status is Status.ERROR
            and f.retry is None
            and f.task_id in enabled
        }
        if not suspects:
            return
        query = TaskQuery(names=list(suspects), limit=None, enabled=False)
        try:
            records = await self.storage.tasks(query)
        except (Exception, asyncio.CancelledError) as error:
            if ends_this_task(error):
                raise
            logger.warning(
                "whether failures have disabled %r is not known", list(suspects), exc_info=True
            )
            return
        for record in records:
            news = record.id not in self._paused or self._paused[record.id] != record.paused_at
            if record.paused_by == PAUSED_BY_FAILURES and news:
                self._paused[record.id] = record.paused_at
                self._announcer.paused(record)

    # --- leases and reports

    async def _keep_alive(self) -> None:
        """Renew the leases of this process's runs, and store what they report."""
        now, wall = self.clock.monotonic(), self.clock.now()
        reports = []
        if now >= self._report_at:
            reports = self._reports(now)
            self._report_at = now + REPORT_EVERY
        due = now >= self._renew_at or wall >= self._renew_when
        if not (reports or self._in_doubt or (due and self.executions.all)):
            return
        known = dict(self.executions.all)
        mine = await self.storage.renew(self.owner, wall, self._lease, reports)
        self._renew_at = now + self.settings.lease / 3
        self._renew_when = wall + self._lease / 3
        for report in reports:
            known[report.run_id].active.reported()
        kept = {run.id: (run, task_id) for run, task_id in sorted(mine, key=lambda m: m[0].id)}
        for run_id in known:
            if run_id not in kept:
                self.executions.cancel(run_id, LEASE_LOST)
        self._in_doubt = not kept.keys() <= known.keys()  # until all of them are adopted
        for run_id, (run, task_id) in kept.items():
            if run_id not in known:
                await self._adopt(run, task_id)
        self._in_doubt = False

    def _reports(self, now: float) -> list[Report]:
        """What runs have to say that are not over in a moment anyway."""
        return [
            Report(execution.run.id, execution.run.epoch, *report)
            for execution in self.executions.all.values()
            if not execution.ended
            and now - execution.began >= REPORT_EVERY
            and (report := execution.active.report()) is not None
        ]

    async def _adopt(self, run: Run, task_id: int) -> None:
        """Start a run that was claimed in a transaction whose answer was lost."""
        named = await self.storage.tasks(TaskQuery(names=[run.task_name]))
        records = [record for record in named if record.id == task_id]
        try:
            task = decode(records[0])
        except (IndexError, InvalidTask) as error:
            # One of that name that was made anew is another task.
            reason = error if records else "it was removed"
            message = f"claimed, but its task cannot be read: {reason}"
            self.recorder.add(
                runs.failed(run, task_id, Reason.BROKEN, message, finished_at=self.clock.now())
            )
            return
        logger.warning("run %d of %r was claimed unknowingly: starting it", run.id, task.name)
        self._start(run, task, task_id)

    # --- the end

    async def stop(self, grace: float) -> None:
        """Claim nothing more, give the running handlers `grace` seconds, cancel what is left, and
        record the ends of all. What is cancelled so is interrupted, and is retried by policy.

        A second call, while one is under way, cuts the grace short.
        """
        if self.finished.is_set():
            return
        hurry = self._stopping
        self._stopping = True
        self._wake.set()
        # A claim that is under way, or whose answer was lost, brings its runs before anything else.
        if self._in_doubt:
            self._resting.clear()
        await self.clock.wait(self._resting, STOP_GRACE if hurry else max(grace, STOP_GRACE))
        if not hurry:
            await self.clock.wait(self.executions.empty, grace)
        self.executions.cancel_all(INTERRUPTED)
        await self.clock.wait(self.executions.empty, min(self.settings.cancel_grace, STOP_GRACE))
        self.executions.abandon_all()
        if not await self.clock.wait(self.executions.empty, STOP_GRACE):
            logger.warning(
                "the ends of %d runs could not be recorded: they will count as lost",
                len(self.executions.all),
            )
        self._done = True
        self._wake.set()


def _succeeded(task: asyncio.Task[bool]) -> bool:
    """Whether it is over, and nobody has cancelled it, as the end of the event loop does."""
    return task.done() and not task.cancelled()
