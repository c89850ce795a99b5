"""The operations of a scenario, as a program that uses a scheduler would do them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from sim_asked import ask
from sim_scenario import Step

from cronkit_core import CronkitError, InvalidSchedule, InvalidTask, Status

if TYPE_CHECKING:
    from sim_world import Node, World

# What an operation may raise when its arguments are right: tasks and runs come and go, and the
# storage fails.
WRONG = (InvalidTask, InvalidSchedule)


async def operate(world: World, node: Node, step: Step) -> None:
    """Do what the step says. What it must not raise is a violation."""
    try:
        await _operate(world, node, step)
    except asyncio.CancelledError:
        raise
    except WRONG as error:
        world.fail("operation", f"{step}: {error!r}")
    except CronkitError as error:
        world.note(f"{node.name} {step.kind} raised {type(error).__name__}")
    except Exception as error:
        world.fail("operation", f"{step}: {error!r}")


async def _operate(world: World, node: Node, step: Step) -> None:
    scheduler: Any = node.scheduler
    plan = world.scenario.tasks[step.task]
    name, options = plan.name, step.options
    match step.kind:
        case "add" | "readd":
            if step.kind == "readd":
                with ask(world, "remove", name):
                    await scheduler.remove_task(name)
            definition = {**plan.definition, **options}
            with ask(world, "add", name, handler="work", **definition):
                await scheduler.add_task(name, "work", **definition)
        case "update":
            with ask(world, "update", name, **options):
                await scheduler.update_task(name, **options)
        case "remove":
            with ask(world, "remove", name):
                await scheduler.remove_task(name, **options)
        case "disable":
            with ask(world, "disable", name):
                await scheduler.disable_task(name, note="for now", by="ana")
        case "enable":
            with ask(world, "enable", name):
                await scheduler.enable_task(name)
        case "pause":
            with ask(world, "disable", name):
                await scheduler.disable_task(name)
            await asyncio.sleep(options["seconds"])
            with ask(world, "enable", name):
                await scheduler.enable_task(name)
        case "trigger":
            for _ in range(options["times"]):
                with ask(world, "trigger", name, force=options["force"]) as asked:
                    asked.result = await scheduler.trigger_task(name, force=options["force"])
        case "cancel":
            live = await scheduler.runs(statuses=(Status.PENDING, Status.RUNNING))
            live.sort(key=lambda run: (run.task_name, run.slot, run.attempt, run.manual))
            if live:
                run = Random(f"{world.scenario.seed} {step.at}").choice(live)
                with ask(world, "cancel", run.task_name, run_id=run.id):
                    await scheduler.cancel_run(run.id, by="ana")
        case "backfill" if world.scenario.settings["keep_runs"] is None:
            now = scheduler.clock.now()
            # At most so many slots: what is to be healed must be healed soon.
            back = min(options["back"], 30 * world.scenario.unit)
            start, overlap = now - timedelta(seconds=back), options["overlap"]
            with ask(world, "backfill", name, start=start, end=now, overlap=overlap) as asked:
                asked.result = await scheduler.backfill(name, start, now, overlap=overlap)
        case "wait":
            live = await scheduler.runs(name, statuses=(Status.PENDING, Status.RUNNING))
            for run in live[:1]:
                ended = await scheduler.wait_for_run(run.id)
                if ended.status in (Status.PENDING, Status.RUNNING):
                    world.fail("wait_for_run", f"{ended}")
