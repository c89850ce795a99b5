"""Simulated histories keep the promises; and when they do not, that is found, told, replayed and
made small."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from planted import PLANTED, RARE
from sim_loop import Process, SimLoop, Spins, run_in_world
from sim_scenario import CALM, draw
from sim_world import simulate
from soak import Sum, replay_command, shrunk, told

HERE = Path(__file__).parent
SEEDS = 500
CHUNK = 25
SEEDS_ON_BOTH = 40
# In how many seeds each planted bug must be found.
ENOUGH = 30


# --- the promises


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_seed_breaks_a_promise(first: int) -> None:
    total = Sum()
    for seed in range(first, first + CHUNK):
        story = simulate(draw(seed))
        assert story.violation is None, told(shrunk(story, runs=60))
        total.add(story)
    # Something has happened.
    assert total.runs > 10 * CHUNK
    assert total.slots > 10 * CHUNK
    assert total.faults["kills"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS_ON_BOTH, 10))
def test_sqlite_tells_the_same_story_as_memory(first: int) -> None:
    for seed in range(first, first + 10):
        story = simulate(draw(seed), "both")
        assert story.violation is None, told(story, "both")


# --- the checker can fail


@pytest.mark.slow
@pytest.mark.parametrize("what", [what for what in PLANTED if what not in RARE])
def test_a_planted_bug_is_found(what: str) -> None:
    for seed in range(ENOUGH):
        with PLANTED[what]():
            story = simulate(draw(seed))
        if story.violation is not None:
            return
    pytest.fail(f"{ENOUGH} seeds, and nothing was found though {what}")


def test_a_story_that_fails_is_made_small_and_told() -> None:
    with PLANTED["a queued slot that gives way is forgotten"]():
        story = next(s for s in (simulate(draw(i)) for i in range(ENOUGH)) if s.violation)
        small = shrunk(story)
        again = simulate(small.scenario, trace=True)
    assert small.violation is not None
    assert str(again.violation) == str(small.violation)
    assert len(small.scenario.steps) < len(story.scenario.steps)
    assert replay_command(small.scenario) in told(small)
    assert simulate(small.scenario).violation is None  # it is the bug alone


# --- a seed says everything


def test_a_seed_replays_exactly() -> None:
    for seed in range(8):
        story = simulate(draw(seed), trace=True)
        assert story.lines == simulate(draw(seed), trace=True).lines
        assert len(story.lines) > 20


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_replays_in_another_process(hash_seed: str) -> None:
    seeds = range(10)
    command = [sys.executable, str(HERE / "soak.py"), "--digest", "--seeds", str(len(seeds))]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    # Here in another order, after other histories.
    ours = [f"{seed} {simulate(draw(seed), trace=True).digest}" for seed in reversed(seeds)]
    assert told.stdout.splitlines() == ours[::-1]


def test_a_replay_tells_the_whole_story() -> None:
    story = simulate(draw(5), trace=True)
    command = [sys.executable, str(HERE / "soak.py"), *replay_command(story.scenario).split()[3:]]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = told.stdout.splitlines()
    assert lines[-len(story.lines) - 1 : -1] == story.lines
    assert lines[-1] == "nothing is wrong"


def test_the_parts_of_a_scenario_can_be_left_out() -> None:
    scenario = next(s for s in map(draw, range(99)) if s.nodes == 3 and s.mode != CALM)
    less = scenario.with_nodes(1)
    first = less.kept[0]
    less = less.only((first,))
    assert less.steps == (scenario.steps[first],)
    assert less.nodes == 1
    options = f"--seed {scenario.seed} --nodes 1 --keep {first} --trace"
    assert replay_command(less).endswith(options)


# --- processes that can be killed


async def _count(ticks: list[float], ended: list[str]) -> None:
    try:
        while True:
            ticks.append(asyncio.get_running_loop().time())
            await asyncio.sleep(1)
    finally:
        ended.append("finally")


def test_a_killed_process_does_nothing_more_not_even_finally() -> None:
    loop, ticks, ended = SimLoop(), [], []

    async def story() -> None:
        process = Process(loop)
        process.spawn(_count(ticks, ended))
        await asyncio.sleep(3.5)
        process.kill()
        await asyncio.sleep(10)
        assert ended == []

    run_in_world(loop, story())
    assert [round(t) for t in ticks] == [0, 1, 2, 3]
    loop.dispose()


def test_a_process_dies_after_a_given_number_of_steps() -> None:
    for steps in range(4):
        loop, ticks = SimLoop(), []
        process = Process(loop)
        process.steps_left = steps

        async def story(process: Process = process, ticks: list[float] = ticks) -> None:
            process.spawn(_count(ticks, []))
            await asyncio.sleep(60)

        run_in_world(loop, story())
        assert not process.alive
        assert len(ticks) == (steps + 1) // 2  # a timer, and then the task
        loop.dispose()


@pytest.mark.parametrize("asleep", [False, True])
def test_a_stalled_process_goes_on_where_it_was(asleep: bool) -> None:
    loop, ticks = SimLoop(), []

    async def story() -> None:
        process = Process(loop)
        process.spawn(_count(ticks, []))
        await asyncio.sleep(2.5)
        process.stall(asleep=asleep)
        await asyncio.sleep(5.5)
        process.go_on()
        await asyncio.sleep(1.8)

    run_in_world(loop, story())
    # What sleeps does not count the time; what is stalled finds that the time has come.
    expected = [0, 1, 2, 8.5, 9.5] if asleep else [0, 1, 2, 8, 9]
    assert ticks == pytest.approx(expected, abs=0.01)
    loop.dispose()


def test_a_loop_that_spins_is_found() -> None:
    loop = SimLoop()

    async def story() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Spins):
        run_in_world(loop, story())
    loop.dispose()
