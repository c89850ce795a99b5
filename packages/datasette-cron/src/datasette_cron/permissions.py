"""Who may see and control scheduled tasks: the one gate that every route goes through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from datasette.utils.asgi import Request, Response

from .events import acting_as

if TYPE_CHECKING:
    from datasette.app import Datasette

ACCESS = "datasette-cron-access"

View = Callable[["Datasette", Request], Awaitable[Response]]


async def may_access(datasette: Datasette, actor: dict[str, Any] | None) -> bool:
    """Whether `actor` may see and control scheduled tasks."""
    return bool(await datasette.allowed(action=ACCESS, actor=actor))


def gated(view: View, refuse: Callable[[str], Response]) -> View:
    """`view`, for those who may; for all others, what `refuse` makes of the reason."""

    async def gate(datasette: Datasette, request: Request) -> Response:
        if not await may_access(datasette, request.actor):
            return refuse(f"Permission denied: this needs {ACCESS}")
        with acting_as(request.actor):
            return await view(datasette, request)

    return gate


async def menu(datasette: Datasette, actor: dict[str, Any] | None) -> list[dict[str, str]]:
    """The link in Datasette's menu, for those who may follow it."""
    if not await may_access(datasette, actor):
        return []
    return [{"href": datasette.urls.path("/-/cron"), "label": "Scheduled tasks"}]
