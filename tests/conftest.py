"""The Hypothesis profiles: a quick one for the suite, and `soak` for CRONKIT_SOAK=1, with very many
more examples and no time limit (another number is that of the examples of each test)."""

import asyncio.constants
import os
import traceback
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# Before anything imports it: the contract of storages is a suite, and its asserts are to explain.
pytest.register_assert_rewrite("cronkit_core.testing")

# In its debug mode asyncio keeps where each callback, coroutine, future and task was made: whole
# stacks took a third of the suite's time, and it checks the same without. Of callbacks it drops the
# last frame, so that one is none; of futures and tasks, which are made in C, one is kept.
asyncio.constants.DEBUG_STACK_DEPTH = 0
traceback.extract_stack.__defaults__ = (None, 1)

SOAK = int(os.environ.get("CRONKIT_SOAK", "0"))

settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,
    database=None,
    # The same examples each time: new ones are for soak, where a failure is looked for.
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "soak",
    settings.get_profile("quick"),
    derandomize=False,
    max_examples=12_000 if SOAK == 1 else max(SOAK, 1),
)
settings.load_profile("soak" if SOAK else "quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SOAK:
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A log with half a surrogate pair, which some tests make, must pass from xdist's workers."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report
