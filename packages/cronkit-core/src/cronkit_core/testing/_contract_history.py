"""The part of the storage contract that is about runs made by hand, and what is left of runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ..runs import Reason, SkipReason, Status, Trigger
from ..storage.base import (
    OVERLAP,
    Claim,
    Retention,
    RunQuery,
    SkipQuery,
    Storage,
    TaskWrite,
)
from ._contract_made import (
    T0,
    at,
    claim,
    edit,
    enqueue,
    failure,
    history,
    made,
    new_run,
    read,
    run_of,
    save,
    skip,
    start_all,
    started,
    states,
    success,
)


class EnqueueContract:
    """`enqueue` and `cancel`."""

    async def test_runs_are_inserted_pending(self, storage: Storage) -> None:
        [task] = await save(storage, made(next_run_at=None, next_slot=None, task_group="g"))
        wish = new_run(
            task,
            at(-60),
            triggered_by=Trigger.BACKFILL,
            scheduled_for=at(-59),
            due_at=at(3),
            config='{"own": "é"}',
            priority=5,
        )
        ids = await storage.enqueue([wish], T0, revision=task.revision)
        assert ids is not None
        run = await run_of(storage, *ids)
        assert (run.task_name, run.slot, run.scheduled_for) == ("task", at(-60), at(-59))
        assert (run.status, run.due_at) == (Status.PENDING, at(3))
        assert (run.triggered_by, run.config) == (Trigger.BACKFILL, '{"own": "é"}')
        assert (run.task_group, run.priority, run.attempt) == ("g", 5, 1)
        assert (run.owner, run.epoch, run.started_at) == (None, 0, None)
        assert (await read(storage)).revision > task.revision
        [(resumed, _)] = (await claim(storage, now=at(3))).runs
        assert (resumed.id, resumed.config) == (run.id, '{"own": "é"}')

    async def test_the_task_must_be_as_it_was_read(self, storage: Storage) -> None:
        [task] = await save(storage, made(next_run_at=None, next_slot=None))
        new = new_run(task, due_at=T0)
        for revision in (task.revision - 1, task.revision + 1):
            assert await storage.enqueue([new], T0, revision=revision) is None
        assert await storage.enqueue([new], T0, revision=task.revision) is not None
        # Again, as after a lost answer: no harm.
        assert await storage.enqueue([new], T0, revision=task.revision) is None
        await storage.remove_tasks(["task"], T0, cancel=False)
        [again] = await save(storage, made(next_run_at=None, next_slot=None))
        assert await storage.enqueue([new], T0, revision=again.revision) is None
        assert len(await history(storage)) == 1

    async def test_a_slot_that_has_a_run_gets_no_other(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        await storage.finish([success(run, task_id)], at(5))
        task = await read(storage)
        wishes = [new_run(task, at(i), triggered_by=Trigger.BACKFILL) for i in (0, -60, -60)]
        ids = await enqueue(storage, task, *wishes)
        assert [(await run_of(storage, i)).slot for i in ids] == [at(-60)]

    async def test_manual_runs_have_slots_of_their_own(self, storage: Storage) -> None:
        await started(storage)
        task = await read(storage)
        wish = new_run(task, T0, triggered_by=Trigger.MANUAL)
        ids = await enqueue(storage, task, wish, wish)
        ids += await enqueue(storage, task, wish)
        found = [await run_of(storage, i) for i in ids]
        assert len(found) == 3
        slots = [run.slot for run in found]
        assert slots[0] == T0
        assert slots == sorted(set(slots))
        assert slots[-1] - T0 < timedelta(seconds=1)

    async def test_the_oldest_is_released_when_nothing_runs(self, storage: Storage) -> None:
        [task] = await save(storage, made(next_run_at=None, next_slot=None))
        await enqueue(storage, task, *(new_run(task, at(i)) for i in (2, 1, 3)), now=at(9))
        due = [run.due_at for run in await history(storage)]
        assert due == [None, at(9), None]

    async def test_a_trigger_replaces_cancels_and_skips(self, storage: Storage) -> None:
        run, _ = await started(storage)
        task = await read(storage)
        [waits, due] = await enqueue(
            storage, task, new_run(task, at(1)), new_run(task, at(2), due_at=at(99))
        )
        task = await read(storage)
        ids = await storage.enqueue(
            [new_run(task, at(3), triggered_by=Trigger.MANUAL)],
            at(4),
            revision=task.revision,
            replaced=[waits, 10**9],
            cancels=[run.id, due, 10**9],
            skips=[skip("task", at(1), at(1), run_id=run.id)],
        )
        assert ids is not None
        assert states(await history(storage)) == [
            ("0", 1, "running", None),
            ("2", 1, "error", "cancelled"),
            ("3", 1, "pending", None),
        ]
        assert (await run_of(storage, run.id)).cancel_requested_by == OVERLAP
        assert (await run_of(storage, due)).error_message == f"cancelled by {OVERLAP}"
        assert [s.count for s in await storage.skips(SkipQuery("task"))] == [1]
        stale = await storage.enqueue(
            [new_run(task, at(5))], T0, revision=task.revision, replaced=ids, cancels=ids
        )
        assert stale is None
        assert (await run_of(storage, ids[0])).status is Status.PENDING

    async def test_a_cancelled_pending_run_ends(self, storage: Storage) -> None:
        [task] = await save(storage, made(next_run_at=None, next_slot=None))
        first, second = await enqueue(storage, task, new_run(task, at(1)), new_run(task, at(2)))
        before = await run_of(storage, first)
        assert await storage.cancel(first, at(3), 'somebody\'s "wish"') == before
        ended = await run_of(storage, first)
        assert (ended.status, ended.reason) == (Status.ERROR, Reason.CANCELLED)
        assert ended.error_message == 'cancelled by somebody\'s "wish"'
        assert (ended.finished_at, ended.due_at) == (at(3), None)
        # The next one need not wait any longer.
        assert (await run_of(storage, second)).due_at == at(3)
        assert (await read(storage)).last_status is None

    async def test_the_owner_is_asked_to_cancel_a_running_run(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        assert await storage.cancel(run.id, at(1), "me") == run
        asked = replace(run, cancel_requested_by="me")
        assert await storage.cancel(run.id, at(2), "somebody else") == asked
        assert await run_of(storage, run.id) == asked
        await storage.finish([success(run, task_id)], at(5))
        ended = await run_of(storage, run.id)
        assert await storage.cancel(run.id, at(6), "me") == ended
        assert await run_of(storage, run.id) == ended

    async def test_what_is_not_there_cannot_be_cancelled(self, storage: Storage) -> None:
        assert await storage.cancel(1, T0, "me") is None
        assert await storage.cancel(10**12, T0, "me") is None


class HistoryContract:
    """`runs`, `prune`, `names_with_history`."""

    async def test_runs_are_found_by_what_they_are(self, storage: Storage) -> None:
        await save(storage, *(made(name, next_run_at=None, next_slot=None) for name in "ab"))
        for name in "ab":
            task = await read(storage, name)
            await enqueue(storage, task, *(new_run(task, at(i), due_at=at(i)) for i in range(3)))
        (a, a_id), (b, b_id) = (await claim(storage, now=at(0))).runs
        await storage.finish([success(a, a_id), failure(b, b_id)], at(5))
        await claim(storage, now=at(1), limit=1)
        _, a1, _ = [run.id for run in await history(storage, "a")]
        b0, _, b2 = [run.id for run in await history(storage, "b")]

        async def found(**query: object) -> list[tuple[str, float]]:
            runs = await storage.runs(RunQuery(**query))  # type: ignore[arg-type]
            assert [run.id for run in runs] == sorted((run.id for run in runs), reverse=True)
            return [(run.task_name, (run.slot - T0).total_seconds()) for run in runs]

        everything = [("b", 2), ("b", 1), ("b", 0), ("a", 2), ("a", 1), ("a", 0)]
        assert await found() == everything
        assert await found(limit=2) == everything[:2]
        assert await found(limit=2, offset=1) == everything[1:3]
        assert await found(limit=0) == []
        assert await found(offset=99) == []
        assert await found(before_id=b0) == everything[3:]
        assert await found(task_name="a") == everything[3:]
        assert await found(task_name="c") == []
        assert await found(ids=[a1, 10**12, b2]) == [("b", 2), ("a", 1)]
        assert await found(ids=[]) == []
        assert await found(statuses=[Status.SUCCESS]) == [("a", 0)]
        assert await found(statuses=[Status.ERROR, Status.RUNNING]) == [("b", 0), ("a", 1)]
        assert await found(statuses=[]) == []
        assert await found(since=at(1), until=at(1)) == [("b", 1), ("a", 1)]
        assert await found(since=at(2)) == [("b", 2), ("a", 2)]
        assert await found(until=at(0), task_name="b") == [("b", 0)]

    async def test_history_survives_its_task(self, storage: Storage, another: Storage) -> None:
        run, task_id = await started(storage)
        await storage.finish([success(run, task_id)], at(5))
        write = TaskWrite(await read(storage), skips=(skip("task", at(1), at(2), 2),))
        await storage.save_tasks([write], T0)
        await storage.remove_tasks(["task"], T0, cancel=True)
        assert states(await history(another)) == [("0", 1, "success", None)]
        assert len(await another.skips(SkipQuery("task"))) == 1
        assert await another.names_with_history("", 10) == ["task"]

    async def test_names_with_history_in_pages(self, storage: Storage) -> None:
        names = ["b", "a", "é", "Z", "東", "never ran"]
        await save(storage, *(made(name, enabled=name != "never ran") for name in names))
        await claim(storage)
        expected = sorted(set(names) - {"never ran"})
        assert await storage.names_with_history("", 10) == expected
        assert await storage.names_with_history("", 2) == expected[:2]
        assert await storage.names_with_history(expected[1], 2) == expected[2:4]
        assert await storage.names_with_history(expected[-1], 2) == []

    async def test_skips_are_a_history_too(self, storage: Storage) -> None:
        await started(storage, "b")
        for name in ("a", "b", "c"):
            record = await read(storage, name) if name == "b" else made(name, next_run_at=None)
            await storage.save_tasks([TaskWrite(record, skips=(skip(name, T0, T0),))], T0)
        assert await storage.names_with_history("", 10) == ["a", "b", "c"]
        assert await storage.names_with_history("", 2) == ["a", "b"]
        assert await storage.names_with_history("a", 1) == ["b"]
        assert await storage.prune([Retention("a", 0, None)], 10) == 1
        assert await storage.names_with_history("", 10) == ["b", "c"]

    async def test_the_skips_of_one_run_are_one_range(self, storage: Storage) -> None:
        """Which grows to both sides: after an edit, or a step of the clock, an older slot comes."""
        skips = [skip("task", at(i), at(j), n, run_id=7) for i, j, n in ((3, 4, 2), (5, 5, 1))]
        skips.append(skip("task", at(1), at(2), 2, run_id=7))
        await storage.save_tasks([TaskWrite(made(), skips=tuple(skips))], T0)
        assert await storage.skips(SkipQuery("task")) == [skip("task", at(1), at(5), 5, run_id=7)]

    async def test_the_newest_skips_are_kept(self, storage: Storage) -> None:
        skips = [skip("task", at(i), at(i), run_id=i) for i in (2, 0, 3, 1, 4)]
        await storage.save_tasks([TaskWrite(made(), skips=tuple(skips))], T0)

        async def left() -> list[int | None]:
            return [s.run_id for s in await storage.skips(SkipQuery("task"))]

        assert await storage.prune([Retention("task", 3, None)], 1) == 1
        assert await left() == [4, 3, 2, 1]
        assert await storage.prune([Retention("task", 3, None)], 10) == 1
        assert await storage.prune([Retention("task", 3, None)], 10) == 0
        assert await left() == [4, 3, 2]
        assert await storage.prune([Retention("task", 2, at(4))], 10) == 2
        assert await left() == [4]

    async def test_the_newest_runs_are_kept(self, storage: Storage) -> None:
        await self._ended(storage, "task", 6)
        await self._ended(storage, "other", 6)
        assert await storage.prune([Retention("task", 4, None)], 100) == 2
        assert await storage.prune([Retention("task", 4, None)], 100) == 0
        assert [run[0] for run in states(await history(storage))] == ["2", "3", "4", "5"]
        assert len(await history(storage, "other")) == 6
        assert await storage.prune([Retention("task", 0, None)], 100) == 4
        assert await storage.prune([Retention("nobody", 0, None), Retention("task", 9, T0)], 9) == 0

    async def test_old_runs_and_skips_go(self, storage: Storage) -> None:
        await self._ended(storage, "task", 4)
        skips = tuple(skip("task", at(i), at(i + 10), 2, reason=SkipReason.MISSED) for i in (0, 95))
        await storage.save_tasks([TaskWrite(await read(storage), skips=skips)], T0)
        assert await storage.prune([Retention("task", None, at(102))], 100) == 3
        assert [run[0] for run in states(await history(storage))] == ["2", "3"]
        assert await storage.skips(SkipQuery("task")) == [skips[1]]
        assert await storage.prune([Retention("task", None, None)], 100) == 0

    async def test_pruning_is_done_in_small_portions(self, storage: Storage) -> None:
        await self._ended(storage, "a", 5)
        await self._ended(storage, "b", 5)
        rules = [Retention("a", 1, at(10_000)), Retention("b", 1, None)]
        deleted = []
        while left := await storage.prune(rules, 3):
            deleted.append(left)
        assert deleted == [3, 3, 3]
        assert len(await history(storage, "a")) == 0
        assert len(await history(storage, "b")) == 1

    async def test_a_slot_is_not_new_while_an_attempt_is_left(self, storage: Storage) -> None:
        """Pruning may take the first attempts before the last; clocks go back, and edits with them:
        then a slot comes again."""
        run, task_id = await started(storage)
        await storage.finish([failure(run, task_id, retry_at=at(9))], at(5))
        assert await storage.prune([Retention("task", 1, None)], 100) == 1
        again = new_run(await read(storage), T0, triggered_by=Trigger.BACKFILL, due_at=T0)
        await edit(storage, next_slot=T0, next_run_at=T0)
        assert (await claim(storage)).runs == []
        await edit(storage, next_slot=T0, next_run_at=T0)
        await claim(storage, lambda s: Claim(waits=start_all(s).starts))
        assert await enqueue(storage, await read(storage), again) == []
        assert states(await history(storage)) == [("0", 2, "pending", "due")]
        [(second, _)] = (await claim(storage, now=at(9))).runs
        assert (second.slot, second.attempt) == (T0, 2)
        await storage.finish([failure(second, task_id, at(12), retry_at=at(20))], at(12))
        [(third, _)] = (await claim(storage, now=at(20))).runs
        # An earlier attempt may have ended later, by a clock that was ahead.
        await storage.finish([failure(third, task_id, at(11))], at(11))
        assert await storage.prune([Retention("task", None, at(12))], 100) == 1
        assert states(await history(storage)) == [("0", 2, "error", "exception")]
        assert await enqueue(storage, await read(storage), again) == []
        # When nothing of it is left, nobody can know.
        assert await storage.prune([Retention("task", 0, None)], 100) == 1
        [run_id] = await enqueue(storage, await read(storage), again)
        assert (await run_of(storage, run_id)).attempt == 1

    async def test_a_manual_run_moves_on_from_any_attempt(self, storage: Storage) -> None:
        [task] = await save(storage, made(next_run_at=None, next_slot=None))
        wish = new_run(task, T0, triggered_by=Trigger.MANUAL, due_at=T0)
        await enqueue(storage, task, wish)
        [(run, task_id)] = (await claim(storage)).runs
        await storage.finish([failure(run, task_id, retry_at=at(9))], at(5))
        assert await storage.prune([Retention("task", 1, None)], 100) == 1
        [run_id] = await enqueue(storage, task, wish)
        assert (await run_of(storage, run_id)).slot == T0 + timedelta(microseconds=1)
        # The slot of a manual run is not one of the schedule's.
        [run_id] = await enqueue(storage, task, new_run(task, T0, due_at=T0))
        assert (await run_of(storage, run_id)).slot == T0

    async def test_what_has_not_ended_is_never_pruned(self, storage: Storage) -> None:
        run, _ = await started(storage)
        task = await read(storage)
        await enqueue(storage, task, new_run(task, at(1)), new_run(task, at(2), due_at=at(9)))
        assert await storage.prune([Retention("task", 0, at(10**6))], 100) == 0
        assert len(await history(storage)) == 3
        assert (await run_of(storage, run.id)).status is Status.RUNNING

    async def _ended(self, storage: Storage, name: str, count: int) -> None:
        """So many runs of a new task, of slots one second apart, that ended 100 s after that."""
        [task] = await save(storage, made(name, next_run_at=None, next_slot=None))
        await enqueue(storage, task, *(new_run(task, at(i), due_at=T0) for i in range(count)))
        runs = (await claim(storage)).runs
        ends = [success(run, task_id, at(100 + i)) for i, (run, task_id) in enumerate(runs)]
        assert await storage.finish(ends, at(200)) == []

    async def test_subscribing_is_harmless(self, storage: Storage) -> None:
        calls: list[None] = []
        storage.subscribe(lambda: calls.append(None))
        await save(storage, made())
        assert (await read(storage)).name == "task"
        assert await claim(storage, lambda snapshot: Claim()) is not None
