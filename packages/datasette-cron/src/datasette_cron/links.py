"""Links to the pages from the rest of Datasette, for those who have access."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datasette.jump import JumpSQL
from datasette.utils import named_parameters
from datasette.utils.asgi import Request

from cronkit_core.definition import decode_leniently
from cronkit_core.errors import CronkitError
from cronkit_core.storage.base import TaskQuery, can_be_stored
from cronkit_core.storage.sqlite_edits import Program
from cronkit_core.storage.sqlite_rows import TASK_COLUMNS, task_record
from cronkit_core.storage.sqlite_schema import Statement
from cronkit_core.tasks import Task

from .api_json import description
from .builtin_sql import NAME as SQL_HANDLER
from .builtin_sql import sql_statements
from .migrations import PREFIX
from .pages.address import new_path, runs_path, task_path, tasks_path
from .permissions import may_access, may_edit

if TYPE_CHECKING:
    from datasette.app import Datasette

Actor = dict[str, Any] | None
Link = dict[str, str]

LABEL = "Scheduled tasks"
JUMPS = 100
"""How many tasks a search in the jump menu looks at: Datasette shows no more."""
LOOKED_AT = 100
"""How many tasks of a database are looked at for its page and those of its tables."""
SHOWN = 5
"""How many tasks a menu names."""


async def menu(datasette: Datasette, actor: Actor) -> list[Link]:
    """The link in Datasette's menu."""
    if not await may_access(datasette, actor):
        return []
    return [{"href": tasks_path(datasette), "label": LABEL}]


async def on_homepage(datasette: Datasette, actor: Actor) -> list[Link]:
    """The entry of the homepage's actions."""
    if not await may_access(datasette, actor):
        return []
    about = "What runs by itself: when, how it went, and what is next."
    return [{"href": tasks_path(datasette), "label": LABEL, "description": about}]


async def jumps(datasette: Datasette, actor: Actor, request: Request) -> list[JumpSQL]:
    """Pages and tasks for the jump menu."""
    if not await may_access(datasette, actor):
        return []
    pages = [(LABEL, tasks_path(datasette)), ("Runs of scheduled tasks", runs_path(datasette))]
    if await may_edit(datasette, actor):
        pages.append(("New scheduled task", new_path(datasette)))
    found = [JumpSQL.menu_item(label=label, url=url) for label, url in pages]
    # Datasette looks for the words in their order; the first one finds what may fit.
    words = (request.args.get("q") or "").split()
    tasks = await datasette._cron_scheduler.tasks(
        TaskQuery(search=words[0] if words else None, limit=JUMPS)
    )
    items = [(task.name, description(task), task_path(datasette, task.name)) for task in tasks]
    found.append(
        JumpSQL(
            sql="""
            SELECT
                'task' AS type,
                json_extract(value, '$[0]') AS label,
                json_extract(value, '$[1]') AS description,
                json_extract(value, '$[2]') AS url,
                json_extract(value, '$[0]') AS search_text,
                NULL AS display_name
            FROM json_each(:items)
            """,
            params={"items": json.dumps(items)},
        )
    )
    return found


async def on_database(datasette: Datasette, actor: Actor, database: str) -> list[Link]:
    """The tasks that write to a database, for the menu on its page."""
    if not await may_access(datasette, actor):
        return []
    return _links(datasette, await _tasks_on(datasette, database))


async def on_table(datasette: Datasette, actor: Actor, database: str, table: str) -> list[Link]:
    """The tasks that write to a table or read it, for the menu on its page."""
    if not await may_access(datasette, actor):
        return []
    tasks = await _tasks_on(datasette, database)
    return _links(datasette, [t for t in tasks if await _uses(datasette, t, database, table)])


def _links(datasette: Datasette, tasks: Sequence[Task]) -> list[Link]:
    links = [
        {
            "href": task_path(datasette, task.name),
            "label": f"Scheduled task: {task.name}",
            "description": description(task) + ("" if task.enabled else " (paused)"),
        }
        for task in tasks[:SHOWN]
    ]
    if len(tasks) > SHOWN:
        links.append({"href": tasks_path(datasette), "label": "More scheduled tasks"})
    return links


async def _tasks_on(datasette: Datasette, database: str) -> list[Task]:
    """The tasks of `cron:sql` on that database, by name."""
    scheduler = datasette._cron_scheduler
    await scheduler.open()
    found: list[Task] = await scheduler.internal_storage.read(_on(database))
    return found


def _on(database: str) -> Program[list[Task]]:
    if not can_be_stored(database):
        return []
    rows = yield Statement(
        f"SELECT {', '.join(TASK_COLUMNS)} FROM {PREFIX}tasks WHERE handler = ? AND "
        "CASE WHEN json_valid(config) THEN json_extract(config, '$.database') END = ? "
        "ORDER BY name LIMIT ?",
        (SQL_HANDLER, database, LOOKED_AT),
    )
    return [decode_leniently(task_record(row)) for row in rows]


async def _uses(datasette: Datasette, task: Task, database: str, table: str) -> bool:
    """Whether the SQL of `task` has to do with `table`, as SQLite itself reads it."""
    sql = task.config.get("sql")
    if "query" in task.config:
        query = await datasette.get_query(database, str(task.config["query"]))
        sql = None if query is None else query.sql
    if not isinstance(sql, str) or table.lower() not in sql.lower():
        return False
    try:
        statements = sql_statements("sql", sql)
    except CronkitError:
        return False
    for statement in statements:
        params = dict.fromkeys(named_parameters(statement))
        try:
            analysis = await datasette.get_database(database).analyze_sql(statement, params)
        except Exception:  # noqa: BLE001  # such as a table that an earlier statement makes
            continue
        if any((it.table or "").lower() == table.lower() for it in analysis.operations):
            return True
    return False
