"""The description in OpenAPI says what there is, no more and no less."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from datasette.app import Datasette

from datasette_cron.openapi import address, describe
from datasette_cron.operations import Operation
from datasette_cron.routes import API

DOCS = Path(__file__).parents[2] / "docs" / "rest.md"


@pytest.fixture
def description() -> dict[str, Any]:
    return describe(API, "")


def test_each_route_and_method_is_described(description: dict[str, Any]) -> None:
    described = {
        (path, method.upper())
        for path, item in description["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == {(address(route), method) for route in API for method in route.views}


def test_each_view_of_the_api_is_an_operation() -> None:
    assert all(isinstance(view, Operation) for route in API for view in route.views.values())


def test_what_is_referred_to_exists(description: dict[str, Any]) -> None:
    referred = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(description)))
    assert referred == description["components"]["schemas"].keys()


def test_ids_are_unique(description: dict[str, Any]) -> None:
    ids = re.findall(r'"operationId": "(\w+)"', json.dumps(description))
    assert len(ids) == len(set(ids)) == sum(len(route.views) for route in API)


async def test_the_addresses_stand_under_the_base_url(make_datasette: Any) -> None:
    datasette: Datasette = await make_datasette(settings={"base_url": "/data/"})
    found = (await datasette.client.get("/-/api/cron/openapi.json")).json()
    assert found["servers"] == [{"url": "/data"}]
    assert found["paths"].keys() == {address(route) for route in API}


def test_each_endpoint_is_in_the_docs() -> None:
    text = DOCS.read_text()
    missing = [
        f"{method} {address(route)}"
        for route in API
        for method in route.views
        if f"`{method} {address(route)}`" not in text
    ]
    assert missing == []
