"""A Datasette plugin with a handler of its own, a task that it adds, and a check of what people
configure.

    cd examples/datasette-plugin
    datasette feeds.db --create --internal internal.db --plugins-dir plugins --root
"""

from datasette import Forbidden, hookimpl
from datasette.resources import DatabaseResource

from cronkit_core import current_run
from datasette_cron.requirements import demands


def check_config(datasette, config):
    """What makes sense: asked before a task is stored that people make on a page or over REST."""
    name = config.get("database")
    if not isinstance(name, str) or name not in datasette.databases:
        raise ValueError("'database' is to be the name of a database")


async def may_write(datasette, actor, config):
    """Who may make such a task."""
    database = DatabaseResource(config["database"])
    if not await datasette.allowed(action="execute-write-sql", resource=database, actor=actor):
        raise Forbidden("this needs execute-write-sql")


@demands(validate=check_config, requires=may_write)
async def measure(datasette, config):
    """Writes down how large the database is."""
    run = current_run()
    database = datasette.get_database(config["database"])
    pages = (await database.execute("select page_count from pragma_page_count")).single_value()
    # A slot may be seen twice, when a process dies over it; this writes the same row again.
    await database.execute_write(
        "insert or replace into sizes (at, pages) values (?, ?)", [run.slot.isoformat(), pages]
    )
    return {"pages": pages}


@hookimpl
def cron_register_handlers(datasette):
    return {"measure": measure}


@hookimpl
def startup(datasette):
    async def add():
        database = datasette.get_database("feeds")
        await database.execute_write(
            "create table if not exists sizes (at text primary key, pages integer)"
        )
        await datasette._cron_scheduler.add_task(
            name="sizes",
            handler="measure",
            schedule="*/5 * * * * *",  # six fields: every five seconds
            config={"database": "feeds"},
            retry={"max_retries": 3, "backoff": "exponential"},
        )

    return add
