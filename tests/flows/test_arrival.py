"""A night starts when its delivery is there: `nocturne ingest` tells a real server, whose automation starts the run."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect.client.schemas.objects import FlowRun

from flows.arrival import announce
from models.records import DeliveryRecord
from tests.real_prefect import ROOT, Server, server, until
from tests.small_nights import deliver


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Any:
    """A server with the nightly deployment, and no worker: what is started only waits."""
    with server(tmp_path_factory.mktemp("server"), NOCTURNE_HOME=str(tmp_path_factory.mktemp("home"))) as one:
        one.do("work-pool", "create", "idle", "--type", "process")
        one.do("deploy", "flows/retrain.py:retrain", "--name", "nightly", "--pool", "idle")
        yield one


def nocturne(one: Server, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "flows", *arguments, "--json"], cwd=ROOT, env=one.environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    return json.loads(done.stdout)


def runs(one: Server) -> list[FlowRun]:
    """What was started by a delivery; the schedule plans runs as well."""
    with one.client() as client:
        return [run for run in client.read_flow_runs() if run.created_by and run.created_by.type == "AUTOMATION"]


@pytest.mark.slow
def test_the_first_delivery_of_a_session_starts_its_night_and_a_second_does_not(place, make_market, tmp_path):
    nocturne(place, "automations", "apply", "--on-arrival")
    market = make_market(n_symbols=30, n_sessions=40)
    *_, before, last = market["session"].drop_duplicates()

    def ingest(bars: pd.DataFrame, name: str) -> None:
        nocturne(place, "ingest", deliver(bars, tmp_path, name))

    ingest(market[market["session"] < before], "history.csv")
    ingest(market[market["session"] == before], "one.csv")
    started = until(lambda: runs(place))
    assert [run.parameters["session"] for run in started] == [f"{before:%Y-%m-%d}"], "a history starts no night"
    ingest(market[market["session"] == before], "one.csv")  # a repetition
    corrected = market[market["session"] == before].assign(volume=1.0)
    ingest(corrected, "corrected.csv")
    ingest(market[market["session"] == last], "two.csv")
    started = until(lambda: (found := runs(place)) and len(found) > 1 and found)
    assert sorted(run.parameters["session"] for run in started) == [f"{before:%Y-%m-%d}", f"{last:%Y-%m-%d}"]


def test_without_a_server_nobody_is_told(tmp_path: Path):
    record = DeliveryRecord.model_construct(repeated=False, last=date(2024, 7, 3), known_at_rule="arrival")
    assert not announce(record, environment={})
