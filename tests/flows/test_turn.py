"""Missed nights under operation.catch_up = all: a real server, a worker, and one place for a deployment's nights."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled

from flows.turn import let_older_nights_go_first
from models.ledger import Ledger
from models.locations import Locations
from tasks.ingest import bring_in
from tests.real_prefect import Server, server, until
from tests.small_nights import config_at, deliver, settings_of


@dataclass(frozen=True)
class Place:
    """A home with a short history, and the deployment of its nights."""

    server: Server
    home: Path
    sessions: tuple[date, ...]

    def miss(self, session: date) -> FlowRun:
        """The run that the schedule had planned for the evening of a session."""
        evening = datetime.combine(session, time(18, 30), ZoneInfo("America/New_York"))
        with self.server.client() as client:
            deployment = client.read_deployment_by_name("retrain/nightly")
            return client.create_flow_run_from_deployment(
                deployment.id, parameters={"scheduled": True}, state=Scheduled(scheduled_time=evening)
            )

    def now(self, run: FlowRun) -> FlowRun:
        with self.server.client() as client:
            return client.read_flow_run(run.id)

    def ended(self, run: FlowRun) -> FlowRun:
        def final() -> FlowRun | None:
            now = self.now(run)
            return now if now.state is not None and now.state.is_final() else None

        return until(final, within_s=400)

    def states(self, run: FlowRun) -> list[str | None]:
        with self.server.client() as client:
            return [state.name for state in client.read_flow_run_states(run.id)]


@pytest.fixture
def place(tmp_path, make_market) -> Iterator[Place]:
    home = tmp_path / "home"
    market = make_market(n_symbols=30, n_sessions=60)  # too few for a training, so its nights are short
    bring_in(deliver(market, home / "in", "history.csv"), config_at(home), None, datetime.now(UTC))
    here = json.dumps({"config": settings_of(operation={"catch_up": "all"})})
    with server(tmp_path / "server", NOCTURNE_HOME=str(home)) as one:
        one.do("work-pool", "create", "cpu", "--type", "process")
        one.do(
            "deploy", "flows/retrain.py:retrain", "--name", "nightly", "--pool", "cpu", "--params", here,
            "--concurrency-limit", "1", "--collision-strategy", "ENQUEUE",
        )  # fmt: skip
        with one.worker("cpu", tmp_path / "here"):
            yield Place(one, home, tuple(sorted({day.date() for day in market["session"]})))


@pytest.mark.slow
def test_missed_nights_are_decided_oldest_first_even_if_the_newest_gets_the_place_first(place):
    *_, oldest, middle, newest = place.sessions
    first = place.miss(newest)
    until(lambda: (now := place.now(first)) and now.state and now.state.name in ("Pending", "Running"), every_s=0.1)
    runs = [first, place.miss(middle), place.miss(oldest)]
    assert [place.ended(run).state.name for run in runs] == ["Completed"] * 3
    decided = [entry.session for entry in Ledger(Locations(config_at(place.home).storage)).entries()]
    assert decided == [oldest, middle, newest]
    passed = [place.states(run) for run in runs]
    assert passed[0].count("Running") > 1, "it had the place, and gave it back"
    assert not {"Crashed", "Failed", "Cancelled"} & {name for names in passed for name in names}


def test_what_is_no_run_of_a_deployment_waits_for_nothing():
    let_older_nights_go_first()
