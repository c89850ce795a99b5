"""The part of the storage contract that is about tasks."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta

from ..runs import Reason, SkipReason, Status, Trigger
from ..storage.base import REMOVED, RunQuery, SkipQuery, Storage, TaskQuery, TaskWrite
from ..tasks import TaskRecord
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
    seen,
    skip,
    start_all,
    started,
    states,
    success,
)

HARD_TEXTS = (
    "a",
    " leading and trailing ",
    'it\'s "quoted" \\ and %s, ?, $1; DROP TABLE tasks; --',
    "{}[]<>,\n\t\r\x01",
    "Zürich, 東京, 🕰️ e\u0301",
    "\U0010ffff\ue000",
    "{a,b,NULL}",
)


class TasksContract:
    """`save_tasks`, `remove_tasks`, `tasks`."""

    async def test_a_saved_task_is_read_back_as_it_was(
        self, storage: Storage, another: Storage
    ) -> None:
        moment = T0 + storage.precision * 123_457
        wish = made(
            "full",
            handler="plugin:handler",
            config='{"a": [1, null, "é"]}',
            timezone="Europe/Berlin",
            overlap_policy="queue",
            retry_max=3,
            retry_backoff="linear",
            policies='{"grace":1.5}',
            task_group="group",
            priority=-7,
            enabled=False,
            next_slot=moment,
            next_run_at=moment + storage.precision,
            schedule_since=moment - storage.precision,
            created_at=moment - timedelta(days=400),
            updated_at=moment,
            failures=2,
            runs_started=10**12,
            paused_at=moment,
            paused_by="somebody",
            paused_note="since",
        )
        [stored] = await save(storage, wish)
        assert stored.id > 0
        assert stored.revision > 0
        assert replace(stored, id=0, revision=0) == wish
        assert await read(another, "full") == stored
        for name in (f.name for f in fields(TaskRecord)):
            if isinstance(value := getattr(stored, name), datetime):
                assert value.utcoffset() == timedelta(0), name

    async def test_texts_are_kept_faithfully(self, storage: Storage) -> None:
        long = '{"text": "' + "ünï 🕰️ " * 14_000 + '"}'
        records = [made(text, handler=text, paused_note=text) for text in HARD_TEXTS]
        await save(storage, *records, made("long", config=long))
        for text in HARD_TEXTS:
            record = await read(storage, text)
            assert (record.name, record.handler, record.paused_note) == (text, text, text)
            assert await storage.tasks(TaskQuery(handler=text)) == [record]
            assert record in await storage.tasks(TaskQuery(search=text))
        assert (await read(storage, "long")).config == long

    async def test_instants_far_away_are_kept(self, storage: Storage) -> None:
        first, last = datetime(1, 1, 1, tzinfo=T0.tzinfo), datetime(9999, 12, 31, tzinfo=T0.tzinfo)
        [stored] = await save(storage, made(created_at=first, next_slot=last, next_run_at=last))
        assert (stored.created_at, stored.next_slot) == (first, last)

    async def test_a_save_needs_the_revision_that_is_stored(self, storage: Storage) -> None:
        [stored] = await save(storage, made())
        wrong = [
            replace(stored, handler="new", revision=0),
            replace(stored, handler="new", revision=stored.revision + 1),
        ]
        for record in wrong:
            assert await storage.save_tasks([TaskWrite(record)], T0) == ["task"]
            assert await read(storage) == stored
        absent = replace(stored, name="absent")
        assert await storage.save_tasks([TaskWrite(absent)], T0) == ["absent"]
        assert await storage.tasks(TaskQuery(names=["absent"])) == []
        [changed] = await save(storage, replace(stored, handler="new"))
        assert changed.revision > stored.revision
        assert changed == replace(stored, handler="new", revision=changed.revision)

    async def test_of_a_refused_task_nothing_is_written(self, storage: Storage) -> None:
        [stored] = await save(storage, made(next_run_at=None, next_slot=None))
        await enqueue(storage, stored, new_run(stored, due_at=at(60)))
        stale = TaskWrite(stored, skips=(skip("task", T0, T0),), drop_pending="a test")
        good = TaskWrite(made("good"), skips=(skip("good", T0, T0),))
        twice = TaskWrite(made("good", handler="other"), skips=(skip("good", T0, T0),))
        assert await storage.save_tasks([stale, good, twice], T0) == ["task", "good"]
        assert states(await history(storage)) == [("0", 1, "pending", "due")]
        assert await storage.skips(SkipQuery("task")) == []
        assert (await read(storage, "good")).handler == "handler"
        assert len(await storage.skips(SkipQuery("good"))) == 1

    async def test_saving_again_does_no_harm(self, storage: Storage) -> None:
        write = TaskWrite(made(), skips=(skip("task", T0, T0),))
        assert await storage.save_tasks([write], T0) == []
        stored = await read(storage)
        assert await storage.save_tasks([write], T0) == ["task"]
        assert await read(storage) == stored
        assert len(await storage.skips(SkipQuery("task"))) == 1
        assert await storage.save_tasks([], T0) == []

    async def test_a_save_leaves_runs_and_last_outcomes(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        await storage.finish([success(run, task_id)], at(5))
        before = await read(storage)
        changed = await edit(
            storage,
            last_run_at=at(99),
            last_status="error",
            last_success_at=at(99),
            failures=7,
            runs_started=9,
            paused_by="me",
        )
        assert (changed.last_run_at, changed.last_status) == (at(5), "success")
        assert changed.last_success_at == at(5)
        assert (changed.failures, changed.runs_started, changed.paused_by) == (7, 9, "me")
        assert changed.id == before.id
        assert states(await history(storage)) == [("0", 1, "success", None)]

    async def test_a_new_task_has_no_outcomes(self, storage: Storage) -> None:
        wish = made(last_run_at=T0, last_status="success", last_success_at=T0)
        [stored] = await save(storage, wish)
        assert (stored.last_run_at, stored.last_status) == (None, None)
        assert stored.last_success_at is None

    async def test_drop_pending_spares_what_was_triggered_by_hand(self, storage: Storage) -> None:
        [task] = await save(storage, made(next_run_at=None, next_slot=None))
        manual = new_run(task, at(1), triggered_by=Trigger.MANUAL)
        await enqueue(storage, task, new_run(task, due_at=at(60)), manual, new_run(task, at(2)))
        write = TaskWrite(await read(storage), drop_pending="the disabling")
        assert await storage.save_tasks([write], at(3)) == []
        dropped, kept, waiting = await history(storage)
        for run in (dropped, waiting):
            assert (run.status, run.reason) == (Status.ERROR, Reason.CANCELLED)
            assert run.error_message == "cancelled by the disabling"
            assert (run.finished_at, run.due_at, run.started_at) == (at(3), None, None)
        # Nothing else is left that it could wait for.
        assert (kept.status, kept.due_at) == (Status.PENDING, at(3))

    async def test_drop_pending_spares_running_runs(self, storage: Storage) -> None:
        run, _ = await started(storage)
        write = TaskWrite(await read(storage), drop_pending="a test")
        assert await storage.save_tasks([write], T0) == []
        assert await run_of(storage, run.id) == run

    async def test_an_id_is_never_used_again(self, storage: Storage) -> None:
        first, second = await save(storage, made("a"), made("b"))
        await storage.remove_tasks(["a", "b"], T0, cancel=False)
        third, _ = await save(storage, made("c"), made("b"))
        again = await read(storage, "b")
        assert len({first.id, second.id, third.id, again.id}) == 4
        assert min(third.id, again.id) > max(first.id, second.id)

    # --- removal

    async def test_removal_names_what_it_deleted(self, storage: Storage) -> None:
        await save(storage, made("a"), made("b"), made("c"))
        names = ["c", "a", "nobody", "a"]
        assert sorted(await storage.remove_tasks(names, T0, cancel=True)) == ["a", "c"]
        assert [record.name for record in await storage.tasks(TaskQuery())] == ["b"]
        assert await storage.remove_tasks(names, T0, cancel=True) == []
        assert await storage.remove_tasks([], T0, cancel=True) == []

    async def test_what_cannot_be_a_name_is_nobodys(self, storage: Storage) -> None:
        await save(storage, made())
        for name in ("task\0", "task\0more", "\0task", "task\ud800"):
            assert await storage.tasks(TaskQuery(names=[name])) == []
            assert await storage.remove_tasks([name], T0, cancel=True) == []
            assert await storage.runs(RunQuery(task_name=name)) == []
            assert await storage.skips(SkipQuery(name)) == []
        assert (await read(storage)).name == "task"

    async def test_removal_ends_pending_runs_and_keeps_history(self, storage: Storage) -> None:
        run, task_id = await started(storage)
        await storage.finish([failure(run, task_id, retry_at=at(9))], at(5))
        task = await read(storage)
        manual = new_run(task, at(1), triggered_by=Trigger.MANUAL, due_at=at(1))
        await enqueue(storage, task, manual, new_run(task, at(2)))
        await storage.remove_tasks(["task"], at(6), cancel=False)
        ended, *pending = await history(storage)
        assert ended.reason is Reason.EXCEPTION
        assert len(pending) == 3
        for run in pending:
            assert (run.status, run.reason) == (Status.ERROR, Reason.CANCELLED)
            assert run.error_message == f"cancelled by {REMOVED}"
            assert run.finished_at == at(6)
        assert (await storage.wake(at(7), "me")).at is None

    async def test_removal_leaves_running_runs_or_asks_to_cancel_them(
        self, storage: Storage
    ) -> None:
        left, _ = await started(storage, "left")
        asked, _ = await started(storage, "asked")
        await storage.remove_tasks(["left"], T0, cancel=False)
        await storage.remove_tasks(["asked"], T0, cancel=True)
        assert await run_of(storage, left.id) == left
        assert await run_of(storage, asked.id) == replace(asked, cancel_requested_by=REMOVED)
        assert list((await storage.wake(T0, "me")).cancels) == [asked.id]

    async def test_a_removed_task_can_be_made_anew(self, storage: Storage) -> None:
        """Its old runs are history, and none of the new one's business but for overlaps."""
        run, old_id = await started(storage)
        await storage.remove_tasks(["task"], T0, cancel=False)
        [new] = await save(storage, made(next_slot=at(60), next_run_at=at(60)))
        assert new.id != old_id
        [due] = (await seen(storage, at(60))).tasks
        assert [live.id for live in due.live] == [run.id]
        [owed] = (await seen(storage, at(60))).expired
        assert (owed.run.id, owed.record) == (run.id, None)
        # A retry would belong to the task that is gone.
        await storage.finish([failure(run, old_id, retry_at=at(9))], at(5))
        assert states(await history(storage)) == [("0", 1, "error", "exception")]
        assert await read(storage) == new

    async def test_a_late_save_does_not_reach_the_task_made_anew(self, storage: Storage) -> None:
        [old] = await save(storage, made(handler="old"))
        await storage.remove_tasks(["task"], T0, cancel=False)
        [new] = await save(storage, made(handler="new"))
        assert new.revision == old.revision
        assert await storage.save_tasks([TaskWrite(replace(old, enabled=False))], T0) == ["task"]
        assert await read(storage) == new

    # --- queries

    async def test_tasks_come_in_the_order_of_code_points(self, storage: Storage) -> None:
        names = [
            "b",
            "a",
            "B",
            "é",
            "z",
            "Z",
            "a b",
            "ab",
            "a-b",
            "_",
            "東",
            "🕰",
            "\ue000",
            "10",
            "9",
        ]
        await save(storage, *map(made, names))
        found = [record.name for record in await storage.tasks(TaskQuery())]
        assert found == sorted(names)
        paged: list[str] = []
        while page := await storage.tasks(TaskQuery(after=paged[-1] if paged else None, limit=4)):
            paged += [record.name for record in page]
        assert paged == sorted(names)

    async def test_tasks_are_found_by_what_they_are(self, storage: Storage) -> None:
        await save(
            storage,
            made("alpha", handler="mail", enabled=False),
            made("Beta", handler="report"),
            made("gamma", handler="Mailing"),
            made("50%_of"),
        )
        run, task_id = next(
            (run, i) for run, i in (await claim(storage)).runs if run.task_name == "Beta"
        )
        await storage.finish([success(run, task_id)], at(5))

        async def found(**query: object) -> list[str]:
            return [record.name for record in await storage.tasks(TaskQuery(**query))]  # type: ignore[arg-type]

        assert await found() == ["50%_of", "Beta", "alpha", "gamma"]
        assert await found(limit=None) == ["50%_of", "Beta", "alpha", "gamma"]
        assert await found(limit=2) == ["50%_of", "Beta"]
        assert await found(limit=0) == []
        assert await found(after="Beta") == ["alpha", "gamma"]
        assert await found(names=["gamma", "nobody", "Beta", "gamma"]) == ["Beta", "gamma"]
        assert await found(names=[]) == []
        assert await found(search="MAIL") == ["alpha", "gamma"]
        assert await found(search="beta") == ["Beta"]
        assert await found(search="%") == ["50%_of"]
        assert await found(search="_") == ["50%_of"]
        assert await found(search="") == await found()
        assert await found(handler="mail") == ["alpha"]
        assert await found(enabled=False) == ["alpha"]
        assert await found(enabled=True, search="a") == ["50%_of", "Beta", "gamma"]
        assert await found(last_status="success") == ["Beta"]
        assert await found(last_status="error") == []

    async def test_a_search_folds_the_case_of_ascii_letters_alone(self, storage: Storage) -> None:
        await save(storage, made("ÄPFEL"), made("äpfel"), made("İ"))
        found = await storage.tasks(TaskQuery(search="äPFEL"))
        assert [record.name for record in found] == ["äpfel"]
        assert [r.name for r in await storage.tasks(TaskQuery(search="i"))] == []

    async def test_what_cannot_be_stored_is_not_found(self, storage: Storage) -> None:
        await save(storage, made())
        for text in ("nul\0", "\ud800"):
            for query in (
                TaskQuery(names=[text]),
                TaskQuery(search=text),
                TaskQuery(handler=text),
                TaskQuery(last_status=text),
            ):
                assert await storage.tasks(query) == []
            assert await storage.runs(RunQuery(task_name=text)) == []
            assert await storage.skips(SkipQuery(text)) == []
        assert await storage.tasks(TaskQuery(names=["task", "nul\0"])) == [await read(storage)]

    async def test_counts(self, storage: Storage) -> None:
        names = ("tasks", "running", "pending", "retries", "queued")
        assert dict(await storage.counts()) == dict.fromkeys(names, 0)

        async def counted() -> list[int]:
            counts = await storage.counts()
            return [counts[name] for name in names]

        await save(storage, made("a"), made("b", enabled=False), made("c"))
        (run, task_id), _ = (await claim(storage)).runs
        await enqueue(storage, await read(storage, "b"), new_run(await read(storage, "b")))
        task = await read(storage, "c")
        await enqueue(storage, task, new_run(task, at(1)), new_run(task, at(2)))
        # That of "b" has nothing to wait for.
        assert await counted() == [3, 2, 3, 0, 2]
        await storage.finish([failure(run, task_id, retry_at=at(60))], at(5))
        assert await counted() == [3, 1, 4, 1, 2]

    # --- skips

    async def test_skips_are_read_back_latest_first(self, storage: Storage) -> None:
        moment = T0 + storage.precision * 7
        early = skip("task", moment, moment, reason=SkipReason.MISSED, note="it's 🕰")
        wide = skip("task", at(10), at(1_000), 34, reason=SkipReason.DISABLED, recorded_at=moment)
        late = skip("task", at(1_000), at(1_000), reason=SkipReason.EDITED)
        other = skip("other", at(0), at(1), 2, reason=SkipReason.ENDED)
        write = TaskWrite(made(), skips=(early, wide, late, other))
        assert await storage.save_tasks([write], T0) == []
        found = await storage.skips(SkipQuery("task"))
        assert found == [late, wide, early]
        assert await storage.skips(SkipQuery("task", limit=1)) == [late]
        assert await storage.skips(SkipQuery("task", since=at(500), until=at(999))) == [wide]
        assert await storage.skips(SkipQuery("task", until=at(9))) == [early]
        assert await storage.skips(SkipQuery("task", since=at(1_001))) == []
        assert await storage.skips(SkipQuery("nobody")) == []

    async def test_overlaps_with_one_run_make_one_skip(self, storage: Storage) -> None:
        [task] = await save(storage, made())
        first = skip("task", at(1), at(1), run_id=5)
        second = skip("task", at(2), at(4), 3, run_id=5, recorded_at=at(4))
        other = skip("task", at(5), at(5), run_id=6)
        reason = skip("task", at(6), at(6), run_id=5, reason=SkipReason.MISSED)
        alone = skip("task", at(7), at(7))
        for skips in ((first, second), (other, reason, alone), (replace(first, count=2), alone)):
            assert await storage.save_tasks([TaskWrite(task, skips=skips)], T0) == []
            task = await read(storage)
        found = await storage.skips(SkipQuery("task"))
        merged = replace(first, last_slot=at(4), count=1 + 3 + 2)
        assert found == [alone, alone, reason, other, merged]

    async def test_a_disabled_task_is_kept_as_it_is_while_its_runs_end(
        self, storage: Storage
    ) -> None:
        run, task_id = await started(storage)
        paused = await edit(storage, enabled=False, paused_at=at(1), paused_by="somebody")
        assert await storage.finish([success(run, task_id)], at(5)) == []
        after = await read(storage)
        assert (after.enabled, after.paused_at, after.paused_by) == (False, at(1), "somebody")
        assert (after.next_slot, after.last_status) == (paused.next_slot, "success")
        assert (await storage.wake(at(9), "me")).at is None
        await claim(storage, start_all, at(999))
        assert await read(storage) == after

    async def test_a_task_that_ended_stays(self, storage: Storage) -> None:
        await save(storage, made(next_slot=None, next_run_at=None))
        assert (await storage.wake(T0, "me")).at is None
        assert (await seen(storage, at(10**9))).tasks == []
        assert (await read(storage)).next_slot is None

    async def test_the_first_due_is_found_after_an_edit(self, storage: Storage) -> None:
        """What a task was due at, or ranked as, before an edit must not count any more."""
        await save(storage, made(next_run_at=at(10), next_slot=at(10)), made("other", priority=1))
        for changes in (
            {"next_run_at": at(5)},
            {"priority": 2},
            {"priority": 0},
            {"next_run_at": at(20)},
            {"enabled": False},
            {"enabled": True, "next_run_at": at(10)},
            {"broken": "so"},
            {"broken": None},
        ):
            record = await edit(storage, **changes)
            due = [d.record.name for d in (await seen(storage, at(10))).tasks]
            is_due = record.enabled and not record.broken and record.next_run_at <= at(10)  # type: ignore[operator]
            names = ["task", "other"] if record.priority > 1 else ["other", "task"]
            assert due == [name for name in names if is_due or name == "other"], changes
