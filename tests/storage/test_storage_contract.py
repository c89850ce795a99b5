"""Every backend of the core is held to the contract."""

import subprocess
import sys

import pytest

from cronkit_core import MemoryStorage, PostgresStorage, SQLiteStorage
from cronkit_core.testing import StorageContract


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self):
        return MemoryStorage()


class TestSQLiteFile(StorageContract):
    @pytest.fixture
    async def storage(self, tmp_path):
        storage = SQLiteStorage(tmp_path / "cron.db", synchronous="NORMAL")
        await storage.open()
        yield storage
        await storage.close()

    @pytest.fixture
    async def another(self, storage):
        another = SQLiteStorage(storage.path)
        await another.open()
        yield another
        await another.close()


class TestSQLiteMemory(StorageContract):
    @pytest.fixture
    async def storage(self):
        storage = SQLiteStorage(":memory:")
        await storage.open()
        yield storage
        await storage.close()


@pytest.mark.postgres
class TestPostgres(StorageContract):
    @pytest.fixture
    async def storage(self, postgres, postgres_schema):
        storage = PostgresStorage(postgres.dsn, schema=postgres_schema, clock="caller")
        await storage.open()
        yield storage
        await storage.close()

    @pytest.fixture
    async def another(self, storage, postgres):
        another = PostgresStorage(postgres.dsn, schema=storage.schema, clock="caller")
        await another.open()
        yield another
        await another.close()


@pytest.mark.parametrize("missing", ["pytest", "pytest_asyncio"])
def test_without_pytest_it_says_what_to_install(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import cronkit_core.testing\n"
        "assert cronkit_core.testing.VirtualClock\n"
        "cronkit_core.testing.StorageContract"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: StorageContract is a suite for pytest: install pytest and pytest-asyncio"
    )
