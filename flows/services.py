"""Everything that nights on schedule need, brought up and taken down on one machine.

`up` starts, in this order, what is not running yet: the Prefect server and MLflow's pages; a worker for each pool;
then it makes the deployments and waits until both workers are online. What runs is left alone. All of it are processes
of their own that outlive the command; flows/running.py remembers them.
"""

import hashlib
import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError

import yaml

from flows.environment import PROJECT, QUIET, make_private
from flows.nightly import NIGHTLY, in_words
from flows.running import (
    AUTH_OF_CLIENT,
    AUTH_OF_SERVER,
    LOOPBACK,
    POLL_S,
    Api,
    Process,
    Running,
    ServiceFailed,
    answers,
    place_of,
    recall,
    remember,
    started_at,
)
from models.alone import alone
from models.config import StorageConfig, storage_variable
from models.credentials import without_credentials
from models.locations import Locations, is_local
from models.night import PACKAGES, code_hash
from models.records import Record
from models.registry import out_of_reach
from models.settings import Settings

POOLS: Final = ("cpu", "gpu")
ENDED_IN_ORDER: Final = ("worker-cpu", "worker-gpu", "mlflow", "server")
HEARTBEAT_S: Final = 30
"""How often runs of our deployments say that they are alive: prefect.yaml."""
START_S: Final = 180.0
STOP_S: Final = 20.0
LOG_TAIL: Final = 15
LOG_LIMIT: Final = 10_000_000
"""Bytes of a log beyond which the next start puts it aside as `….log.1`."""
DATABASE: Final = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")

Say = Callable[[str], None]


class UpReport(Record):
    """What runs now, and where to look."""

    prefect: str
    """Address of the Prefect UI."""
    mlflow: str | None
    """Address of MLflow's pages; None where the registry is a server with pages of its own."""
    database: str
    logs: str
    services: dict[str, str]
    """Service → started or running already, with its process id."""
    deployments: str
    configuration: str
    """What the nights are given: it stays as it is until somebody says otherwise."""
    automations: str
    """What the server does by itself, and whom it tells."""
    warnings: tuple[str, ...]
    next: tuple[str, ...]


class DownReport(Record):
    """What was ended."""

    ended: tuple[str, ...]
    """In the order in which it was."""
    had_ended_before: tuple[str, ...]
    interrupted: tuple[str, ...]
    """Runs that ended with their worker: now Crashed. The same night goes on from what it had finished."""


@dataclass(frozen=True)
class Wanted:
    """What somebody asked `up` for; None leaves it as it was the last time, or as it is by default."""

    host: str | None = None
    port: int | None = None
    mlflow_port: int | None = None
    block: str | None = None
    """Notification block for the messages, `type/name`; None leaves the automations for messages as they are."""
    on_arrival: bool = False
    """Whether a night starts when its delivery is ingested; once set it stays, until paused in the UI."""
    parameters: Mapping[str, Any] | None = None
    """Parameters for the deployments that know them; None leaves what they have."""


def up(settings: Settings, wanted: Wanted, say: Say, environment: Mapping[str, str] = os.environ) -> UpReport:
    """Start what does not run yet, and wait until it is there.

    Raises:
        ServiceFailed: a port is taken, or something did not come up; what did stays up.
    """
    locations = Locations(settings.config.storage)
    place = place_of(locations)
    silent = out_of_reach(locations)
    if silent:  # it may only be late, as after a reboot, so the rest is brought up all the same
        say(silent)
    with alone(str(place)):
        running = _as_wanted(recall(place) or Running(), wanted)
        house = _House(place, locations, running, environment, say)
        told = house.bring_up(wanted.parameters)
        told_by_server = house.automate(wanted)
    return UpReport(
        prefect=house.running.address,
        mlflow=house.mlflow_address,
        database=house.database,
        logs=str(house.logs),
        services=dict(house.told),
        deployments=told,
        configuration=in_words(house.api.ask(f"/deployments/name/{NIGHTLY}")["parameters"], wanted.parameters is None),
        automations=told_by_server,
        warnings=(*filter(None, (silent,)), *_warnings(house.running, environment)),
        next=(
            "a night now: Deployments, retrain/nightly, Custom run in the UI; or `nocturne retrain`, seen there too",
            "stop all of it: `nocturne down`",
        ),
    )


def down(locations: Locations, say: Say, environment: Mapping[str, str] = os.environ) -> DownReport:
    """End what `up` started, workers first, by its process ids. More calls do nothing."""
    place = place_of(locations)
    with alone(str(place)):
        running = recall(place) or Running()
        api = Api.of(running, environment)
        ended: list[str] = []
        gone: list[str] = []
        interrupted: list[str] = []
        for process in sorted(running.processes, key=lambda one: ENDED_IN_ORDER.index(one.name)):
            say(f"ending {process.name}")
            (ended if process.end(STOP_S) else gone).append(process.name)
            if process.name.startswith("worker-"):
                interrupted += _lost(api, process.name, "interrupted by `nocturne down`")
        if running.processes:
            remember(place, running.model_copy(update={"processes": ()}))
    return DownReport(ended=tuple(ended), had_ended_before=tuple(gone), interrupted=tuple(interrupted))


def _lost(api: Api, service: str, why: str) -> list[str]:
    try:
        return api.close_lost_runs(_worker(service.removeprefix("worker-")), why)
    except OSError:  # the server has ended already, or does not know us: the runs are closed by the next `up`
        return []


def _as_wanted(running: Running, wanted: Wanted) -> Running:
    asked = {name: getattr(wanted, name) for name in ("host", "port", "mlflow_port")}
    asked = {name: value for name, value in asked.items() if value is not None}
    alive = [one.name for one in running.processes if one.alive]
    for name, value in asked.items():
        uses = ("mlflow",) if name == "mlflow_port" else ("server",)
        if value != getattr(running, name) and any(one in alive for one in uses):
            raise ServiceFailed(
                f"It runs with --{name.replace('_', '-')} {getattr(running, name)} already, so {value} would need a "
                f"restart: `nocturne down`, then `nocturne up` with what you want."
            )
    return running.model_copy(update=asked)


@dataclass
class _House:
    """All services of one home, and the record of them."""

    place: Path
    locations: Locations
    running: Running
    environment: Mapping[str, str]
    say: Say
    told: dict[str, str] = field(default_factory=dict)
    _fresh: dict[str, datetime] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        return self.place / "logs"

    @property
    def database(self) -> str:
        stated = next((self.environment[name] for name in DATABASE if self.environment.get(name)), None)
        return without_credentials(stated) if stated else f"sqlite:///{self.place}/prefect.db"

    @property
    def mlflow_address(self) -> str | None:
        local = self.locations.tracking_uri.startswith("sqlite:///")
        return f"http://{LOOPBACK}:{self.running.mlflow_port}" if local else None

    @cached_property
    def api(self) -> Api:
        return Api.of(self.running, self.environment)

    def bring_up(self, parameters: Mapping[str, Any] | None) -> str:
        """Everything, in order; returns what became of the deployments."""
        try:
            self.open()
            told = self.deploy(parameters)
            self.wait_for_workers()
        except OSError as error:
            raise ServiceFailed(
                f"The Prefect server at {self.api.url} does not answer as it should ({error}). "
                f"{self._last_words('server')}"
            ) from error
        return told

    def open(self) -> None:
        """Start what does not run; return when the server answers."""
        make_private(self.place)
        self.logs.mkdir(exist_ok=True)
        server = ("-m", "prefect", "server", "start", "--host", self.running.host, "--port", str(self.running.port))
        self._see_to("server", server, port=(self.running.host, self.running.port))
        if self.mlflow_address:
            self._see_to("mlflow", self._mlflow(), port=(LOOPBACK, self.running.mlflow_port))
        elif (idle := self.running.process("mlflow")) is not None:
            self.say("ending mlflow: the registry is elsewhere now")
            idle.end(STOP_S)
        self._until(self.api.answers, "server", "answer")
        self.api.refuse_wrong_credentials()
        for pool in POOLS:
            limit = ("--limit", "1") if pool == "gpu" else ()
            worker = ("-m", "prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", _worker(pool))
            self._see_to(f"worker-{pool}", (*worker, *limit))
            # One after the other: two that make their pools at once lock each other out of a fresh SQLite.
            self._until(partial(self._has_pool, pool), f"worker-{pool}", "make its pool")
        if self.mlflow_address:
            self._until(lambda: answers(f"{self.mlflow_address}/health"), "mlflow", "answer")

    def deploy(self, parameters: Mapping[str, Any] | None) -> str:
        """Make the deployments where one is missing or made from other code, and give them these parameters."""
        before = {name: self._find(f"/deployments/name/{name}") for name in _deployments()}
        source = hashlib.sha256((_prefect_yaml().read_text() + code_hash(PACKAGES)).encode()).hexdigest()[:16]
        stale = source != self.running.deployed or None in before.values()
        if stale:
            self._deploy_all()
            self._remember(self.running.model_copy(update={"deployed": source}))
        for name, earlier in before.items():
            kept = earlier["parameters"] if earlier else {}
            self._give(name, kept if parameters is None else {**kept, **parameters})
        return f"{len(before)} made" if stale else f"{len(before)} as they were"

    def wait_for_workers(self) -> None:
        """Return when a worker of each pool is online."""
        for pool in POOLS:
            self._until(partial(self._online, pool), f"worker-{pool}", "come online")

    def automate(self, wanted: Wanted) -> str:
        """Create or update the server's automations; see flows/automations.py."""
        self.say("making the automations")
        named = ["--block", wanted.block] if wanted.block else []
        named += ["--on-arrival"] if wanted.on_arrival else []
        command = ["-m", "flows", "automations", "apply", "--heartbeat", str(HEARTBEAT_S), *named, "--json"]
        done = subprocess.run(
            [sys.executable, *command], cwd=PROJECT, env=self._environment(), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        told = json.loads(done.stdout)
        if done.returncode:
            raise ServiceFailed(f"Server, workers and deployments run; but {told['error']['message']}")
        return str(told["why"])

    def _deploy_all(self) -> None:
        self.say("making the deployments")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        log = self.logs / "deploy.log"
        with log.open("wb") as said:
            done = subprocess.run(
                [*command, "--prefect-file", str(_prefect_yaml())], cwd=PROJECT, env=self._environment(), stdout=said,
                stderr=said, stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        if done.returncode:
            raise ServiceFailed(
                f"The deployments could not be made; server and workers run. {self._last_words('deploy')}"
            )

    def _give(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Set the parameters that this deployment's flow knows, unless it has them."""
        deployment = self.api.ask(f"/deployments/name/{name}")
        known = deployment["parameter_openapi_schema"]["properties"]
        given = {**deployment["parameters"], **{key: value for key, value in parameters.items() if key in known}}
        if given != deployment["parameters"]:
            self.api.ask(f"/deployments/{deployment['id']}", {"parameters": given}, "PATCH")

    def _find(self, path: str) -> Any:
        try:
            return self.api.ask(path)
        except HTTPError as error:
            if error.code == 404:
                return None
            raise

    def _has_pool(self, pool: str) -> bool:
        return self._find(f"/work_pools/{pool}") is not None

    def _online(self, pool: str) -> bool:
        workers = self.api.ask(f"/work_pools/{pool}/workers/filter", {}, "POST")
        since = self._fresh.get(f"worker-{pool}", datetime.min.replace(tzinfo=UTC))
        return any(
            one["name"] == _worker(pool)
            and one["status"] == "ONLINE"
            and datetime.fromisoformat(one["last_heartbeat_time"]) >= since
            for one in workers
        )

    def _see_to(self, name: str, arguments: Sequence[str], port: tuple[str, int] | None = None) -> None:
        """Leave the service as it is if it runs with these settings, else start it."""
        environment = self._environment()
        settings = self._digest(arguments)
        process = self.running.process(name)
        if process is not None and process.settings == settings:
            self.told[name] = f"running already, process {process.pid}"
            return
        if process is not None:
            self.say(f"ending {name}: its settings have changed")
            process.end(STOP_S)
        if port is not None:
            _refuse_taken(*port, option="--mlflow-port" if name == "mlflow" else "--port")
        if name.startswith("worker-"):
            _lost(self.api, name, "its worker was lost")
        self.say(f"starting {name}")
        self._fresh[name] = datetime.now(UTC)
        with _log(self.logs / f"{name}.log") as said:
            child = subprocess.Popen(
                [sys.executable, *arguments], cwd=self.place, env=environment, stdin=subprocess.DEVNULL, stdout=said,
                stderr=said, start_new_session=True,
            )  # fmt: skip
        since = started_at(child.pid)
        if since is None:
            raise ServiceFailed(f"{name} ended at once. {self._last_words(name)}")
        self._remember(self.running.with_process(Process(name=name, pid=child.pid, since=since, settings=settings)))
        self.told[name] = f"started, process {child.pid}"

    def _until(self, there: Callable[[], object], name: str, do: str) -> None:
        """Wait until something is there.

        Raises:
            ServiceFailed: the service that should bring it has ended, or it takes too long.
        """
        deadline = time.monotonic() + START_S
        while not there():
            if self.running.process(name) is None:
                raise ServiceFailed(f"{name} ended before it could {do}. {self._last_words(name)}")
            if time.monotonic() > deadline:
                raise ServiceFailed(f"{name} did not {do} within {START_S:.0f} s. {self._last_words(name)}")
            time.sleep(POLL_S)

    def _mlflow(self) -> tuple[str, ...]:
        if is_local(self.locations.home):
            Path(self.locations.home, "mlflow").mkdir(parents=True, exist_ok=True)
        where = ("--host", LOOPBACK, "--port", str(self.running.mlflow_port))  # it knows no passwords
        return ("-m", "mlflow", "ui", "--backend-store-uri", self.locations.tracking_uri, *where, "--workers", "1")

    def _environment(self) -> dict[str, str]:
        """What every service is given: this process's environment, with all that says where things are."""
        own = {name: value for name, value in self.environment.items() if name != "PREFECT_PROFILE"}
        return {**own, **self._places(), **self._secrets()}

    def _places(self) -> dict[str, str]:
        address = self.running.address
        stated = {name: self.environment[name] for name in ("PREFECT_UI_URL", "PREFECT_UI_API_URL", *QUIET)
                  if self.environment.get(name)}  # fmt: skip
        proxies = {name: ",".join(filter(None, (self.environment.get(name), LOOPBACK))) for name in _NO_PROXY}
        return {
            **QUIET,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # workers of its own, for what nothing here asks of it
            "PREFECT_WORKER_QUERY_SECONDS": "5",
            # Else a restart of the server would take the places of the runs that hold one, and end them.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            # Runs planned ahead: the nights of a month's outage are there to be caught up.
            "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "20",
            "PREFECT_UI_URL": address,
            "PREFECT_UI_API_URL": "/api",  # of the server that the page came from, by whatever address or tunnel
            **stated,
            **proxies,
            **_importable(self.environment),
            **self._storage(),
            "PREFECT_HOME": str(self.place),
            "PREFECT_API_URL": f"{address}/api",
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",  # the console of a service is its log
        }

    def _storage(self) -> dict[str, str]:
        """Places as this process sees them, for processes that run elsewhere."""
        parts = {
            part: self.locations.home if part == "home" else getattr(self.locations, part)
            for part in StorageConfig.model_fields
            if part == "home" or getattr(self.locations.storage, part) or self.environment.get(storage_variable(part))
        }
        return {storage_variable(part): str(uri) for part, uri in parts.items() if uri}

    def _secrets(self) -> dict[str, str]:
        auth = self.environment.get(AUTH_OF_CLIENT) or self.environment.get(AUTH_OF_SERVER)
        return {AUTH_OF_CLIENT: auth} if auth else {}

    def _digest(self, arguments: Sequence[str]) -> str:
        places = {name: without_credentials(uri) for name, uri in self._storage().items()}
        asks_for_password = bool(self.environment.get(AUTH_OF_SERVER))
        told = [list(arguments), self.running.address, str(PROJECT), places, self.database, asks_for_password]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def _remember(self, running: Running) -> None:
        self.running = running
        remember(self.place, running)

    def _last_words(self, name: str) -> str:
        log = self.logs / f"{name}.log"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL:])
        for secret in (self.environment.get(AUTH_OF_SERVER), self.environment.get(AUTH_OF_CLIENT)):
            tail = tail.replace(secret, "***") if secret else tail
        return f"The end of its log, {log}:\n{without_credentials(tail)}"


_NO_PROXY: Final = ("NO_PROXY", "no_proxy")


def _prefect_yaml() -> Path:
    """In the root of a clone; a wheel carries it beside the configurations."""
    return next(path for path in (PROJECT / "prefect.yaml", PROJECT / "configs" / "prefect.yaml") if path.exists())


def _deployments() -> list[str]:
    """`flow/deployment` of each; our flows are called as their functions."""
    listed = yaml.safe_load(_prefect_yaml().read_text())["deployments"]
    return [f"{one['entrypoint'].rpartition(':')[2]}/{one['name']}" for one in listed]


def _worker(pool: str) -> str:
    return f"{pool}@{socket.gethostname()}"


def _importable(environment: Mapping[str, str]) -> dict[str, str]:
    """Of a clone, the packages from there even if it is not installed; an installed wheel is found anyway."""
    if not (PROJECT / "pyproject.toml").exists():
        return {}
    earlier = environment.get("PYTHONPATH", "").split(os.pathsep)
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, (str(PROJECT), *earlier))))}


def _refuse_taken(host: str, port: int, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServiceFailed(
                f"{host}:{port} cannot be used: {error.strerror or error}. Something else may be listening there, or "
                f"it is no address of this machine. Name another with {option}"
                f"{' or --host' if option == '--port' else ''}."
            ) from None


def _log(path: Path) -> Any:
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _warnings(running: Running, environment: Mapping[str, str]) -> tuple[str, ...]:
    warnings = []
    if not _is_loopback(running.host) and not environment.get(AUTH_OF_SERVER):
        warnings.append(
            f"The server listens on {running.host} and asks nobody for a password: whoever reaches it can run flows "
            f"here. Set {AUTH_OF_SERVER}=user:password, then `nocturne down` and `nocturne up`."
        )
    theirs = environment.get("PREFECT_API_URL")
    if theirs and theirs.rstrip("/") != f"{running.address}/api":
        warnings.append(f"PREFECT_API_URL is set to {without_credentials(theirs)}: `nocturne` goes there, not here.")
    return tuple(warnings)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
