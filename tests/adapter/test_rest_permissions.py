"""Who may edit: by default whoever has access, unless a rule says otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from adapter_kit import plugin
from datasette.app import Datasette
from datasette.permissions import PermissionSQL

from datasette_cron.permissions import ACCESS, EDIT

ADA, BOB, ROOT = {"id": "ada"}, {"id": "bob"}, {"id": "root"}


@pytest.mark.parametrize(
    ("permissions", "access", "edit"),
    [
        ({}, [ROOT], [ROOT]),
        ({ACCESS: True}, [None, ADA, BOB, ROOT], [None, ADA, BOB, ROOT]),
        ({ACCESS: {"id": ["ada", "bob"]}}, [ADA, BOB, ROOT], [ADA, BOB, ROOT]),
        ({ACCESS: True, EDIT: {"id": "ada"}}, [None, ADA, BOB, ROOT], [ADA]),
        ({ACCESS: {"id": "bob"}, EDIT: {"id": "ada"}}, [BOB], []),
        ({ACCESS: True, EDIT: {"id": ["ada", "root"]}}, [None, ADA, BOB, ROOT], [ADA, ROOT]),
        ({EDIT: {"id": "ada"}}, [ROOT], []),
        ({ACCESS: True, EDIT: False}, [None, ADA, BOB, ROOT], []),
    ],
)
async def test_who_may_edit(
    make_datasette: Any,
    permissions: dict[str, Any],
    access: list[dict[str, str] | None],
    edit: list[dict[str, str] | None],
) -> None:
    datasette = await make_datasette(config={"permissions": permissions})
    datasette.root_enabled = True
    actors = (None, ADA, BOB, ROOT)

    async def allowed(action: str) -> list[dict[str, str] | None]:
        return [a for a in actors if await datasette.allowed(action=action, actor=a)]

    found = await allowed(ACCESS), await allowed(EDIT)
    # Whether root is bound by a rule of the configuration is Datasette's to say.
    without_root = [[a for a in some if a != ROOT] for some in (access, edit)]
    assert [[a for a in some if a != ROOT] for some in found] == without_root
    assert (ROOT in found[1]) <= (ROOT in found[0])


async def test_a_plugin_may_deny(make_datasette: Any) -> None:
    def permission_resources_sql(actor: Any, action: str) -> PermissionSQL | None:
        if action == EDIT and actor != ADA:
            return PermissionSQL.deny(reason="only Ada")
        return None

    with plugin("only_ada", permission_resources_sql=permission_resources_sql):
        datasette: Datasette = await make_datasette()
        assert await datasette.allowed(action=EDIT, actor=ADA)
        assert not await datasette.allowed(action=EDIT, actor=BOB)
        assert await datasette.allowed(action=ACCESS, actor=BOB)


async def test_default_deny_changes_nothing_for_those_with_access(make_datasette: Any) -> None:
    datasette = await make_datasette(
        config={"permissions": {ACCESS: {"id": "ada"}}}, default_deny=True
    )
    assert await datasette.allowed(action=EDIT, actor=ADA)
    assert not await datasette.allowed(action=EDIT, actor=None)


async def test_config_of_a_trigger_that_cannot_be_stored(make_datasette: Any) -> None:
    datasette = await make_datasette()
    scheduler = datasette._cron_scheduler
    scheduler.register_handlers("test", {"ok": lambda datasette, config: None})
    await scheduler.add_task("t", "test:ok", 60)
    for config in (b'{"database": "\\ud800"}', b'{"a": "\\u0000"}', b'{"a": NaN}', b"[]"):
        body = b'{"config": ' + config + b"}"
        response = await datasette.client.post("/-/api/cron/tasks/t/trigger", content=body)
        assert response.status_code == 400, response.text
