"""The plugin hook of datasette-cron."""

from typing import Any

from pluggy import HookspecMarker

hookspec = HookspecMarker("datasette")


@hookspec
def cron_register_handlers(datasette: Any) -> Any:
    """Return a dict of handler name -> function, or a coroutine that returns one.

    A handler is a sync or async function of `(datasette, config)`, `config` being the task's dict.
    """
