"""The Hypothesis profiles: a quick one for the suite, and `soak` (CRONKIT_SOAK=1) with many more
examples and no time limit."""

import os

import pytest
from hypothesis import HealthCheck, settings

SOAK = os.environ.get("CRONKIT_SOAK") == "1"

settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("soak", settings.get_profile("quick"), max_examples=30_000)
settings.load_profile("soak" if SOAK else "quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SOAK:
        for item in items:
            item.add_marker(pytest.mark.timeout(0))
