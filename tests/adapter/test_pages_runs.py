"""The pages of runs, as the server makes them."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import big_site
import pytest

from cronkit_core.runs import Reason, Run, Status, Trigger
from cronkit_core.testing.virtual import run_until
from datasette_cron.pages.run import why


def ids(html):
    """The runs in a list, as they stand there."""
    return [int(found) for found in re.findall(r'<th scope="row"><a href="[^"]*">#(\d+)<', html)]


async def ended(scheduler, name, **options):
    """The id of a run of that task, which has ended."""
    run_id = await scheduler.trigger_task(name, **options)
    scheduler.start()
    await scheduler.wait_for_run(run_id)
    return run_id


@pytest.fixture
async def history(scheduler, clock):
    """Five runs that failed, and three that did not."""
    await scheduler.add_task("good", "ok", "0 * * * *", start_at=clock.now() + timedelta(hours=2))
    await scheduler.add_task("bad", "fail", {"interval": 3600}, overlap="allow")
    scheduler.start()
    await run_until(scheduler, clock.now() + timedelta(hours=5))
    return await scheduler.runs(limit=100)


async def test_all_runs_are_listed_newest_first(datasette, history):
    html = (await datasette.client.get("/-/cron/runs")).text
    assert ids(html) == [run.id for run in history]


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("status=error", lambda run: run.status == "error"),
        ("status=success", lambda run: run.status == "success"),
        ("status=success&status=error", lambda run: True),
        ("status=running", lambda run: False),
        ("task=bad", lambda run: run.task_name == "bad"),
        ("task=bad&status=success", lambda run: False),
        ("task=none", lambda run: False),
    ],
)
async def test_filters(datasette, history, query, fits):
    html = (await datasette.client.get(f"/-/cron/runs?{query}")).text
    assert ids(html) == [run.id for run in history if fits(run)]


async def test_times_are_utc_where_nothing_else_is_said(datasette, history):
    middle = history[len(history) // 2].slot
    later = [run.id for run in history if run.slot >= middle]
    assert 0 < len(later) < len(history)
    for since in (
        f"{middle:%Y-%m-%dT%H:%M:%S.%f}",
        f"{middle:%Y-%m-%dT%H:%M:%S.%f}%2B00:00",
    ):
        html = (await datasette.client.get(f"/-/cron/runs?since={since}")).text
        assert ids(html) == later


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("since=yesterday", "bad time 'yesterday'"),
        ("until=0001-01-01T00:00", "bad time '0001-01-01T00:00'"),
        ("status=done", "bad status: one of pending, running, success, error"),
        ("since=2027-01-02T00:00&until=2027-01-01T00:00", "is before 2027-01-02 00:00"),
    ],
)
async def test_what_makes_no_sense_is_told_and_kept(datasette, history, query, problem):
    answer = await datasette.client.get(f"/-/cron/runs?task=%3Cb%3E&{query}")
    assert answer.status_code == 400
    assert problem in unescape(answer.text)
    assert 'value="&lt;b&gt;"' in answer.text
    assert ids(answer.text) == []


async def test_pages_are_whole_and_have_each_run_once(datasette, scheduler):
    await scheduler.add_task("many", "ok", "0 0 1 1 *", overlap="allow")
    await scheduler.backfill("many", *_decades(scheduler))
    wanted = [run.id for run in await scheduler.runs(limit=1000)]
    assert len(wanted) > 100
    path, seen = "/-/cron/runs?task=many", []
    while path:
        html = (await datasette.client.get(path)).text
        seen += ids(html)
        older = re.search(r'rel="next" href="([^"]*)">Older', html)
        path = unescape(older[1]) if older else None
    assert seen == wanted


def _decades(scheduler):
    now = scheduler.clock.now()
    return now.replace(year=now.year - 120), now


async def test_tasks_with_such_a_name_are_suggested(datasette, history):
    html = (await datasette.client.get("/-/cron/runs?task=goo")).text
    assert re.search(r'<a href="/-/cron/runs\?task=good">good</a>', html)


async def test_a_failure_shows_all_there_is(datasette, scheduler):
    await scheduler.add_task("bad", "fail", "@yearly")
    run_id = await ended(scheduler, "bad")
    html = unescape((await datasette.client.get(f"/-/cron/runs/{run_id}")).text)
    assert "<strong>ValueError</strong>: out of paper" in html
    assert 'raise ValueError("out of paper")' in html
    assert "The handler raised an exception. The task has no retries." in html
    assert "cron-run.js" not in html


async def test_a_long_error_is_told_in_short(datasette, scheduler):
    """All of it is where the traceback ends, which scrolls."""

    def fail(datasette, config):
        raise ValueError("e" * 5_000)

    scheduler.register_handlers("test", {"long": fail})
    await scheduler.add_task("bad", "long", "@yearly")
    html = (await datasette.client.get(f"/-/cron/runs/{await ended(scheduler, 'bad')}")).text
    assert "</strong>: " + "e" * 999 + "…</p>" in html
    assert "ValueError: " + "e" * 5_000 in html


async def test_a_list_says_what_made_a_run(datasette, scheduler):
    await scheduler.add_task("t", "ok", "@yearly")
    await ended(scheduler, "t")
    html = (await datasette.client.get("/-/cron/runs")).text
    assert '<td data-label="Made by">hand</td>' in html


async def test_a_live_run_is_watched(datasette, scheduler):
    await scheduler.add_task("slow", "hang", "@yearly")
    scheduler.start()
    run_id = await scheduler.trigger_task("slow")
    html = (await datasette.client.get(f"/-/cron/runs/{run_id}")).text
    assert f'data-poll="/-/api/cron/runs/{run_id}"' in html
    assert "cron-run.js" in html
    answer = await datasette.client.post(f"/-/cron/runs/{run_id}/cancel")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/-/cron/runs/{run_id}")
    run = await scheduler.wait_for_run(run_id)
    assert run.reason is Reason.CANCELLED
    html = (await datasette.client.get(f"/-/cron/runs/{run_id}")).text
    assert "It was cancelled by request. The slot is not tried again." in html


async def test_what_has_ended_is_not_cancelled(datasette, scheduler):
    await scheduler.add_task("good", "ok", "@yearly")
    run_id = await ended(scheduler, "good")
    answer = await datasette.client.post(f"/-/cron/runs/{run_id}/cancel")
    assert answer.status_code == 303
    html = (await datasette.client.get(answer.headers["location"], cookies=answer.cookies)).text
    assert f"Run {run_id} has ended already" in html


async def test_neighbours_are_runs_of_the_same_task(datasette, scheduler):
    for name in ("a", "b"):
        await scheduler.add_task(name, "ok", "@yearly")
    runs = [await ended(scheduler, name) for name in ("a", "b", "a", "b", "a")]
    html = (await datasette.client.get(f"/-/cron/runs/{runs[2]}")).text
    assert re.search(r'rel="prev" href="([^"]*)"', html)[1] == f"/-/cron/runs/{runs[0]}"
    assert re.search(r'rel="next" href="([^"]*)"', html)[1] == f"/-/cron/runs/{runs[4]}"
    first = (await datasette.client.get(f"/-/cron/runs/{runs[0]}")).text
    assert 'rel="prev"' not in first


async def test_attempts_lead_to_each_other(datasette, scheduler, clock):
    await scheduler.add_task(
        "bad", "fail", {"interval": 3600}, retry={"max_retries": 2, "jitter": 0}
    )
    scheduler.start()
    await run_until(scheduler, clock.now() + timedelta(minutes=90))
    third, second, first = await scheduler.runs("bad")
    html = (await datasette.client.get(f"/-/cron/runs/{first.id}")).text
    assert "The slot was tried again: see the attempts." in html
    for attempt in (second, third):
        assert f'<a href="/-/cron/runs/{attempt.id}">{attempt.attempt}: #{attempt.id}</a>' in html
    html = (await datasette.client.get(f"/-/cron/runs/{third.id}")).text
    assert "There was no further attempt." in html


async def test_a_config_of_its_own_is_masked_for_who_may_not_edit(make_datasette, clock):
    config = {"permissions": {"datasette-cron-access": True, "datasette-cron-edit": {"id": "ada"}}}
    datasette = await make_datasette(clock, config=config)
    scheduler = datasette._cron_scheduler
    scheduler.register_handlers("test", {"ok": _nothing})
    await scheduler.add_task("good", "ok", "@yearly")
    run_id = await ended(scheduler, "good", config={"password": "hunter2", "n": 1})
    path = f"/-/cron/runs/{run_id}"
    assert "hunter2" not in (await datasette.client.get(path)).text
    assert "hunter2" in (await datasette.client.get(path, actor={"id": "ada"})).text


@pytest.mark.parametrize("run_id", ["999", "x", "9" * 30])
async def test_no_such_run(datasette, run_id):
    assert (await datasette.client.get(f"/-/cron/runs/{run_id}")).status_code == 404


async def test_no_such_run_to_cancel(datasette):
    assert (await datasette.client.post("/-/cron/runs/999/cancel")).status_code == 404


async def test_the_gate(make_datasette, clock):
    datasette = await make_datasette(clock, config={})
    for path in ("/-/cron/runs", "/-/cron/runs/1"):
        assert (await datasette.client.get(path)).status_code == 403
    assert (await datasette.client.post("/-/cron/runs/1/cancel")).status_code == 403


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words(clock, reason):
    now = clock.now()
    run = Run(1, "t", now, 1, Status.ERROR, Trigger.SCHEDULE, now, reason=reason)
    assert why(run, [run], None)


async def _nothing(datasette, config):
    pass


async def test_pages_of_a_site_with_very_much_are_short(tmp_path):
    """The small form of `just big-pages`, which looks at times, too."""
    path = tmp_path / "internal.db"
    await big_site.fill(path, 2_000, 20_000)
    found = await big_site.measure(path, times=1)
    assert {name: size for name, (_, size) in found.items() if size > big_site.MOST_BYTES} == {}
