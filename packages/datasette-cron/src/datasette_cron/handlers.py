"""Collecting the handlers of all plugins."""

from __future__ import annotations

import inspect
import logging
from typing import Any

from datasette.plugins import pm
from datasette.utils import await_me_maybe

from .scheduler import Scheduler

logger = logging.getLogger("datasette_cron")


async def collect_handlers(scheduler: Scheduler) -> None:
    """Register what every plugin's `cron_register_handlers` returns, in the order in which the
    plugins were loaded. One that fails is logged; the others still register."""
    impls = pm.hook.cron_register_handlers.get_hookimpls()
    for impl in sorted(impls, key=lambda impl: (impl.trylast, not impl.tryfirst)):
        prefix = prefix_of(impl.plugin)
        try:
            arguments = [scheduler.datasette for _ in impl.argnames]
            handlers = await await_me_maybe(impl.function(*arguments))
            if handlers is None:
                continue
            scheduler.register_handlers(prefix, dict(handlers))
        except Exception:
            logger.exception("cron_register_handlers of %r failed", impl.plugin_name)


def prefix_of(plugin: Any) -> str:
    """What the full names of a plugin's handlers begin with: `datasette_my.cron` gives "my".

    For a class, or an instance of one, its module counts; for a file in a plugins directory, its
    name without the suffix.
    """
    module = plugin.__name__ if inspect.ismodule(plugin) else plugin.__module__
    return module.replace("datasette_", "").split(".")[0] or "unknown"
