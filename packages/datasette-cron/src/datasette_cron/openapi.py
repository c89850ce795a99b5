"""The description of the API in OpenAPI 3.1, made from the table of its routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from .call import FORM, JSON
from .operations import Operation, Route
from .permissions import ACCESS, EDIT
from .schemas import COMPONENTS, ref

OF_ALL = (403, 503)
_GROUP = re.compile(r"\(\?P<(\w+)>[^)]*\)")
_ABOUT = {
    "name": "The name of the task, tilde-encoded as Datasette does, or percent-encoded.",
    "run_id": "The id of the run.",
}


def describe(routes: Iterable[Route], base: str) -> dict[str, Any]:
    """The API of `routes`, whose addresses stand under `base`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "datasette-cron",
            "version": version("datasette-cron"),
            "description": f"Scheduled tasks. All of it needs the permission {ACCESS}.",
        },
        "servers": [{"url": base or "/"}],
        "paths": {address(route): _path(route) for route in routes},
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "ds_actor"},
            },
        },
        "security": [{}, {"token": []}, {"cookie": []}],
    }


def address(route: Route) -> str:
    """The address of `route`, with its variables in braces."""
    return _GROUP.sub(r"{\1}", route.pattern).replace("\\", "").removesuffix("$")


def _path(route: Route) -> dict[str, Any]:
    described: dict[str, Any] = {
        method.lower(): _operation(method, route, view)
        for method, view in route.views.items()
        if isinstance(view, Operation)
    }
    names = _GROUP.findall(route.pattern)
    if names:
        described["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": _ABOUT[name],
                "schema": {"type": "string", "minLength": 1},
            }
            for name in names
        ]
    return described


def _operation(method: str, route: Route, operation: Operation) -> dict[str, Any]:
    rights = f"Needs {ACCESS} and {EDIT}." if operation.edits else f"Needs {ACCESS}."
    described: dict[str, Any] = {
        "operationId": _id(method, route),
        "summary": operation.summary,
        "description": rights,
        "responses": {
            str(operation.status): _response("It is done.", operation.answer),
            **{
                str(status): _response(HTTPStatus(status).phrase, ref("Error"))
                for status in sorted({*operation.errors, *OF_ALL})
            },
        },
    }
    parameters = [("query", p) for p in operation.query]
    parameters += [("header", p) for p in operation.headers]
    if parameters:
        described["parameters"] = [
            {
                "name": p.name,
                "in": place,
                "required": p.required,
                "description": p.description,
                "schema": p.schema,
            }
            for place, p in parameters
        ]
    if operation.body is not None:
        content = {JSON: {"schema": operation.body}}
        if method == "POST" and 415 in operation.errors:
            content[FORM] = {"schema": {"type": "object"}}  # its texts are read as JSON
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _id(method: str, route: Route) -> str:
    words = re.findall(r"\w+", address(route).replace("/-/api/cron", ""))
    return "_".join([method.lower(), *words])


def _response(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": schema}}}
