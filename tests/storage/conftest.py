"""What the tests of the storages share: a PostgreSQL, and storages in it."""

import pytest

from cronkit_core import PostgresStorage
from postgres_fixture import postgres, postgres_schema

__all__ = ["postgres", "postgres_schema"]


@pytest.fixture
async def make(postgres, postgres_schema):
    """Makes storages on one schema, which are closed at the end."""
    made_ones = []

    async def make_one(clock="caller", schema=postgres_schema, **options):
        storage = PostgresStorage(postgres.dsn, schema=schema, clock=clock, **options)
        made_ones.append(storage)
        await storage.open()
        return storage

    yield make_one
    for storage in made_ones:
        await storage.close()
