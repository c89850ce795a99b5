"""The scheduler that people use: tasks and their handlers, over a storage and an engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from . import changes
from .changes import Definition
from .clock import Clock, SystemClock
from .context import CaptureHandler
from .definition import check_config, check_name, decode_leniently, unknown
from .engine import Engine, Settings
from .errors import (
    Conflict,
    HandlerNotFound,
    InvalidTask,
    RunNotFound,
    TaskActive,
    TaskNotFound,
)
from .events import (
    E,
    Events,
    TaskAdded,
    TaskDisabled,
    TaskEnabled,
    TaskRemoved,
    TaskTriggered,
    TaskUpdated,
)
from .executor import Handler
from .explain import Explanation, explain
from .policy import MICROSECOND
from .runs import LiveRun, NewRun, Run, Status, Trigger, live_run
from .schedules.base import instant
from .storage.base import RunQuery, SkipQuery, Storage, TaskQuery, TaskWrite
from .storage.memory import MemoryStorage
from .tasks import Overlap, Task, TaskRecord, actual

logger = logging.getLogger("cronkit.scheduler")
F = TypeVar("F", bound=Callable[..., Any])

SAVED_AT_ONCE = 500
ATTEMPTS = 50
BACKFILL_LIMIT = 10_000
LIVE = (Status.PENDING, Status.RUNNING)


@dataclass(frozen=True, slots=True)
class SchedulerStatus:
    """How a scheduler is doing. Times are seconds."""

    owner: str
    """The name of this process in the leases of its runs."""
    running: bool
    """Whether the loop of this process is at work."""
    executing: int
    """How many runs this process executes."""
    stuck_threads: int
    """Threads whose handler was given up and has not returned."""
    last_tick: datetime | None
    lateness_p50: float | None
    """How late the last thousand slots started in this process: median; None before the first."""
    lateness_p99: float | None
    tasks: int
    """How many tasks the storage has."""
    pending_runs: int
    """Retries, queued and triggered runs in the storage that have not started."""
    running_runs: int
    """Runs in the storage that some process executes."""


class Scheduler:
    """Runs handlers on schedules, for as long as it is started.

        scheduler = Scheduler(SQLiteStorage("jobs.db"))

        @scheduler.task("*/5 * * * *", timezone="Europe/Berlin")
        async def refresh(run): ...

        async with scheduler:
            await scheduler.trigger_task("refresh")

    Several schedulers, in one process or in many, may share a storage: each slot is claimed by one.
    Without a storage, everything is kept in memory. The options beside `clock`, `name` and
    `shutdown_grace` (seconds that running handlers have at a stop) are those of `Settings`.
    """

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        clock: Clock | None = None,
        name: str | None = None,
        shutdown_grace: float = 10.0,
        **settings: Any,
    ) -> None:
        self.storage: Storage = MemoryStorage() if storage is None else storage
        self.clock: Clock = SystemClock() if clock is None else clock
        self.events = Events()
        self.owner = owner_name(name)
        self.shutdown_grace = shutdown_grace
        self.settings = make_settings(settings)
        self._handlers: dict[str, Handler] = {}
        self._declared: list[dict[str, Any]] = []
        self._engine: Engine | None = None
        self._work: asyncio.Task[None] | None = None
        self._opened = False
        self._opening = asyncio.Lock()
        self._capture: CaptureHandler | None = None

    # --- handlers

    def register_handler(self, name: str, handler: Handler) -> None:
        """Let tasks name `handler`, a sync or async function of one argument, the run."""
        if not callable(handler):
            raise InvalidTask(f"handler {name!r} is not callable: {handler!r}")
        self._handlers[check_name(name, "handler")] = handler

    def get_handler(self, name: str) -> Handler | None:
        """The handler with that name, or None."""
        return self._handlers.get(name)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The registered handlers by name."""
        return self._handlers

    def resolve(self, name: str) -> Handler:
        """The handler with that name. Raises HandlerNotFound, with the names that there are."""
        handler = self.get_handler(name)
        if handler is None:
            raise HandlerNotFound(name, self.handlers)
        return handler

    def task(
        self, schedule: object, *, name: str | None = None, **options: Any
    ) -> Callable[[F], F]:
        """Declare the decorated function as a task of its own name, or of `name`.

        The task is added, or updated, when the scheduler opens; the options are those of
        `add_task`. What is wrong with them is raised here.
        """

        def declare(function: F) -> F:
            task_name = getattr(function, "__name__", None) if name is None else name
            changes.define(self.clock.now(), task_name, task_name, schedule, **options)
            self.register_handler(str(task_name), function)
            self._declared.append(
                {"name": task_name, "handler": task_name, "schedule": schedule, **options}
            )
            return function

        return declare

    # --- lifecycle

    async def open(self) -> None:
        """Open the storage and add the declared tasks. `start` does it too, but in the background;
        here, errors are raised."""
        async with self._opening:
            if not self._opened:
                await self.storage.open()
                self._opened = True
            if self._declared:
                await self._add(self._declared)
                self._declared.clear()

    def start(self) -> None:
        """Begin to run tasks, in the background. Silently do nothing when that is under way."""
        if self._work is None or self._work.done():
            self._engine = Engine(
                self.storage, self.resolve, self.clock, self.events, self.owner, self.settings
            )
            self._work = asyncio.get_running_loop().create_task(
                self._run(self._engine), name="cronkit-scheduler"
            )

    async def _run(self, engine: Engine) -> None:
        failures = 0
        while True:
            try:
                await self.open()
                break
            except Exception:
                failures += 1
                seconds = min(0.1 * 2**failures, 10.0)
                logger.exception("the storage cannot be opened, trying again in %g s", seconds)
                await self.clock.sleep(seconds)
        self._capture = CaptureHandler()
        logging.getLogger().addHandler(self._capture)
        try:
            await engine.run()
        finally:
            logging.getLogger().removeHandler(self._capture)

    async def stop(self, grace: float | None = None) -> None:
        """Stop claiming, let running handlers end within `grace` seconds (else
        `shutdown_grace`), cancel the rest, and close the storage.

        A second call, while one is under way, cuts the grace short. Runs that were cancelled are
        recorded as interrupted, and retried by their policy.
        """
        engine, work = self._engine, self._work
        if engine is not None and work is not None and not work.done():
            if self._opened:
                await engine.stop(self.shutdown_grace if grace is None else grace)
            else:
                work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        await self.events.drain()
        async with self._opening:
            if self._opened:
                self._opened = False
                await self.storage.close()

    async def __aenter__(self) -> Self:
        await self.open()
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def serve_forever(self) -> None:
        """Run until SIGINT or SIGTERM; a second signal cuts the shutdown's grace short."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        signals = 0
        stopping: set[asyncio.Task[None]] = set()

        def stop() -> None:
            nonlocal signals
            signals += 1
            stopped.set()
            if signals > 1:
                stopping.add(loop.create_task(self.stop(0)))

        await self.open()
        self.start()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        try:
            await stopped.wait()
            logger.info("stopping")
            await self.stop()
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def wake(self) -> None:
        """Have the loop look for due work now."""
        if self._engine is not None:
            self._engine.wake()

    @property
    def engine(self) -> Engine | None:
        """The engine of this process, once started."""
        return self._engine

    # --- tasks

    async def add_task(
        self,
        name: str,
        handler: str | Handler,
        schedule: object,
        config: Mapping[str, Any] | None = None,
        timezone: str | None = None,
        **policies: Any,
    ) -> Task:
        """Create the task, or make it as described when it exists: safe at every start.

        `schedule` is what `parse_schedule` takes; `timezone` an IANA name (default UTC); `policies`
        the fields of `Policies`. A task that exists stays enabled or disabled as it is, and keeps
        its next slot when the schedule is the same; when it changed, the earlier one of that and
        the new schedule's first slot is next. Raises InvalidTask and InvalidSchedule, with nothing
        stored.
        """
        wish = {
            "name": name,
            "handler": handler,
            "schedule": schedule,
            "config": config,
            "timezone": timezone,
            **policies,
        }
        return (await self._opened_then_add([wish]))[0]

    async def add_tasks(self, tasks: Iterable[Mapping[str, Any]]) -> list[Task]:
        """`add_task` for many: dicts of its arguments. All are checked before one is stored; they
        are stored 500 in a transaction."""
        return await self._opened_then_add(list(tasks))

    async def _opened_then_add(self, wishes: Sequence[Mapping[str, Any]]) -> list[Task]:
        await self.open()
        return await self._add(wishes)

    async def _add(self, wishes: Sequence[Mapping[str, Any]]) -> list[Task]:
        now = self.clock.now()
        definitions: dict[str, Definition] = {}
        for wish in wishes:
            definition = changes.define(now, **self._with_handler_name(wish))
            if definition.name in definitions:
                raise InvalidTask(f"task name {definition.name!r} comes twice")
            definitions[definition.name] = definition
        names = list(definitions)
        tasks: list[Task] = []
        for i in range(0, len(names), SAVED_AT_ONCE):
            some = names[i : i + SAVED_AT_ONCE]
            saved = await self._save(
                some,
                lambda name, old: changes.save(old, definitions[name], now, keep_earlier=True),
            )
            tasks += [decode_leniently(saved[name]) for name in some]
        self.wake()
        return tasks

    def _with_handler_name(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        known = {"name", "handler", "schedule"}
        if missing := known - wish.keys():
            raise InvalidTask(f"a task needs {', '.join(sorted(missing))}: {dict(wish)!r:.80}")
        handler = wish["handler"]
        if callable(handler):
            self.register_handler(wish["name"], handler)
            return {**wish, "handler": wish["name"]}
        return dict(wish)

    async def update_task(self, name: str, **changed: Any) -> Task:
        """Change what `changed` names: any argument of `add_task`, and `enabled`.

        A new schedule or zone takes effect with its first slot after now. Raises TaskNotFound,
        InvalidTask and InvalidSchedule, with nothing stored.
        """
        await self.open()
        now = self.clock.now()
        enabled = changed.pop("enabled", None)
        if callable(changed.get("handler")):
            self.register_handler(name, changed["handler"])
            changed["handler"] = name

        def write(name: str, old: TaskRecord | None) -> TaskWrite | None:
            if old is None:
                raise TaskNotFound(name)
            wish = changes.redefine(old, changed)
            return changes.save(old, wish, now, keep_earlier=False)

        saved = await self._save([name], write)
        if enabled is not None:
            await (self.enable_task(name) if enabled else self.disable_task(name))
            return await self.get_task(name)
        self.wake()
        return decode_leniently(saved[name])

    async def remove_task(self, name: str, *, cancel: bool = True) -> bool:
        """Delete the task; its history stays until it is pruned.

        An active run is cancelled, or with `cancel=False` left to end. Returns whether there was
        such a task.
        """
        await self.open()
        removed = await self.storage.remove_tasks([name], self.clock.now(), cancel=cancel)
        if removed:
            self.events.emit(TaskRemoved(name))
        self.wake()
        return bool(removed)

    async def enable_task(self, name: str) -> None:
        """Let the task go on, with its first slot after now. The slots that passed meanwhile are
        recorded as disabled. Raises TaskNotFound."""

        def write(name: str, old: TaskRecord | None) -> TaskWrite | None:
            if old is None:
                raise TaskNotFound(name)
            return changes.enable(old, self.clock.now())

        await self.open()
        await self._save([name], write)
        self.wake()

    async def disable_task(
        self, name: str, *, note: str | None = None, by: str | None = None
    ) -> None:
        """Pause the task, and keep why and who. A running run goes on; pending ones that nobody
        triggered by hand end as cancelled. Raises TaskNotFound."""

        def write(name: str, old: TaskRecord | None) -> TaskWrite | None:
            if old is None:
                raise TaskNotFound(name)
            return changes.disable(old, self.clock.now(), note, by)

        await self.open()
        await self._save([name], write)

    async def _save(
        self, names: Sequence[str], write: Callable[[str, TaskRecord | None], TaskWrite | None]
    ) -> dict[str, TaskRecord]:
        """Read the tasks, make the writes, and write them on condition that nothing changed in
        between; else do it again for those that did."""
        saved: dict[str, TaskRecord] = {}
        left = list(names)
        for _ in range(ATTEMPTS):
            old = {r.name: r for r in await self.storage.tasks(TaskQuery(names=left, limit=None))}
            made = {name: write(name, old.get(name)) for name in left}
            writes = [w for w in made.values() if w is not None]
            refused = []
            if writes:
                refused = await self.storage.save_tasks(writes, self.clock.now())
            for name in set(left) - set(refused):
                if (w := made[name]) is None:
                    saved[name] = old[name]
                else:
                    saved[name] = w.record
                    self._tell_saved(old.get(name), w.record)
            if not refused:
                return saved
            left = refused
        raise Conflict(f"tasks {left!r:.200} were changed by others again and again: try later")

    def _tell_saved(self, old: TaskRecord | None, new: TaskRecord) -> None:
        if old is None:
            self.events.emit(TaskAdded(new.name))
        elif old.enabled != new.enabled:
            self.events.emit(
                TaskEnabled(new.name)
                if new.enabled
                else TaskDisabled(new.name, new.paused_by, new.paused_note)
            )
        else:
            self.events.emit(TaskUpdated(new.name))

    # --- runs

    async def trigger_task(
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        force: bool = False,
        by: str | None = None,
    ) -> int:
        """Run the task now, out of schedule, even when it is disabled. Returns the id of the run.

        `config` replaces the task's for this run. The overlap policy counts: an active "skip" task
        raises TaskActive; a "queue" one gets one waiting run (whose id is returned again while it
        waits); "cancel" cancels the active run first. `force` runs it all the same. Raises
        TaskNotFound and HandlerNotFound.
        """
        await self.open()
        own_config = None if config is None else check_config(config)
        for _ in range(ATTEMPTS):
            record = await self._record(name)
            self.resolve(record.handler)
            live = await self._live_runs(name)
            policies = decode_leniently(record).policies
            overlap = Overlap.ALLOW if force or not live else policies.overlap
            if overlap is Overlap.SKIP:
                raise TaskActive(name, live[-1].id)
            waiting = [r for r in live if r.waiting and r.triggered_by is Trigger.MANUAL]
            if overlap is Overlap.QUEUE and waiting:
                return waiting[-1].id
            now = self.clock.now()
            new = NewRun(
                task_id=record.id,
                task_name=name,
                slot=now,
                attempt=1,
                triggered_by=Trigger.MANUAL,
                scheduled_for=now,
                due_at=now if overlap is Overlap.ALLOW else None,
                config=own_config,
                task_group=record.task_group,
                priority=record.priority,
            )
            cancels = [run.id for run in live] if overlap is Overlap.CANCEL else []
            ids = await self.storage.enqueue([new], now, revision=record.revision, cancels=cancels)
            if ids:
                self.wake()
                logger.info("task %r was triggered%s", name, f" by {by}" if by else "")
                self.events.emit(TaskTriggered(name, ids[0]))
                return ids[0]
        raise Conflict(f"task {name!r} was changed by others again and again: try later")

    async def cancel_run(self, run_id: int, *, by: str = "request") -> bool:
        """Cancel a run that is pending or running, in whatever process; its slot is not retried.

        Returns False when the run has ended already. Raises RunNotFound.
        """
        await self.open()
        run = await self.storage.cancel(run_id, self.clock.now(), by)
        if run is None:
            raise RunNotFound(run_id)
        self.wake()
        return run.status in LIVE

    async def backfill(
        self, name: str, start: datetime, end: datetime, *, overlap: str | None = None
    ) -> list[int]:
        """Run the slots from `start` to `end`, both included, that have passed and have no run.

        One after the other; with overlap="allow" (the default where it is the task's policy) as
        many at once as there is room for. Returns the ids of the runs. Raises TaskNotFound, and
        InvalidTask for more than 10,000 slots.
        """
        await self.open()
        start, end = instant(start, "start"), instant(end, "end")
        if overlap not in (None, "skip", "queue", "allow"):
            raise InvalidTask(f"bad overlap {overlap!r} of a backfill: skip, queue, allow")
        record = await self._record(name)
        task = decode_leniently(record)
        if task.schedule is None:
            raise InvalidTask(f"task {name!r} is broken: {task.broken}")
        self.resolve(record.handler)
        now = self.clock.now()
        # From the next slot on, slots are the schedule's own to run.
        bound = now if record.next_slot is None else min(now, record.next_slot - MICROSECOND)
        end = min(end, bound)
        count = task.schedule.count_between(start - MICROSECOND, end) if start <= end else 0
        if count > BACKFILL_LIMIT:
            raise InvalidTask(
                f"backfill of {name!r} from {start} to {end} names {count} slots: "
                f"at most {BACKFILL_LIMIT} at once"
            )
        parallel = (overlap or task.policies.overlap) == "allow"
        new = [
            NewRun(
                task_id=record.id,
                task_name=name,
                slot=slot,
                attempt=1,
                triggered_by=Trigger.BACKFILL,
                scheduled_for=actual(task, slot),
                due_at=now if parallel else None,
                task_group=record.task_group,
                priority=record.priority,
            )
            for slot in (task.schedule.between(start - MICROSECOND, end) if count else ())
        ]
        ids: list[int] = []
        for i in range(0, len(new), SAVED_AT_ONCE):
            ids += await self._enqueue(name, record.id, new[i : i + SAVED_AT_ONCE])
        self.wake()
        return ids

    async def _enqueue(self, name: str, task_id: int, new: Sequence[NewRun]) -> list[int]:
        for _ in range(ATTEMPTS):
            record = await self._record(name)
            if record.id != task_id:
                raise TaskNotFound(name)
            ids = await self.storage.enqueue(new, self.clock.now(), revision=record.revision)
            if ids is not None:
                return ids
        raise Conflict(f"task {name!r} was changed by others again and again: try later")

    # --- looking

    async def get_task(self, name: str) -> Task:
        """The task with that name. Raises TaskNotFound."""
        await self.open()
        return decode_leniently(await self._record(name))

    async def tasks(self, query: TaskQuery | None = None) -> list[Task]:
        """The tasks that fit, by name; all of them without a query."""
        await self.open()
        records = await self.storage.tasks(query or TaskQuery(limit=None))
        return [decode_leniently(record) for record in records]

    async def runs(self, name: str | None = None, **query: Any) -> list[Run]:
        """Runs, newest first: of the task `name`, or of all. `query` are fields of RunQuery."""
        await self.open()
        return await self.storage.runs(RunQuery(task_name=name, **query))

    async def get_run(self, run_id: int) -> Run:
        """The run with that id. Raises RunNotFound."""
        await self.open()
        found = await self.storage.runs(RunQuery(ids=[run_id]))
        if not found:
            raise RunNotFound(run_id)
        return found[0]

    async def explain(self, name: str, at: datetime) -> Explanation:
        """Why the task did, or did not, run at the instant `at`. Raises TaskNotFound."""
        await self.open()
        at = instant(at, "at")
        task = decode_leniently(await self._record(name))
        runs = await self.storage.runs(RunQuery(task_name=name, since=at, until=at))
        skips = await self.storage.skips(SkipQuery(name, since=at, until=at))
        attempts = [run for run in runs if not run.manual]
        return explain(task, at, attempts, skips, self.clock.now())

    async def status(self) -> SchedulerStatus:
        """How this scheduler and its storage are doing."""
        await self.open()
        counts = await self.storage.counts()
        engine = self._engine
        late = sorted(engine.lateness) if engine is not None else []
        return SchedulerStatus(
            owner=self.owner,
            running=self._work is not None and not self._work.done(),
            executing=0 if engine is None else len(engine.executing),
            stuck_threads=0 if engine is None else engine.threads.stuck,
            last_tick=None if engine is None else engine.last_tick,
            lateness_p50=late[len(late) // 2] if late else None,
            lateness_p99=late[len(late) * 99 // 100] if late else None,
            tasks=counts["tasks"],
            pending_runs=counts["pending"],
            running_runs=counts["running"],
        )

    def on(self, kind: type[E], callback: Callable[[E], Any]) -> Callable[[], None]:
        """Call `callback`, sync or async, with each event of that kind; `Event` stands for all.

        Returns a function that ends this.
        """
        return self.events.on(kind, callback)

    async def _record(self, name: str) -> TaskRecord:
        records = await self.storage.tasks(TaskQuery(names=[name]))
        if not records:
            raise TaskNotFound(name)
        return records[0]

    async def _live_runs(self, name: str) -> list[LiveRun]:
        live = await self.storage.runs(RunQuery(task_name=name, statuses=LIVE, limit=1_000))
        return [live_run(run) for run in reversed(live)]


def owner_name(name: str | None) -> str:
    """A name for this process in leases: unique, and telling to people."""
    return f"{name or socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def make_settings(options: Mapping[str, Any]) -> Settings:
    """Settings from keyword arguments. Raises InvalidTask for one that does not exist or fit."""
    defaults = Settings()
    known = {field.name for field in fields(Settings)}
    for key, value in options.items():
        if key not in known:
            raise InvalidTask(unknown("option of the scheduler", key, known))
        if key in ("keep_runs", "keep_for") and value is None:
            continue
        if key == "groups":
            for group, limit in dict(value).items():
                if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
                    raise InvalidTask(f"bad limit {limit!r} of group {group!r}: 1 or more")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise InvalidTask(f"bad {key} {value!r}: a number above 0")
        elif isinstance(getattr(defaults, key), int) and not isinstance(value, int):
            raise InvalidTask(f"bad {key} {value!r}: a whole number")
    return replace(defaults, **options)
