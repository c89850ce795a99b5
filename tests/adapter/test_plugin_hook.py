"""The plugin hook in every form that plugins give it, and what runs at startup in which order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datasette import hookimpl
from datasette.app import Datasette
from datasette.database import Database
from datasette.plugins import pm
from datasette.utils import StartupError

from datasette_cron.handlers import prefix_of


async def check(datasette: Datasette, config: dict[str, Any]) -> None:
    pass


async def other(datasette: Datasette, config: dict[str, Any]) -> None:
    pass


Register = Callable[..., Any]


@pytest.fixture
def register() -> Iterator[Register]:
    """Registers a plugin for the length of a test."""
    registered = []

    def register(plugin: Any, name: str | None = None) -> Any:
        pm.register(plugin, name)
        registered.append(plugin)
        return plugin

    yield register
    for plugin in registered:
        pm.unregister(plugin)


def module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    for key, value in members.items():
        setattr(made, key, hookimpl(value))
    return made


async def handlers(make_datasette: Any) -> dict[str, Any]:
    """The handlers that are registered, but for our own."""
    registered = (await make_datasette())._cron_scheduler.handlers
    return {name: fn for name, fn in registered.items() if not name.startswith("cron:")}


async def test_a_function_of_a_module(make_datasette: Any, register: Register) -> None:
    def cron_register_handlers(datasette: Datasette) -> dict[str, Any]:
        assert isinstance(datasette, Datasette)
        return {"check-feeds": check}

    register(module("datasette_myplugin.cron.hooks", cron_register_handlers=cron_register_handlers))
    datasette = await make_datasette()
    assert datasette._cron_scheduler.get_handler("myplugin:check-feeds") is check
    assert datasette._cron_scheduler.get_handler("check-feeds") is check


async def test_a_coroutine_function(make_datasette: Any, register: Register) -> None:
    async def cron_register_handlers(datasette: Datasette) -> dict[str, Any]:
        return {"check": check}

    register(module("datasette_later", cron_register_handlers=cron_register_handlers))
    assert await handlers(make_datasette) == {"later:check": check}


async def test_a_function_that_returns_one(make_datasette: Any, register: Register) -> None:
    def cron_register_handlers() -> Any:
        async def inner() -> dict[str, Any]:
            return {"check": check}

        return inner

    register(module("datasette_inner", cron_register_handlers=cron_register_handlers))
    assert await handlers(make_datasette) == {"inner:check": check}


class Plugin:
    __module__ = "datasette_classy.plugin"

    @hookimpl
    def cron_register_handlers(self, datasette: Datasette) -> dict[str, Any]:
        return {"check": check}


class StaticPlugin:
    __module__ = "datasette_static"

    @staticmethod
    @hookimpl
    def cron_register_handlers(datasette: Datasette) -> dict[str, Any]:
        return {"check": check}


@pytest.mark.parametrize(
    ("plugin", "name"), [(Plugin(), "classy:check"), (StaticPlugin, "static:check")]
)
async def test_a_class(make_datasette: Any, register: Register, plugin: Any, name: str) -> None:
    register(plugin)
    assert await handlers(make_datasette) == {name: check}


async def test_a_file_in_a_plugins_directory(make_datasette: Any, tmp_path: Path) -> None:
    (tmp_path / "in_a_file.py").write_text(
        "from datasette import hookimpl\n"
        "@hookimpl\n"
        "def cron_register_handlers(datasette):\n"
        "    return {'in-a-file': print}\n"
    )
    known = set(pm.get_plugins())
    try:
        assert await handlers(lambda: make_datasette(plugins_dir=str(tmp_path))) == {
            "in_a_file:in-a-file": print
        }
    finally:
        for plugin in set(pm.get_plugins()) - known:
            pm.unregister(plugin)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("datasette_myplugin", "myplugin"),
        ("datasette_myplugin.hooks", "myplugin"),
        ("my_datasette_thing", "my_thing"),
        ("plain", "plain"),
        ("demo.py", "demo"),
        ("datasette_", "unknown"),
    ],
)
def test_the_prefix_comes_from_the_module(name: str, prefix: str) -> None:
    assert prefix_of(ModuleType(name)) == prefix


async def test_the_first_bare_name_wins_with_a_warning(
    make_datasette: Any, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    register(module("datasette_one", cron_register_handlers=lambda datasette: {"check": check}))
    register(module("datasette_two", cron_register_handlers=lambda datasette: {"check": other}))
    datasette = await make_datasette()
    scheduler = datasette._cron_scheduler
    assert scheduler.get_handler("check") is check
    assert scheduler.get_handler("one:check") is check
    assert scheduler.get_handler("two:check") is other
    assert "'check' stays with 'one:check'" in caplog.text


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (lambda datasette: 1 / 0, "ZeroDivisionError"),
        (lambda datasette: ["check"], "Traceback"),
        (lambda datasette: {"check": "no function"}, "not callable"),
    ],
)
async def test_a_bad_hook_is_logged_and_the_others_register(
    make_datasette: Any,
    register: Register,
    caplog: pytest.LogCaptureFixture,
    hook: Any,
    said: str,
) -> None:
    register(module("datasette_before", cron_register_handlers=lambda datasette: {"a": check}))
    register(module("datasette_bad", cron_register_handlers=hook), name="the-bad-one")
    register(module("datasette_nothing", cron_register_handlers=lambda datasette: None))
    register(module("datasette_after", cron_register_handlers=lambda datasette: {"b": check}))
    assert await handlers(make_datasette) == {"before:a": check, "after:b": check}
    assert said in caplog.text
    assert "bad" in caplog.text


@pytest.mark.parametrize("tryfirst", [False, True])
async def test_the_scheduler_is_there_before_other_startup_hooks(
    make_datasette: Any, register: Register, tryfirst: bool
) -> None:
    seen = []

    class EarlyBird:
        @hookimpl(tryfirst=tryfirst)
        def startup(self, datasette: Datasette) -> Any:
            seen.append(datasette._cron_scheduler)

            async def inner() -> None:
                scheduler = datasette._cron_scheduler
                await scheduler.add_task(name="t", handler="early", schedule={"interval": 60})
                seen.append(await scheduler.internal_db.get_task("t"))
                seen.append(scheduler.get_handler("early"))

            return inner

        @hookimpl
        def cron_register_handlers(self, datasette: Datasette) -> dict[str, Any]:
            return {"early": check}

    # Loaded later than datasette-cron, and so called before it, were it not for the wrapper.
    register(EarlyBird())
    datasette = await make_datasette()
    scheduler, task, handler = seen
    assert scheduler is datasette._cron_scheduler
    assert task.name == "t"
    assert handler is check


async def test_a_temporary_database_is_warned_about(
    make_datasette: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await make_datasette()
    assert not caplog.records
    await make_datasette(internal=None)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "will not survive a restart" in record.message
    assert "--internal" in record.message


async def test_a_database_of_a_newer_version_is_left_alone(
    make_datasette: Any, internal: Path
) -> None:
    datasette = await make_datasette()
    database: Database = datasette.get_internal_database()
    await database.execute_write("UPDATE datasette_cron_schema SET version = 999")
    with pytest.raises(StartupError, match=r"schema version 999.*upgrade"):
        await make_datasette()
    assert (await database.execute("SELECT version FROM datasette_cron_schema")).first()[0] == 999


async def test_a_name_for_datasettes_menu(make_datasette: Any) -> None:
    datasette = await make_datasette()
    assert "datasette-cron-access" in datasette.actions
    page = await datasette.client.get("/")
    assert "/-/cron" in page.text
    locked = await make_datasette(config={})
    assert "/-/cron" not in (await locked.client.get("/")).text
