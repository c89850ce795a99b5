"""What is `immutable` is a frozen dataclass like any other, but for what it costs to make one."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime
from inspect import signature

import pytest

from cronkit_core import Run, Status, Task, Trigger
from cronkit_core.runs import Skip, SkipReason
from cronkit_core.tasks import TaskRecord

NOW = datetime(2027, 3, 28, 1, tzinfo=UTC)
RUN = Run(7, "report", NOW, 1, Status.RUNNING, Trigger.SCHEDULE, NOW, owner="me", epoch=3)
SKIP = Skip("report", NOW, NOW, 1, SkipReason.MISSED, NOW)


@pytest.mark.parametrize("made", [RUN, SKIP], ids=["run", "skip"])
def test_it_is_a_value(made):
    for same in (replace(made), copy.copy(made), copy.deepcopy(made)):
        assert same == made
        assert hash(same) == hash(made)
        assert type(same) is type(made)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(made, protocol)) == made
    assert replace(made, task_name="other") != made


@pytest.mark.parametrize("made", [RUN, SKIP], ids=["run", "skip"])
def test_it_cannot_be_changed(made):
    before = repr(made)
    with pytest.raises(FrozenInstanceError, match="task_name"):
        made.task_name = "other"
    with pytest.raises(FrozenInstanceError, match="task_name"):
        del made.task_name
    with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
        made.unheard_of = 1
    assert repr(made) == before


@pytest.mark.parametrize("kind", [Run, Skip, Task, TaskRecord])
def test_it_is_made_as_its_fields_say(kind):
    parameters = signature(kind).parameters.values()
    assert [(p.name, p.annotation) for p in parameters] == [(f.name, f.type) for f in fields(kind)]
    with pytest.raises(TypeError, match=rf"{kind.__name__}\.__init__\(\) missing"):
        kind()
    with pytest.raises(TypeError, match="unheard_of"):
        kind(unheard_of=1)


def test_what_is_not_given_has_its_default():
    assert (RUN.finished_at, RUN.priority, RUN.manual) == (None, 0, False)
    assert repr(RUN).startswith("Run(id=7, task_name='report', slot=")
