"""Scheduled tasks for Datasette."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from datasette.permissions import Action, PermissionSQL
from datasette.plugins import pm
from pluggy import HookimplMarker

from . import hookspecs, links
from .compress import App, compressed
from .events import EVENTS, CronEvent
from .lifecycle import configure, make_scheduler, prepare_database, start, stop
from .permissions import ACTIONS, default_rule
from .routes import all_routes

hookimpl = HookimplMarker("datasette")

pm.add_hookspecs(hookspecs)


@hookimpl
def prepare_jinja2_environment(datasette: Any) -> Any:
    # The last hook that Datasette awaits before it writes to its internal database.
    return prepare_database(datasette)


@hookimpl(wrapper=True, tryfirst=True)
def startup(datasette: Any) -> Generator[None, list[Any], list[Any]]:
    # A wrapper, since that is before every other plugin's hook, in whatever order they load.
    make_scheduler(datasette)
    others = yield
    return [start(datasette), *others, partial(configure, datasette)]


@hookimpl
def shutdown(datasette: Any) -> Any:
    return stop(datasette)


@hookimpl
def register_events() -> tuple[type[CronEvent], ...]:
    return EVENTS


@hookimpl
def register_actions() -> list[Action]:
    return list(ACTIONS)


@hookimpl
def permission_resources_sql(action: str) -> PermissionSQL | None:
    return default_rule(action)


@hookimpl
def register_routes() -> list[tuple[str, Callable[..., Any]]]:
    return all_routes()


@hookimpl(trylast=True)
def asgi_wrapper(datasette: Any) -> Callable[[App], App]:
    # Around those of other plugins: what they do with a page, they do before it is compressed.
    return partial(compressed, datasette=datasette)


@hookimpl
def register_commands(cli: Any) -> None:
    from .cli import register  # a server needs none of it

    register(cli)


@hookimpl
def menu_links(datasette: Any, actor: Any) -> Any:
    return links.menu(datasette, actor)


@hookimpl
def homepage_actions(datasette: Any, actor: Any) -> Any:
    return links.on_homepage(datasette, actor)


@hookimpl
def jump_items_sql(datasette: Any, actor: Any, request: Any) -> Any:
    return links.jumps(datasette, actor, request)


@hookimpl
def database_actions(datasette: Any, actor: Any, database: str) -> Any:
    return links.on_database(datasette, actor, database)


@hookimpl
def table_actions(datasette: Any, actor: Any, database: str, table: str) -> Any:
    return links.on_table(datasette, actor, database, table)


# Who imports this package before Datasette makes Datasette, which loads its plugins as soon as `pm`
# is imported, register it when it has no hooks yet.
_this = sys.modules[__name__]
if pm.is_registered(_this) and not pm.get_hookcallers(_this):
    _name = pm.get_name(_this)
    pm.unregister(_this)
    pm.register(_this, _name)
