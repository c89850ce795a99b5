"""What a handler sees, says and returns; and what it may do wrong without hurting anybody."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import logging
import threading
from datetime import UTC, datetime

import pytest
from core_kit import START, Gate, Notes, World, at, story

from cronkit_core import Fail, InvalidTask, Retry, current_run

TEN_MINUTES = {"interval": 600}
logger = logging.getLogger("an.application")
color: contextvars.ContextVar[str] = contextvars.ContextVar("color", default="none")


async def run_once(world: World, handler, **options) -> tuple:
    """Run `handler` once: (the scheduler, the run)."""
    scheduler = await world.scheduler(**options)
    await scheduler.add_task("t", handler, TEN_MINUTES)
    await world.until(600)
    return scheduler, (await scheduler.runs("t"))[0]


# --- what it sees ----------------------------------------------------------------------------


async def test_what_a_handler_sees(world: World) -> None:
    scheduler = await world.scheduler()
    seen = []

    async def handler(run):
        assert current_run() is run
        seen.append(
            {
                "id": run.id,
                "task": run.task.name,
                "config": run.config,
                "slot": run.slot,
                "scheduled_for": run.scheduled_for,
                "started_at": run.started_at,
                "attempt": run.attempt,
                "triggered_by": run.triggered_by.value,
                "last_success_at": run.last_success_at,
                "cancelled": run.cancelled,
            }
        )
        if run.slot == at(1200) and run.attempt == 1:
            raise ValueError("once")

    await scheduler.add_task(
        "t", handler, TEN_MINUTES, {"a": [1, "ü"]}, retry={"max_retries": 1, "base": 1, "jitter": 0}
    )
    await world.until(1300)
    common = {"task": "t", "config": {"a": [1, "ü"]}, "cancelled": False}
    schedule = {**common, "triggered_by": "schedule"}

    def times(slot: float, start: float) -> dict:
        return {"slot": at(slot), "scheduled_for": at(slot), "started_at": at(start)}

    assert seen == [
        {**schedule, **times(600, 600), "id": 1, "attempt": 1, "last_success_at": None},
        {**schedule, **times(1200, 1200), "id": 2, "attempt": 1, "last_success_at": at(600)},
        {**schedule, **times(1200, 1202), "id": 3, "attempt": 2, "last_success_at": at(600)},
    ]
    await scheduler.trigger_task("t", config={"own": True})
    await world.settle()
    assert seen[-1]["config"] == {"own": True}
    assert seen[-1]["triggered_by"] == "manual"
    assert seen[-1]["last_success_at"] == at(1202)


async def test_the_epoch_grows_with_every_claim(world: World) -> None:
    scheduler = await world.scheduler()
    epochs = []

    async def handler(run):
        epochs.append(run.epoch)
        raise ValueError("no")

    await scheduler.add_task("t", handler, TEN_MINUTES, retry={"max_retries": 2, "base": 1})
    await world.until(2000)
    assert len(epochs) == 9
    assert epochs == sorted(set(epochs))


async def test_a_config_is_the_runs_own(world: World) -> None:
    """What a handler does to its config, no other run sees."""
    scheduler = world.idle_scheduler()
    seen = []

    async def spoils(run):
        seen.append(json.dumps(run.config))
        run.config["list"].append("spoilt")

    options = {"overlap": "allow", "catch_up": "all"}
    await scheduler.add_task("t", spoils, TEN_MINUTES, {"list": []}, **options)
    world.clock.advance(1800)
    scheduler.start()
    await world.settle()
    assert seen == ['{"list": []}'] * 3


def test_there_is_no_current_run_outside() -> None:
    with pytest.raises(LookupError, match="no run is executing here"):
        current_run()


async def test_current_run_in_tasks_and_threads_of_the_handler(light_world: World) -> None:
    found = []

    async def child():
        found.append(current_run().id)

    async def handler(run):
        await asyncio.gather(child(), asyncio.create_task(child()))
        found.append(await asyncio.to_thread(lambda: current_run().id))

    scheduler, run = await run_once(light_world, handler)
    await scheduler.wait_for_run(run.id)
    assert found == [run.id] * 3


# --- kinds of handlers -----------------------------------------------------------------------


class Callable:
    async def __call__(self, run):
        return "object"

    async def method(self, run):
        return "method"


class SyncCallable:
    def __call__(self, run):
        return threading.current_thread().name


async def coroutine(run, prefix=""):
    return f"{prefix}coroutine"


def sync(run):
    assert current_run() is run
    return threading.current_thread().name


@pytest.mark.parametrize(
    ("handler", "output"),
    [
        (coroutine, "coroutine"),
        (functools.partial(coroutine, prefix="partial "), "partial coroutine"),
        (functools.partial(functools.partial(Callable())), "object"),
        (Callable(), "object"),
        (Callable().method, "method"),
        (lambda run: coroutine(run), "coroutine"),
        (sync, "cronkit-handler"),
        (SyncCallable(), "cronkit-handler"),
        (functools.partial(sync), "cronkit-handler"),
    ],
)
async def test_kinds_of_handlers(light_world: World, handler, output) -> None:
    _, run = await run_once(light_world, handler)
    assert (run.status, run.error_message, run.output) == ("success", None, json.dumps(output))


def yields(run):
    yield


async def yields_async(run):
    yield


@pytest.mark.parametrize("handler", [yields, yields_async, functools.partial(yields)])
def test_a_generator_is_no_handler(light_world: World, handler) -> None:
    scheduler = light_world.idle_scheduler()
    with pytest.raises(InvalidTask, match="is a generator function, so that calling it runs noth"):
        scheduler.register_handler("t", handler)
    with pytest.raises(InvalidTask, match="is not callable: 5"):
        scheduler.register_handler("t", 5)


async def test_a_missing_handler_is_an_error_that_names_those_that_are(world: World) -> None:
    scheduler = await world.scheduler()
    scheduler.register_handler("one", coroutine)
    scheduler.register_handler("two", coroutine)
    await scheduler.add_task("t", "tow", TEN_MINUTES)
    await world.until(1300)
    assert await story(scheduler, "t") == [(s, 1, "error", "no-handler") for s in (600, 1200)]
    run = (await scheduler.runs("t"))[0]
    assert run.error_message == "Handler not found: tow (registered: one, two)"
    task = await scheduler.get_task("t")
    assert (task.enabled, task.last_status) == (True, "error")
    scheduler.register_handler("tow", coroutine)
    await world.until(1900)
    assert (await scheduler.get_task("t")).last_status == "success"


# --- sync handlers ---------------------------------------------------------------------------


async def test_a_sync_handler_has_the_context_variables(light_world: World) -> None:
    scheduler = light_world.idle_scheduler()
    seen = []

    def handler(run):
        seen.append((color.get(), current_run().task.name, threading.current_thread().name))
        color.set("thread's own")

    await scheduler.add_task("t", handler, TEN_MINUTES)
    color.set("blue")
    scheduler.start()
    await light_world.until(1200)
    assert seen == [("blue", "t", "cronkit-handler")] * 2
    assert color.get() == "blue"


async def test_sync_handlers_have_a_bounded_number_of_threads(light_world: World) -> None:
    scheduler = await light_world.scheduler(threads=3)
    lock = threading.Lock()
    go_on = threading.Event()
    three = threading.Event()
    active = most = 0

    def handler(run):
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
            if active == 3:
                three.set()
        assert go_on.wait(10)
        with lock:
            active -= 1

    for i in range(10):
        await scheduler.add_task(f"t{i}", handler, TEN_MINUTES)
    light_world.clock.advance(600)
    scheduler.wake()
    await asyncio.to_thread(three.wait, 10)
    assert (await scheduler.status()).executing == 10
    go_on.set()
    await light_world.settle()
    assert most == 3
    assert len(await scheduler.runs(statuses=["success"])) == 10


async def test_waiting_for_a_thread_is_no_part_of_a_timeout(light_world: World) -> None:
    scheduler = await light_world.scheduler(threads=1)
    busy, go_on = threading.Event(), threading.Event()

    def first(run):
        busy.set()
        assert go_on.wait(10)

    await scheduler.add_task("first", first, TEN_MINUTES, priority=1)
    await scheduler.add_task("second", lambda run: None, TEN_MINUTES, timeout=5)
    light_world.clock.advance(600)
    scheduler.wake()
    await asyncio.to_thread(busy.wait, 10)
    light_world.clock.advance(60)
    for _ in range(20):
        await asyncio.sleep(0)
    go_on.set()
    await light_world.settle()
    assert [run.status for run in await scheduler.runs()] == ["success", "success"]


async def test_a_sync_handler_that_hangs_is_given_up_and_counted(world: World, caplog) -> None:
    scheduler = await world.scheduler(threads=2, cancel_grace=1)
    hanging, go_on = threading.Event(), threading.Event()
    told = []

    def hangs(run):
        hanging.set()
        assert go_on.wait(10)
        told.append(run.cancelled)
        return "late"

    notes = Notes(world.clock)
    await scheduler.add_task("hangs", hangs, TEN_MINUTES, timeout=5)
    await scheduler.add_task("sync", lambda run: "fine", {"interval": 60})
    await scheduler.add_task("async", notes, {"interval": 60})
    await world.until(590)
    world.clock.advance(10)
    scheduler.wake()
    await asyncio.to_thread(hanging.wait, 10)
    world.clock.advance(5)
    await world.settle()
    assert await story(scheduler, "hangs") == [(600, 1, "error", "timeout")]
    assert (await scheduler.status()).stuck_threads == 1
    # The others go on, sync ones too.
    await world.until(900)
    assert notes.slots[-1] == 900
    assert (await story(scheduler, "sync"))[-1] == (900, 1, "success", None)
    go_on.set()
    while scheduler.engine.threads.busy:
        await asyncio.sleep(0.001)
    assert told == [True]
    assert (await scheduler.status()).stuck_threads == 0
    assert await story(scheduler, "hangs") == [(600, 1, "error", "timeout")]
    assert (await scheduler.runs("hangs"))[0].output is None


async def test_as_many_threads_may_hang_as_may_work(light_world: World) -> None:
    scheduler = await light_world.scheduler(threads=2, cancel_grace=1)
    go_on = threading.Event()
    started = 0

    def hangs(run):
        nonlocal started
        started += 1
        assert go_on.wait(10)

    await scheduler.add_task("hangs", hangs, {"interval": 60}, timeout=5)
    for i in range(1, 5):
        light_world.clock.advance(60 * i - (light_world.clock.now() - START).total_seconds())
        scheduler.wake()
        while started < min(i, 2):
            await asyncio.sleep(0.001)
        light_world.clock.advance(10)
        await light_world.settle()
    assert started == 2
    reasons = [run.reason.value for run in await scheduler.runs("hangs")]
    assert reasons == ["exception", "exception", "timeout", "timeout"]
    message = (await scheduler.runs("hangs"))[0].error_message
    assert message.startswith("no thread for this sync handler: 2 threads hang in handlers")
    go_on.set()
    while scheduler.engine.threads.busy:
        await asyncio.sleep(0.001)
    await light_world.until(300)
    assert (await story(scheduler, "hangs"))[-1] == (300, 1, "success", None)


def raises_cancelled(run):
    raise asyncio.CancelledError


def raises_stop_iteration(run):
    raise StopIteration("nothing")


async def test_odd_errors_of_sync_handlers_leave_no_thread_behind(light_world: World) -> None:
    scheduler = await light_world.scheduler()
    await scheduler.add_task("cancelled", raises_cancelled, TEN_MINUTES)
    await scheduler.add_task("stop", raises_stop_iteration, TEN_MINUTES)
    await light_world.until(600)
    messages = [run.error_message for run in await scheduler.runs()]
    assert sorted(messages) == [
        "the handler raised StopIteration: nothing",
        "the handler was cancelled from within",
    ]
    status = await scheduler.status()
    assert (status.stuck_threads, scheduler.engine.threads.busy) == (0, 0)


# --- what it says ----------------------------------------------------------------------------


async def test_logging_is_captured_in_tasks_and_threads(light_world: World) -> None:
    def thread():
        logger.warning("from a thread")

    async def child():
        logger.error("from a task")

    async def handler(run):
        run.log("by hand")
        logger.warning("from %s", "logging")
        logging.getLogger("cronkit.engine").warning("not the engine's own")
        await asyncio.gather(child(), asyncio.to_thread(thread))

    scheduler = await light_world.scheduler()
    scheduler.register_handler("sync", lambda run: logger.warning("from a sync handler"))
    logger.warning("from nobody")
    # A thread of the handler's own is nothing that the clock waits for. Who executes the run hears
    # of its end, the other scheduler does not while time stands still.
    executor, run = await run_once(light_world, handler)
    run = await executor.wait_for_run(run.id)
    await light_world.settle()
    lines = [line.split(" ", 2)[-1] for line in run.log.splitlines()]
    assert lines[0] == "hand"
    assert set(lines[1:]) == {
        "WARNING an.application: from logging",
        "ERROR an.application: from a task",
        "WARNING an.application: from a thread",
    }
    # Two schedulers are at work, and each line is there once.
    assert len(lines) == 4
    await scheduler.add_task("s", "sync", TEN_MINUTES)
    await scheduler.trigger_task("s")
    await light_world.settle()
    assert (await scheduler.runs("s"))[0].log.endswith(
        "WARNING an.application: from a sync handler"
    )


async def test_a_bad_log_call_is_no_error_of_the_run(light_world: World, monkeypatch) -> None:
    scheduler = await light_world.scheduler()
    root = logging.getLogger()
    # pytest's own handlers raise; this one is to do as the standard library's.
    capture = [
        handler for handler in root.handlers if type(handler).__module__ == "cronkit_core.context"
    ]
    monkeypatch.setattr(root, "handlers", capture)
    monkeypatch.setattr(logging, "raiseExceptions", False)

    async def handler(run):
        logger.warning("bad %d", "arguments")
        logger.warning("good")

    await scheduler.add_task("t", handler, TEN_MINUTES)
    await light_world.until(600)
    run = (await scheduler.runs("t"))[0]
    assert run.status == "success"
    assert run.log.endswith("WARNING an.application: good")
    assert "bad" not in run.log


async def test_the_capture_ends_with_the_last_scheduler(light_world: World) -> None:
    before = list(logging.getLogger().handlers)
    one = await light_world.scheduler()
    two = await light_world.scheduler()
    assert len(logging.getLogger().handlers) == len(before) + 1
    await one.stop()
    assert len(logging.getLogger().handlers) == len(before) + 1
    await two.stop()
    assert logging.getLogger().handlers == before


async def test_the_log_is_bounded_and_the_last_lines_stay(world: World) -> None:
    async def handler(run):
        for i in range(2500):
            run.log(f"line {i} " + "x" * 5000)

    _, run = await run_once(world, handler)
    lines = run.log.splitlines()
    assert lines[0] == "... 1500 earlier lines were dropped"
    assert [line.split()[1] for line in lines[1:]] == [str(i) for i in range(1500, 2500)]
    assert max(map(len, lines)) == 2000


async def test_what_no_storage_can_keep_is_replaced(world: World) -> None:
    async def handler(run):
        run.log("nul \0 and half \ud800 a pair")
        await run.progress(1, 2, "\0\udfff")
        logger.warning("nul \0 and half \ud800 a pair")
        await world.clock.sleep(5)
        raise ValueError("nul \0 and half \ud800")

    scheduler = await world.scheduler(poll=1.0)
    await scheduler.add_task("t", handler, {"interval": 5})
    await world.until(11)
    run = (await scheduler.runs("t"))[-1]
    assert run.log.splitlines()[0] == "nul \ufffd and half ? a pair"
    assert run.log.endswith("nul \ufffd and half ? a pair")
    assert run.error_message == "nul \ufffd and half ?"
    assert json.loads(run.progress)["message"] == "\ufffd?"


async def test_progress_and_log_are_seen_while_it_runs(world: World) -> None:
    scheduler = await world.scheduler()
    other = world.idle_scheduler()

    async def handler(run):
        for i in range(1, 5):
            await run.progress(i, 4, f"step {i}")
            run.log(f"step {i}")
            await world.clock.sleep(10)

    await scheduler.add_task("t", handler, TEN_MINUTES)
    await world.until(600)
    scheduler.wake()
    for seconds, step in ((605, 1), (615, 2), (625, 3)):
        await world.until(seconds)
        scheduler.wake()
        await world.settle()
        run = (await other.runs("t"))[0]
        assert json.loads(run.progress) == {"done": step, "total": 4, "message": f"step {step}"}
        assert run.log.splitlines()[-1] == f"step {step}"
    await world.until(640)
    run = (await other.runs("t"))[0]
    assert (run.status, run.log.splitlines()[-1]) == ("success", "step 4")
    assert json.loads(run.progress) == {"done": 4, "total": 4, "message": "step 4"}


@pytest.mark.parametrize("fails", [False, True])
async def test_the_last_progress_is_kept_however_soon_the_handler_ends(
    world: World, fails: bool
) -> None:
    async def handler(run):
        await run.progress(1, 3)
        await run.progress(2, 3, "two")
        if fails:
            raise ValueError

    _, run = await run_once(world, handler)
    assert run.status == ("error" if fails else "success")
    assert json.loads(run.progress) == {"done": 2, "total": 3, "message": "two"}


async def test_progress_of_sync_handlers_and_bad_numbers(light_world: World) -> None:
    def handler(run):
        run.set_progress(0.5)
        for bad in (float("nan"), float("inf")):
            with pytest.raises(ValueError, match="of a progress: a finite number"):
                run.set_progress(bad)
        with pytest.raises(ValueError, match="bad total inf of a progress"):
            run.set_progress(1, float("inf"))
        with pytest.raises(TypeError):
            run.set_progress("half")

    _, run = await run_once(light_world, handler)
    assert (run.status, run.error_message) == ("success", None)


# --- what it returns -------------------------------------------------------------------------


class Hostile:
    def __repr__(self):
        raise RuntimeError("no repr")


class HostileDict(dict):
    def items(self):
        raise RuntimeError("no items")


@pytest.mark.parametrize(
    ("value", "output"),
    [
        (None, None),
        (0, "0"),
        (False, "false"),
        ("", '""'),
        ({"a": [1, "ü", None]}, '{"a": [1, "ü", null]}'),
        ("nul \0", '"nul \\ufffd"'),
        ("no nul \\u0000", '"no nul \\\\u0000"'),
        ({1, 2}, None),
        (float("nan"), None),
        (b"bytes", None),
        ("half \ud800", None),
        (Hostile(), None),
        (HostileDict(a=1), None),
        (datetime(2027, 1, 1, tzinfo=UTC), None),
    ],
)
async def test_output(world: World, value, output) -> None:
    async def handler(run):
        return value

    _, run = await run_once(world, handler)
    assert (run.status, run.output) == ("success", output)
    if output is None and value is not None:
        assert run.log.startswith("the handler's return value was not kept, since it is not JSON")


async def test_a_long_output_is_cut_and_still_json(world: World) -> None:
    async def handler(run):
        return ['"\\' * 10] * 10_000

    _, run = await run_once(world, handler)
    assert len(run.output) < 200_000
    assert len(json.loads(run.output)["truncated"]) == 32_000
    assert "only a part is kept" in run.log


# --- what it does wrong ----------------------------------------------------------------------


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no message")


async def raises_within_a_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(raises(ValueError("in a group")))


async def raises(error):
    raise error


async def cancels_itself():
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


WRONG = [
    (lambda: raises(ValueError("plain")), "ValueError", "plain"),
    (lambda: raises(ValueError()), "ValueError", "ValueError"),
    (lambda: raises(SystemExit(3)), "SystemExit", "3"),
    (lambda: raises(KeyboardInterrupt()), "KeyboardInterrupt", "KeyboardInterrupt"),
    (lambda: raises(GeneratorExit()), "GeneratorExit", "GeneratorExit"),
    (lambda: raises(BaseException("base")), "BaseException", "base"),
    (
        lambda: raises(Unprintable()),
        "Unprintable",
        "(its message cannot be made: RuntimeError)",
    ),
    (lambda: raises(Fail("over")), "Fail", "over"),
    (lambda: raises(Retry(after=5)), "Retry", "the handler asked for a retry"),
    (
        raises_within_a_group,
        "ExceptionGroup",
        "unhandled errors in a TaskGroup (1 sub-exception)",
    ),
    (cancels_itself, "CancelledError", "the handler was cancelled from within"),
    (lambda: raises(asyncio.CancelledError()), "CancelledError", "the handler was cancelled from"),
    (lambda: raises(ValueError("x" * 100_000)), "ValueError", "x" * 10_000 + "..."),
]


@pytest.mark.parametrize(
    ("wrong", "kind", "message"), WRONG, ids=[f"{r[1]}-{r[2][:20]}" for r in WRONG]
)
async def test_whatever_a_handler_raises_is_an_error_of_its_run(
    light_world: World, wrong, kind, message
) -> None:
    scheduler = await light_world.scheduler()
    notes = Notes(light_world.clock)

    async def handler(run):
        await wrong()

    await scheduler.add_task("wrong", handler, TEN_MINUTES)
    await scheduler.add_task("right", notes, TEN_MINUTES)
    await light_world.until(1200)
    assert notes.slots == [600, 1200]
    runs = await scheduler.runs("wrong")
    assert len(runs) == 2
    assert (runs[0].reason.value, runs[0].error_type) == ("exception", kind)
    assert runs[0].error_message.startswith(message)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), BaseException("base")])
async def test_a_sync_handler_may_raise_anything_too(light_world: World, error) -> None:
    scheduler = await light_world.scheduler()

    def handler(run):
        raise error

    await scheduler.add_task("wrong", handler, TEN_MINUTES)
    await light_world.until(1200)
    assert await story(scheduler, "wrong") == [
        (600, 1, "error", "exception"),
        (1200, 1, "error", "exception"),
    ]


async def test_a_traceback_keeps_its_end(light_world: World) -> None:
    def deep(n):
        if n == 0:
            raise ValueError("x" * 50_000)
        raise_ = deep
        raise_(n - 1)

    async def handler(run):
        try:
            deep(3)
        except ValueError as error:
            raise RuntimeError("y" * 50_000) from error

    _, run = await run_once(light_world, handler)
    assert len(run.error_traceback) < 65_000
    assert run.error_traceback.startswith("...")
    assert run.error_traceback.rstrip().endswith("y" * 100)


async def test_a_resolver_that_raises_is_an_error_of_the_run(light_world: World, caplog) -> None:
    scheduler = light_world.idle_scheduler()
    scheduler.resolve = lambda name: 1 / 0
    scheduler.start()
    await scheduler.add_task("t", "handler", TEN_MINUTES)
    await light_world.until(600)
    run = (await scheduler.runs("t"))[0]
    assert (run.error_type, run.error_message) == ("ZeroDivisionError", "division by zero")
    assert "run 1 of 't' could not be executed" in caplog.text


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf")])
def test_a_bad_wish_for_a_retry(after) -> None:
    with pytest.raises(ValueError, match=r"bad after .*: seconds, 0 or more"):
        Retry(after=after)


async def test_a_wish_beyond_any_calendar(light_world: World) -> None:
    async def handler(run):
        raise Retry(after=1e300)

    scheduler = await light_world.scheduler()
    await scheduler.add_task("t", handler, TEN_MINUTES, retry={"max_retries": 1})
    await light_world.until(600)
    assert await story(scheduler, "t") == [
        (600, 1, "error", "exception"),
        (600, 2, "pending", None),
    ]


async def test_a_slow_handler_delays_nobody(light_world: World) -> None:
    scheduler = await light_world.scheduler()
    gate, notes = Gate(), Notes(light_world.clock)
    await scheduler.add_task("slow", gate, {"interval": 60})
    await scheduler.add_task("quick", notes, {"interval": 60})
    await light_world.until(600)
    assert notes.runs == [(60.0 * i, 60.0 * i, 1) for i in range(1, 11)]
    gate.open.set()
