"""What a machine may lack: a test that needs it is skipped there.

    need("faketime", shutil.which("faketime"))

Where the environment says `CRONKIT_REQUIRE=browser,faketime`, these must be there, and a test that
lacks one fails: a machine that is to run all tests cannot skip some unnoticed.
"""

from __future__ import annotations

import os

import pytest


def required() -> set[str]:
    """What must be there, by the environment."""
    return {name.strip() for name in os.environ.get("CRONKIT_REQUIRE", "").split(",")} - {""}


def need(name: str, found: object) -> None:
    """Skip the test that calls this unless `found` is true; where `name` is required, fail it."""
    if found:
        return
    if name in required():
        pytest.fail(f"CRONKIT_REQUIRE names {name!r}, which this machine lacks", pytrace=False)
    pytest.skip(f"this machine lacks {name}")
