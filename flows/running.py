"""What `nocturne up` has started on this machine, remembered under `<home>/server`, so that any command finds it.

A process is told from a later one of the same id by the moment at which it started.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from models.errors import NocturneError
from models.locations import Locations, is_local, write_whole
from models.records import Record

AUTH_OF_SERVER: Final = "PREFECT_SERVER_API_AUTH_STRING"
AUTH_OF_CLIENT: Final = "PREFECT_API_AUTH_STRING"
LOOPBACK: Final = "127.0.0.1"
ANSWER_S: Final = 10.0
PATIENCE_S: Final = 60.0
POLL_S: Final = 0.2


Body = Mapping[str, Any] | Sequence[Any] | None


class ServiceFailed(NocturneError):
    """The server, a worker or MLflow's pages did not come up, or may not be reached."""


class Process(Record):
    """A process that `nocturne up` has started."""

    name: str
    pid: int
    since: str
    """When it started, as the system tells it."""
    settings: str
    """Hash of its command line and of the places that it was given; no secret is part of it."""

    @property
    def alive(self) -> bool:
        return started_at(self.pid) == self.since

    def end(self, within_s: float) -> bool:
        """Ask it to end, and insist when it has not in time. False where it had ended before.

        Nothing happens to another process that has its id by now.
        """
        if not self.alive:
            return False
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + within_s
        while self.alive and time.monotonic() < deadline:
            time.sleep(POLL_S)
        with contextlib.suppress(ProcessLookupError):  # it leads a group of its own: no child of it stays behind
            os.killpg(self.pid, signal.SIGKILL)
        return True


class Running(Record):
    """The services of one home."""

    host: str = LOOPBACK
    port: int = 4200
    mlflow_port: int = 5000
    deployed: str = ""
    """Hash of what the deployments were made from."""
    processes: tuple[Process, ...] = ()

    @property
    def address(self) -> str:
        """Of the Prefect server, as this machine reaches it."""
        host = LOOPBACK if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def process(self, name: str) -> Process | None:
        """The one of this name, if it still runs."""
        return next((one for one in self.processes if one.name == name and one.alive), None)

    def with_process(self, started: Process) -> Self:
        others = tuple(one for one in self.processes if one.name != started.name)
        return self.model_copy(update={"processes": (*others, started)})


@dataclass(frozen=True)
class Api:
    """The Prefect server's API, without Prefect's client, which takes seconds to import."""

    url: str
    auth: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, running: Running, environment: Mapping[str, str]) -> Self:
        return cls(f"{running.address}/api", environment.get(AUTH_OF_CLIENT) or environment.get(AUTH_OF_SERVER))

    def ask(self, path: str, body: Body = None, method: str | None = None) -> Any:
        """The answer's JSON; None where it has no content.

        A server that is busy with its start, or whose SQLite is locked, is asked again for a while.

        Raises:
            OSError: no answer, or one that is an error; urllib.error.HTTPError tells its status.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._ask(path, body, method)
            except OSError as error:
                if not _passes_by_itself(error) or time.monotonic() > deadline:
                    raise
            time.sleep(POLL_S)

    def _ask(self, path: str, body: Body, method: str | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.auth:
            headers["Authorization"] = f"Basic {base64.b64encode(self.auth.encode()).decode()}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with _direct().open(request, timeout=ANSWER_S) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def close_lost_runs(self, worker: str, why: str) -> list[str]:
        """Mark what a worker of this machine ran, and that has ended with it, as crashed: nobody else would, and each
        would hold its deployment's only place for ever. Returns the names of these runs.

        Args:
            worker: Name of a worker that does not run.
            why: Told as the message of the state.
        """
        unfinished = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
        runs = self.ask("/flow_runs/filter", {"flow_runs": unfinished}, "POST")
        lost = [one for one in runs if one["labels"].get("prefect.worker.name") == worker and not _goes_on(one)]
        for run in lost:
            crashed = {"state": {"type": "CRASHED", "name": "Crashed", "message": why}, "force": True}
            self.ask(f"/flow_runs/{run['id']}/set_state", crashed, "POST")
        return [one["name"] for one in lost]

    def answers(self) -> bool:
        """Whether a server is there; asks for no credentials."""
        return answers(f"{self.url}/health")

    def refuse_wrong_credentials(self) -> None:
        """Raises:
        ServiceFailed: the server asks for credentials, and these are not the right ones.
        """
        try:
            self.ask("/admin/version")
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            given = "others than those given" if self.auth else "credentials"
            raise ServiceFailed(
                f"The Prefect server at {self.url} asks for {given}. Set {AUTH_OF_CLIENT} to its user:password."
            ) from None


def answers(url: str) -> bool:
    """Whether an address answers a request with success."""
    try:
        with _direct().open(url, timeout=ANSWER_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _passes_by_itself(error: OSError) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500
    return isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)


def _goes_on(run: Mapping[str, Any]) -> bool:
    """A run has a process of its own, which outlives a worker that was killed, and has the run's id in its
    environment."""
    pid = str(run["infrastructure_pid"] or "")
    if not pid.isdigit() or started_at(int(pid)) is None:
        return False
    environment = Path(f"/proc/{pid}/environ")
    return not environment.exists() or str(run["id"]).encode() in environment.read_bytes()


def local_home(locations: Locations) -> Path:
    """The home, or where it would be by default if it is a URI: databases and logs cannot live at one."""
    return Path(locations.home if is_local(locations.home) else ".nocturne").absolute()


def place_of(locations: Locations) -> Path:
    """Where the server's database, the logs and the record of what runs are kept."""
    return local_home(locations) / "server"


def recall(place: Path) -> Running | None:
    """What was started here last; None where nothing ever was."""
    record = place / "services.json"
    return Running.model_validate_json(record.read_text()) if record.exists() else None


def remember(place: Path, running: Running) -> None:
    """Write the record as a whole."""
    write_whole(str(place / "services.json"), running.model_dump_json(indent=1).encode())


def started_at(pid: int) -> str | None:
    """What tells a process from any other, before and after it; None where it has ended."""
    if not Path("/proc/self/stat").exists():
        return _started_by_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name of the program, in brackets, may hold anything
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if state in "ZX" else f"{boot}:{fields[18]}"


def _started_by_ps(pid: int) -> str | None:
    told = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, since = told.stdout.strip().partition(" ")
    return since.strip() if since and not state.startswith("Z") else None


def _direct() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not know this machine's loopback
