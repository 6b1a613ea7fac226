"""A Prefect server and workers as real processes on free loopback ports, ended by their process ids."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prefect.client.orchestration import SyncPrefectClient

from flows.environment import QUIET

ROOT = Path(__file__).parents[1]
PREFECT = str(Path(sys.executable).with_name("prefect"))
Value = TypeVar("Value")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def until(found: Callable[[], Value | None], within_s: float = 120.0, every_s: float = 0.3) -> Value:
    """The first thing that is found; a test fails if nothing is in time."""
    deadline = time.monotonic() + within_s
    while True:
        if value := found():
            return value
        assert time.monotonic() < deadline, f"nothing within {within_s:.0f} s"
        time.sleep(every_s)


def end(process: subprocess.Popen[Any], by: signal.Signals = signal.SIGTERM, within_s: float = 20.0) -> None:
    """End a process and whatever it has started: each was given a process group of its own."""
    for sent in (by, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
        except ProcessLookupError:
            break
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


@dataclass
class Server:
    """A `prefect server` with a database of its own; it can be killed and started again."""

    home: Path
    port: int = field(default_factory=free_port)
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[Any] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What every process of this server needs; nothing of another Prefect."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NOCTURNE_"))}
        quiet = {**QUIET, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}
        return {
            **own, **quiet, "PREFECT_HOME": str(self.home), "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_UI_API_URL": f"{self.url}/api", "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1",
            "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "5", "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem", **self.extra,
        }  # fmt: skip

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        command = ["server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = self.run(*command, log="server.log", cwd=self.home)
        until(self.answers)

    def answers(self) -> bool:
        try:
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with direct.open(f"{self.url}/api/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def client(self) -> SyncPrefectClient:
        return SyncPrefectClient(f"{self.url}/api")

    def run(self, *arguments: str, log: str, cwd: Path, **environment: str) -> subprocess.Popen[Any]:
        """Start `prefect …` with this server; what it says goes to a file below the server's home."""
        with open(self.home / log, "ab") as said:
            return subprocess.Popen(
                [PREFECT, *arguments], cwd=cwd, env={**self.environment, **environment}, stdout=said, stderr=said,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def do(self, *arguments: str, cwd: Path = ROOT, **environment: str) -> str:
        """Run `prefect …` to its end and return what it printed."""
        done = subprocess.run(
            [PREFECT, "--no-prompt", *arguments], cwd=cwd, env={**self.environment, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextmanager
    def worker(self, pool: str, cwd: Path, **environment: str) -> Iterator[subprocess.Popen[Any]]:
        """A process worker for a pool, online when the body starts."""
        cwd.mkdir(parents=True, exist_ok=True)
        arguments = ["worker", "start", "--pool", pool, "--type", "process", "--name", f"{pool}-{cwd.name}"]
        process = self.run(*arguments, log=f"worker-{pool}.log", cwd=cwd, **environment)
        try:
            with self.client() as client:
                until(lambda: client._client.post(f"/work_pools/{pool}/workers/filter", json={}).json() or None)
            yield process
        finally:
            end(process)


@contextmanager
def server(home: Path, **environment: str) -> Iterator[Server]:
    """A running server; ended with all its children however the body ends."""
    one = Server(home, extra=environment)
    try:
        one.start()
        yield one
    finally:
        if one.process is not None:
            end(one.process)
