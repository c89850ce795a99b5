"""Hypothesis strategies for tasks and their policies (extra `cronkit-core[testing]`).

    @given(tasks())
    def test_my_form_takes_every_task(task):
        scheduler.add_task(**task) ...

What they draw is always valid, and shrinks towards no policy at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ..retry import BACKOFFS
from ..tasks import CatchUp, Overlap
from .strategies import instants, schedules, timezones

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_NAMES = st.one_of(
    st.sampled_from(("a", "b", "c")),
    _TEXT.filter(bool),
    st.sampled_from(("<script>", "../x?y=1&z#", "'; drop table tasks --", "%00", "\u202eabc")),
)
"""Names as people choose them, and names that look like something else where they are shown."""
_SECONDS = st.one_of(st.integers(0, 3600), st.floats(0, 1e6))
_LENGTHS = st.one_of(st.integers(1, 3600), st.floats(0.001, 1e6))


def policies() -> SearchStrategy[dict[str, Any]]:
    """Keyword arguments of `add_task` that are policies: any number of them."""
    return _policies()


@cache
def _policies() -> SearchStrategy[dict[str, Any]]:
    optional: dict[str, SearchStrategy[Any]] = {
        "overlap": st.sampled_from([policy.value for policy in Overlap]),
        "catch_up": st.sampled_from([policy.value for policy in CatchUp]),
        "catch_up_limit": st.integers(1, 100),
        "grace": _SECONDS,
        "retry": _retries(),
        "timeout": _LENGTHS,
        "jitter": _SECONDS,
        "max_runs": st.integers(1, 100),
        "pause_after_failures": st.integers(1, 10),
        "group": _NAMES,
        "priority": st.integers(-100, 100),
        "keep_runs": st.integers(0, 1_000),
        "keep_for": _SECONDS,
    }
    bounds = st.fixed_dictionaries({}, optional={"start_at": instants(), "end_at": instants()})
    drawn = st.fixed_dictionaries({}, optional=optional)
    return st.builds(lambda some, span: {**some, **_in_order(span)}, drawn, bounds)


@st.composite
def tasks(
    draw: DrawFn,
    handlers: Sequence[str] = ("handler",),
    *,
    specs: SearchStrategy[Any] | None = None,
) -> dict[str, Any]:
    """Keyword arguments of `add_task`: a name, one of the `handlers`, a schedule out of `specs`
    (else of any kind), a config, and, at times, a time zone and policies."""
    task = {
        "name": draw(_NAMES),
        "handler": draw(st.sampled_from(tuple(handlers))),
        "schedule": draw(schedules() if specs is None else specs),
        "config": draw(_configs()),
    }
    if draw(st.booleans()):
        task["timezone"] = draw(timezones())
    return task | draw(policies())


def _retries() -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "max_retries": st.integers(0, 10),
            "backoff": st.sampled_from(BACKOFFS),
            "base": _SECONDS,
            "max_delay": _SECONDS,
            "jitter": st.floats(0, 1),
            "on": st.lists(st.sampled_from(("ValueError", "OSError", "httpx.ConnectError"))),
            "give_up_after": _SECONDS,
        },
    )


@cache
def _configs() -> SearchStrategy[dict[str, Any]]:
    # Whole numbers that other readers of JSON do not round.
    leaf = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(-1, 1), _TEXT
    )
    value = st.recursive(leaf, lambda v: st.lists(v) | st.dictionaries(_TEXT, v), max_leaves=5)
    return st.dictionaries(_TEXT, value, max_size=3)


def _in_order(span: dict[str, datetime]) -> dict[str, datetime]:
    if len(span) == 2:
        first, last = sorted(span.values())
        return {"start_at": first, "end_at": last}
    return span
