"""What handlers demand of the tasks that are to use them."""

from __future__ import annotations

from typing import Any

import pytest
from builtin_site import ANA, ROOT, Site, make, site
from datasette.app import Datasette
from datasette.utils.asgi import Forbidden

from cronkit_core.errors import HandlerNotFound, InvalidTask
from datasette_cron.requirements import check_task, demands

__all__ = ["make", "site"]


async def test_what_a_handler_demands(site: Site) -> None:
    asked: list[tuple[Any, ...]] = []

    def validate(datasette: Datasette, config: dict[str, Any]) -> None:
        if "feed" not in config:
            raise ValueError("no feed")
        config.clear()  # it is a copy

    async def requires(datasette: Datasette, actor: Any, config: dict[str, Any]) -> bool | None:
        asked.append((datasette, actor, dict(config)))
        return None if actor else False

    @demands(validate=validate, requires=requires)
    def check(datasette: Datasette, config: dict[str, Any]) -> None: ...

    def plain(datasette: Datasette, config: dict[str, Any]) -> None: ...

    site.scheduler.register_handlers("feeds", {"check": check, "plain": plain})
    config = {"feed": 1}
    for name in ("feeds:check", "check"):
        await check_task(site.scheduler, ANA, name, config)
        assert asked.pop() == (site.datasette, ANA, {"feed": 1})
        with pytest.raises(Forbidden, match=f"the handler {name} refuses"):
            await check_task(site.scheduler, None, name, config)
        with pytest.raises(InvalidTask, match=r"bad config for the handler '.*check': no feed"):
            await check_task(site.scheduler, ANA, name, {})
    with pytest.raises(Forbidden):
        await check_task(site.scheduler, None, "check", {})
    await check_task(site.scheduler, None, "plain", {})
    with pytest.raises(HandlerNotFound):
        await check_task(site.scheduler, ROOT, "feeds:gone", {})


async def test_requirements_may_rely_on_a_config_that_has_a_meaning(site: Site) -> None:
    def validate(datasette: Datasette, config: dict[str, Any]) -> None:
        if "feed" not in config:
            raise ValueError("no feed")

    def requires(datasette: Datasette, actor: Any, config: dict[str, Any]) -> bool:
        return bool(config["feed"] == actor["id"])

    @demands(validate=validate, requires=requires)
    def check(datasette: Datasette, config: dict[str, Any]) -> None: ...

    site.scheduler.register_handlers("feeds", {"check": check})
    with pytest.raises(InvalidTask, match="no feed"):
        await check_task(site.scheduler, ANA, "check", {})
    # A mistake of the plugin's own lets nobody in, and stands in the log.
    with pytest.raises(InvalidTask, match=r"could not be checked \(TypeError\)"):
        await check_task(site.scheduler, None, "check", {"feed": 1})


async def test_built_in_handlers_leave_bare_names_to_plugins(site: Site) -> None:
    assert site.scheduler.get_handler("sql") is None
    assert {"cron:sql", "cron:snapshot", "cron:http"} <= set(site.scheduler.handlers)
