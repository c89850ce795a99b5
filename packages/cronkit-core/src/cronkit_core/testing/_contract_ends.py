"""The part of the storage contract that is about leases, and how runs end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..runs import Reason, Status, Trigger
from ..storage.base import (
    DISABLED,
    PAUSED_BY_FAILURES,
    Report,
    Storage,
)
from ._contract_made import (
    LEASE,
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
    started,
    states,
    success,
)


class FinishContract:
    """`finish`."""

    async def test_a_success_is_recorded(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        before = await read(storage)
        moment = at(5) + storage.precision
        end = success(run, task_id, moment, output='{"é": "🕰"}', log="a\nb", progress='{"done":2}')
        assert await storage.finish([end], at(6)) == []
        assert await run_of(storage, run.id) == replace(
            run,
            status=Status.SUCCESS,
            finished_at=moment,
            duration_ms=5_000,
            output='{"é": "🕰"}',
            log="a\nb",
            progress='{"done":2}',
            lease_until=None,
        )
        after = await read(storage)
        assert after.revision > before.revision
        assert after == replace(
            before,
            revision=after.revision,
            last_run_at=moment,
            last_status="success",
            last_success_at=moment,
        )

    async def test_an_error_is_recorded(self, storage: Storage) -> None:
        run, task_id = await started(storage, failures=1)
        texts: dict[str, Any] = {
            "error_type": "ValueError",
            "error_message": "no",
            "error_traceback": "x" * 60_000,
        }
        assert await storage.finish([replace(failure(run, task_id), **texts)], at(6)) == []
        ended = await run_of(storage, run.id)
        assert (ended.status, ended.reason) == (Status.ERROR, Reason.EXCEPTION)
        assert {name: getattr(ended, name) for name in texts} == texts
        after = await read(storage)
        assert (after.last_run_at, after.last_status, after.failures) == (at(5), "error", 2)
        assert after.last_success_at is None

    async def test_every_reason_can_be_recorded(self, storage: Storage) -> None:
        await save(storage, *(made(reason.value) for reason in Reason))
        runs = {run.task_name: (run, i) for run, i in (await claim(storage)).runs}
        ends = [failure(*runs[reason.value], reason=reason) for reason in Reason]
        assert await storage.finish(ends, at(5)) == []
        for reason in Reason:
            [ended] = await history(storage, reason.value)
            assert ended.reason is reason

    async def test_late_and_foreign_ends_are_refused(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        before = await read(storage)
        refused = [
            success(run, task_id, owner="them"),
            success(run, task_id, epoch=run.epoch + 1),
            success(run, task_id, epoch=run.epoch - 1),
            success(run, task_id, owner=None, epoch=0),
            success(run, task_id, run_id=run.id + 1_000),
        ]
        for end in refused:
            assert await storage.finish([end], at(5)) == [end.run_id]
        assert await run_of(storage, run.id) == run
        assert await read(storage) == before

    async def test_a_batch_is_accepted_one_by_one(self, storage: Storage) -> None:
        await save(storage, made("a"), made("b"), made("c"))
        (a, a_id), (b, b_id), (c, c_id) = (await claim(storage)).runs
        ends = [success(a, a_id), success(b, b_id, epoch=99), failure(c, c_id)]
        assert await storage.finish(ends, at(5)) == [b.id]
        found = [(await run_of(storage, run.id)).status for run in (a, b, c)]
        assert found == [Status.SUCCESS, Status.RUNNING, Status.ERROR]
        assert await storage.finish([], at(5)) == []

    async def test_the_same_end_again_changes_nothing(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        end = failure(run, task_id, retry_at=at(9))
        assert await storage.finish([end], at(5)) == []
        before = (await read(storage), await history(storage))
        assert await storage.finish([end, end], at(7)) == []
        assert (await read(storage), await history(storage)) == before
        assert await storage.finish([success(run, task_id)], at(7)) == [run.id]
        other = failure(run, task_id, reason=Reason.TIMEOUT)
        assert await storage.finish([other], at(7)) == [run.id]
        assert (await read(storage), await history(storage)) == before

    async def test_the_same_end_twice_in_a_batch_counts_once(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        end = failure(run, task_id)
        assert await storage.finish([end, end], at(5)) == []
        assert (await read(storage)).failures == 1
        assert await storage.finish([success(run, task_id), end], at(5)) == [run.id]

    async def test_an_end_with_a_retry_is_no_outcome(self, storage: Storage) -> None:
        run, task_id = await started(storage, failures=1, task_group="g", priority=3)
        assert await storage.finish([failure(run, task_id, retry_at=at(9))], at(5)) == []
        task = await read(storage)
        assert (task.last_status, task.failures, task.last_run_at) == (None, 1, at(5))
        _, retry = await history(storage)
        assert (retry.slot, retry.attempt, retry.status) == (T0, 2, Status.PENDING)
        assert (retry.due_at, retry.scheduled_for) == (at(9), T0)
        assert (retry.owner, retry.epoch, retry.lease_until) == (None, 0, None)
        assert (retry.task_group, retry.priority) == ("g", 3)

    async def test_a_retry_needs_its_task(self, storage: Storage) -> None:
        for name, allowed in (("disabled", False), ("by hand", True), ("removed", False)):
            [task] = await save(storage, made(name, next_run_at=None, next_slot=None))
            by = Trigger.MANUAL if name == "by hand" else Trigger.SCHEDULE
            await enqueue(storage, task, new_run(task, due_at=T0, triggered_by=by))
            [(run, task_id)] = (await claim(storage)).runs
            if name == "removed":
                await storage.remove_tasks([name], T0, cancel=False)
            else:
                await edit(storage, name, enabled=False)
            assert await storage.finish([failure(run, task_id, retry_at=at(9))], at(5)) == []
            assert len(await history(storage, name)) == 1 + allowed, name
            if name == "disabled":  # without the retry, the failure is the outcome
                assert (await read(storage, name)).last_status == "error"

    async def test_a_success_ends_a_row_of_failures(self, storage: Storage) -> None:
        run, task_id = await started(storage, failures=3)
        assert await storage.finish([success(run, task_id, pause_after=3)], at(5)) == []
        task = await read(storage)
        assert (task.failures, task.enabled) == (0, True)

    async def test_what_does_not_count_changes_no_outcome(self, storage: Storage) -> None:
        run, task_id = await started(storage, failures=1)
        end = failure(run, task_id, reason=Reason.CANCELLED, counts=False, pause_after=1)
        assert await storage.finish([end], at(5)) == []
        task = await read(storage)
        assert (task.last_run_at, task.last_status, task.failures) == (None, None, 1)
        assert task.enabled

    async def test_failures_in_a_row_pause_the_task(self, storage: Storage) -> None:
        run, task_id = await started(storage, failures=1)
        task = await read(storage)
        manual = new_run(task, at(1), triggered_by=Trigger.MANUAL)
        await enqueue(storage, task, new_run(task, at(2), due_at=at(50)), manual)
        assert await storage.finish([failure(run, task_id, pause_after=2)], at(6)) == []
        task = await read(storage)
        assert (task.enabled, task.failures, task.last_status) == (False, 2, "error")
        assert (task.paused_at, task.paused_by) == (at(6), PAUSED_BY_FAILURES)
        assert task.paused_note == "2 slots failed in a row"
        assert task.next_run_at == at(60)
        _, dropped, kept = await history(storage)
        assert (dropped.reason, dropped.error_message) == (
            Reason.CANCELLED,
            f"cancelled by {DISABLED}",
        )
        assert (kept.status, kept.due_at) == (Status.PENDING, at(6))

    async def test_a_paused_task_is_not_paused_again(self, storage: Storage) -> None:
        run, task_id = await started(storage, failures=1)
        await edit(storage, enabled=False, paused_by="somebody", paused_at=at(2))
        assert await storage.finish([failure(run, task_id, pause_after=1)], at(6)) == []
        task = await read(storage)
        assert (task.paused_by, task.paused_at, task.failures) == ("somebody", at(2), 2)

    async def test_ends_of_one_batch_count_one_after_the_other(self, storage: Storage) -> None:
        [task] = await save(storage, made(next_run_at=None, next_slot=None))
        await enqueue(storage, task, *(new_run(task, at(i), due_at=T0) for i in range(4)))
        runs = (await claim(storage)).runs
        ends = [failure(run, i, at(5 + n), pause_after=3) for n, (run, i) in enumerate(runs)]
        assert await storage.finish(ends[:2], at(9)) == []
        assert (await read(storage)).failures == 2
        assert await storage.finish(ends[2:], at(9)) == []
        task = await read(storage)
        assert (task.failures, task.enabled, task.last_run_at) == (4, False, at(8))

    async def test_the_oldest_waiting_run_is_released(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        task = await read(storage)
        await enqueue(storage, task, *(new_run(task, at(i)) for i in (3, 1, 2)))
        assert [r.due_at for r in (await history(storage))[1:]] == [None, None, None]
        assert await storage.finish([success(run, task_id)], at(5)) == []
        assert [r.due_at for r in (await history(storage))[1:]] == [None, at(5), None]
        # The next waits for the end of that one, or of its last attempt.
        [(second, _)] = (await claim(storage, now=at(6))).runs
        assert second.slot == at(1)
        assert await storage.finish([failure(second, task_id, retry_at=at(20))], at(7)) == []
        assert [r.due_at for r in (await history(storage))[1:]] == [None, None, None, at(20)]
        [(third, _)] = (await claim(storage, now=at(20))).runs
        assert await storage.finish([failure(third, task_id)], at(21)) == []
        due = [r for r in await history(storage) if r.due_at is not None]
        assert [(r.slot, r.due_at) for r in due] == [(at(2), at(21))]

    async def test_a_running_run_of_the_same_name_holds_the_others_back(
        self, storage: Storage
    ) -> None:
        first, first_id = await started(storage)
        task = await read(storage)
        await enqueue(storage, task, new_run(task, at(1), due_at=T0))
        [(second, _)] = (await claim(storage)).runs
        await enqueue(storage, task, new_run(task, at(2)))
        assert await storage.finish([success(first, first_id)], at(5)) == []
        assert states(await history(storage))[-1] == ("2", 1, "pending", None)
        assert await storage.finish([success(second, first_id)], at(6)) == []
        assert states(await history(storage))[-1] == ("2", 1, "pending", "due")

    async def test_a_run_of_a_removed_task_releases_one_of_the_new_task(
        self, storage: Storage
    ) -> None:
        run, old_id = await started(storage)
        await storage.remove_tasks(["task"], T0, cancel=False)
        [task] = await save(storage, made(next_slot=at(60), next_run_at=at(60)))
        await enqueue(storage, task, new_run(task, at(1)))
        assert states(await history(storage))[-1] == ("1", 1, "pending", None)
        assert await storage.finish([success(run, old_id)], at(5)) == []
        assert states(await history(storage))[-1] == ("1", 1, "pending", "due")
        assert (await read(storage)).last_status is None

    async def test_an_end_of_a_removed_task_is_recorded(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        await storage.remove_tasks(["task"], T0, cancel=False)
        assert await storage.finish([success(run, task_id)], at(5)) == []
        assert states(await history(storage)) == [("0", 1, "success", None)]


class LeaseContract:
    """`renew`."""

    async def test_leases_are_extended_for_the_owner_alone(self, storage: Storage) -> None:
        mine, mine_id = await started(storage, "mine")
        await save(storage, made("theirs"), made("ended"))
        (theirs, _), (ended, ended_id) = (await claim(storage, owner="them")).runs
        await storage.finish([success(ended, ended_id)], at(1))
        renewed = replace(mine, lease_until=at(9) + LEASE)
        assert await storage.renew("me", at(9), LEASE) == [(renewed, mine_id)]
        assert await run_of(storage, mine.id) == renewed
        assert await run_of(storage, theirs.id) == theirs
        assert (await run_of(storage, ended.id)).lease_until is None
        assert await storage.renew("nobody", at(9), LEASE) == []

    async def test_a_late_renewal_counts_until_somebody_takes_the_run(
        self, storage: Storage
    ) -> None:
        run, _ = await started(storage)
        await edit(storage, next_slot=None, next_run_at=None)
        [(renewed, _)] = await storage.renew("me", at(99), LEASE)
        assert renewed.id == run.id
        await claim(storage, now=at(100), owner="them")
        assert (await run_of(storage, run.id)).status is Status.RUNNING
        await claim(storage, now=at(99) + LEASE, owner="them")
        assert (await run_of(storage, run.id)).reason is Reason.LOST
        assert await storage.renew("me", at(200), LEASE) == []

    async def test_a_renewed_run_has_the_task_that_it_was_claimed_of(
        self, storage: Storage
    ) -> None:
        """Which may be removed by then, and another one made of that name."""
        run, task_id = await started(storage)
        await storage.remove_tasks(["task"], T0, cancel=False)
        [again] = await save(storage, made(next_run_at=None, next_slot=None))
        [(renewed, renewed_id)] = await storage.renew("me", at(9), LEASE)
        assert (renewed.id, renewed_id) == (run.id, task_id)
        assert again.id != task_id

    async def test_reports_are_stored(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        report = Report(run.id, run.epoch, '{"done":1}', "line")
        [(renewed, _)] = await storage.renew("me", at(1), LEASE, [report])
        assert (renewed.progress, renewed.log) == ('{"done":1}', "line")
        await storage.renew("me", at(2), LEASE, [Report(run.id, run.epoch, log="line\nmore")])
        found = await run_of(storage, run.id)
        assert (found.progress, found.log) == ('{"done":1}', "line\nmore")
        foreign = [
            Report(run.id, run.epoch + 1, "x", "x"),
            Report(run.id, run.epoch - 1, "x", "x"),
            Report(run.id + 99, run.epoch, "x", "x"),
        ]
        await storage.renew("me", at(2), LEASE, foreign)
        await storage.renew("them", at(2), LEASE, [report])
        assert await run_of(storage, run.id) == found
        # The end keeps what was reported, unless it says more.
        await storage.finish([success(run, task_id)], at(3))
        ended = await run_of(storage, run.id)
        assert (ended.progress, ended.log) == ('{"done":1}', "line\nmore")
        await storage.renew("me", at(4), LEASE, [Report(run.id, run.epoch, "late", "late")])
        assert await run_of(storage, run.id) == ended
