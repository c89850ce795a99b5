"""The suite that holds every storage to its contract, the docstrings of `Storage`. For pytest with
pytest-asyncio in its auto mode:

    pytest.register_assert_rewrite("cronkit_core.testing")

    class TestMyStorage(StorageContract):
        @pytest.fixture
        async def storage(self, tmp_path):
            storage = MyStorage(tmp_path / "tasks")
            await storage.open()
            yield storage
            await storage.close()

The tests have a clock of their own, which stands at the beginning of 2027: a storage that has
another (as PostgreSQL's) must be told to believe its callers. What a storage may do differently it
declares: `precision`.
"""

from __future__ import annotations

try:
    import pytest
    import pytest_asyncio  # noqa: F401  # its tests are coroutines
except ImportError as error:
    raise ImportError(
        "StorageContract is a suite for pytest: install pytest and pytest-asyncio"
    ) from error

from ..storage.base import Storage
from ._contract_claims import ClaimContract, WakeContract
from ._contract_ends import FinishContract, LeaseContract
from ._contract_history import EnqueueContract, HistoryContract
from ._contract_made import made, read, save
from ._contract_tasks import TasksContract


class StorageContract(
    TasksContract,
    WakeContract,
    ClaimContract,
    FinishContract,
    LeaseContract,
    EnqueueContract,
    HistoryContract,
):
    """What each storage must do. Override `storage`, and `another` where that is possible."""

    @pytest.fixture
    def storage(self) -> Storage:
        """An open storage with nothing in it."""
        raise NotImplementedError("override the fixture `storage`, with one that yields yours")

    @pytest.fixture
    def another(self, storage: Storage) -> Storage:
        """The same storage as another process sees it: a second object, open on the same data.
        Unless this is overridden, `storage` itself."""
        return storage

    async def test_opening_again_does_nothing(self, storage: Storage) -> None:
        await save(storage, made())
        await storage.open()
        assert (await read(storage)).name == "task"

    async def test_what_one_writes_the_other_reads(
        self, storage: Storage, another: Storage
    ) -> None:
        [task] = await save(storage, made())
        assert await read(another) == task
        assert await another.remove_tasks(["task"], task.created_at, cancel=False) == ["task"]
        assert dict(await storage.counts())["tasks"] == 0
