"""Spans and metrics for OpenTelemetry, where `opentelemetry-api` is installed.

A span `cronkit.run` surrounds each handler, so that what the handler traces is inside of it.
Metrics: `cronkit.runs`, `cronkit.errors`, `cronkit.skips` (counters), `cronkit.lateness`,
`cronkit.duration` (seconds), `cronkit.queue_depth` (runs in the storage that have not ended).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .executions import no_span
from .outcome import Outcome
from .runs import Finish, Reason, Run, Skip
from .tasks import Task

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

SCOPE = "cronkit"


@cache
def make_telemetry() -> Telemetry | None:
    """What reports to the providers that the application has set, the same for all schedulers of a
    process; None where the API is not installed."""
    try:
        installed = find_spec("opentelemetry.trace") is not None
    except ModuleNotFoundError:
        installed = False
    return Telemetry() if installed else None


class Telemetry:
    """Reports to `tracer_provider` and `meter_provider`; None: those of the application."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        from opentelemetry import metrics, trace

        self._trace: Any = trace
        self._observation = metrics.Observation
        self._provider = tracer_provider
        self._silent = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self._runs = meter.create_counter("cronkit.runs", "{run}", "Runs that ended")
        self._errors = meter.create_counter("cronkit.errors", "{run}", "Runs that failed")
        self._skips = meter.create_counter("cronkit.skips", "{slot}", "Slots that did not run")
        self._lateness = meter.create_histogram(
            "cronkit.lateness", "s", "How late the slots of schedules start"
        )
        self._duration = meter.create_histogram("cronkit.duration", "s", "How long runs take")
        self._counts: Mapping[str, int] = {}
        self.wants_counts = False
        """Whether somebody has read the depth of the queue since `counted`."""
        meter.create_observable_gauge(
            "cronkit.queue_depth", [self._observe], "{run}", "Runs that have not ended"
        )

    def span(self, run: Run, task: Task) -> AbstractContextManager[Callable[[Outcome], None]]:
        """Around the handler of `run`; what it gives is told of the outcome."""
        provider = self._provider or self._trace.get_tracer_provider()
        if isinstance(provider, self._silent):  # the application collects no spans
            return no_span(run, task)
        return self._span(run, task)

    @contextmanager
    def _span(self, run: Run, task: Task) -> Iterator[Callable[[Outcome], None]]:
        attributes: dict[str, str | int] = {
            "cronkit.task": task.name,
            "cronkit.handler": task.handler,
            "cronkit.run_id": run.id,
            "cronkit.slot": run.slot.isoformat(),
            "cronkit.attempt": run.attempt,
            "cronkit.triggered_by": run.triggered_by.value,
        }
        with self._tracer.start_as_current_span("cronkit.run", attributes=attributes) as span:

            def tell(outcome: Outcome) -> None:
                if outcome.reason is None:
                    return
                span.set_attribute("cronkit.reason", outcome.reason.value)
                span.set_status(self._trace.StatusCode.ERROR, outcome.message)
                if outcome.reason is Reason.EXCEPTION:
                    span.add_event(
                        "exception",
                        {
                            "exception.type": outcome.error_type or "",
                            "exception.message": outcome.message,
                            "exception.stacktrace": outcome.traceback or "",
                        },
                    )

            yield tell

    def started(self, name: str, late: float) -> None:
        self._lateness.record(late, {"cronkit.task": name})

    def ended(self, finish: Finish) -> None:
        task = {"cronkit.task": finish.task_name}
        self._runs.add(1, {**task, "cronkit.status": finish.status.value})
        if finish.reason is not None:
            self._errors.add(1, {**task, "cronkit.reason": finish.reason.value})
        if finish.duration_ms is not None:
            self._duration.record(finish.duration_ms / 1000, task)

    def skipped(self, skip: Skip) -> None:
        attributes = {"cronkit.task": skip.task_name, "cronkit.reason": skip.reason.value}
        self._skips.add(skip.count, attributes)

    def counted(self, counts: Mapping[str, int]) -> None:
        """How many runs are pending and running, as the storage says."""
        self._counts = counts
        self.wants_counts = False

    def _observe(self, _: Any) -> Iterable[Any]:
        # Called from a thread of the metrics' reader; the engine counts at its next tick.
        self.wants_counts = True
        return [
            self._observation(self._counts[state], {"cronkit.state": state})
            for state in ("pending", "running")
            if state in self._counts
        ]
