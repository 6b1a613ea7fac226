"""One real server for the tests of whole nights on workers, and two nights without one."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from flows.retrain import retrain
from models.records import NightResult
from tasks.ingest import bring_in
from tests.real_prefect import Server, server
from tests.small_nights import config_at, deliver, settings_of


@pytest.fixture(scope="session")
def served_home(tmp_path_factory, make_market) -> Path:
    """A home with a history in its store."""
    directory = tmp_path_factory.mktemp("home")
    history = make_market(n_symbols=30, n_sessions=200, edge=0.5, seed=4, restless=0.17)
    bring_in(deliver(history, directory / "in", "history.csv"), config_at(directory), None, datetime.now(UTC))
    return directory


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory, served_home) -> Iterator[Server]:
    """A server with both pools, deployments for small nights and for training, and a worker for all but training."""
    with server(tmp_path_factory.mktemp("server"), NOCTURNE_HOME=str(served_home)) as one:
        for pool in ("cpu", "gpu"):
            one.do("work-pool", "create", pool, "--type", "process")
        small = json.dumps({"config": settings_of()})
        one.do("deploy", "flows/retrain.py:retrain", "--name", "small", "--pool", "cpu", "--params", small)
        one.do("deploy", "flows/train.py:train", "--name", "gpu", "--pool", "gpu")
        with one.worker("cpu", tmp_path_factory.mktemp("here")):
            yield one


@pytest.fixture(scope="session")
def market(make_market) -> pd.DataFrame:
    """The market of the nights below."""
    return make_market(n_symbols=40, n_sessions=231, edge=0.5, seed=4, restless=0.17)


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """Where the nights below are, and whatever else a test runs on top of them."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def first_night(prefect, home, market) -> NightResult:
    """History but for its last session, and the night on it."""
    history = market[market["session"] < market["session"].max()]
    return retrain(config=config_at(home), deliveries=[deliver(history, home / "in", "history.csv")])


@pytest.fixture(scope="session")
def kept_night(first_night, home) -> NightResult:
    """The same session with another seed: judged against the champion, and kept."""
    return retrain(config=config_at(home, training={"seed": 2}))
