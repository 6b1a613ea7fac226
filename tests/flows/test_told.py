"""Each thing that matters is told once: a real Prefect server with our automations, a worker, and a receiver."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events import Event, RelatedResource, Resource
from prefect.states import AwaitingConcurrencySlot, Crashed, Failed, Running, Scheduled, to_state_create

from models.config import RetrainConfig
from models.notation import value_and_bound
from models.records import NightResult
from tests.real_prefect import ROOT, Server, free_port, server, until
from tests.receiver import SECRET, Receiver, receiver
from tests.small_nights import SMALL, deliver
from tests.tasks.test_promote import promote

PLANTED = "planted-in-the-storage"
POOL = "cpu"


PATIENCE_S = "300"
"""Longer than a run of these tests takes to begin on a busy machine: being late is a message of its own."""


@dataclass(frozen=True)
class Place:
    """A server that tells the receiver, and what runs on it."""

    server: Server
    receiver: Receiver
    root: Path

    def nocturne(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows", *arguments], cwd=ROOT, env={**self.server.environment, **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def apply(self, *options: str) -> dict[str, Any]:
        done = self.nocturne("automations", "apply", "--block", "custom-webhook/ops", *options, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def deploy(self, flow: str, name: str, entrypoint: str) -> UUID:
        with self.server.client() as client:
            return client.create_deployment(
                client.create_flow_from_name(flow), name, work_pool_name=POOL, path=str(ROOT), entrypoint=entrypoint,
                enforce_parameter_schema=False,
            )  # fmt: skip

    def start(self, deployment: UUID, **parameters: Any) -> UUID:
        with self.server.client() as client:
            return client.create_flow_run_from_deployment(deployment, parameters=parameters).id

    def run(self, run_id: UUID) -> FlowRun:
        with self.server.client() as client:
            return client.read_flow_run(run_id)

    def ended(self, run_id: UUID, within_s: float = 180.0) -> State[Any]:
        def final() -> State[Any] | None:
            state = self.run(run_id).state
            return state if state is not None and state.is_final() else None

        return until(final, within_s)

    def states(self, flow: str, *states: State[Any]) -> UUID:
        """A run of a flow of this name that went through these states, as far as the server knows."""
        with self.server.client() as client:
            flow_id = client.create_flow_from_name(flow)
            asked = {"flow_id": str(flow_id), "state": to_state_create(states[0]).model_dump(mode="json")}
            made = client._client.post("/flow_runs/", json=asked).raise_for_status().json()
            for state in states[1:]:
                client.set_flow_run_state(made["id"], state, force=True)
        return UUID(made["id"])

    def emit(self, event: str, resource: str, related: list[RelatedResource], **payload: str) -> None:
        one = Event(event=event, resource=Resource({"prefect.resource.id": resource}), related=related, payload=payload)
        with self.server.client() as client:
            client.request("POST", "/events", json=[one.model_dump(mode="json")])

    def settle(self) -> None:
        """Return when all that happened so far has been told: the server tells in the order in which it hears."""
        mark = uuid4().hex
        self.emit("nocturne.night.kept", "nocturne.night", [], subject=mark, text="the last one")
        self.receiver.told(mark)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("told")
    with receiver() as received, server(root / "prefect", PREFECT_API_SERVICES_LATE_RUNS_LOOP_SECONDS="1") as running:
        one = Place(running, received, root)
        make = (
            "import os; from prefect.blocks.notifications import CustomWebhookNotificationBlock as Block;"
            "Block(name='ops', url=os.environ['HOST'] + '/{{token}}', secrets={'token': os.environ['TOKEN']},"
            "json_data={'subject': '{{subject}}', 'body': '{{body}}'}).save('ops')"
        )
        subprocess.run(
            [sys.executable, "-c", make],
            env={**running.environment, "HOST": received.host, "TOKEN": SECRET},
            check=True,
        )
        one.apply("--late-after", PATIENCE_S)
        running.do("work-pool", "create", POOL, "--type", "process")
        yield one


@pytest.fixture(scope="module")
def worker(place) -> Iterator[None]:
    with place.server.worker(POOL, place.root / "worker"):
        yield


@pytest.fixture(scope="module")
def retrain(place, worker) -> UUID:
    return place.deploy("retrain", "nightly", "flows/retrain.py:retrain")


@pytest.fixture(scope="module")
def market(make_market):
    return make_market(n_symbols=40, n_sessions=231, edge=0.5, seed=4, restless=0.17)


def settings(home: Path, **sections: dict) -> dict:
    return {**SMALL, **sections, "storage": {"home": str(home)}}


def link(run_id: UUID, place: Place) -> str:
    return f"{place.server.url}/runs/flow-run/{run_id}"


def test_applying_again_makes_no_second_automation_and_leaves_a_paused_one_paused(place):
    with place.server.client() as client:
        first = client.read_automations()
        paused = next(one for one in first if one.name == "nocturne: timed out")
        client.pause_automation(paused.id)
    done = place.apply()
    with place.server.client() as client:
        assert {one.id for one in client.read_automations()} == {one.id for one in first}
        client.resume_automation(paused.id)
    assert [one["name"] for one in done["automations"] if not one["enabled"]] == ["nocturne: timed out"]
    assert {one["done"] for one in done["automations"]} == {"updated"}


def test_applying_again_without_it_leaves_the_patience_with_late_runs_as_it_was(place):
    place.apply()
    with place.server.client() as client:
        (late,) = client.read_automations_by_name("nocturne: late")
    assert late.trigger.within == timedelta(seconds=int(PATIENCE_S))


def test_a_block_that_is_not_there_is_refused_with_how_to_create_it(place):
    done = place.nocturne("automations", "apply", "--block", "slack-webhook/night-desk")
    assert done.returncode == 2
    assert "SlackWebhook(url=os.environ['SLACK_URL']).save('night-desk')" in done.stderr


def test_without_a_server_automations_are_refused_before_one_is_started(place, tmp_path):
    done = place.nocturne("automations", "apply", PREFECT_API_URL="", PREFECT_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "PREFECT_API_URL" in done.stderr


@pytest.mark.parametrize(
    ("state", "subject", "words"),
    [
        (Failed(message="Validation of flow parameters failed with error: x"), " failed", "Validation"),
        (Failed(name="TimedOut", message="Flow run exceeded timeout of 5.0 second(s)"), "timed out", "5.0 second"),
        (Crashed(message="Process exited with status code: -9"), "crashed", "status code: -9"),
    ],
)  # fmt: skip
def test_what_only_the_server_sees_is_told_with_its_cause_and_link(place, state, subject, words):
    run_id = place.states("retrain", Running(), state)
    text = place.receiver.told(link(run_id, place))
    assert subject in text
    assert words in text


def test_one_crash_that_is_reported_three_times_is_told_once(place):
    run_id = place.states("score", Running(), *(Crashed(message=f"report {n}") for n in range(3)))
    place.settle()
    assert len(place.receiver.texts(link(run_id, place))) == 1


def test_a_failed_training_is_left_to_the_night_that_sent_it(place):
    lost = [place.states("train", Running(), Crashed()), place.states("train", Running(), Failed(message="no weights"))]
    place.settle()
    assert [text for run_id in lost for text in place.receiver.texts(str(run_id))] == []


@pytest.mark.slow
def test_a_run_that_does_not_begin_is_told_as_late(place):
    place.apply("--late-after", "10")
    run_id = place.states("retrain", Scheduled(scheduled_time=datetime(2026, 1, 5, 22, 30, tzinfo=UTC)))
    text = place.receiver.told(link(run_id, place))
    place.apply("--late-after", PATIENCE_S)
    assert "has not begun" in text
    assert "2026-01-05 22:30 UTC" in text


@pytest.fixture
def impatient(place) -> Iterator[None]:
    """Silence counts from ten seconds on, the least that Prefect takes."""
    place.apply("--heartbeat", "4")
    yield
    place.apply()


def sign_of_life(place: Place, run_id: UUID) -> None:
    flow = RelatedResource(
        {"prefect.resource.id": "prefect.flow.1", "prefect.resource.role": "flow", "prefect.resource.name": "retrain"}
    )
    place.emit("prefect.flow-run.heartbeat", f"prefect.flow-run.{run_id}", [flow])


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_run_that_falls_silent_is_marked_crashed_and_told(place):
    run_id = place.states("retrain", Running())
    sign_of_life(place, run_id)
    assert place.ended(run_id).type == StateType.CRASHED
    assert "no sign of life" in place.receiver.told(link(run_id, place))


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_night_that_let_an_older_one_go_first_is_not_taken_for_silent(place):
    waiting, silent = place.states("retrain", Running()), place.states("retrain", Running())
    for run_id in (waiting, silent):
        sign_of_life(place, run_id)
    with place.server.client() as client:
        client.set_flow_run_state(waiting, AwaitingConcurrencySlot(scheduled_time=datetime.now(UTC)))
    place.ended(silent)
    place.settle()
    assert place.run(waiting).state.name == "AwaitingConcurrencySlot"


@pytest.mark.slow
def test_a_run_whose_code_cannot_be_loaded_is_told_once(place, worker):
    run_id = place.start(place.deploy("retrain", "broken", "flows/absent.py:retrain"))
    assert not place.ended(run_id).is_completed()
    place.receiver.told(link(run_id, place))
    place.settle()
    assert len(place.receiver.texts(link(run_id, place))) == 1


@pytest.fixture(scope="module")
def history(market, tmp_path_factory) -> str:
    before_the_last = market[market["session"] < market["session"].max()]
    return deliver(before_the_last, tmp_path_factory.mktemp("in"), "history.csv")


@pytest.fixture(scope="module")
def first_night(place, retrain, history) -> UUID:
    """A night that makes its candidate the first champion, with the training in its own process."""
    run_id = place.start(retrain, config=settings(place.root / "home"), deliveries=[history])
    assert place.ended(run_id).is_completed(), place.run(run_id).state
    return run_id


@pytest.mark.slow
def test_a_promotion_is_told_with_its_reason_checks_report_and_link(place, first_night):
    message = place.receiver.told(link(first_night, place))
    (record,) = (place.root / "home" / "nights").glob("*/result.json")
    night = NightResult.model_validate_json(record.read_text())
    assert f"promoted {night.version}" in message
    assert f"Why: {night.reason}" in message
    assert f"Report: {night.report}" in message
    for check in night.checks:
        assert (f"• {check.name} {value_and_bound(check)[0]}" in message) is not check.passed


@pytest.mark.slow
def test_a_kept_champion_is_told_once_with_its_reason_and_link(place, retrain, first_night):
    home = shutil.copytree(place.root / "home", place.root / "kept")
    run_id = place.start(retrain, session="2016-03-01", config=settings(home))  # a session without bars of its own
    assert place.ended(run_id).is_completed(), place.run(run_id).state
    message = place.receiver.told(link(run_id, place))
    assert "Nocturne 2016-03-01: kept the champion" in message
    assert "Why: no data: no bars of 2016-03-01 were known" in message
    place.settle()
    assert len(place.receiver.texts(link(run_id, place))) == 1


@pytest.mark.slow
def test_the_same_night_again_is_not_told_again(place, retrain, first_night):
    again = place.start(retrain, config=settings(place.root / "home"))
    assert "decided before" in place.ended(again).message
    place.settle()
    assert place.receiver.texts(link(again, place)) == []
    assert len(place.receiver.texts(link(first_night, place))) == 1


@pytest.mark.slow
def test_a_night_that_was_killed_before_it_left_its_mark_is_not_told_twice(place, retrain, first_night):
    (mark,) = (place.root / "home" / "nights").glob("*/told.json")
    mark.unlink()
    again = place.start(retrain, config=settings(place.root / "home"))
    assert place.ended(again).is_completed()
    place.settle()
    assert mark.exists()
    assert place.receiver.texts(link(again, place)) == []


@pytest.mark.slow
def test_a_stopped_night_is_told_once_and_not_as_failed(place, retrain, first_night, market, tmp_path):
    half = market[market["session"] == market["session"].max()].head(5)
    run_id = place.start(
        retrain, config=settings(place.root / "home"), deliveries=[deliver(half, tmp_path, "half.csv")]
    )
    assert place.ended(run_id).is_failed()
    message = place.receiver.told(link(run_id, place))
    assert "was stopped by its data" in message
    assert "completeness" in message
    place.settle()
    assert len(place.receiver.texts(link(run_id, place))) == 1


@pytest.mark.slow
def test_a_failed_night_is_told_once_with_what_mends_it(place, retrain):
    run_id = place.start(retrain, config=settings(place.root / "empty"))
    assert place.ended(run_id).is_failed()
    message = place.receiver.told(link(run_id, place))
    assert "retrain latest failed" in message
    assert "Bring a delivery in with `nocturne ingest PATH`" in message
    place.settle()
    assert len(place.receiver.texts(link(run_id, place))) == 1


@pytest.mark.slow
def test_a_rollback_is_told_with_who_and_why(place, worker, exported):
    config = RetrainConfig.model_validate({"storage": {"home": str(place.root / "champions")}})
    for number in (1, 2):
        promote(number, exported, config)
    rollback = place.deploy("rollback", "manual", "flows/rollback.py:rollback")
    run_id = place.start(rollback, reason="v2 drifts", config={"storage": {"home": config.storage.home}})
    assert place.ended(run_id).is_completed()
    message = place.receiver.told(link(run_id, place))
    assert "v1 serves from now on, instead of v2" in message
    assert "Why: v2 drifts" in message


def test_no_secret_is_in_any_message_log_event_artifact_or_table(place, history):
    """A registry out of reach, at an address with a password: the task is tried again, the night fails, and is told."""
    home = place.root / "secretive"
    done = place.nocturne(
        "retrain", "--delivery", history, "--json",
        NOCTURNE_HOME=str(home), MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        NOCTURNE_STORAGE__TRACKING_URI=f"http://desk:{PLANTED}@127.0.0.1:{free_port()}",
        NOCTURNE_GATE__MIN_EVIDENCE_SESSIONS="250",
    )  # fmt: skip
    assert done.returncode == 1
    message = place.receiver.told("The model registry at http://127.0.0.1")
    assert PLANTED not in message
    place.settle()
    assert len(place.receiver.texts("The model registry")) == 1
    for secret in (PLANTED, SECRET):
        assert secret not in done.stdout + done.stderr + json.dumps(place.receiver.messages)
        assert [path for path in sorted(place.root.rglob("*")) if path.is_file() and secret in _bytes(path)] == []


def _bytes(path: Path) -> str:
    return path.read_bytes().decode("latin-1")
