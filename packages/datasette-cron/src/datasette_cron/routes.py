"""The table of all routes: a view that is not in it has no address, and all have the gate."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NoReturn

from datasette.utils.asgi import Base400, Forbidden, Request, Response

from cronkit_core.errors import (
    Conflict,
    CronkitError,
    HandlerNotFound,
    RunNotFound,
    StorageError,
    TaskActive,
    TaskNotFound,
)

from . import pages, permissions
from .call import Call, View
from .endpoints import ENDPOINTS
from .openapi import describe
from .operations import Operation, Route
from .scheduler import TaskChanged, TaskExists

if TYPE_CHECKING:
    from datasette.app import Datasette

logger = logging.getLogger("datasette_cron")


async def show_description(call: Call) -> Response:
    """GET /-/api/cron/openapi.json"""
    base = str(call.datasette.urls.path("/")).rstrip("/")
    return Response.json(describe(API, base))


API = (
    *ENDPOINTS,
    Route(
        r"/-/api/cron/openapi\.json$",
        {"GET": Operation(show_description, "This description", {"type": "object"})},
    ),
)
# Whatever has a fixed address comes before the tasks: see pages/address.py.
PAGES = (
    Route(r"/-/cron$", {"GET": pages.index}),
    Route(r"/-/cron/new$", {"GET": pages.new, "POST": pages.create}),
    Route(r"/-/cron/runs$", {"GET": pages.runs}),
    Route(r"/-/cron/runs/(?P<run_id>[^/]+)$", {"GET": pages.run}),
    Route(r"/-/cron/runs/(?P<run_id>[^/]+)/cancel$", {"POST": pages.cancel}),
    Route(r"/-/cron/(?P<name>[^/]+)/edit$", {"GET": pages.edit, "POST": pages.update}),
    Route(r"/-/cron/(?P<name>[^/]+)/run$", {"POST": pages.run_now}),
    Route(r"/-/cron/(?P<name>[^/]+)/pause$", {"POST": pages.pause}),
    Route(r"/-/cron/(?P<name>[^/]+)/resume$", {"POST": pages.resume}),
    Route(r"/-/cron/(?P<name>[^/]+)/backfill$", {"POST": pages.backfill}),
    Route(r"/-/cron/(?P<name>[^/]+)/delete$", {"GET": pages.ask_delete, "POST": pages.delete}),
    Route(r"/-/cron/(?P<name>[^/]+)$", {"GET": pages.task}),
)

# What an error of the scheduler is in HTTP; the first that fits counts.
_STATUSES: tuple[tuple[type[CronkitError], int], ...] = (
    (TaskNotFound, 404),
    (RunNotFound, 404),
    (HandlerNotFound, 409),
    (TaskActive, 409),
    (TaskExists, 409),
    (TaskChanged, 412),
    (Conflict, 409),
    (StorageError, 503),
    (CronkitError, 400),
)


def all_routes() -> list[tuple[str, permissions.View]]:
    """The routes as Datasette takes them, each behind the gate."""
    return [
        *((r.pattern, permissions.gated(_json(r), _refuse_json)) for r in API),
        *((r.pattern, permissions.gated(_html(r), _refuse_html)) for r in PAGES),
    ]


def _json(route: Route) -> permissions.View:
    async def json_view(datasette: Datasette, request: Request) -> Response:
        view = _view(route, request)
        if view is None:
            message = f"Method not allowed: {route.allow}"
            return Response.error(message, 405, headers={"allow": route.allow})
        try:
            return await view(Call(datasette, request))
        except Base400 as error:
            return Response.error(str(error), error.status)
        except CronkitError as error:
            status = next(status for kind, status in _STATUSES if isinstance(error, kind))
            if status >= 500:
                logger.exception("%s %s failed", request.method, request.path)
            return Response.error(str(error), status)
        except OverflowError as error:
            return Response.error(f"a time is not in the years 1 to 9999: {error}", 400)

    return json_view


def _html(route: Route) -> permissions.View:
    async def html_view(datasette: Datasette, request: Request) -> Response:
        view = _view(route, request)
        if view is None:
            message = f"Method not allowed: {route.allow}"
            return Response.text(message, status=405, headers={"allow": route.allow})
        return await view(Call(datasette, request))

    return html_view


def _view(route: Route, request: Request) -> View | None:
    return route.views.get("GET" if request.method == "HEAD" else request.method)


def _refuse_json(message: str) -> Response:
    return Response.error(message, 403)


def _refuse_html(message: str) -> NoReturn:
    raise Forbidden(message)
