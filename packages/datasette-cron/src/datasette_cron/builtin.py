"""The handlers that are there without any plugin: `cron:sql`, `cron:snapshot` and `cron:http`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import builtin_http, builtin_snapshot, builtin_sql

if TYPE_CHECKING:
    from .config import Config
    from .scheduler import Scheduler


def register_builtin(scheduler: Scheduler, config: Config) -> None:
    """Register the built-in handlers. They have no bare names, which belong to plugins."""
    handlers: dict[str, Callable[..., Any]] = {
        builtin_sql.NAME: builtin_sql.SQL(),
        builtin_snapshot.NAME: builtin_snapshot.Snapshot(config.snapshot_directory),
        builtin_http.NAME: builtin_http.HTTP(config.http_allow),
    }
    for name, handler in handlers.items():
        scheduler.register_handler(name, handler)
