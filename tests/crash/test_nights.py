"""Kill -9 of the flow's process, of a worker and of the server while a night runs on a real server with two workers.

Every night is a small real one: Delta, Great Expectations, TensorFlow in the GPU pool's worker, MLflow. It is killed at
a seeded moment of its course, what was killed is started again, and the night is run again if it did not go on by
itself.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import AwaitingRetry

from models.card import file_hashes
from models.config import RetrainConfig
from models.ledger import Ledger
from models.locations import Locations
from models.records import LedgerEntry
from models.registry import Registry
from models.store import BarsStore
from tests.real_prefect import Server, end, server, until
from tests.small_nights import SMALL, deliver

POOLS = {"cpu": ("flows/retrain.py:retrain", "nightly"), "gpu": ("flows/train.py:train", "gpu")}
NIGHT_S = 600.0
KILLED = int(os.environ.get("NIGHTS_KILLED", "4"))
"""Nights of each kind. Ten of each take half an hour."""

pytestmark = pytest.mark.slow


@dataclass
class House:
    """A server, a worker for each pool, and one home that both work in."""

    server: Server
    home: Path
    place: Path
    held: ExitStack = field(default_factory=ExitStack)
    workers: dict[str, subprocess.Popen[Any]] = field(default_factory=dict)
    seed: int = 0
    course_s: float = 0.0
    """Seconds of an undisturbed night."""

    def start_worker(self, pool: str) -> None:
        if pool in self.workers:
            end(self.workers[pool])  # whatever is left of its group
        worker = self.server.worker(pool, self.place / pool, NOCTURNE_HOME=str(self.home))
        self.workers[pool] = self.held.enter_context(worker)

    def set_up(self) -> None:
        for pool, (entrypoint, name) in POOLS.items():
            self.server.do("work-pool", "create", pool, "--type", "process")
            self.server.do("deploy", entrypoint, "--name", name, "--pool", pool)
            self.start_worker(pool)

    def run(self, **parameters: Any) -> FlowRun:
        """Send a night to the worker: the same parameters, the same night."""
        with self.server.client() as client:
            deployment = client.read_deployment_by_name("retrain/nightly")
            return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    def read(self, run_id: UUID) -> FlowRun:
        with self.server.client() as client:
            return client.read_flow_run(run_id)

    def running(self, run_id: UUID) -> FlowRun | None:
        run = self.read(run_id)
        assert run.state is None or not run.state.is_final(), run.state
        return run if run.state is not None and run.state.is_running() and run.infrastructure_pid else None

    @property
    def crashes_reported(self) -> int:
        """By the worker of nights: its report comes seconds after the state, and would overwrite a retry before it."""
        log = (self.server.home / "worker-cpu.log").read_text()
        return sum("flow_runs.worker" in line and "exceeded its memory" in line for line in log.splitlines())

    def retried(self, run_id: UUID) -> FlowRun | None:
        """As `Retry` in the UI."""
        run = self.read(run_id)
        if run.state is not None and run.state.is_final():
            with self.server.client() as client:
                client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
        return run if run.state is not None and run.state.is_running() else None

    def ended(self, run_id: UUID) -> FlowRun | None:
        run = self.read(run_id)
        return run if run.state is not None and run.state.is_final() else None

    @property
    def locations(self) -> Locations:
        return Locations(RetrainConfig.model_validate({"storage": {"home": str(self.home)}}).storage)

    @property
    def nights(self) -> set[Path]:
        return set(Path(self.locations.nights).glob("*")) if Path(self.locations.nights).exists() else set()

    def decisions(self, night: Path) -> list[LedgerEntry]:
        return [one for one in Ledger(self.locations).entries() if one.night_id == night.name]

    def champion_loads(self) -> bool:
        """What the ledger names lies in the registry with the files that its decision rests on."""
        champion = Ledger(self.locations).champion()
        assert champion is not None
        assert champion.champion_after is not None
        there = file_hashes(Registry(self.locations).fetch(champion.champion_after))
        return all(champion.hashes[name] == found for name, found in there.items())


def settings(seed: int) -> dict[str, Any]:
    """A small night; one that a killed worker took and did not start counts as lost after 90 s."""
    return {**SMALL, "training": {**SMALL["training"], "seed": seed}, "operation": {"dispatch_timeout": 90}}


@pytest.fixture(scope="module")
def house(make_market, tmp_path_factory) -> Iterator[House]:
    """A house with a champion: the first night is undisturbed."""
    place = tmp_path_factory.mktemp("house")
    market = make_market(n_symbols=25, n_sessions=231, edge=0.5, seed=4, restless=0.17)
    with server(place / "prefect") as running, ExitStack() as held:
        house = House(running, place / "home", place, held)
        house.set_up()
        run = house.run(config=settings(0), deliveries=[deliver(market, place / "in", "history.csv")])
        first = until(lambda: house.ended(run.id), NIGHT_S, every_s=1)
        assert first.state is not None
        assert first.state.is_completed(), first.state.message
        house.course_s = first.total_run_time.total_seconds()
        yield house


@dataclass(frozen=True)
class Finished:
    """A candidate that was finished when its night was killed."""

    night: Path
    written: int


def finished(night: Path) -> Finished | None:
    record = night / "candidate.json"
    return Finished(night, record.stat().st_mtime_ns) if record.exists() else None


def killed_in(house: House, before: set[Path]) -> Finished | None:
    """The candidate that the killed night had finished, if it had."""
    return next((found for night in house.nights - before if (found := finished(night))), None)


def kill_at(house: House, share: float | None, target: str) -> tuple[UUID, dict[str, Any], set[Path]]:
    """Start a night and kill the target in it. Returns its run, its parameters and the nights before.

    Args:
        share: Of the usual course of a night; None is the moment at which its candidate is finished.
        target: `flow`, `server`, or the pool of a worker.
    """
    house.seed += 1
    before, parameters = house.nights, {"config": settings(house.seed)}
    run = house.run(**parameters)
    until(lambda: house.running(run.id), 120)
    if share is None:
        until(lambda: killed_in(house, before), NIGHT_S, every_s=0.1)
    else:
        time.sleep(share * house.course_s)  # a moment, and no condition: the kill may find it anywhere
    hit = house.read(run.id)
    if hit.state is None or hit.state.is_final():
        house.course_s = hit.total_run_time.total_seconds()  # this night was quicker than the last one measured
        return kill_at(house, share, target)
    if target == "flow":
        os.kill(int(str(hit.infrastructure_pid).rsplit(":", maxsplit=1)[-1]), signal.SIGKILL)
    elif target == "server":
        assert house.server.process is not None
        os.killpg(house.server.process.pid, signal.SIGKILL)
        house.server.process.wait()
    else:
        house.workers[target].kill()
        house.workers[target].wait()
    return run.id, parameters, before


def is_whole(house: House, night: Path, was_finished: Finished | None) -> bool:
    """One decision, one loadable champion, every table readable, and nothing trained twice."""
    tables = BarsStore(house.locations)
    assert len(tables._bars.read()) == sum(one.account.accepted for one in tables.deliveries())
    assert was_finished is None or finished(night) == was_finished
    assert len(house.decisions(night)) == 1
    return house.champion_loads()


def shares(n: int, seed: int) -> list[float]:
    """Moments of a night as shares of its course, one in each of n equal parts."""
    return list((np.arange(n) + np.random.default_rng(seed).random(n)) / n * 0.9)


def night_of(house: House, before: set[Path]) -> Path:
    (night,) = house.nights - before
    return night


def completes(house: House, run_id: UUID) -> bool:
    run = until(lambda: house.ended(run_id), NIGHT_S, every_s=1)
    assert run.state is not None
    assert run.state.is_completed(), f"{run.state.name}: {run.state.message}"
    return True


@pytest.mark.parametrize("share", [None, *shares(KILLED, seed=1)])
def test_a_night_whose_process_is_killed_goes_on_from_what_is_finished(house, share):
    reported = house.crashes_reported
    run_id, parameters, before = kill_at(house, share, "flow")
    done = killed_in(house, before)
    assert done or share is not None
    killed = until(lambda: house.ended(run_id), 120)
    assert killed.state is not None
    assert killed.state.is_crashed(), killed.state
    if house.seed % 2:
        until(lambda: house.crashes_reported > reported, 60, every_s=1)
        until(lambda: house.retried(run_id), 120, every_s=2)
        assert completes(house, run_id)
    else:
        assert completes(house, house.run(**parameters).id)
    assert is_whole(house, night_of(house, before), done)


@pytest.mark.parametrize("share", shares(KILLED, seed=2))
def test_a_night_whose_worker_is_killed_goes_on_after_its_restart(house, share):
    pool = ("cpu", "gpu")[house.seed % 2]
    run_id, parameters, before = kill_at(house, share, pool)
    done = killed_in(house, before)
    house.start_worker(pool)
    ended = until(lambda: house.ended(run_id), NIGHT_S, every_s=1)
    assert ended.state is not None
    if not ended.state.is_completed():
        assert ended.state.is_crashed(), ended.state
        assert completes(house, house.run(**parameters).id)
    assert is_whole(house, night_of(house, before), done)


@pytest.mark.parametrize("share", shares(KILLED, seed=3))
def test_a_night_outlives_a_restart_of_the_server(house, share):
    run_id, _, before = kill_at(house, share, "server")
    done = killed_in(house, before)
    house.server.start()
    assert completes(house, run_id)
    assert is_whole(house, night_of(house, before), done)
