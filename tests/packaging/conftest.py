"""A PostgreSQL for what is installed."""

from postgres_fixture import postgres, postgres_schema

__all__ = ["postgres", "postgres_schema"]
