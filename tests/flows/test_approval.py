"""A person's word before a model serves: a real pause, answered through the API that the UI's form uses."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType

from flows import approval
from flows.approval import with_approval
from flows.retrain import retrain
from models.config import RetrainConfig
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightRecord
from models.records import Snapshot, Verdict, at_least
from tasks.close import Outcome
from tasks.ingest import bring_in
from tasks.verify import verify
from tests.real_prefect import server, until
from tests.small_nights import config_at, deliver, settings_of

pytestmark = pytest.mark.usefixtures("prefect")

DAY = date(2024, 7, 3)
SNAPSHOT = Snapshot(
    session=DAY, as_of=datetime(2024, 7, 5, tzinfo=UTC), hash="h", rows=1, first=DAY, last=DAY, symbols=1
)
NIGHT = NightRecord(night_id="0123456789abcdef", snapshot=SNAPSHOT, config_hash="c", code_hash="d", recipe="r")
PASSED = Verdict(
    verdict="promote", reason="all passed", checks=(at_least("direction_auc", "skill", 0.52, 0.5, "it is 0.52"),)
)


@dataclass
class Person:
    """Somebody who answers the first run that is paused."""

    answers: dict[str, str]
    saw: dict[str, Any] = field(default_factory=dict)

    def wait_and_answer(self) -> None:
        with get_client(sync_client=True) as client:
            run = until(lambda: paused(client), within_s=120)
            keys = run.state.state_details.run_input_keyset
            self.saw["description"] = client._client.get(f"/flow_runs/{run.id}/input/{keys['description']}").json()
            self.saw["schema"] = client._client.get(f"/flow_runs/{run.id}/input/{keys['schema']}").json()
            for answer in ({**self.answers, "decision": "perhaps"}, {**self.answers, "who": ""}, self.answers):
                client._client.post(f"/flow_runs/{run.id}/resume", json={"run_input": answer})
                self.saw.setdefault("states", []).append(client.read_flow_run(run.id).state.type)


def paused(client) -> FlowRun | None:
    waiting = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
    return next(iter(client.read_flow_runs(flow_run_filter=waiting)), None)


@contextmanager
def person(**answers: str) -> Iterator[Person]:
    one = Person(answers)
    thread = threading.Thread(target=one.wait_and_answer, daemon=True)
    thread.start()
    yield one
    thread.join(timeout=60)


@flow(name="asks")
def asks(config: RetrainConfig, verdict: Verdict = PASSED) -> Verdict:
    return with_approval(Outcome(verdict), NIGHT, config, datetime.now(UTC)).verdict


def required(tmp_path, **gate: float) -> RetrainConfig:
    return config_at(tmp_path, gate={"approval": "required", **gate})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(approval, "POLL_S", 1)


@pytest.mark.slow
def test_a_night_that_somebody_approves_is_promoted_and_the_ledger_says_who_and_why(tmp_path, make_market):
    history = deliver(make_market(n_symbols=30, n_sessions=200, edge=0.5, seed=4, restless=0.17), tmp_path, "h.csv")
    config = required(tmp_path)
    with person(decision="approve", who="Ann", reason="the checks convince me") as ann:
        night = retrain(config=config, deliveries=[history])
    assert night.verdict == "promote"
    entry = Ledger(Locations(config.storage)).decision(night.night_id)
    assert entry.actor == "Ann"
    assert entry.reason.startswith("approved by Ann: the checks convince me. The gate said: first champion")
    assert verify(night.version, config).agrees, "a person's word is part of the document"
    assert "of log-HAR on the same rows" in ann.saw["description"], "the checks stand in the form"
    assert ann.saw["schema"]["properties"]["decision"]["enum"] == ["approve", "keep"]
    assert ann.saw["states"] == [StateType.PAUSED, StateType.PAUSED, StateType.RUNNING], "wrong answers are refused"


def test_a_person_may_keep_the_champion_and_a_wrong_answer_is_refused(tmp_path):
    with person(decision="keep", who="Bob", reason="not before the holiday") as bob:
        verdict = asks(required(tmp_path))
    assert bob.saw["states"] == [StateType.PAUSED, StateType.PAUSED, StateType.RUNNING]
    assert (verdict.verdict, verdict.decided_by) == ("keep", "Bob")
    assert verdict.reason == "not approved by Bob: not before the holiday. The gate said: all passed"


def test_without_an_answer_the_night_keeps_the_champion_and_ends_well(tmp_path):
    state = asks(required(tmp_path, approval_hours=2 / 3600), return_state=True)
    assert state.is_completed(), state.message
    verdict = state.result()
    assert (verdict.verdict, verdict.decided_by) == ("keep", None)
    assert verdict.reason.startswith("not approved: nobody answered by")


@pytest.mark.parametrize(("gate", "word"), [({"approval": "none"}, "promote"), ({"approval": "required"}, "keep")])
def test_nobody_is_asked_where_no_approval_is_required_or_nothing_would_be_promoted(tmp_path, gate, word):
    verdict = PASSED.model_copy(update={"verdict": word})
    assert asks(config_at(tmp_path, gate=gate), verdict) == verdict


@pytest.mark.slow
def test_a_deployed_night_outlives_the_lease_of_its_place_while_it_waits(tmp_path, make_market):
    """Prefect renews the lease every 225 s and ends a run that cannot."""
    home = tmp_path / "home"
    market = make_market(n_symbols=30, n_sessions=200, edge=0.5, seed=4, restless=0.17)
    bring_in(deliver(market, tmp_path / "in", "history.csv"), config_at(home), None, datetime.now(UTC))
    with server(tmp_path / "server", NOCTURNE_HOME=str(home)) as one:
        one.do("work-pool", "create", "cpu", "--type", "process")
        given = json.dumps({"config": settings_of(gate={"approval": "required"})})
        limited = ["--concurrency-limit", "1", "--params", given]
        one.do("deploy", "flows/retrain.py:retrain", "--name", "asks", "--pool", "cpu", *limited)
        with one.worker("cpu", tmp_path / "here"), one.client() as client:
            deployment = client.read_deployment_by_name("retrain/asks")
            night = client.create_flow_run_from_deployment(deployment.id)
            waiting = until(lambda: paused(client), within_s=240)
            time.sleep(250)
            assert client.read_flow_run(night.id).state.is_running()
            answer = {"decision": "approve", "who": "Ann", "reason": "it still waits"}
            client._client.post(f"/flow_runs/{waiting.id}/resume", json={"run_input": answer})

            def final():
                state = client.read_flow_run(night.id).state
                return state if state.is_final() else None

            state = until(final)
    assert state.is_completed(), state.message
    assert state.message.startswith("PROMOTE: approved by Ann: it still waits")
