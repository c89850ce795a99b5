"""The part of the storage contract that is about what is due, and who takes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from ..runs import Reason, Status, Trigger, cancelled_pending
from ..storage.base import OVERLAP, Advance, Claim, SkipQuery, Snapshot, Storage, TaskQuery
from ._contract_made import (
    LEASE,
    MINUTE,
    T0,
    Seen,
    at,
    claim,
    edit,
    enqueue,
    failure,
    history,
    made,
    new_run,
    nothing,
    read,
    run_of,
    save,
    seen,
    skip,
    start_all,
    started,
    states,
    success,
)


def waiting(snapshot: Snapshot) -> Claim:
    """A plan: let each slot that is due wait."""
    plan = start_all(snapshot)
    return Claim(advances=plan.advances, waits=plan.starts)


class WakeContract:
    """`wake`."""

    async def test_the_earliest_of_slot_pending_run_and_lease(self, storage: Storage) -> None:
        async def wake() -> datetime | None:
            return (await storage.wake(T0, "me")).at

        assert await wake() is None
        await save(storage, made("late", next_slot=at(90), next_run_at=at(95), priority=9))
        assert await wake() == at(95)
        await save(storage, made("early", next_slot=at(50), next_run_at=at(60)))
        assert await wake() == at(60)
        task = await read(storage, "early")
        await enqueue(storage, task, new_run(task, due_at=at(40)))
        assert await wake() == at(40)
        await claim(storage, now=at(40), lease=LEASE)
        assert await wake() == at(60)
        await claim(storage, now=at(61), lease=LEASE)
        assert await wake() == at(40) + LEASE

    async def test_what_cannot_come_due_is_left_out(self, storage: Storage) -> None:
        await save(
            storage,
            made("disabled", enabled=False),
            made("broken", broken="why"),
            made("over", next_slot=None, next_run_at=None),
        )
        task = await read(storage, "over")
        await enqueue(storage, task, new_run(task, due_at=at(8)), new_run(task, at(1)))
        assert (await storage.wake(T0, "me")).at == at(8)
        await storage.cancel((await history(storage, "over"))[1].id, T0, "a test")
        await claim(storage, now=at(8))
        assert (await storage.wake(T0, "me")).at == at(8) + LEASE

    async def test_full_groups_are_left_out(self, storage: Storage) -> None:
        await save(
            storage,
            made("a", task_group="x", next_run_at=at(1)),
            made("b", task_group="y", next_run_at=at(2), priority=3),
            made("c", next_run_at=at(4), next_slot=at(4)),
        )
        task = await read(storage, "b")
        await enqueue(storage, task, new_run(task, due_at=at(3)))
        assert (await storage.wake(T0, "me")).at == at(1)
        assert (await storage.wake(T0, "me", ["x"])).at == at(2)
        assert (await storage.wake(T0, "me", ["x", "z"])).at == at(2)
        assert (await storage.wake(T0, "me", ["y"])).at == at(1)
        assert (await storage.wake(T0, "me", ["x", "y"])).at == at(4)

    async def test_cancels_are_the_owners_own(self, storage: Storage) -> None:
        mine, task_id = await started(storage, "mine")
        await save(storage, made("theirs"))
        [(theirs, _)] = (await claim(storage, owner="them")).runs
        assert list((await storage.wake(T0, "me")).cancels) == []
        await storage.cancel(mine.id, T0, "a test")
        await storage.cancel(theirs.id, T0, "a test")
        assert list((await storage.wake(T0, "me")).cancels) == [mine.id]
        assert list((await storage.wake(T0, "them")).cancels) == [theirs.id]
        await storage.finish([success(mine, task_id)], at(5))
        assert list((await storage.wake(T0, "me")).cancels) == []

    async def test_it_tells_the_time_and_writes_nothing(self, storage: Storage) -> None:
        await save(storage, made())
        before = await storage.tasks(TaskQuery())
        assert (await storage.wake(at(7), "me")).now == at(7)
        assert await storage.tasks(TaskQuery()) == before
        assert await history(storage) == []


class ClaimContract:
    """`claim`: what it shows to the plan, and what it writes."""

    async def test_the_snapshot_has_what_is_due(self, storage: Storage, another: Storage) -> None:
        await save(
            storage,
            made("due", next_slot=at(9), next_run_at=at(10)),
            made("later", next_slot=at(10), next_run_at=at(11)),
            made("disabled", enabled=False),
            made("broken", broken="why"),
            made("over", next_slot=None, next_run_at=None),
        )
        task = await read(storage, "over")
        await enqueue(
            storage,
            task,
            new_run(task, due_at=at(10)),
            new_run(task, at(1), due_at=at(11)),
            new_run(task, at(2)),
        )
        snapshot = await seen(another, at(10))
        assert snapshot.now == at(10)
        assert [due.record for due in snapshot.tasks] == [await read(storage, "due")]
        [owed] = snapshot.pending
        assert owed.run == (await history(storage, "over"))[0]
        assert owed.record == await read(storage, "over")
        assert list(snapshot.expired) == []
        # A plan that does nothing changes nothing.
        assert (await read(storage, "due")).next_run_at == at(10)

    async def test_live_runs_come_with_their_task_oldest_first(self, storage: Storage) -> None:
        run, _ = await started(storage)
        task = await read(storage)
        manual = new_run(task, at(3), triggered_by=Trigger.MANUAL, attempt=1)
        await enqueue(storage, task, manual, new_run(task, at(2), due_at=at(99)))
        await storage.cancel((await enqueue(storage, task, new_run(task, at(1))))[0], T0, "x")
        [due] = (await seen(storage, at(60))).tasks
        found = [(r.slot, r.attempt, r.running, r.waiting, r.triggered_by) for r in due.live]
        assert found == [
            (T0, 1, True, False, Trigger.SCHEDULE),
            (at(3), 1, False, True, Trigger.MANUAL),
            (at(2), 1, False, False, Trigger.SCHEDULE),
        ]
        assert due.live[0].id == run.id

    async def test_the_order_is_priority_then_pending_then_time_then_id(
        self, storage: Storage
    ) -> None:
        await save(storage, made("z", next_run_at=at(3)))
        await save(
            storage,
            made("low", priority=-1, next_run_at=at(1)),
            made("a", next_run_at=at(3)),
            made("m", next_run_at=at(2)),
            made("high", priority=9, next_run_at=at(5)),
        )
        for name, due_at in (("low", at(0)), ("z", at(4)), ("a", at(4)), ("m", at(5))):
            task = await read(storage, name)
            await enqueue(storage, task, new_run(task, at(0), due_at=due_at))
        order = ["+high", "z", "a", "m", "+m", "+z", "+a", "low", "+low"]
        for limit in range(1, len(order) + 2):
            plan = Seen()
            claimed = await claim(storage, plan, at(9), limit=limit)
            pending = [owed.run.task_name for owed in plan.only.pending]
            expected = order[:limit]
            assert pending == [name for name in expected if name[0] != "+"], limit
            assert plan.names == [name[1:] for name in expected if name[0] == "+"], limit
            assert claimed.more == (limit <= len(order)), limit

    async def test_expired_runs_come_first_expired_first(self, storage: Storage) -> None:
        await save(storage, *(made(f"t{i}") for i in range(4)))
        runs = {run.task_name: run for run, _ in (await claim(storage)).runs}
        await claim(storage, nothing, at(1))
        await storage.renew("me", at(5), LEASE)
        await save(storage, made("long"))
        await claim(storage, start_all, T0, owner="them", lease=MINUTE * 10)
        assert list((await seen(storage, at(34.9))).expired) == []
        found = (await seen(storage, at(35))).expired
        assert [owed.run.id for owed in found] == [runs[f"t{i}"].id for i in range(4)]
        assert [owed.record for owed in found] == [await read(storage, f"t{i}") for i in range(4)]
        assert found[0].run.lease_until == at(35)
        limited = (await seen(storage, at(35), limit=2)).expired
        assert [owed.run.id for owed in limited] == [runs["t0"].id, runs["t1"].id]
        await save(storage, made("soon", next_run_at=at(40)))
        await claim(storage, start_all, at(40), owner="third", lease=-LEASE, limit=1)
        first, *_ = (await seen(storage, at(40))).expired
        assert first.run.task_name == "soon"

    async def test_running_runs_are_counted_by_group(self, storage: Storage) -> None:
        await save(
            storage,
            made("a", task_group="x"),
            made("b", task_group="x"),
            made("c", task_group="y"),
            made("d"),
        )
        await claim(storage, owner="them")
        task = await read(storage, "a")
        await enqueue(storage, task, new_run(task, at(7), due_at=at(60)))
        snapshot = await seen(storage, at(60))
        assert dict(snapshot.running) == {"x": 2, "y": 1}

    async def test_full_groups_wait_but_expire(self, storage: Storage) -> None:
        await save(storage, made("a", task_group="x"), made("b", task_group="y"), made("c"))
        await claim(storage)
        task = await read(storage, "a")
        await enqueue(storage, task, new_run(task, at(7), due_at=at(60)))
        plan = Seen()
        await claim(storage, plan, at(60), full_groups=["x"])
        assert plan.names == ["b", "c"]
        assert list(plan.only.pending) == []
        assert len(plan.only.expired) == 3

    async def test_the_plan_is_called_once(self, storage: Storage) -> None:
        plan = Seen(start_all)
        claimed = await claim(storage, plan)
        assert (list(claimed.runs), claimed.more, claimed.now) == ([], False, T0)
        assert len(plan.snapshots) <= 1

    async def test_a_plan_that_raises_changes_nothing(self, storage: Storage) -> None:
        await save(storage, made())
        before = await read(storage)

        def fail(snapshot: Snapshot) -> Claim:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await claim(storage, fail)
        assert await read(storage) == before
        assert len((await claim(storage)).runs) == 1

    # --- writing

    async def test_a_start_is_running_under_the_claimers_lease(self, storage: Storage) -> None:
        moment = T0 + storage.precision * 99
        [task] = await save(storage, made(task_group="g", priority=4, next_run_at=moment))
        claimed = await claim(storage, now=moment, owner="its owner")
        [(run, task_id)] = claimed.runs
        after = await read(storage)
        assert (task_id, claimed.now, claimed.more) == (task.id, moment, False)
        assert (run.task_name, run.slot, run.attempt) == ("task", T0, 1)
        assert (run.status, run.owner) == (Status.RUNNING, "its owner")
        assert (run.started_at, run.lease_until) == (moment, moment + LEASE)
        assert run.epoch == after.revision > task.revision
        assert (run.task_group, run.priority) == ("g", 4)
        assert (run.due_at, run.finished_at, run.reason) == (None, None, None)
        assert await run_of(storage, run.id) == run
        assert (after.next_slot, after.next_run_at) == (at(60), at(60))
        assert after.runs_started == 1
        assert (
            replace(after, next_slot=T0, next_run_at=moment, runs_started=0, revision=task.revision)
            == task
        )

    async def test_a_slot_is_claimed_once(self, storage: Storage, another: Storage) -> None:
        await save(storage, made("a"), made("b"))
        first = await claim(storage, limit=1)
        assert first.more
        second = await claim(another, owner="them")
        assert [run.task_name for run, _ in (*first.runs, *second.runs)] == ["a", "b"]
        assert list((await claim(storage)).runs) == []

    async def test_a_start_that_exists_is_left_out(self, storage: Storage) -> None:
        await save(storage, made("a"), made("b"), made("c"))
        await claim(storage)
        for name in "abc":  # moved back by hand
            await edit(storage, name, next_slot=T0, next_run_at=T0)
        await edit(storage, "b", next_slot=at(1))
        claimed = await claim(storage, owner="them")
        assert [(run.task_name, run.slot) for run, _ in claimed.runs] == [("b", at(1))]
        assert states(await history(storage, "a")) == [("0", 1, "running", None)]
        assert (await history(storage, "a"))[0].owner == "me"
        assert (await read(storage, "a")).next_slot == at(60)

    async def test_epochs_grow_with_each_claim(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        await storage.finish([failure(run, task_id, retry_at=at(9))], at(5))
        [(second, _)] = (await claim(storage, now=at(9))).runs
        [(third, _)] = (await claim(storage, now=at(60))).runs
        assert run.epoch < second.epoch < third.epoch == (await read(storage)).revision
        # Also where a claim writes more to the task than the start.
        [(fourth, _)] = (await claim(storage, now=at(200))).runs
        assert third.epoch < fourth.epoch == (await read(storage)).revision

    async def test_a_pending_run_resumes(self, storage: Storage) -> None:
        run, task_id = await started(storage, task_group="g")
        await storage.finish([failure(run, task_id, retry_at=at(9))], at(5))
        before = await read(storage)
        [(again, again_id)] = (await claim(storage, now=at(9), owner="them")).runs
        after = await read(storage)
        assert again_id == task_id
        assert (again.slot, again.attempt, again.status) == (T0, 2, Status.RUNNING)
        assert (again.owner, again.due_at) == ("them", None)
        assert (again.started_at, again.lease_until) == (at(9), at(9) + LEASE)
        assert again.epoch == after.revision > before.revision
        assert after == replace(before, revision=after.revision)
        assert await run_of(storage, again.id) == again
        assert list((await claim(storage, now=at(9))).runs) == []

    async def test_starts_come_before_resumes_as_planned(self, storage: Storage) -> None:
        [task] = await save(storage, made("a", next_run_at=at(60), next_slot=at(60)))
        [first, second] = await enqueue(
            storage, task, *(new_run(task, at(i), due_at=at(i)) for i in (1, 2))
        )
        await save(storage, *(made(f"s{i}", next_run_at=at(9 - i)) for i in range(3)))
        claimed = await claim(storage, now=at(9))
        names = [run.task_name for run, _ in claimed.runs]
        assert names == ["s2", "s1", "s0", "a", "a"]
        assert [run.id for run, _ in claimed.runs[3:]] == [first, second]

    async def test_a_wait_is_released_when_nothing_runs(self, storage: Storage) -> None:
        await save(storage, made())
        await claim(storage, waiting, at(3))
        assert states(await history(storage)) == [("0", 1, "pending", "due")]
        assert (await history(storage))[0].due_at == at(3)
        await claim(storage, waiting, at(63))
        assert states(await history(storage)) == [
            ("0", 1, "pending", "due"),
            ("60", 1, "pending", None),
        ]
        await claim(storage, lambda s: Claim(resumes=list(s.pending)), at(64))
        await claim(storage, waiting, at(123))
        assert states(await history(storage)) == [
            ("0", 1, "running", None),
            ("60", 1, "pending", None),
            ("120", 1, "pending", None),
        ]

    async def test_a_wait_may_be_due_at_once(self, storage: Storage) -> None:
        """As one is for which a group has no room."""
        await started(storage)

        def plan(snapshot: Snapshot) -> Claim:
            claim = waiting(snapshot)
            claim.waits = [replace(new, due_at=snapshot.now) for new in claim.waits]
            return claim

        await claim(storage, plan, at(60))
        assert states(await history(storage))[1] == ("60", 1, "pending", "due")

    async def test_a_lost_run_makes_room_for_the_next(self, storage: Storage) -> None:
        """A claim may end a run, retry it, or start another, all at once."""
        run, task_id = await started(storage)

        def plan(snapshot: Snapshot) -> Claim:
            [owed] = snapshot.expired
            claim = waiting(snapshot)
            claim.finishes = [failure(owed.run, task_id, snapshot.now, reason=Reason.LOST)]
            return claim

        claimed = await claim(storage, plan, at(60), owner="them")
        assert list(claimed.runs) == []
        assert states(await history(storage)) == [
            ("0", 1, "error", "lost"),
            ("60", 1, "pending", "due"),
        ]
        assert (await read(storage)).last_status == "error"
        assert await storage.finish([success(run, task_id)], at(61)) == [run.id]

    async def test_a_lost_run_is_retried(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        await edit(storage, next_slot=None, next_run_at=None)

        def plan(snapshot: Snapshot) -> Claim:
            [owed] = snapshot.expired
            end = failure(owed.run, task_id, snapshot.now, at(40), reason=Reason.LOST)
            return Claim(finishes=[end])

        await claim(storage, plan, at(30), owner="them")
        assert states(await history(storage)) == [
            ("0", 1, "error", "lost"),
            ("0", 2, "pending", "due"),
        ]
        [(again, _)] = (await claim(storage, now=at(40), owner="them")).runs
        assert again.epoch > run.epoch

    async def test_a_newer_slot_takes_the_place_of_one_that_waits(self, storage: Storage) -> None:
        run, _ = await started(storage)
        await claim(storage, waiting, at(60 - 60))  # nothing is due yet
        await storage.renew("me", at(50), MINUTE * 10)
        await claim(storage, waiting, at(60))

        def plan(snapshot: Snapshot) -> Claim:
            [due] = snapshot.tasks
            claim = waiting(snapshot)
            claim.replaced = [live.id for live in due.live if live.waiting]
            claim.skips = [skip("task", at(60), at(60), run_id=run.id)]
            return claim

        for now in (at(120), at(180)):
            await claim(storage, plan, now)
        assert states(await history(storage)) == [
            ("0", 1, "running", None),
            ("180", 1, "pending", None),
        ]
        [merged] = await storage.skips(SkipQuery("task"))
        assert (merged.count, merged.run_id) == (2, run.id)

    async def test_only_what_waits_is_replaced(self, storage: Storage) -> None:
        run, _ = await started(storage)
        await claim(storage, lambda snapshot: Claim(replaced=[run.id, 10**9]), at(1))
        assert await run_of(storage, run.id) == run

    async def test_a_newer_slot_cancels_what_runs_and_what_waits(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        await storage.renew("me", at(50), MINUTE * 10)
        task = await read(storage)
        [retry_id] = await enqueue(storage, task, new_run(task, attempt=2, due_at=at(99)))

        def plan(snapshot: Snapshot) -> Claim:
            claim = waiting(snapshot)
            claim.cancels = [run.id, 10**9]
            claim.finishes = [cancelled_pending(retry_id, task_id, "task", OVERLAP, snapshot.now)]
            return claim

        await claim(storage, plan, at(60), owner="them")
        assert (await run_of(storage, run.id)).cancel_requested_by == OVERLAP
        ended = await run_of(storage, retry_id)
        assert (ended.status, ended.reason) == (Status.ERROR, Reason.CANCELLED)
        assert (ended.error_message, ended.finished_at) == (f"cancelled by {OVERLAP}", at(60))
        # It counts for nothing, and the new one waits for the end of the running one.
        assert (await read(storage)).last_status is None
        assert states(await history(storage))[-1] == ("60", 1, "pending", None)
        await storage.cancel(run.id, at(61), "somebody else")
        assert (await run_of(storage, run.id)).cancel_requested_by == OVERLAP

    async def test_a_broken_task_stays_away(self, storage: Storage) -> None:
        [task, _] = await save(storage, made(), made("good"))

        def plan(snapshot: Snapshot) -> Claim:
            return Claim(broken=[(task.id, "it's broken: 🕰")])

        await claim(storage, plan)
        broken = await read(storage)
        assert broken.broken == "it's broken: 🕰"
        assert replace(broken, broken=None, revision=0) == replace(task, revision=0)
        assert [due.record.name for due in (await seen(storage, T0)).tasks] == ["good"]
        mended = await edit(storage, broken=None)
        assert mended.broken is None
        assert len((await seen(storage, T0)).tasks) == 2

    async def test_a_big_claim_is_whole(self, storage: Storage) -> None:
        count = 300
        await save(storage, *(made(f"t{i:03}", next_run_at=at(-i)) for i in range(count)))
        claimed = await claim(storage, limit=1_000)
        names = [run.task_name for run, _ in claimed.runs]
        assert names == [f"t{i:03}" for i in reversed(range(count))]
        assert not claimed.more
        assert dict(await storage.counts())["running"] == count
        epochs = {r.id: r.revision for r in await storage.tasks(TaskQuery(limit=None))}
        assert all(run.epoch == epochs[task_id] for run, task_id in claimed.runs)
        ends = [success(run, task_id) for run, task_id in claimed.runs]
        assert await storage.finish(ends, at(5)) == []
        assert dict(await storage.counts())["running"] == 0

    async def test_a_schedule_may_end_with_a_claim(self, storage: Storage) -> None:
        await save(storage, made())

        def plan(snapshot: Snapshot) -> Claim:
            claim = start_all(snapshot)
            [due] = snapshot.tasks
            claim.advances = [Advance(due.record.id, None, None, 1)]
            return claim

        await claim(storage, plan)
        assert (await read(storage)).next_run_at is None
        assert (await storage.wake(T0, "me")).at == T0 + LEASE
