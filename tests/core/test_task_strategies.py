"""What the strategies for tasks draw: it is valid, it survives being stored, and it shrinks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from cronkit_core import changes
from cronkit_core.definition import decode, make_policies
from cronkit_core.testing import policies, tasks

NOW = datetime(2027, 1, 1, tzinfo=UTC)
PLAIN = {"name": "a", "handler": "handler", "schedule": "* * * * *", "config": {}}


@given(tasks())
def test_every_task_is_read_back_as_it_was_defined(wish: dict[str, Any]) -> None:
    definition = changes.define(NOW, **wish)
    write = changes.save(None, definition, NOW, keep_earlier=False)
    assert write is not None
    task = decode(write.record)
    assert (task.name, task.handler, task.timezone) == (
        wish["name"],
        wish["handler"],
        wish.get("timezone"),
    )
    assert task.config == wish["config"]
    assert task.schedule == definition.schedule
    assert task.policies == definition.policies
    # To define it as it is changes nothing.
    assert changes.save(write.record, definition, NOW, keep_earlier=False) is None


@given(policies())
def test_policies_are_valid(wish: dict[str, Any]) -> None:
    made = make_policies(**wish)
    assert make_policies(made) == made


def test_they_shrink_to_the_plain() -> None:
    def least(strategy: st.SearchStrategy[Any], condition: Callable[[Any], Any]) -> Any:
        # and no search for what else could have been drawn, which takes longer than all else
        return find(strategy, condition, settings=settings(phases=[Phase.generate, Phase.shrink]))

    assert least(policies(), lambda _: True) == {}
    assert least(policies(), lambda wish: "timeout" in wish) == {"timeout": 1}
    assert least(policies(), lambda wish: wish.get("retry")) == {"retry": {"max_retries": 0}}
    assert least(tasks(specs=st.just("* * * * *")), lambda _: True) == PLAIN
