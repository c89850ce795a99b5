"""The JSON schemas of what the API takes and answers, for its description in OpenAPI."""

from __future__ import annotations

from typing import Any

from cronkit_core.explain import Fate
from cronkit_core.retry import BACKOFFS
from cronkit_core.runs import Reason, SkipReason, Status, Trigger
from cronkit_core.tasks import CatchUp, Overlap

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
BOOL: Schema = {"type": "boolean"}
INT: Schema = {"type": "integer"}
ANY: Schema = {}
TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "description": "ISO 8601 in UTC, with six decimals and +00:00.",
}
CONFIG: Schema = {"type": "object", "description": "What the handler is called with."}


def optional(schema: Schema) -> Schema:
    """`schema`, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def choice(values: Any) -> Schema:
    """One of those texts."""
    return {"type": "string", "enum": [str(value) for value in values]}


def ref(name: str) -> Schema:
    """The schema of that name among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(schema: Schema) -> Schema:
    """A list of what `schema` describes."""
    return {"type": "array", "items": schema}


def record(optionals: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """An object with those properties, all there but `optionals`."""
    return {
        "type": "object",
        "properties": properties,
        "required": [key for key in properties if key not in optionals],
    }


def answer(optionals: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """An object that says that all went well."""
    return record(optionals, ok={"const": True}, **properties)


def paged(key: str, item: Schema) -> Schema:
    """A page of a list."""
    return answer(**{key: array(item), "next": optional(TEXT), "next_url": optional(TEXT)})


def body(required: tuple[str, ...], **properties: Schema) -> Schema:
    """What is sent: those properties and no others, `required` ones among them."""
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema


_SECONDS: Schema = {"type": "number", "minimum": 0}
_POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0}
SCHEDULE: Schema = {
    "type": ["string", "number", "object"],
    "description": "A cron expression, a duration, an RRULE, a number of seconds, or an object: "
    '"0 8 * * *", "90s", {"interval": 300}, {"rrule": "FREQ=WEEKLY;BYDAY=MO"}, ...',
}
_RETRY: Schema = {
    "type": "object",
    "properties": {
        "max_retries": {"type": "integer", "minimum": 0, "maximum": 1000},
        "backoff": choice(BACKOFFS),
        "base": optional(_SECONDS),
        "max_delay": optional(_SECONDS),
        "give_up_after": optional(_SECONDS),
        "jitter": {"type": "number", "minimum": 0, "maximum": 1},
        "on": array(TEXT),
    },
    "additionalProperties": False,
}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 1000}
WISH: Schema = {
    "handler": _NAME,
    "schedule": SCHEDULE,
    "timezone": optional({"type": "string", "description": "An IANA name; null stands for UTC."}),
    "config": optional(CONFIG),
    "enabled": optional(BOOL),
    "overlap": choice(Overlap),
    "catch_up": choice(CatchUp),
    "catch_up_limit": {"type": "integer", "minimum": 1, "maximum": 10_000},
    "grace": _SECONDS,
    "retry": optional(_RETRY),
    "timeout": optional(_POSITIVE),
    "jitter": _SECONDS,
    "start_at": optional({"type": "string", "format": "date-time"}),
    "end_at": optional({"type": "string", "format": "date-time"}),
    "max_runs": optional({"type": "integer", "minimum": 1}),
    "pause_after_failures": optional({"type": "integer", "minimum": 1}),
    "group": optional(_NAME),
    "priority": {"type": "integer", "minimum": -100, "maximum": 100},
    "keep_runs": optional({"type": "integer", "minimum": 0}),
    "keep_for": optional(_SECONDS),
}
CREATE = body(("name", "handler", "schedule"), name=_NAME, **WISH)
UPDATE = body((), **WISH)

_TASK: Schema = {
    "name": TEXT,
    "handler": TEXT,
    "config": CONFIG,
    "schedule_type": TEXT,
    "schedule_config": {"type": "string", "description": "The schedule as JSON text."},
    "schedule_description": TEXT,
    "timezone": optional(TEXT),
    "overlap_policy": TEXT,
    "retry_max": INT,
    "retry_backoff": TEXT,
    "enabled": BOOL,
    "next_run_at": optional(TIME),
    "last_run_at": optional(TIME),
    "last_status": optional(choice(("success", "error"))),
    "created_at": TIME,
    "updated_at": TIME,
}
_DETAILS: Schema = {
    "schedule": ANY,
    "policies": {"type": "object", "description": "Those that are not the default."},
    "group": optional(TEXT),
    "priority": INT,
    "next_slot": optional(TIME),
    "last_success_at": optional(TIME),
    "failures": INT,
    "runs_started": INT,
    "paused_at": optional(TIME),
    "paused_by": optional(TEXT),
    "paused_note": optional(TEXT),
    "broken": optional(TEXT),
}
_RUN: Schema = {
    "id": INT,
    "task_name": TEXT,
    "slot": TIME,
    "attempt": INT,
    "status": choice(Status),
    "triggered_by": choice(Trigger),
    "scheduled_for": TIME,
    "due_at": optional(TIME),
    "started_at": optional(TIME),
    "finished_at": optional(TIME),
    "duration_ms": optional(INT),
    "reason": optional(choice(Reason)),
    "error_type": optional(TEXT),
    "error_message": optional(TEXT),
    "owner": optional(TEXT),
    "cancel_requested_by": optional(TEXT),
    "progress": ANY,
}

COMPONENTS: dict[str, Schema] = {
    "Error": record(ok={"const": False}, error=TEXT, errors=array(TEXT), status=INT),
    "Task": record(**_TASK),
    "TaskOrDetails": record(tuple(_DETAILS), **_TASK, **_DETAILS),
    "TaskDetails": record(**_TASK, **_DETAILS),
    "DoneRun": record(
        id=INT,
        task_name=TEXT,
        started_at=TIME,
        finished_at=optional(TIME),
        status=choice(("running", "success", "error")),
        error_message=optional(TEXT),
        attempt=INT,
        duration_ms=optional(INT),
    ),
    "Run": record(**_RUN),
    "RunDetails": record(
        **_RUN,
        epoch=INT,
        lease_until=optional(TIME),
        error_traceback=optional(TEXT),
        log=optional(TEXT),
        output=ANY,
        config=ANY,
    ),
    "Skip": record(
        task_name=TEXT,
        first_slot=TIME,
        last_slot=TIME,
        count=INT,
        reason=choice(SkipReason),
        recorded_at=TIME,
        run_id=optional(INT),
        note=optional(TEXT),
    ),
    "AuditEntry": record(
        id=INT,
        time=TIME,
        actor=optional(TEXT),
        action=TEXT,
        task=TEXT,
        before=optional({"type": "object"}),
        after=optional({"type": "object"}),
    ),
    "Handler": record(
        name=TEXT,
        description=optional(TEXT),
        is_async=BOOL,
        checks_config=BOOL,
        checks_actor=BOOL,
    ),
    "Explanation": answer(
        task=TEXT,
        at=TIME,
        fate=choice(Fate),
        text=TEXT,
        runs=array(ref("Run")),
        skip=optional(ref("Skip")),
    ),
    "Preview": answer(
        (
            "error",
            "where",
            "schedule_type",
            "schedule",
            "timezone",
            "description",
            "warnings",
            "slots",
        ),
        valid=BOOL,
        error=TEXT,
        where=optional(TEXT),
        schedule_type=TEXT,
        schedule={"type": "object"},
        timezone=optional(TEXT),
        description=TEXT,
        warnings=array(record(code=TEXT, message=TEXT, suggestion=TEXT)),
        slots=array(record(slot=TIME, local=TEXT, note=optional(TEXT))),
    ),
    "Status": answer(
        owner=TEXT,
        running=BOOL,
        executing=INT,
        stuck_threads=INT,
        last_tick=optional(TIME),
        lateness_p50=optional({"type": "number"}),
        lateness_p99=optional({"type": "number"}),
        tasks=INT,
        pending_runs=INT,
        pending_retries=INT,
        queued_runs=INT,
        running_runs=INT,
        now=TIME,
    ),
}
