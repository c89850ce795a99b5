"""The spans and metrics of scheduled tasks, in the manner of `datasette.telemetry_registry`.

The scheduler emits them under the instrumentation scope `cronkit`; what the handlers of tasks do
with databases is inside of their spans, as Datasette's own ones.
"""

from __future__ import annotations

from datasette.telemetry_registry import COUNTER, GAUGE, HISTOGRAM, Attribute, MetricName, SpanName
from opentelemetry.context import Context, attach

from cronkit_core.runs import Reason, SkipReason, Trigger

TASK = Attribute("cronkit.task", "The name of the task.")
HANDLER = Attribute("cronkit.handler", "The name of the task's handler.")
RUN_ID = Attribute("cronkit.run_id", "The id of the run.")
SLOT = Attribute("cronkit.slot", "The nominal time of the run, in UTC and ISO 8601.")
ATTEMPT = Attribute("cronkit.attempt", "1 for the first try of a slot.")
TRIGGERED_BY = Attribute(
    "cronkit.triggered_by", "What made the run.", values={trigger.value for trigger in Trigger}
)
REASON = Attribute(
    "cronkit.reason",
    "Why the run failed. Omitted for runs that ended well.",
    optional=True,
    values={reason.value for reason in Reason},
)
ERROR_REASON = Attribute(
    "cronkit.reason", "Why the run failed.", values={reason.value for reason in Reason}
)
SKIP_REASON = Attribute(
    "cronkit.reason", "Why the slots did not run.", values={reason.value for reason in SkipReason}
)
STATUS = Attribute("cronkit.status", "How the run ended.", values={"success", "error"})
STATE = Attribute("cronkit.state", "Whether the runs are under way.", values={"pending", "running"})

RUN = SpanName(
    "cronkit.run",
    "The handler of a task at work on a run. A root span, whoever asked for the run.",
    (TASK, HANDLER, RUN_ID, SLOT, ATTEMPT, TRIGGERED_BY, REASON),
)
SPANS = (RUN,)

M_RUNS = MetricName("cronkit.runs", COUNTER, "{run}", "Runs that ended.", (TASK, STATUS))
M_ERRORS = MetricName("cronkit.errors", COUNTER, "{run}", "Runs that failed.", (TASK, ERROR_REASON))
M_SKIPS = MetricName(
    "cronkit.skips", COUNTER, "{slot}", "Slots that did not run.", (TASK, SKIP_REASON)
)
M_LATENESS = MetricName(
    "cronkit.lateness", HISTOGRAM, "s", "How late the slots of schedules start.", (TASK,)
)
M_DURATION = MetricName("cronkit.duration", HISTOGRAM, "s", "How long runs take.", (TASK,))
M_QUEUE_DEPTH = MetricName(
    "cronkit.queue_depth", GAUGE, "{run}", "Runs that have not ended.", (STATE,)
)
METRICS = (M_RUNS, M_ERRORS, M_SKIPS, M_LATENESS, M_DURATION, M_QUEUE_DEPTH)


def begin_trace() -> None:
    """Have what the current asyncio task does be no part of anybody's trace: on a host without
    lifespan, it is the first request that starts the scheduler."""
    attach(Context())
