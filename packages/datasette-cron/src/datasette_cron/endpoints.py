"""The table of the API: what is not in it has no address, and what is in it is described."""

from __future__ import annotations

from cronkit_core.runs import Status

from . import api, api_runs, api_system, api_tasks, schemas
from .operations import Operation, Parameter, Route
from .paging import PAGE
from .schemas import (
    BOOL,
    CONFIG,
    INT,
    TEXT,
    Schema,
    answer,
    array,
    body,
    choice,
    optional,
    paged,
    ref,
)

TASK = r"/-/api/cron/tasks/(?P<name>[^/]+)"
RUN = r"/-/api/cron/runs/(?P<run_id>[^/]+)"
MOMENT = {"type": "string", "format": "date-time"}

DONE = answer(message=TEXT)
CHANGED = answer(task=ref("TaskDetails"))
PAGED: dict[str, Schema] = {
    "ok": {"const": True},
    "next": optional(TEXT),
    "next_url": optional(TEXT),
}
BAD_BODY = (400, 413, 415)

UPDATE = Operation(
    api_tasks.update_task,
    "Change a task",
    CHANGED,
    body=schemas.UPDATE,
    edits=True,
    headers=(
        Parameter("If-Match", "The ETag of the task that was seen: no change of another.", TEXT),
    ),
    errors=(*BAD_BODY, 404, 409, 412),
)
DELETE = Operation(
    api_tasks.delete_task,
    "Delete a task; its history stays until it is pruned",
    DONE,
    body={"type": "object", "properties": {"cancel": BOOL}},
    edits=True,
    errors=(*BAD_BODY, 404, 409),
)

ENDPOINTS = (
    Route(
        r"/-/api/cron/tasks$",
        {
            "GET": Operation(
                api.list_tasks,
                "All tasks by name, or with `_size` or `_next` a page of them",
                schemas.record(tuple(PAGED), tasks=array(ref("Task")), **PAGED),
                query=(
                    Parameter("search", "Part of the name or of the handler's.", TEXT),
                    Parameter("handler", "The handler's name.", TEXT),
                    Parameter("enabled", "Whether it is.", choice(("0", "1", "false", "true"))),
                    Parameter(
                        "last_status", "How the last run ended.", choice(("success", "error"))
                    ),
                    *PAGE,
                ),
                errors=(400,),
            ),
            "POST": Operation(
                api_tasks.create_task,
                "Create a task",
                CHANGED,
                body=schemas.CREATE,
                body_required=True,
                edits=True,
                status=201,
                errors=(*BAD_BODY, 409),
            ),
        },
    ),
    Route(
        TASK + "$",
        {
            "GET": Operation(
                api.show_task,
                "A task",
                ref("TaskOrDetails"),
                query=(
                    Parameter("_extra", "`details`: all there is to know.", choice(("details",))),
                ),
                errors=(400, 404),
            ),
            "PATCH": UPDATE,
            "DELETE": DELETE,
        },
    ),
    Route(TASK + "/update$", {"POST": UPDATE}),
    Route(TASK + "/delete$", {"POST": DELETE}),
    Route(
        TASK + "/runs$",
        {
            "GET": Operation(
                api.list_runs,
                "The runs of a task that have started, newest first",
                schemas.record(tuple(PAGED), runs=array(ref("DoneRun")), **PAGED),
                query=PAGE,
                errors=(400, 404),
            )
        },
    ),
    Route(
        TASK + "/trigger$",
        {
            "POST": Operation(
                api.trigger_task,
                "Run a task now",
                answer(message=TEXT, run_id=INT),
                body={
                    "type": "object",
                    "properties": {
                        "config": optional(
                            {**CONFIG, "description": "For this run; needs the right to edit."}
                        ),
                        "force": {**BOOL, "description": "Whatever the overlap policy says."},
                    },
                },
                errors=(400, 413, 404, 409),
            )
        },
    ),
    Route(
        TASK + "/enable$",
        {
            "POST": Operation(
                api.enable_task,
                "Enable or pause a task",
                answer(enabled=BOOL),
                body={
                    "type": "object",
                    "properties": {"enabled": BOOL},
                    "required": ["enabled"],
                },
                body_required=True,
                errors=(400, 413, 404, 409),
            )
        },
    ),
    Route(
        TASK + "/backfill$",
        {
            "POST": Operation(
                api_tasks.backfill_task,
                "Run slots that have passed and have no run",
                answer(run_ids=array(INT)),
                body=body(
                    ("start", "end"),
                    start=MOMENT,
                    end=MOMENT,
                    overlap=optional(choice(("skip", "queue", "allow"))),
                ),
                body_required=True,
                errors=(*BAD_BODY, 404, 409),
            )
        },
    ),
    Route(
        TASK + "/explain$",
        {
            "GET": Operation(
                api_system.explain_task,
                "Why a task did, or did not, run at an instant",
                ref("Explanation"),
                query=(Parameter("at", "The instant.", MOMENT, required=True),),
                errors=(400, 404),
            )
        },
    ),
    Route(
        TASK + "/skips$",
        {
            "GET": Operation(
                api_tasks.list_skips,
                "The slots of a task that did not run, latest first",
                paged("skips", ref("Skip")),
                query=PAGE,
                errors=(400, 404),
            )
        },
    ),
    Route(
        TASK + "/audit$",
        {
            "GET": Operation(
                api_tasks.list_audit,
                "Who changed a task, newest first",
                paged("audit", ref("AuditEntry")),
                query=PAGE,
                errors=(400, 404),
            )
        },
    ),
    Route(
        r"/-/api/cron/runs$",
        {
            "GET": Operation(
                api_runs.list_all_runs,
                "The runs of all tasks, newest first",
                paged("runs", ref("Run")),
                query=(
                    Parameter("task", "The task's name.", TEXT),
                    Parameter("status", "May come several times.", choice(Status)),
                    Parameter("since", "Slots from this instant on.", MOMENT),
                    Parameter("until", "Slots up to this instant.", MOMENT),
                    *PAGE,
                ),
                errors=(400,),
            )
        },
    ),
    Route(
        RUN + "$",
        {
            "GET": Operation(
                api_runs.show_run,
                "A run with its traceback, log, output and progress",
                answer(run=ref("RunDetails")),
                errors=(404,),
            )
        },
    ),
    Route(
        RUN + "/cancel$",
        {
            "POST": Operation(
                api_runs.cancel_run,
                "Cancel a run that has not ended",
                DONE,
                body={"type": "object"},
                errors=(*BAD_BODY, 404, 409),
            )
        },
    ),
    Route(
        r"/-/api/cron/preview$",
        {
            "POST": Operation(
                api_system.preview_schedule,
                "What a schedule means, or what is wrong with it",
                ref("Preview"),
                body=body(
                    ("schedule",),
                    schedule={"description": "As a task has it; what is none is told."},
                    timezone=optional(TEXT),
                    after=optional(MOMENT),
                    n={"type": "integer", "minimum": 1, "maximum": api_system.MOST_SLOTS},
                ),
                body_required=True,
                errors=BAD_BODY,
            )
        },
    ),
    Route(
        r"/-/api/cron/handlers$",
        {
            "GET": Operation(
                api_system.list_handlers,
                "The handlers that tasks can name",
                answer(handlers=array(ref("Handler"))),
            )
        },
    ),
    Route(
        r"/-/api/cron/status$",
        {"GET": Operation(api_system.show_status, "How the scheduler is doing", ref("Status"))},
    ),
)
