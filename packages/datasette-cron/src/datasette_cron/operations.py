"""What an endpoint of the API is: its view, who may, and what its description in OpenAPI says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datasette.utils.asgi import Response

from .call import Call, View

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query string of an address."""

    name: str
    description: str
    schema: Schema
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """A method at an address."""

    view: View
    summary: str
    answer: Schema
    """The JSON schema of the answer."""
    body: Schema | None = None
    """The JSON schema of the body; None where nothing of a body is looked at."""
    body_required: bool = False
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    edits: bool = False
    """Whether it needs the permission to edit, too."""
    status: int = 200
    errors: tuple[int, ...] = ()
    """The statuses of its errors besides 403, 405 and 503, which all have."""

    async def __call__(self, call: Call) -> Response:
        if self.edits:
            await call.require_edit()
        return await self.view(call)


@dataclass(frozen=True, slots=True)
class Route:
    """The views at the addresses that fit `pattern`, by method."""

    pattern: str
    views: Mapping[str, View]

    @property
    def allow(self) -> str:
        """The methods, as the header `Allow` lists them."""
        return ", ".join([*self.views, *(["HEAD"] if "GET" in self.views else [])])
