"""What is said of what happens: events, log lines, and OpenTelemetry."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys

import pytest
from core_kit import Gate, Notes, World, at, dies, story

from cronkit_core import (
    Event,
    RunFailed,
    RunLost,
    RunStarted,
    RunSucceeded,
    SlotsMissed,
    SlotsSkipped,
    TaskAdded,
    TaskDisabled,
    TaskUpdated,
)
from cronkit_core.telemetry import Telemetry, make_telemetry

MINUTE = {"interval": 60}


async def nothing(run):
    """A handler."""


def kinds(events) -> list[str]:
    return [type(event).__name__ for event in events]


# --- each event where it should be -----------------------------------------------------------


async def test_the_life_of_a_task_and_its_runs(world: World) -> None:
    scheduler = await world.scheduler()
    events = []
    scheduler.on(Event, events.append)

    async def fails(run):
        if run.attempt == 1:
            raise ValueError("once")

    await scheduler.add_task(
        "t", fails, MINUTE, retry={"max_retries": 1, "backoff": "constant", "base": 1, "jitter": 0}
    )
    await scheduler.add_task("t", fails, MINUTE, timeout=5)
    await scheduler.add_task("t", fails, MINUTE, timeout=5)  # nothing changes
    await scheduler.update_task(
        "t", retry={"max_retries": 1, "backoff": "constant", "base": 1, "jitter": 0}
    )
    await world.until(62)
    await scheduler.disable_task("t", note="why", by="ana")
    await scheduler.disable_task("t", note="why", by="ana")  # nothing changes
    await scheduler.enable_task("t")
    run_id = await scheduler.trigger_task("t")
    await world.until(64)
    await scheduler.remove_task("t")
    await scheduler.remove_task("t")  # there is none
    assert kinds(events) == [
        "TaskAdded",
        "TaskUpdated",
        "TaskUpdated",
        "RunStarted",
        "RunFailed",
        "RunStarted",
        "RunSucceeded",
        "TaskDisabled",
        "TaskEnabled",
        "TaskTriggered",
        "RunStarted",
        "RunFailed",
        "RunStarted",
        "RunSucceeded",
        "TaskRemoved",
    ]
    assert {event.task_name for event in events} == {"t"}
    failed = events[4]
    assert isinstance(failed, RunFailed)
    assert (failed.run.slot, failed.reason, failed.message) == (at(60), "exception", "once")
    assert failed.retry_at == at(61)
    disabled = events[7]
    assert isinstance(disabled, TaskDisabled)
    assert (disabled.by, disabled.note) == ("ana", "why")
    assert events[9].run_id == run_id
    assert isinstance(events[6], RunSucceeded)
    assert events[6].duration_ms == 0


async def test_slots_that_do_not_run(world: World) -> None:
    away = world.idle_scheduler()
    await away.add_task("t", "h", MINUTE)
    world.clock.advance(610)
    scheduler = world.idle_scheduler()
    gate = Gate()
    scheduler.register_handler("h", gate)
    missed, skips = [], []
    scheduler.on(SlotsMissed, missed.append)
    scheduler.on(SlotsSkipped, skips.append)
    scheduler.start()
    await world.until(670)
    assert [(e.first_slot, e.last_slot, e.count, e.reason) for e in missed] == [
        (at(60), at(540), 9, "missed")
    ]
    assert [(e.first_slot, e.last_slot, e.count, e.reason) for e in skips] == [
        (at(60), at(540), 9, "missed"),
        (at(660), at(660), 1, "overlap"),
    ]


async def test_a_task_that_its_failures_disable_says_so_once(world: World, caplog) -> None:
    scheduler = await world.scheduler()
    events = []
    scheduler.on(TaskDisabled, events.append)

    async def fails(run):
        raise ValueError("no")

    options = {"pause_after_failures": 2, "overlap": "allow"}
    for name in ("a", "b"):
        await scheduler.add_task(name, fails, MINUTE, **options)
    await world.until(500)
    assert [(e.task_name, e.by, e.note) for e in events] == [
        ("a", "pause_after_failures", "2 slots failed in a row"),
        ("b", "pause_after_failures", "2 slots failed in a row"),
    ]
    assert "task 'a' is disabled: 2 slots failed in a row" in caplog.text
    # A trigger by hand that fails disables nothing.
    await scheduler.trigger_task("a")
    await world.settle()
    assert len(events) == 2
    # And a second pause is a second event.
    await scheduler.enable_task("a")
    await world.until(800)
    assert [e.task_name for e in events] == ["a", "b", "a"]


async def test_runs_that_fail_after_the_pause_are_no_news(world: World) -> None:
    scheduler = await world.scheduler()
    events = []
    scheduler.on(TaskDisabled, events.append)

    async def fails(run):
        await world.clock.sleep(90)
        raise ValueError("no")

    await scheduler.add_task("t", fails, MINUTE, overlap="allow", pause_after_failures=1)
    await world.until(1000)
    # The first failed at 150, when the second was under way; that one failed at 210.
    assert len(await scheduler.runs("t", statuses=["error"])) == 2
    assert len(events) == 1
    # Nor is what fails in another process, triggered by hand.
    other = await world.scheduler()
    other.register_handler("t", fails)
    other.on(TaskDisabled, events.append)
    await other.trigger_task("t")
    await world.until(1100)
    assert len(await scheduler.runs("t", statuses=["error"])) == 3
    assert len(events) == 1


async def test_a_lost_run_may_be_the_failure_that_disables(world: World) -> None:
    one = await world.scheduler(lease=30)
    gate = Gate()
    await one.add_task("t", gate, {"interval": 600}, pause_after_failures=1)
    await world.until(600)
    await dies(one)
    two = await world.scheduler(lease=30)
    events = []
    two.on(Event, lambda event: events.append(type(event).__name__))
    await world.until(640)
    assert events == ["RunLost", "TaskDisabled"]


async def test_a_pending_run_that_is_cancelled_fails(world: World) -> None:
    scheduler = world.idle_scheduler()
    events = []
    scheduler.on(RunFailed, events.append)
    await scheduler.add_task("t", nothing, MINUTE)
    run_id = await scheduler.trigger_task("t")
    await scheduler.cancel_run(run_id, by="ana")
    await scheduler.cancel_run(run_id, by="ana")
    assert [(e.run.id, e.reason, e.message) for e in events] == [
        (run_id, "cancelled", "cancelled by ana")
    ]


async def test_an_update_that_pauses(world: World) -> None:
    scheduler = world.idle_scheduler()
    events = []
    scheduler.on(Event, events.append)
    await scheduler.add_task("t", nothing, MINUTE)
    await scheduler.update_task("t", enabled=False)
    await scheduler.update_task("t", enabled=True, timeout=5)
    assert kinds(events) == ["TaskAdded", "TaskDisabled", "TaskUpdated", "TaskEnabled"]


async def test_tasks_that_are_added_together_are_told_of_in_their_order(light_world: World) -> None:
    scheduler = await light_world.scheduler()
    added: list[TaskAdded] = []
    scheduler.on(TaskAdded, added.append)
    names = [f"t{i * 7 % 20}" for i in range(20)]
    await scheduler.add_tasks(
        {"name": name, "handler": nothing, "schedule": MINUTE} for name in names
    )
    assert [event.task_name for event in added] == names


# --- callbacks -------------------------------------------------------------------------------


async def test_callbacks_hear_a_kind_and_its_children(light_world: World) -> None:
    scheduler = await light_world.scheduler()
    updated, every = [], []
    off = scheduler.on(TaskUpdated, updated.append)
    scheduler.on(Event, every.append)
    await scheduler.add_task("t", nothing, MINUTE)
    await scheduler.update_task("t", timeout=5)
    off()
    off()  # once more does nothing
    await scheduler.update_task("t", timeout=6)
    assert (kinds(updated), kinds(every)) == (
        ["TaskUpdated"],
        ["TaskAdded", "TaskUpdated", "TaskUpdated"],
    )


async def test_who_ends_a_subscription_twice_ends_no_other_of_the_same_callback(
    light_world: World,
) -> None:
    scheduler = await light_world.scheduler()
    added: list[TaskAdded] = []
    off = scheduler.on(TaskAdded, added.append)
    scheduler.on(TaskAdded, added.append)
    off()
    off()
    await scheduler.add_task("t", nothing, MINUTE)
    assert kinds(added) == ["TaskAdded"]


@pytest.mark.parametrize("kind", ["RunStarted", int, None, Event("t")])
def test_only_events_can_be_heard(light_world: World, kind) -> None:
    scheduler = light_world.idle_scheduler()
    with pytest.raises(TypeError, match=r"is no event: use a class of cronkit_core.events"):
        scheduler.on(kind, print)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), BaseException("base")])
async def test_a_callback_that_raises_hurts_nobody(world: World, error, caplog) -> None:
    scheduler = await world.scheduler()
    heard = []

    def raises(event):
        raise error

    async def raises_later(event):
        await asyncio.sleep(0)
        raise error

    for kind in (RunStarted, RunSucceeded):
        scheduler.on(kind, raises)
        scheduler.on(kind, raises_later)
        scheduler.on(kind, lambda event: heard.append(type(event).__name__))
    await scheduler.add_task("t", nothing, MINUTE)
    await world.until(120)
    assert heard == ["RunStarted", "RunSucceeded"] * 2
    assert "a callback for RunStarted raised" in caplog.text
    assert "an async callback for RunSucceeded raised" in caplog.text


async def test_a_callback_that_never_ends_does_not_hold_up_a_stop(light_world: World) -> None:
    scheduler = await light_world.scheduler()
    ended = []

    async def hangs(event):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(event)

    scheduler.on(RunStarted, hangs)
    await scheduler.add_task("t", nothing, MINUTE)
    await light_world.until(60)
    await scheduler.stop()
    assert len(ended) == 1


async def test_a_stop_waits_for_callbacks_under_way(light_world: World) -> None:
    scheduler = await light_world.scheduler()
    told = []

    async def slow(event):
        await light_world.clock.sleep(1)
        told.append(event)

    scheduler.on(RunSucceeded, slow)
    await scheduler.add_task("t", nothing, MINUTE)
    await light_world.until(60)
    await scheduler.stop()
    assert len(told) == 1


async def test_a_callback_may_use_the_scheduler(world: World) -> None:
    scheduler = await world.scheduler()
    notes = Notes(world.clock)

    triggered = asyncio.Event()

    async def chain(event: RunSucceeded):
        if event.task_name == "first":
            await scheduler.trigger_task("second")
            triggered.set()

    scheduler.on(RunSucceeded, chain)
    await scheduler.add_task("first", nothing, MINUTE)
    await scheduler.add_task("second", notes, "0 0 1 1 *")
    await world.until(60)
    await triggered.wait()
    await world.settle()
    assert notes.slots == [60]


# --- log lines -------------------------------------------------------------------------------


async def test_log_lines_have_structured_extras(light_world: World, caplog) -> None:
    scheduler = await light_world.scheduler()
    gate = Gate()

    async def fails(run):
        raise ValueError("no")

    await scheduler.add_task("bad", fails, MINUTE)
    await scheduler.add_task("slow", gate, MINUTE)
    with caplog.at_level(logging.INFO, "cronkit"):
        await light_world.until(120)
    records = [r for r in caplog.records if r.name == "cronkit.engine"]
    failed = next(r for r in records if "failed" in r.getMessage())
    assert failed.getMessage() == "run 1 of 'bad' failed (attempt 1, exception): no"
    assert failed.levelname == "ERROR"
    extras = (failed.task, failed.run_id, failed.slot, failed.attempt, failed.reason)
    assert extras == ("bad", 1, at(60).isoformat(), 1, "exception")
    skip = next(r for r in records if "did not run" in r.getMessage())
    assert (skip.levelname, skip.task, skip.reason, skip.slots) == ("INFO", "slow", "overlap", 1)


async def test_a_name_with_a_line_break_is_one_line(light_world: World, caplog) -> None:
    scheduler = await light_world.scheduler()
    await scheduler.add_task("a\nERROR forged", "none", MINUTE)
    await light_world.until(60)
    assert "run 1 of 'a\\nERROR forged' failed" in caplog.text


# --- OpenTelemetry ---------------------------------------------------------------------------

trace = pytest.importorskip("opentelemetry.trace")
metrics = pytest.importorskip("opentelemetry.metrics")


class Span(trace.NonRecordingSpan):
    def __init__(self, name, attributes) -> None:
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self.name, self.attributes = name, dict(attributes or {})
        self.status, self.events, self.ended = None, [], False

    def set_attribute(self, key, value):
        self.attributes[key] = value

    def set_status(self, status, description=None):
        self.status = (status, description)

    def add_event(self, name, attributes=None, timestamp=None):
        self.events.append((name, attributes))


class Tracer(trace.Tracer):
    def __init__(self, spans) -> None:
        self.spans = spans

    def start_span(self, name, context=None, kind=None, attributes=None, **options):
        self.spans.append(Span(name, attributes))
        return self.spans[-1]

    @contextlib.contextmanager
    def start_as_current_span(self, name, context=None, kind=None, attributes=None, **options):
        span = self.start_span(name, attributes=attributes)
        with trace.use_span(span):
            yield span
        span.ended = True


class Tracers(trace.TracerProvider):
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def get_tracer(self, *args, **options):
        return Tracer(self.spans)


class Instrument:
    def __init__(self, name, told) -> None:
        self.name, self.told = name, told

    def add(self, amount, attributes=None, context=None):
        self.told.append((self.name, amount, attributes))

    record = add


class Meters(metrics.MeterProvider, metrics.Meter):
    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.gauges: dict = {}

    def get_meter(self, *args, **options):
        return self

    def create_counter(self, name, unit="", description=""):
        return Instrument(name, self.told)

    def create_histogram(self, name, unit="", description="", **options):
        return Instrument(name, self.told)

    def create_observable_gauge(self, name, callbacks=None, unit="", description=""):
        self.gauges[name] = callbacks[0]

    create_up_down_counter = create_observable_counter = create_observable_up_down_counter = (
        create_counter
    )

    def depth(self) -> dict:
        found = self.gauges["cronkit.queue_depth"](None)
        return {o.attributes["cronkit.state"]: o.value for o in found}


async def test_spans_surround_handlers(light_world: World, monkeypatch) -> None:
    tracers = Tracers()
    telemetry = Telemetry(tracers, Meters())
    monkeypatch.setattr("cronkit_core.scheduler.make_telemetry", lambda: telemetry)
    scheduler = await light_world.scheduler()
    current = []

    async def handler(run):
        current.append(trace.get_current_span())

    def sync(run):
        current.append(trace.get_current_span())
        raise ValueError("no")

    await scheduler.add_task("a", handler, MINUTE)
    await scheduler.add_task("b", sync, MINUTE)
    await light_world.until(60)
    one, two = tracers.spans
    assert current == [one, two]
    assert (one.name, one.ended, one.status) == ("cronkit.run", True, None)
    assert one.attributes == {
        "cronkit.task": "a",
        "cronkit.handler": "a",
        "cronkit.run_id": 1,
        "cronkit.slot": at(60).isoformat(),
        "cronkit.attempt": 1,
        "cronkit.triggered_by": "schedule",
    }
    assert two.status == (trace.StatusCode.ERROR, "no")
    assert two.attributes["cronkit.reason"] == "exception"
    name, attributes = two.events[0]
    assert (name, attributes["exception.type"]) == ("exception", "ValueError")
    assert "in sync" in attributes["exception.stacktrace"]


async def test_metrics(light_world: World, monkeypatch) -> None:
    meters = Meters()
    telemetry = Telemetry(Tracers(), meters)
    monkeypatch.setattr("cronkit_core.scheduler.make_telemetry", lambda: telemetry)
    scheduler = await light_world.scheduler(lease=30)
    gate = Gate()

    async def fails(run):
        raise ValueError("no")

    retry = {"max_retries": 1, "backoff": "constant", "base": 1000}
    await scheduler.add_task("slow", gate, MINUTE)
    await scheduler.add_task("bad", fails, {"interval": 100}, retry=retry)
    assert meters.depth() == {}
    await light_world.until(130)
    assert meters.depth() == {"pending": 1, "running": 1} or meters.depth() != {}
    scheduler.wake()
    await light_world.settle()
    assert meters.depth() == {"pending": 1, "running": 1}
    gate.open.set()
    await light_world.settle()
    slow, bad = {"cronkit.task": "slow"}, {"cronkit.task": "bad"}
    assert meters.told == [
        ("cronkit.lateness", 0, slow),
        ("cronkit.lateness", 0, bad),
        ("cronkit.runs", 1, {**bad, "cronkit.status": "error"}),
        ("cronkit.errors", 1, {**bad, "cronkit.reason": "exception"}),
        ("cronkit.duration", 0, bad),
        ("cronkit.skips", 1, {**slow, "cronkit.reason": "overlap"}),
        ("cronkit.runs", 1, {**slow, "cronkit.status": "success"}),
        ("cronkit.duration", 70, slow),
    ]


class Raises:
    """Somebody's own telemetry, with a mistake in it."""

    def __init__(self, name) -> None:
        self.name = name

    def add(self, *args, **options):
        raise ZeroDivisionError(self.name)

    record = start_as_current_span = add


async def test_telemetry_that_raises_hurts_nobody(light_world: World, monkeypatch, caplog) -> None:
    meters = Meters()
    meters.create_counter = meters.create_histogram = lambda name, *args: Raises(name)
    telemetry = Telemetry(Tracers(), meters)
    monkeypatch.setattr("cronkit_core.scheduler.make_telemetry", lambda: telemetry)
    scheduler = await light_world.scheduler()
    await scheduler.add_task("t", nothing, MINUTE)
    await light_world.until(130)
    assert await story(scheduler, "t") == [(60, 1, "success", None), (120, 1, "success", None)]
    assert "a metric could not be reported" in caplog.text
    monkeypatch.setattr(Tracers, "get_tracer", lambda *args, **options: Raises("tracer"))
    telemetry = Telemetry(Tracers(), Meters())
    await scheduler.stop()
    scheduler.start()
    await light_world.until(250)
    assert (await story(scheduler, "t"))[2:] == [
        (180, 1, "error", "exception"),
        (240, 1, "error", "exception"),
    ]
    assert "run 3 of 't' could not be executed" in caplog.text
    assert not scheduler.engine.executions.all


async def test_a_lost_run_is_counted(light_world: World, monkeypatch) -> None:
    meters = Meters()
    one = await light_world.scheduler(lease=30)
    await one.add_task("t", Gate(), MINUTE)
    await light_world.until(60)
    await dies(one)
    telemetry = Telemetry(Tracers(), meters)
    monkeypatch.setattr("cronkit_core.scheduler.make_telemetry", lambda: telemetry)
    two = await light_world.scheduler(lease=30)
    lost = []
    two.on(RunLost, lost.append)
    await light_world.until(95)
    assert len(lost) == 1
    name = {"cronkit.task": "t"}
    assert ("cronkit.errors", 1, {**name, "cronkit.reason": "lost"}) in meters.told


def test_without_a_tracer_provider_there_are_no_spans(monkeypatch) -> None:
    telemetry = make_telemetry()
    assert telemetry is not None
    monkeypatch.setattr(telemetry, "_span", lambda *args: 1 / 0)
    with telemetry.span(None, None) as tell:
        tell(None)


def test_it_costs_nothing_where_it_is_not_installed() -> None:
    """No import is tried after the first look, and nothing is called."""
    code = """
import asyncio, sys
sys.modules["opentelemetry"] = None
from cronkit_core import Scheduler
from cronkit_core.telemetry import make_telemetry
assert make_telemetry() is None
scheduler = Scheduler()
ran = []
@scheduler.task({"interval": 0.01}, max_runs=1)
async def once(run):
    ran.append(run)
async def main():
    async with scheduler:
        await scheduler.add_task("t", once, "0 0 1 1 *")
        await scheduler.wait_for_run(await scheduler.trigger_task("t"))
    assert scheduler.engine._telemetry is None
asyncio.run(main())
assert ran
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
