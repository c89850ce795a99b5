"""The checker of the chaos tests finds what is wrong."""

from datetime import UTC, datetime, timedelta

import pytest
from chaos_check import LedgerRun, LedgerSkip, LogLine, Named, check

T0 = datetime(2027, 1, 1, tzinfo=UTC)
EVERY = timedelta(seconds=1)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


NAMED = [Named("t", T0 - 5 * EVERY, EVERY, at(0.5), at(4.5))]
FINE = {
    "runs": [
        LedgerRun("t", at(1), 1, "error", "lost", 1),
        LedgerRun("t", at(1), 2, "success", None, 3),
        LedgerRun("t", at(2), 1, "success", None, 2),
    ],
    "skips": [LedgerSkip("t", at(3), at(4), 2, False)],
    "lines": [
        LogLine("start", "t", at(1), 1, 1, 7, 1.0),
        LogLine("start", "t", at(2), 1, 2, 8, 2.0),
        LogLine("end", "t", at(2), 1, 2, 8, 2.1),
        LogLine("start", "t", at(1), 2, 3, 8, 3.0),
        LogLine("cut", "t", at(1), 1, 1, 7, 3.1),
        LogLine("end", "t", at(1), 2, 3, 8, 3.2),
    ],
}


def test_what_is_fine_is_fine():
    verdict = check(NAMED, **FINE)
    assert verdict.fine, verdict
    assert (verdict.due, verdict.ran, verdict.skipped, verdict.lost_attempts) == (4, 2, 2, 1)


def changed(key, at, **fields):
    """What is fine but for one row, which is another, or left out."""
    rows = list(FINE[key])
    rows[at : at + 1] = [rows[at]._replace(**fields)] if fields else []
    return {**FINE, key: rows}


def added(key, row):
    return {**FINE, key: [*FINE[key], row]}


@pytest.mark.parametrize(
    ("what", "kind", "rows"),
    [
        ("a slot that has no row", "lost", changed("skips", 0, last=at(3), count=1)),
        ("a skip that counts too little", "lost", changed("skips", 0, count=1)),
        ("a slot whose last attempt failed", "lost", changed("runs", 1, status="error")),
        ("a slot that is given up", "lost", changed("runs", 1)),
        ("a slot that ran and was skipped", "doubled", changed("skips", 0, first=at(2))),
        ("two successes", "doubled", changed("runs", 0, status="success", reason=None)),
        ("one attempt twice", "doubled", added("lines", FINE["lines"][1])),
        ("two at work, nothing lost", "doubled", changed("runs", 0, reason="interrupted")),
        ("an attempt too few", "wrong", changed("runs", 0)),
        ("a retry of what had failed", "wrong", changed("runs", 0, reason="exception")),
        ("an epoch that goes back", "wrong", changed("runs", 0, epoch=4)),
        ("a success of nobody", "wrong", changed("lines", 5)),
        ("a success of who was cut", "wrong", changed("lines", 5, what="cut")),
        ("a run without a row", "wrong", changed("runs", 2)),
        ("another claim's run", "wrong", changed("lines", 1, epoch=9)),
        (
            "a slot that is not named",
            "wrong",
            added("runs", LedgerRun("t", at(2.5), 1, "success", None, 9)),
        ),
    ],
)
def test_what_is_wrong_is_found(what, kind, rows):
    assert getattr(check(NAMED, **rows), kind), what
