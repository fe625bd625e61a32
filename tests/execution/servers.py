"""Servers on loopback, each in a folder of its own: PostgreSQL, and MLflow behind a wire that can be cut."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from pgsbench.tracking.mlflow_server import server_command, server_environment

FORK = multiprocessing.get_context("fork")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A server of PostgreSQL, running when it is made.

    Attributes:
        address: Of the database ``postgres``.
    """

    def __init__(self) -> None:
        programs = _postgres_programs()
        assert programs is not None
        self._initdb, self._control = programs
        self._folder = Path(tempfile.mkdtemp(prefix="postgres"))  # outside of folders closed to other users
        self._folder.chmod(0o777)
        self._port = free_port()
        self.address = f"postgresql+psycopg://tester@127.0.0.1:{self._port}/postgres"
        self._run(self._initdb, "-D", self._data, "-A", "trust", "-U", "tester", "--no-sync")
        self.start()

    @staticmethod
    def is_installed() -> bool:
        return _postgres_programs() is not None

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    @property
    def pid(self) -> int:
        """The process whose children serve."""
        return int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])

    def start(self) -> None:
        options = (
            f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} "
            "-c fsync=off -c autovacuum=off -c shared_buffers=16MB"
        )
        log = str(self._folder / "log")
        self._run(self._control, "-D", self._data, "-w", "-l", log, "-o", options, "start")

    def die(self) -> None:
        """End at once, as on a power cut; `start` finds what was committed."""
        self._run(self._control, "-D", self._data, "-m", "immediate", "stop")

    def close(self) -> None:
        self.die()
        shutil.rmtree(self._folder)

    def new_database(self, name: str) -> str:
        """Make a database and return its address."""
        self.tell(f"CREATE DATABASE {name}")
        return self.address.removesuffix("postgres") + name

    def drop(self, name: str) -> None:
        self.tell(f"DROP DATABASE {name} WITH (FORCE)")

    def tell(self, statement: str) -> None:
        import psycopg

        address = self.address.replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, *words: str) -> None:
        as_user = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []
        environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        subprocess.run(
            [*as_user, *words],
            check=True,
            stdout=subprocess.DEVNULL,  # a pipe would stay open for as long as the server lives
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            timeout=300,
            env=environment,
        )


def _postgres_programs() -> tuple[str, str] | None:
    found = []
    for name in ("initdb", "pg_ctl"):
        debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        found.append(shutil.which(name) or (str(debian[-1]) if debian else None))
    return (found[0], found[1]) if found[0] and found[1] else None


class Mlflow:
    """A server of MLflow, and a wire to it that can be cut.

    Attributes:
        address: Of the wire.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._port, self._server_port = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        environment = server_environment(f"sqlite:///{folder}/mlflow.db")
        environment.pop("LD_PRELOAD", None)
        with (folder / "log").open("w") as log:
            self._server = subprocess.Popen(
                server_command(self._server_port),
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.join()
        until = time.monotonic() + 300
        while time.monotonic() < until and self._server.poll() is None:
            with suppress(OSError):
                urllib.request.urlopen(f"{self.address}/health", timeout=5).close()
                return
            time.sleep(0.5)
        raise RuntimeError((folder / "log").read_text())

    def join(self) -> None:
        """Let the server be reached."""
        self._wire = FORK.Process(target=_carry, args=(self._port, self._server_port), daemon=True)
        self._wire.start()

    def cut(self) -> None:
        """Break all connections, and refuse others."""
        self._wire.kill()
        self._wire.join()

    def close(self) -> None:
        self.cut()
        os.killpg(self._server.pid, signal.SIGTERM)
        self._server.wait(60)


def _carry(port: int, to: int) -> None:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while part := await reader.read(1 << 16):
                writer.write(part)
                await writer.drain()
        writer.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, back), pump(there, writer))

    async def carry() -> None:
        server = await asyncio.start_server(meet, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(carry())
