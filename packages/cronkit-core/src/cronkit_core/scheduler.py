"""The scheduler that people use: tasks and their handlers, over a storage and an engine."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from . import changes
from .clock import Clock, SystemClock
from .context import captured_logging
from .definition import check_integer, check_name, check_seconds, unknown
from .engine import STOP_GRACE, Engine, Settings
from .errors import InvalidTask
from .events import E, Events
from .run_operations import RunOperations
from .schedules._spec import shown
from .storage.base import Storage
from .storage.memory import MemoryStorage
from .telemetry import make_telemetry

logger = logging.getLogger("cronkit.scheduler")
F = TypeVar("F", bound=Callable[..., Any])

MOST = 10**9
"""The highest that a whole number in the settings may be."""


@dataclass(frozen=True, slots=True)
class SchedulerStatus:
    """How a scheduler is doing. Times are seconds."""

    owner: str
    """The name of this process in the leases of its runs."""
    running: bool
    """Whether the loop of this process is at work."""
    executing: int
    """How many runs this process executes: those that ended are left out."""
    stuck_threads: int
    """Threads whose handler was given up and has not returned."""
    last_tick: datetime | None
    """When the loop of this process last looked for due work (UTC); None before the first time."""
    lateness_p50: float | None
    """How late the last thousand slots started in this process: median; None before the first. A
    run that was pending before, as a queued one or a retry, is left out; a wait for room counts."""
    lateness_p99: float | None
    """Of the same, how late all but the latest hundredth were."""
    tasks: int
    """How many tasks the storage has."""
    pending_runs: int
    """Retries, queued and triggered runs in the storage that have not started."""
    pending_retries: int
    """How many of them are a further attempt at a slot."""
    queued_runs: int
    """How many of them wait for other runs of their task to end."""
    running_runs: int
    """Runs in the storage that some process executes."""


class Scheduler(RunOperations):
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
        super().__init__()
        self.storage: Storage = MemoryStorage() if storage is None else _checked(storage)
        self.clock: Clock = SystemClock() if clock is None else clock
        self.events = Events()
        self.name = socket.gethostname() if name is None else check_name(name, "scheduler name")
        self.owner = new_owner(self.name)
        """The name of this process in the leases of its runs, since it was last started."""
        self.shutdown_grace = check_seconds("shutdown_grace", shutdown_grace)
        self.settings = make_settings(settings)
        self.poll = self.settings.poll
        self._declared: dict[str, dict[str, Any]] = {}
        self._engine: Engine | None = None
        self._work: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._starting = False
        self._opened: asyncio.Task[None] | None = None
        self._declaring = asyncio.Lock()

    def task(
        self, schedule: object, *, name: str | None = None, **options: Any
    ) -> Callable[[F], F]:
        """Declare the decorated function as a task of its own name, or of `name`.

        The task is added, or updated, when the scheduler opens; the options are those of
        `add_task`. What is wrong with them is raised here.
        """

        def declare(function: F) -> F:
            task_name = getattr(function, "__name__", None) if name is None else name
            wish = changes.define(self.clock.now(), task_name, task_name, schedule, **options)
            if wish.name in self._declared:
                raise InvalidTask(f"task {wish.name!r} is declared twice: give one another name")
            self.register_handler(wish.name, function)
            self._declared[wish.name] = {
                "name": wish.name,
                "handler": wish.name,
                "schedule": schedule,
                **options,
            }
            return function

        return declare

    # --- lifecycle

    async def open(self) -> None:
        """Open the storage and add the declared tasks. `start` does it too, but in the background;
        here, errors are raised."""
        if self._opened is None or _has_failed(self._opened):
            self._opened = asyncio.get_running_loop().create_task(self.storage.open())
        if not self._opened.done() or _has_failed(self._opened):
            # Who waits for it may give up; nothing is to be left half open.
            await asyncio.shield(self._opened)
        if self._declared:
            async with self._declaring:
                await self._add(list(self._declared.values()))
                self._declared.clear()

    def start(self) -> None:
        """Begin to run tasks, in the background. Silently do nothing when that is under way."""
        if self._work is None or self._work.done():
            # A new name, so that the runs of an earlier start count as another process's.
            self.owner = new_owner(self.name)
            self._engine = Engine(
                self.storage,
                self.resolve,
                self.clock,
                self.events,
                self.owner,
                self.settings,
                make_telemetry(),
            )
            self._starting = True
            self._work = asyncio.get_running_loop().create_task(
                self._run(self._engine), name="cronkit-scheduler"
            )

    async def _run(self, engine: Engine) -> None:
        failures = 0
        try:
            while True:
                try:
                    await self.open()
                    break
                except Exception:
                    failures += 1
                    seconds = min(0.1 * 2**failures, 10.0)
                    logger.exception("the storage cannot be opened, trying again in %g s", seconds)
                    self._starting = False
                    await self.clock.sleep(seconds)
                    self._starting = True
        finally:
            self._starting = False
        with captured_logging():
            await engine.run()

    async def stop(self, grace: float | None = None) -> None:
        """Stop claiming, let running handlers end within `grace` seconds (else
        `shutdown_grace`), cancel the rest, and close the storage.

        A second call, while one is under way, cuts the grace short. Runs that were cancelled are
        recorded as interrupted, and retried by their policy. A caller that is cancelled meanwhile,
        such as a handler that stops its own scheduler, does not stop the stopping.
        """
        if self._stopping is None or self._stopping.done():
            grace = self.shutdown_grace if grace is None else grace
            self._stopping = asyncio.get_running_loop().create_task(
                self._stop(grace), name="cronkit-stop"
            )
        elif self._engine is not None:
            await self._engine.stop(0)
        await asyncio.shield(self._stopping)

    async def _stop(self, grace: float) -> None:
        over = asyncio.Event()
        self.clock.wind_up(over, lambda: self.idle)
        try:
            await self._stop_engine(grace)
            await self.events.drain(self.clock, STOP_GRACE)
        finally:
            over.set()
        await self._close()

    async def _stop_engine(self, grace: float) -> None:
        engine, work = self._engine, self._work
        if engine is None or work is None or work.done():
            return
        if engine.running:
            await engine.stop(grace)
        if not engine.running or not await self.clock.wait(engine.finished, STOP_GRACE):
            work.cancel()  # it waits for a storage that does not answer
        await asyncio.wait([work])
        if self.failure is not None:
            logger.error("the scheduler's loop had ended", exc_info=self.failure)

    async def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        done = asyncio.Event()
        opened.add_done_callback(lambda _: done.set())
        if not await self.clock.wait(done, STOP_GRACE):
            opened.cancel()
        elif not _has_failed(opened):
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
        """Run until SIGINT or SIGTERM, then stop; a second signal cuts the shutdown's grace short.

        When this is cancelled, the scheduler stops too. Signals reach the main thread alone: in
        another one, this runs until it is cancelled.
        """
        loop = asyncio.get_running_loop()
        signalled = asyncio.Event()
        hurries: list[asyncio.Task[None]] = []

        def stop() -> None:
            if signalled.is_set():
                hurries.append(loop.create_task(self.stop(0)))
            signalled.set()

        await self.open()
        with _signals(stop):
            self.start()
            try:
                await signalled.wait()
                logger.info("stopping")
            finally:
                await self.stop()
                await asyncio.gather(*hurries)

    def wake(self) -> None:
        """Have the loop look for due work now."""
        if self._engine is not None:
            self._engine.wake()

    def in_turn(self) -> AbstractAsyncContextManager[Any]:
        """While this is held, this process's loop claims and records nothing."""
        return nullcontext() if self._engine is None else self._engine.turn

    @property
    def idle(self) -> bool:
        """Whether this does nothing but wait for the clock, for handlers, or for a call."""
        return not self._starting and (self._engine is None or self._engine.idle)

    @property
    def failure(self) -> BaseException | None:
        """What ended the loop of this process, or None while it works or when it was stopped."""
        work = self._work
        return work.exception() if work and work.done() and not work.cancelled() else None

    @property
    def engine(self) -> Engine | None:
        """The engine of this process, once started."""
        return self._engine

    async def status(self) -> SchedulerStatus:
        """How this scheduler and its storage are doing."""
        await self.open()
        counts = await self.storage.counts()
        engine = self._engine
        late = sorted(engine.lateness) if engine is not None else []
        return SchedulerStatus(
            owner=self.owner,
            running=self._work is not None and not self._work.done(),
            executing=0 if engine is None else engine.executions.active,
            stuck_threads=0 if engine is None else engine.threads.stuck,
            last_tick=None if engine is None else engine.last_tick,
            lateness_p50=late[len(late) // 2] if late else None,
            lateness_p99=late[len(late) * 99 // 100] if late else None,
            tasks=counts["tasks"],
            pending_runs=counts["pending"],
            pending_retries=counts["retries"],
            queued_runs=counts["queued"],
            running_runs=counts["running"],
        )

    def on(self, kind: type[E], callback: Callable[[E], Any]) -> Callable[[], None]:
        """Call `callback`, sync or async, with each event of that kind; `Event` stands for all.

        Returns a function that ends this.
        """
        return self.events.on(kind, callback)


def _checked(storage: Storage) -> Storage:
    """Raises InvalidTask for what is no storage, such as the path of one."""
    given: object = storage
    if isinstance(given, str) and given.startswith(("postgres://", "postgresql://")):
        raise InvalidTask("bad storage, a string: give PostgresStorage('postgresql://...')")
    if isinstance(given, str | os.PathLike):
        raise InvalidTask(f"bad storage {shown(given)}: give SQLiteStorage({os.fspath(given)!r})")
    if isinstance(given, type) or not callable(getattr(given, "claim", None)):
        raise InvalidTask(f"bad storage {shown(given)}: an object such as SQLiteStorage('jobs.db')")
    return storage


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in the event loop at each SIGINT and SIGTERM, in the thread that gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        for number in numbers:
            loop.add_signal_handler(number, stop)
    except NotImplementedError:  # on Windows
        before = {
            number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
            for number in numbers
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _has_failed(work: asyncio.Task[None]) -> bool:
    return work.done() and (work.cancelled() or work.exception() is not None)


def new_owner(name: str) -> str:
    """A name for a started scheduler in leases: unique, and telling to people."""
    return f"{name}:{os.getpid()}:{secrets.token_hex(4)}"


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
            _check_groups(value)
        elif isinstance(getattr(defaults, key), int):
            check_integer(key, value, 1, MOST)
        elif check_seconds(key, value) == 0:
            raise InvalidTask(f"bad {key} {value!r}: more than 0 seconds")
    return replace(defaults, **options)


def _check_groups(groups: object) -> None:
    if not isinstance(groups, Mapping):
        raise InvalidTask(f"bad groups {groups!r}: a dict of limits by the groups' names")
    for group, limit in groups.items():
        check_name(group, "group")
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise InvalidTask(f"bad limit {limit!r} of group {group!r}: 1 or more")
