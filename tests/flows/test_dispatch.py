"""The GPU half of a night on a worker of its own: two pools, two workers, two working directories, one home."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Pending, Scheduled

from models.config import StorageConfig
from models.locations import Locations
from models.night import NightFiles
from models.records import CandidateRecord, NightResult
from tests.real_prefect import Server, until
from tests.small_nights import settings_of


def start(one: Server, **parameters: Any) -> FlowRun:
    with one.client() as client:
        deployment = client.read_deployment_by_name("retrain/small")
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)


def ended(one: Server, run: FlowRun) -> FlowRun:
    def final() -> FlowRun | None:
        with one.client() as client:
            now = client.read_flow_run(run.id)
        return now if now.state is not None and now.state.is_final() else None

    return until(final, within_s=240)


def children(one: Server, run: FlowRun) -> list[FlowRun]:
    with one.client() as client:
        runs = client.read_flow_runs()
    return [other for other in runs if other.parent_task_run_id is not None and other.created >= run.created]


def lines_of(one: Server, run: FlowRun) -> list[Log]:
    """The whole log of a run that has ended; it comes a little later than the end, and in parts."""

    def whole() -> list[Log] | None:
        whose, lines = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])), []
        with one.client() as client:
            while page := client.read_logs(whose, sort=LogSort.TIMESTAMP_ASC, offset=len(lines)):
                lines += page
        ends = (line.task_run_id is None and line.message.startswith("Finished in state") for line in lines)
        return lines if any(ends) else None

    return until(whole)


def log_of(one: Server, run: FlowRun) -> str:
    return "\n".join(line.message for line in lines_of(one, run))


def said_by_stage(one: Server, run: FlowRun) -> dict[str, list[str]]:
    """Lines of each stage of a run, without those of Prefect itself; a stage is named without what it worked on."""
    lines = lines_of(one, run)
    with one.client() as client:
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    names = {task.id: re.sub(r"( \S*/.*| \d.*|-\w{3})$", "", task.name) for task in tasks}
    own = [line for line in lines if line.task_run_id in names and not line.message.startswith("Finished in state")]
    return {name: [line.message for line in own if names[line.task_run_id] == name] for name in names.values()}


def test_a_night_trains_on_the_worker_of_another_pool_and_gets_the_candidate_by_reference(
    prefect_server, served_home, tmp_path
):
    with prefect_server.worker("gpu", tmp_path / "there"):
        history = [str(served_home / "in" / "history.csv")]
        run = ended(prefect_server, start(prefect_server, config=settings_of(), deliveries=history))
    assert run.state.is_completed(), run.state.message
    assert run.state.message.startswith(("PROMOTE: ", "KEEP: "))
    (trained,) = children(prefect_server, run)
    assert trained.work_pool_name == "gpu"
    assert set(trained.parameters) == {"night_id", "storage", "deadline"}
    assert trained.parameters["storage"] == {}
    files = NightFiles(Locations(StorageConfig(home=str(served_home))), trained.parameters["night_id"])
    result = files.read_record("result", NightResult)
    assert run.name == f"retrain {result.session}", "known by now, although it was started for the last session"
    assert result.version == files.read_record("candidate", CandidateRecord).version
    assert Path(result.report).exists()
    assert "epoch 1 of at most" in log_of(prefect_server, run), "the progress of the training is in the night's own log"
    decided = "promote" if result.verdict == "promote" else "keep champion"
    said = {**said_by_stage(prefect_server, run), **said_by_stage(prefect_server, trained)}
    (fitted,) = [line for line in said.pop("fit and export") if "epoch" not in line.split(": ")[0]]
    assert f"{result.version} trained in " in fitted
    for stage, words in {
        "ingest": "history.csv: ingested before",
        "take snapshot": f"{result.snapshot.rows:,} bars of 30 symbols from {result.snapshot.first}",
        "recompute targets": "volatility from ",
        "evaluate": f"{result.version} predicted ",
        "gate": result.reason,
        decided: f"{result.version} ",
        "score": "published for session" if result.champion else "Nothing serves yet",
        "report": f"tells {len(result.checks)} checks",
    }.items():
        assert [words in line for line in said[stage]] == [True], said[stage]


def test_without_a_gpu_worker_the_night_fails_with_that_reason_and_leaves_nothing_waiting(prefect_server):
    config = settings_of(training={"seed": 7}) | {"operation": {"dispatch_timeout": 3}}
    run = ended(prefect_server, start(prefect_server, config=config))
    assert run.state.is_failed()
    assert "No worker took the run" in run.state.message
    assert "prefect worker start --pool gpu" in run.state.message
    assert {child.state.name for child in children(prefect_server, run)} <= {"Completed", "Cancelled"}


@pytest.mark.slow
def test_a_training_whose_worker_died_before_starting_it_is_sent_again(prefect_server):
    config = settings_of(training={"seed": 9}) | {"operation": {"dispatch_timeout": 20}}
    run = start(prefect_server, config=config)
    (taken, *_) = until(lambda: children(prefect_server, run))
    with prefect_server.client() as client:
        client.set_flow_run_state(taken.id, Pending())  # all that a worker does before it starts a run
    ended(prefect_server, run)
    states = {child.id: child.state.name for child in children(prefect_server, run)}
    assert states.pop(taken.id) == "Crashed"
    assert list(states.values()) == ["Cancelled"], "the second one waited for a worker"
    assert "a worker took it and did not start it within 20 s" in log_of(prefect_server, run)


@pytest.mark.slow
def test_a_gpu_worker_with_another_home_fails_the_night_with_that_reason(prefect_server, tmp_path):
    config = settings_of(training={"seed": 8})
    elsewhere = str(tmp_path / "elsewhere")
    with prefect_server.worker("gpu", tmp_path / "there", NOCTURNE_HOME=elsewhere):
        run = ended(prefect_server, start(prefect_server, config=config))
    assert run.state.is_failed()
    assert f"{elsewhere}/nights" in run.state.message
    assert "set NOCTURNE_HOME" in run.state.message


def test_a_session_that_is_no_date_is_refused_before_a_run_is_made_of_it(prefect_server):
    with pytest.raises(PrefectHTTPStatusError, match="409") as refused:
        start(prefect_server, session="yesterday")
    assert "'yesterday' does not match" in refused.value.response.text


def test_a_scheduled_run_on_a_day_without_a_session_ends_completed_and_named_skipped(prefect_server):
    with prefect_server.client() as client:
        deployment = client.read_deployment_by_name("retrain/small")
        independence_day = pd.Timestamp("2024-07-04T22:30Z").to_pydatetime()
        late = client.create_flow_run_from_deployment(
            deployment.id, parameters={"scheduled": True}, state=Scheduled(scheduled_time=independence_day)
        )
    run = ended(prefect_server, late)
    assert (run.state.type.value, run.state.name) == ("COMPLETED", "Skipped")
    assert run.state.message == "2024-07-04 is no session of XNYS"
