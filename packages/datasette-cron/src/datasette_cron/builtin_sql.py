"""`cron:sql`: write to a database of this Datasette, with SQL or a stored query."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datasette.plugins import pm
from datasette.resources import DatabaseResource, QueryResource
from datasette.utils import await_me_maybe, named_parameters
from datasette.utils.asgi import Forbidden
from datasette.utils.sqlite import sqlite3
from datasette.write_sql import QueryWriteRejected

from cronkit_core import current_run
from cronkit_core.errors import InvalidTask

from .checks import Check, checked, mapping, required, text
from .requirements import Actor, require

if TYPE_CHECKING:
    from datasette.app import Datasette
    from datasette.database import Database

NAME = "cron:sql"
WHAT = f"the config of {NAME}"
LONGEST_SCRIPT = 20_000
STEPS_BETWEEN_LOOKS = 10_000
"""How many of SQLite's instructions run until a cancelled run notices."""
OF_THE_RUN = ("cron_task", "cron_slot", "cron_attempt")
"""Parameters that every statement may use: what makes a run unique."""
OF_A_REQUEST = ("actor", "cookie", "header")
"""Prefixes of Datasette's magic parameters that have no meaning where there is no request."""


def sql_statements(key: str, value: object) -> tuple[str, ...]:
    """The statements of a script, in order."""
    script = text(key, value)
    if len(script) > LONGEST_SCRIPT:
        raise InvalidTask(
            f"bad {key}: {len(script)} characters, at most {LONGEST_SCRIPT} are taken: pass long "
            f"values in params"
        )
    found, start = [], 0
    for i, character in enumerate(script):
        if character == ";" and sqlite3.complete_statement(script[start : i + 1]):
            found.append(script[start:i].strip())
            start = i + 1
    found.append(script[start:].strip())
    return tuple(filter(None, found))


def values(key: str, value: object) -> dict[str, Any]:
    """Parameters by name; lists and mappings become JSON text, as SQLite has no such values."""
    params = mapping(key, value)
    return {
        name: json.dumps(item) if isinstance(item, list | dict) else item
        for name, item in params.items()
    }


CHECKS: Mapping[str, Check] = {
    "database": text,
    "sql": sql_statements,
    "query": text,
    "params": values,
}


class SQL:
    """Writes to a database. Config: database; sql (one statement or several, in one transaction)
    or query (the name of a stored query); params.

    Returns how many rows were changed; by triggers and foreign keys not counted. A run that is
    cancelled, or takes longer than its task's timeout, is rolled back.
    """

    async def __call__(self, datasette: Datasette, config: dict[str, Any]) -> dict[str, int]:
        database, statements, params = await _read(datasette, config)
        run = current_run()
        of_the_run = (run.task.name, run.slot.isoformat(), run.attempt)
        params = {
            **params,
            **dict(zip(OF_THE_RUN, of_the_run, strict=True)),
            **await _magic(datasette, statements),
        }
        return {"rows_changed": await _execute(database, statements, params)}

    async def validate(self, datasette: Datasette, config: dict[str, Any]) -> None:
        """Raises InvalidTask for an unknown or immutable database, an unknown query, or a
        parameter without a value."""
        await _read(datasette, config)

    async def requires(self, datasette: Datasette, actor: Actor, config: dict[str, Any]) -> None:
        """The actor must be allowed to execute the same SQL by hand. Raises Forbidden."""
        # What is asked first tells nobody whether the database and the query exist.
        data = _check(config)
        database = data["database"]
        if "query" in data:
            await require(datasette, actor, "view-query", QueryResource(database, data["query"]))
            query = await datasette.get_query(database, data["query"])
            if query is not None and query.is_trusted:
                return  # whoever may see such a query may execute it
        await require(datasette, actor, "execute-write-sql", DatabaseResource(database))
        for sql in (await _read(datasette, config))[1]:
            try:
                await datasette.ensure_query_write_permissions(database, sql, actor=actor)
            except QueryWriteRejected as error:
                raise Forbidden(error.message) from error


def _check(config: Mapping[str, Any]) -> dict[str, Any]:
    data = checked(config, CHECKS, WHAT)
    required(data, "database", WHAT)
    if ("sql" in data) == ("query" in data):
        raise InvalidTask(f"{WHAT} needs either 'sql' or 'query'")
    return data


async def _read(
    datasette: Datasette, config: Mapping[str, Any]
) -> tuple[Database, tuple[str, ...], dict[str, Any]]:
    """The database, the statements and the parameters that `config` means. Raises InvalidTask."""
    data = _check(config)
    name = data["database"]
    database = datasette.databases.get(name)
    if database is None:
        raise InvalidTask(f"unknown database {name!r}: name one that this Datasette serves")
    if not database.is_mutable:
        raise InvalidTask(f"database {name!r} is immutable: name one that can be written to")
    statements: tuple[str, ...] = data.get("sql", ())
    if "query" in data:
        query = await datasette.get_query(name, data["query"])
        if query is None:
            raise InvalidTask(f"database {name!r} has no stored query {data['query']!r}")
        if not query.is_write:
            raise InvalidTask(
                f"the stored query {data['query']!r} only reads: it needs write: true"
            )
        statements = (query.sql,)
    params: dict[str, Any] = data.get("params", {})
    magic = _magic_functions(datasette)
    for parameter in _parameters(statements):
        if _prefix(parameter) in OF_A_REQUEST:
            raise InvalidTask(
                f"parameter :{parameter} stands for a part of a request, and a task has none: use "
                f"one that has its value in params"
            )
        if _prefix(parameter) not in magic and parameter not in (*params, *OF_THE_RUN):
            raise InvalidTask(f"parameter :{parameter} has no value: give it one in params")
    return database, statements, params


def _parameters(statements: Sequence[str]) -> list[str]:
    return list(itertools.chain.from_iterable(map(named_parameters, statements)))


def _prefix(parameter: str) -> str | None:
    """The prefix of a magic parameter: "now" of "_now_datetime_utc"."""
    found = re.fullmatch(r"_([^_]+)_.*", parameter)
    return None if found is None else found[1]


def _magic_functions(datasette: Datasette) -> dict[str, Callable[[str, Any], Any]]:
    """Datasette's magic parameters, by their prefixes."""
    return dict(
        itertools.chain.from_iterable(pm.hook.register_magic_parameters(datasette=datasette))
    )


async def _magic(datasette: Datasette, statements: Sequence[str]) -> dict[str, Any]:
    """The values of the magic parameters in `statements`."""
    functions = _magic_functions(datasette)
    found = {}
    for parameter in _parameters(statements):
        prefix = _prefix(parameter)
        if prefix in functions:
            try:
                value = functions[prefix](parameter.removeprefix(f"_{prefix}_"), None)
                found[parameter] = await await_me_maybe(value)
            except (KeyError, AttributeError) as error:
                raise InvalidTask(
                    f"parameter :{parameter} has no value where there is no request"
                ) from error
    return found


async def _execute(database: Database, statements: Sequence[str], params: Mapping[str, Any]) -> int:
    stopped = threading.Event()

    def cron_sql(conn: Any) -> int:
        conn.set_progress_handler(stopped.is_set, STEPS_BETWEEN_LOOKS)
        changed = 0
        try:
            for sql in statements:
                changed += _changed(conn, sql, params)
        finally:
            conn.set_progress_handler(None, 0)
        if stopped.is_set():
            raise RuntimeError("the run was cancelled: rolled back")
        return changed

    # Some statements work outside of transactions only.
    alone = len(statements) == 1 and statements[0].lower().startswith(("vacuum", "pragma"))
    try:
        return await database.execute_write_fn(  # type: ignore[no-any-return]
            cron_sql, transaction=not alone
        )
    except asyncio.CancelledError:
        stopped.set()
        raise


def _changed(conn: Any, sql: str, params: Mapping[str, Any]) -> int:
    """Execute `sql`; how many rows that changed."""
    before = conn.total_changes
    for _ in conn.execute(sql, params):
        pass  # what RETURNING gives belongs to nobody, but the statement ends with its last row
    if conn.total_changes == before:
        return 0  # else changes() would be those of an earlier statement
    changed: int = conn.execute("SELECT changes()").fetchone()[0]
    return changed
