"""What docs/guarantees.md says tries to break a promise exists, and can report what it says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/guarantees.md").read_text()
PROMISES = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", PAGE, re.MULTILINE)
"""The number of each, and the last column of its row."""


@pytest.mark.parametrize(("number", "tests"), PROMISES)
def test_what_tries_to_break_a_promise_exists(number: str, tests: str) -> None:
    places = re.findall(r"`(tests/[\w/.]+)`", tests)
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_what_the_simulation_reports_can_be_reported() -> None:
    code = "".join(file.read_text() for file in (ROOT / "tests/simulation").glob("*.py"))
    codes = set(re.findall(r"""(?:Violation|fail)\(\s*"([\w ]+)",""", code))
    codes |= set(re.findall(r"""due\.append\(\s*\("([\w ]+)",""", code))
    named = {code for _, tests in PROMISES for code in re.findall(r"\*([^*]+)\*", tests)}
    assert len(PROMISES) >= 8
    assert len(named) > 20
    assert named <= codes
