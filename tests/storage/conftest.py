"""The four backends, and what the tests of the storages share."""

from postgres_fixture import postgres, postgres_schema

__all__ = ["postgres", "postgres_schema"]
