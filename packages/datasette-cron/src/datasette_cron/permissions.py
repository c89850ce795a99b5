"""Who may see and control scheduled tasks: the one gate that every route goes through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from datasette.permissions import Action, PermissionSQL
from datasette.utils.asgi import Request, Response

from .audit import requested_by
from .events import acting_as

if TYPE_CHECKING:
    from datasette.app import Datasette

ACCESS = "datasette-cron-access"
EDIT = "datasette-cron-edit"

ACTIONS = (
    Action(name=ACCESS, description="See and control scheduled tasks"),
    Action(name=EDIT, description="Create, edit and delete scheduled tasks", also_requires=ACCESS),
)

View = Callable[["Datasette", Request], Awaitable[Response]]


async def may_access(datasette: Datasette, actor: dict[str, Any] | None) -> bool:
    """Whether `actor` may see and control scheduled tasks."""
    return bool(await datasette.allowed(action=ACCESS, actor=actor))


async def may_edit(datasette: Datasette, actor: dict[str, Any] | None) -> bool:
    """Whether `actor` may also create, edit and delete scheduled tasks."""
    return bool(await datasette.allowed(action=EDIT, actor=actor))


def default_rule(action: str) -> PermissionSQL | None:
    """Whoever has access may edit, as far as no rule denies it."""
    # Access itself is asked for too, since the action requires it; and a denial beats this.
    if action == EDIT:
        return PermissionSQL.allow(reason=f"{EDIT} comes with {ACCESS}")
    return None


def gated(view: View, refuse: Callable[[str], Response]) -> View:
    """`view`, for those who may; for all others, what `refuse` makes of the reason."""

    async def gate(datasette: Datasette, request: Request) -> Response:
        if not await may_access(datasette, request.actor):
            return refuse(f"Permission denied: this needs {ACCESS}")
        with acting_as(request.actor), requested_by(request.actor):
            return await view(datasette, request)

    return gate
