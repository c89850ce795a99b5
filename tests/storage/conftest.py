"""What the tests of the storages share: a PostgreSQL, and the backends by name."""

from postgres_fixture import postgres, postgres_schema

__all__ = ["postgres", "postgres_schema"]
