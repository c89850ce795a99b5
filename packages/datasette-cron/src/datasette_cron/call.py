"""What a view is called with: a request that has passed the gate."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datasette.utils import tilde_decode
from datasette.utils.asgi import BadRequest, Request, Response

from .scheduler import Scheduler

if TYPE_CHECKING:
    from datasette.app import Datasette


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

    async def body(self) -> dict[str, Any]:
        """The JSON object in the body; an empty body is an empty object. Raises BadRequest."""
        text = await self.request.post_body()
        if not text.strip():
            return {}
        try:
            body = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise BadRequest(f"the body is a JSON {type(body).__name__}: send an object")
        return body


View = Callable[[Call], Awaitable[Response]]
