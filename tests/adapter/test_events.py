"""What happens to tasks, as Datasette's events; and the telemetry of runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter_kit import EVERYBODY, plugin
from datasette.app import Datasette
from datasette.events import Event
from datasette.telemetry_testing import (
    MetricsCollector,
    assert_metrics_conform,
    assert_metrics_covered,
    assert_no_forbidden_values,
    assert_package_never_imports_sdk,
    assert_spans_conform,
    assert_spans_covered,
)

from cronkit_core.storage.base import RunQuery
from cronkit_core.telemetry import Telemetry
from cronkit_core.testing.virtual import VirtualClock, run_until, settle
from datasette_cron.events import EVENTS, acting_as
from datasette_cron.scheduler import Scheduler
from datasette_cron.telemetry import METRICS, SPANS

START = datetime(2027, 1, 1, tzinfo=UTC)
ANA = {"id": "ana"}


class Heard:
    """The events that a plugin was told of."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, datasette: Datasette, event: Event) -> None:
        self.events.append(event)

    def take(self) -> list[tuple[str, Any, dict[str, Any]]]:
        """Name, actor and properties of those since the last time."""
        taken = [(event.name, event.actor, event.properties()) for event in self.events]
        self.events.clear()
        return taken


@pytest.fixture
async def heard(scheduler: Scheduler) -> AsyncIterator[Heard]:
    heard = Heard()

    def track_event(datasette: Datasette, event: Event) -> None:
        heard(datasette, event)

    with plugin("listener", track_event=track_event):
        yield heard


async def test_what_happens_to_a_task(scheduler: Scheduler, heard: Heard) -> None:
    wish = {"name": "t", "handler": "test:ok", "schedule": {"interval": 60}}
    await scheduler.add_task(**wish)
    await scheduler.add_task(**wish)  # the same: nothing happens
    await scheduler.add_task(**{**wish, "config": {"a": 1}})
    await scheduler.disable_task("t", by="ana", note="full")
    await scheduler.enable_task("t")
    run_id = await scheduler.trigger_task("t")
    await scheduler.remove_task("t")
    await settle(scheduler)
    about = {"task": "t"}
    assert heard.take() == [
        ("cron-task-created", None, about),
        ("cron-task-updated", None, about),
        ("cron-task-disabled", None, {**about, "by": "ana", "note": "full"}),
        ("cron-task-enabled", None, about),
        ("cron-task-triggered", None, {**about, "run_id": run_id}),
        ("cron-task-deleted", None, about),
    ]


async def test_failures(scheduler: Scheduler, heard: Heard) -> None:
    await scheduler.add_task(
        name="t",
        handler="test:fail",
        schedule={"interval": 3600},
        retry={"max_retries": 1, "backoff": "constant", "base": 10, "jitter": 0},
        pause_after_failures=1,
    )
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=3700))
    failed = {"task": "t", "reason": "exception", "message": "out of paper"}
    retry_at = (START + timedelta(seconds=3610)).isoformat()
    _, *events, disabled = heard.take()
    assert events == [
        ("cron-run-failed", None, {**failed, "run_id": 1, "retry_at": retry_at}),
        ("cron-run-failed", None, {**failed, "run_id": 2, "retry_at": None}),
    ]
    assert (disabled[0], disabled[2]["by"]) == ("cron-task-disabled", "pause_after_failures")


async def test_a_run_whose_process_is_gone(
    scheduler: Scheduler, heard: Heard, make_datasette: Any, clock: VirtualClock
) -> None:
    await scheduler.add_task(name="t", handler="test:hang", schedule={"interval": 3600})
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=3600))
    [run] = await scheduler.storage.runs(RunQuery(task_name="t"))
    assert run.lease_until is not None
    heard.take()
    # Its process stops to renew the lease, and another one comes by.
    other = Scheduler(scheduler.datasette, clock=VirtualClock(run.lease_until))
    other.start()
    await settle(other)
    assert heard.take() == [
        (
            "cron-run-failed",
            None,
            {
                "task": "t",
                "run_id": run.id,
                "reason": "lost",
                "message": "the process that ran this is gone",
                "retry_at": None,
            },
        )
    ]
    await other.stop()


async def test_who_did_it(scheduler: Scheduler, heard: Heard) -> None:
    await scheduler.add_task(name="t", handler="test:ok", schedule={"interval": 3600})
    client = scheduler.datasette.client
    await settle(scheduler)
    heard.take()
    await client.post("/-/api/cron/tasks/t/enable", json={"enabled": False}, actor=ANA)
    await client.post("/-/api/cron/tasks/t/trigger", actor=ANA)
    await client.post("/-/api/cron/tasks/t/enable", json={"enabled": True})
    await settle(scheduler)
    ours = [event for event in heard.take() if event[0].startswith("cron-")]
    assert [(name, actor) for name, actor, _ in ours] == [
        ("cron-task-disabled", ANA),
        ("cron-task-triggered", ANA),
        ("cron-task-enabled", None),
    ]


async def test_actors_of_requests_at_one_time_do_not_mix(
    scheduler: Scheduler, heard: Heard
) -> None:
    async def add(name: str) -> None:
        with acting_as({"id": name}):
            await asyncio.sleep(0)
            await scheduler.add_task(name=name, handler="test:ok", schedule={"interval": 60})

    await asyncio.gather(*(add(f"actor {n}") for n in range(5)))
    await settle(scheduler)
    told = heard.take()
    assert len(told) == 5
    assert all(actor == {"id": properties["task"]} for _, actor, properties in told)


async def test_a_plugin_that_fails_to_listen_hurts_nobody(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    def track_event(datasette: Datasette, event: Event) -> None:
        raise ValueError("deaf")

    with plugin("deaf", track_event=track_event):
        await scheduler.add_task(name="t", handler="test:ok", schedule={"interval": 60})
        await settle(scheduler)
    assert "deaf" in caplog.text
    assert await scheduler.get_task("t")


def test_events_are_documented() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "datasette.md").read_text()
    assert [event.name for event in EVENTS if f"`{event.name}`" not in documented] == []


# --- telemetry -------------------------------------------------------------------------------


class Collected:
    """The spans and metrics of a scheduler, with providers of their own."""

    def __init__(self) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.spans = InMemorySpanExporter()
        reader = InMemoryMetricReader()
        self.metrics = MetricsCollector(reader)
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.telemetry = Telemetry(self.tracers, MeterProvider(metric_readers=[reader]))


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Collected:
    pytest.importorskip("opentelemetry.sdk")
    collected = Collected()
    monkeypatch.setattr("cronkit_core.scheduler.make_telemetry", lambda: collected.telemetry)
    return collected


async def test_telemetry_is_as_registered(scheduler: Scheduler, collected: Collected) -> None:
    secret = "s3cret-of-the-config"
    for handler in ("ok", "fail", "hang"):
        await scheduler.add_task(
            name=handler,
            handler=f"test:{handler}",
            schedule={"interval": 60},
            config={"token": secret},
            timeout=5,
        )
    scheduler.start()
    await run_until(scheduler, START + timedelta(seconds=60))
    collected.metrics.collect()  # from now on, somebody wants to know the depth of the queue
    await scheduler.disable_task("ok")
    await scheduler.enable_task("ok")
    await run_until(scheduler, START + timedelta(seconds=70))
    scheduler.clock.advance(600)  # type: ignore[attr-defined]  # several slots pass at once
    await settle(scheduler)
    await scheduler.stop()
    spans = collected.spans.get_finished_spans()
    collected.metrics.collect()
    assert_spans_conform(SPANS, spans, "cronkit")
    assert_spans_covered(SPANS, spans, "cronkit")
    assert_metrics_conform(METRICS, collected.metrics, "cronkit")
    assert_metrics_covered(METRICS, collected.metrics, "cronkit")
    assert_no_forbidden_values({secret}, spans, collected.metrics)


async def test_runs_are_no_part_of_the_request_that_started_the_scheduler(
    internal: Path, collected: Collected
) -> None:
    datasette = Datasette(memory=True, internal=str(internal), config=EVERYBODY)
    await datasette.invoke_startup()
    scheduler: Scheduler = datasette._cron_scheduler
    scheduler.register_handlers("test", {"ok": lambda datasette, config: None})
    await scheduler.add_task(name="t", handler="test:ok", schedule={"interval": 3600})
    tracer = collected.tracers.get_tracer("test")
    with tracer.start_as_current_span("request"):
        # As on a host without lifespan, where background tasks begin within the first request.
        await datasette.start_background_tasks()
        run_id = await scheduler.trigger_task("t")
    await scheduler.wait_for_run(run_id)
    await datasette.invoke_shutdown()
    [run] = [span for span in collected.spans.get_finished_spans() if span.name == "cronkit.run"]
    assert run.parent is None


def test_the_sdk_is_the_application_s_choice() -> None:
    assert_package_never_imports_sdk("datasette_cron.telemetry", "datasette_cron")
