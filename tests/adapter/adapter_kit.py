"""What several of the adapter's tests need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from datasette import hookimpl
from datasette.plugins import pm

EVERYBODY = {"permissions": {"datasette-cron-access": True}}


@contextmanager
def plugin(name: str, **hooks: Any) -> Iterator[None]:
    """A plugin of that name with those hooks, for as long as the context lasts."""
    module = ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function))
    pm.register(module)
    try:
        yield
    finally:
        pm.unregister(module)
