"""What a view is called with: a request that has passed the gate."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from datasette.utils import path_with_replaced_args, tilde_decode
from datasette.utils.asgi import BadRequest, Base400, Forbidden, Request, Response

from .permissions import EDIT, may_edit
from .scheduler import Scheduler

if TYPE_CHECKING:
    from datasette.app import Datasette

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed the gate."""

    datasette: Datasette
    request: Request

    @property
    def scheduler(self) -> Scheduler:
        scheduler: Scheduler = self.datasette._cron_scheduler
        return scheduler

    @property
    def name(self) -> str:
        """The task's name in the address, which is tilde-encoded there, or percent-encoded."""
        name: str = self.request.url_vars["name"]
        if "%" in name:
            # As Datasette reads such addresses; tilde encoding leaves no % over.
            name = name.replace("~", "~7E").replace("%", "~")
        decoded: str = tilde_decode(name)
        return decoded

    def with_args(self, args: Mapping[str, str | None]) -> str:
        """The address of this request with `args` in place of those it has; None takes one out.

        Where Datasette has a `base_url`, it stands once at the front, whether the proxy has taken
        it from the request or not.
        """
        path: str = path_with_replaced_args(self.request, args)
        base: str = self.datasette.setting("base_url")
        if path.startswith(base):
            path = "/" + path[len(base) :]
        return str(self.datasette.urls.path(path))

    async def body(self) -> dict[str, Any]:
        """The JSON object in the body; an empty body is an empty object. Raises BadRequest."""
        return _json_object(await self.request.post_body())

    async def fields(self, texts: Collection[str] = ()) -> dict[str, Any]:
        """What the body says: a JSON object, or a form.

        The fields of a form are texts; those that are not in `texts` are read as JSON where that is
        possible, and empty ones are left out. Raises BadRequest, and UnsupportedMediaType for a
        body of another kind.
        """
        text = await self.request.post_body()
        kind = (self.request.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if not text.strip() or kind in ("", JSON) or kind.endswith("+json"):
            return _json_object(text)
        if kind == FORM:
            return _form(text, texts)
        raise UnsupportedMediaType(f"the body is {kind!r}: send {JSON}")

    async def actor_may_edit(self) -> bool:
        """Whether whoever calls may create, edit and delete tasks, and see secrets."""
        return await may_edit(self.datasette, self.request.actor)

    async def require_edit(self) -> None:
        """Raises Forbidden for those who may not create, edit and delete tasks."""
        if not await self.actor_may_edit():
            raise Forbidden(f"Permission denied: this needs {EDIT}")


class UnsupportedMediaType(Base400):  # type: ignore[misc]  # Datasette has no types
    """A body of a kind that is not read here."""

    status = 415


def _json_object(text: bytes) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest(f"the body is a JSON {type(body).__name__}: send an object")
    return body


def _form(text: bytes, texts: Collection[str]) -> dict[str, Any]:
    try:
        fields = parse_qsl(text.decode(), strict_parsing=True, max_num_fields=100, errors="strict")
    except ValueError as error:
        raise BadRequest(f"the body is not a form: {error}") from None
    return {key: value if key in texts else _json_or_text(value) for key, value in fields}


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


View = Callable[[Call], Awaitable[Response]]
