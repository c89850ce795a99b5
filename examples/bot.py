"""A chat bot whose users set reminders that survive a restart.

    python examples/bot.py [reminders.db]

The chat is the terminal: "remind 0 9 * * MON-FRI | stand-up", "remind 20s | tea", "list",
"forget 1", "quit". A real bot has its client's event loop in place of `chat`; the rest stays.
"""

import asyncio
import sys

from cronkit_core import InvalidSchedule, Scheduler, SQLiteStorage, lint

ZONE = "Europe/Berlin"
scheduler = Scheduler(SQLiteStorage(sys.argv[1] if len(sys.argv) > 1 else "reminders.db"))


def say(text):
    print(f"bot: {text}", flush=True)


@scheduler.handler("remind")
async def remind(run):
    say(f"remember: {run.config['text']}")


async def answer(line):
    """What the bot does with a line of its user."""
    command, _, rest = line.strip().partition(" ")
    if command == "remind":
        schedule, _, text = (part.strip() for part in rest.partition("|"))
        names = {task.name for task in await scheduler.tasks()}
        name = next(str(n) for n in range(1, 1_000) if str(n) not in names)
        try:
            task = await scheduler.add_task(
                name, "remind", schedule, timezone=ZONE, config={"text": text}, catch_up="skip"
            )
        except InvalidSchedule as error:  # it says what is wrong, where, and what would be right
            return say(str(error))
        first = f"{task.next_run_at:%d %b %H:%M} UTC"
        say(f"reminder {name}: {task.schedule.describe()}, the next at {first}")
        for warning in lint(task.schedule, after=scheduler.clock.now()):
            say(f"do you mean that? {warning.message}")
    elif command == "list":
        for task in await scheduler.tasks():
            say(f"{task.name}: {task.config['text']}, {task.schedule.describe()}")
    elif command == "forget":
        say("forgotten" if await scheduler.remove_task(rest) else f"there is no reminder {rest}")
    else:
        say("remind SCHEDULE | TEXT, list, forget NUMBER, quit")
    return None


async def chat():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if line.strip() == "quit":
            break
        await answer(line)


async def main():
    async with scheduler:
        await chat()


if __name__ == "__main__":
    asyncio.run(main())
