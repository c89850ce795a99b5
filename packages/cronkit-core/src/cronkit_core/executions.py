"""The runs that this process executes: started, stopped, limited in time, until their end is
recorded."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from heapq import heapify, heappop, heappush

from . import runs
from .clock import Clock
from .context import ActiveRun
from .executor import Resolve, failure, perform
from .outcome import FROM_WITHIN, Outcome, timed_out
from .planner import retry_of
from .runs import Finish, Reason, Run
from .tasks import Task
from .threads import Threads

logger = logging.getLogger("cronkit.engine")


@dataclass(slots=True, eq=False)
class Execution:
    """A run that this process executes, or whose end it has yet to record."""

    run: Run
    task: Task
    task_id: int
    active: ActiveRun
    began: float
    """When it was started here, by the monotonic clock."""
    work: asyncio.Task[None] | None = None
    stop: Outcome | None = None
    """What to record when the handler ends because it was cancelled."""
    ended: bool = False


Span = Callable[[Run, Task], AbstractContextManager[Callable[[Outcome], None]]]
"""Around each handler; what it gives is told of the outcome."""


def no_span(run: Run, task: Task) -> AbstractContextManager[Callable[[Outcome], None]]:
    """Watches nothing."""
    return nullcontext(_say_nothing)


def _say_nothing(outcome: Outcome) -> None:
    pass


class Executions:
    """Executes runs. `ended` is called once for each, with its Finish.

    `cancel_grace` is how many seconds a cancelled handler may take to end before its run ends
    without it.
    """

    def __init__(
        self,
        clock: Clock,
        resolve: Resolve,
        threads: Threads,
        cancel_grace: float,
        ended: Callable[[Finish, Execution], None],
        span: Span = no_span,
    ) -> None:
        self.all: dict[int, Execution] = {}
        """By the id of the run, until its end is recorded."""
        self.active = 0
        """How many of them have not ended."""
        self.empty = asyncio.Event()
        """Set while there are none."""
        self.empty.set()
        self.abandoned: set[asyncio.Task[None]] = set()
        """Handlers that ignore their cancellation."""
        self._clock = clock
        self._resolve = resolve
        self._threads = threads
        self._cancel_grace = cancel_grace
        self._on_end = ended
        self._span = span
        self._deadlines: list[tuple[float, int, str]] = []
        self._sooner = asyncio.Event()

    def start(self, run: Run, task: Task, task_id: int) -> None:
        """Execute `run`, from now on."""
        # A handler may change what it is given: nobody else is to see that.
        config, broken = deepcopy(task.config) if task.config else {}, None
        if run.config is not None:
            try:
                config = json.loads(run.config)
            except (ValueError, RecursionError) as error:
                broken = f"the run's own config cannot be read: {error}"
        active = ActiveRun(run, task, config)
        execution = Execution(run, task, task_id, active, self._clock.monotonic())
        self.all[run.id] = execution
        self.active += 1
        self.empty.clear()
        if broken is None:
            execution.work = asyncio.create_task(self._execute(execution))
            execution.work.add_done_callback(functools.partial(self._over, execution))
        else:
            self._end(execution, Outcome(reason=Reason.BROKEN, message=broken))

    def forget(self, run_id: int) -> None:
        """The end of the run is recorded."""
        del self.all[run_id]
        if not self.all:
            self.empty.set()

    def works(self) -> list[asyncio.Task[None]]:
        """The handlers at work, those that were given up included."""
        return [*(e.work for e in self.all.values() if e.work is not None), *self.abandoned]

    async def _execute(self, execution: Execution) -> None:
        run, task = execution.run, execution.task

        def started() -> None:
            if task.policies.timeout is not None:
                self._set_deadline(execution, task.policies.timeout, "timeout")

        with self._span(run, task) as tell:
            try:
                outcome = await perform(self._resolve, execution.active, self._threads, started)
            except asyncio.CancelledError:
                outcome = FROM_WITHIN
            except Exception as error:
                logger.exception("run %d of %r could not be executed", run.id, task.name)
                outcome = failure(error)
            outcome = _settled(execution.stop, outcome)
            tell(outcome)
        self._end(execution, outcome)

    def _over(self, execution: Execution, work: asyncio.Task[None]) -> None:
        """The task of an execution is done. Cancelled before its first step, it has said nothing;
        and what surrounds the handler, such as somebody's tracing, may have raised."""
        error = None if work.cancelled() else work.exception()
        if error is not None:
            logger.error(
                "run %d of %r could not be executed",
                execution.run.id,
                execution.task.name,
                exc_info=error,
            )
        if not execution.ended:
            outcome = FROM_WITHIN if error is None else failure(error)
            self._end(execution, _settled(execution.stop, outcome))

    # --- stopping

    def cancel(self, run_id: int, outcome: Outcome) -> None:
        """Cancel the handler of a run, which is to end as `outcome`; silently do nothing when it
        is not executed here."""
        execution = self.all.get(run_id)
        if execution is not None:
            self._stop(execution, outcome)

    def cancel_all(self, outcome: Outcome) -> None:
        for execution in list(self.all.values()):
            self._stop(execution, outcome)

    def abandon_all(self) -> None:
        """End without their handlers the runs that were cancelled and go on."""
        for execution in list(self.all.values()):
            self._abandon(execution)

    def _stop(self, execution: Execution, outcome: Outcome) -> None:
        if execution.stop is not None or execution.ended:
            return
        execution.stop = outcome
        execution.active.cancel()
        self._set_deadline(execution, self._cancel_grace, "abandon")
        if execution.work is not None:
            execution.work.cancel()

    def _abandon(self, execution: Execution) -> None:
        if execution.stop is None or execution.ended:
            return
        logger.warning(
            "run %d of %r ignores its cancellation: recorded without it",
            execution.run.id,
            execution.task.name,
        )
        if execution.work is not None:
            self.abandoned.add(execution.work)
            execution.work.add_done_callback(self.abandoned.discard)
        self._end(execution, execution.stop)

    def _end(self, execution: Execution, outcome: Outcome) -> None:
        """Hand over the end of a run; a second, late one is refused."""
        if execution.ended:
            logger.warning(
                "run %d of %r ended after its end was recorded: refused",
                execution.run.id,
                execution.task.name,
            )
            return
        execution.ended = True
        self.active -= 1
        took = max(self._clock.monotonic() - execution.began, 0.0)
        self._on_end(_finish(execution, outcome, took), execution)

    # --- limits of time

    async def watch(self) -> None:
        """Enforce time-outs and graces, whatever the storage does."""
        while True:
            self._sooner.clear()
            now = self._clock.monotonic()
            while self._deadlines and self._deadlines[0][0] <= now:
                _, run_id, what = heappop(self._deadlines)
                execution = self.all.get(run_id)
                if execution is None:
                    continue
                if what == "timeout":
                    self._stop(execution, timed_out(execution.task.policies.timeout or 0.0))
                else:
                    self._abandon(execution)
            seconds = self._deadlines[0][0] - now if self._deadlines else None
            await self._clock.wait(self._sooner, seconds)

    @property
    def idle(self) -> bool:
        """Whether `watch` waits for the clock."""
        return not self._sooner.is_set()

    def _set_deadline(self, execution: Execution, seconds: float, what: str) -> None:
        entry = (self._clock.monotonic() + seconds, execution.run.id, what)
        if len(self._deadlines) > 1_000 + 2 * len(self.all):
            self._deadlines = [d for d in self._deadlines if d[1] in self.all]
            heapify(self._deadlines)
        heappush(self._deadlines, entry)
        if self._deadlines[0] is entry:
            self._sooner.set()


def _settled(stop: Outcome | None, outcome: Outcome) -> Outcome:
    """How a run ended whose handler was to stop as `stop`, and ended as `outcome`.

    A handler that brought its work to an end while the scheduler was stopping has done it. But one
    that took too long did so even if it swallowed its cancellation.
    """
    if stop is None or (outcome.reason is None and stop.reason is Reason.INTERRUPTED):
        return outcome
    return replace(stop, traceback=outcome.traceback)


def _finish(execution: Execution, outcome: Outcome, took: float) -> Finish:
    """What to record of an execution that ended as `outcome` after `took` seconds."""
    run, task = execution.run, execution.task
    assert run.started_at is not None
    finished_at = run.started_at + timedelta(seconds=took)
    duration_ms = int(took * 1000)
    progress, log = execution.active.report() or (None, None)  # None: the storage has it
    if outcome.reason is None:
        return runs.succeeded(
            run,
            execution.task_id,
            finished_at=finished_at,
            duration_ms=duration_ms,
            output=outcome.output,
            log=log,
            progress=progress,
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
        progress=progress,
        retry=retry_of(run, task, execution.task_id, outcome, finished_at),
        pause_after=task.policies.pause_after_failures,
    )
