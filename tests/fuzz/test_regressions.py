"""What bad input has once brought to light, each as small as it became."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fuzz_site import Site
from fuzz_targets import REFUSED, TAKEN, TARGETS, bounded

FOUND = [
    # errors that repeated the whole of a long text
    ("schedule", "@every " + "9" * 2_000),
    ("schedule", "1" + "x" * 2_000),
    ("schedule", "PT" + "9" * 2_000 + "M"),
]


@pytest.mark.parametrize(("target", "text"), FOUND)
def test_what_was_found(target: str, text: str) -> None:
    with bounded():
        assert TARGETS[target].feed(text) == REFUSED


def test_a_date_at_the_end_of_time_is_described() -> None:
    with bounded():
        assert TARGETS["rrule"].feed("FREQ=DAILY\nEXDATE:99991231T235959Z") == TAKEN


@pytest.mark.parametrize("first", ["datasette_cron", "datasette_cron.models", "datasette.app"])
def test_the_plugin_has_its_hooks_whoever_is_imported_first(first: str) -> None:
    """Imported before Datasette, it was registered half-made, and no task ever ran."""
    program = (
        f"import {first}\n"
        "from datasette.plugins import get_plugins\n"
        "print([len(p['hooks']) > 5 for p in get_plugins() if p['name'] == 'datasette-cron'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("[True]", 0), done.stderr


def test_a_request_of_no_address_of_ours_is_left_alone(tmp_path) -> None:
    with Site(tmp_path) as site:
        assert site.feed("é") == REFUSED
