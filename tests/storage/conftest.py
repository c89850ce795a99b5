"""What the tests of the storages share: a PostgreSQL, and the backends by name."""

import pytest

pytest.register_assert_rewrite("cronkit_core.testing")

from postgres_fixture import postgres, postgres_schema  # noqa: E402

__all__ = ["postgres", "postgres_schema"]
