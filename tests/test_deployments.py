"""prefect.yaml says nothing that the flows do not know."""

import os
import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.schema_tools import validate

from flows.environment import PROJECT, QUIET, enter_project
from flows.services import HEARTBEAT_S
from models.calendar import Calendar
from models.config import OperationConfig, RetrainConfig

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "prefect.yaml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
DEPLOYMENTS: list[dict[str, Any]] = FILE["deployments"]
SCHEDULED = [(one, schedule) for one in DEPLOYMENTS for schedule in one.get("schedules", [])]


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    return load_flow_from_entrypoint(deployment["entrypoint"])


def test_the_deployments_are_those_of_the_manual():
    names = [f"{flow_of(one).name}/{one['name']}" for one in DEPLOYMENTS]
    expected = "retrain/nightly train/gpu score/daily status/hourly rollback/manual maintenance/weekly"
    assert names == expected.split()
    manual = (ROOT / "docs" / "operating.md").read_text()
    assert [name for name in names if f"`{name}`" not in manual] == []


def test_a_night_sends_its_training_to_the_deployment_that_is_there():
    assert OperationConfig().train_deployment in {f"{flow_of(one).name}/{one['name']}" for one in DEPLOYMENTS}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["entrypoint"])
def test_every_parameter_that_is_set_exists_and_is_accepted(deployment):
    flow = flow_of(deployment)
    required = set(flow.parameters.required)
    schedules = [schedule.get("parameters", {}) for schedule in deployment.get("schedules", [])]
    for given in schedules or [{}]:
        whole = {**deployment.get("parameters", {}), **given}
        assert schedules == [] or required <= whole.keys(), "a scheduled run has nobody who fills in what is missing"
        flow.validate_parameters({**dict.fromkeys(required, "text"), **whole})


@pytest.mark.parametrize("entrypoint", ["flows/retrain.py:retrain", "flows/score.py:score"])
@pytest.mark.parametrize(
    ("session", "accepted"),
    [("2024-07-03", True), (None, True), ("yesterday", False), ("2024-7-3", False), ("2024-13-01", False), ("", False)],
)
def test_the_server_refuses_a_session_that_is_no_date(entrypoint, session, accepted):
    schema = load_flow_from_entrypoint(entrypoint).parameters.model_dump_for_openapi()
    assert (validate({"session": session}, schema) == []) is accepted


def test_every_parameter_is_explained_in_the_manual():
    manual = (ROOT / "docs" / "operating.md").read_text()
    named = {name for one in DEPLOYMENTS for name in flow_of(one).parameters.properties}
    assert {name for name in named if f"`{name}`" not in manual} == set()


@pytest.mark.parametrize(("deployment", "schedule"), SCHEDULED, ids=[one["entrypoint"] for one, _ in SCHEDULED])
def test_every_schedule_is_valid_in_the_time_zone_of_the_default_exchange(deployment, schedule):
    CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    exchange = Calendar.of(RetrainConfig().data)
    daily = schedule["cron"].split()[1] != "*"
    assert ZoneInfo(schedule["timezone"]) == ZoneInfo(exchange.time_zone if daily else "UTC")


def test_the_nightly_run_starts_after_the_close_of_its_own_session():
    ((_, nightly),) = [pair for pair in SCHEDULED if pair[0]["name"] == "nightly"]
    minute, hour, *_ = map(str, nightly["cron"].split())
    assert (int(hour), int(minute)) > (16, 0)
    assert nightly["parameters"] == {"scheduled": True}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["entrypoint"])
def test_every_deployment_uses_the_anchor_of_its_pool_and_runs_one_at_a_time(deployment):
    pools = FILE["definitions"]["work_pools"]
    assert any(deployment["work_pool"] is pool for pool in pools.values()), "written out instead of *cpu or *gpu"
    assert deployment["concurrency_limit"]["limit"] == 1
    assert deployment["tags"]
    assert deployment["description"]


def test_every_pool_beats_its_heart_and_tells_nobody_else():
    quiet = {name: value for name, value in QUIET.items() if not name.startswith("PREFECT_LOGGING_")}
    for pool in FILE["definitions"]["work_pools"].values():
        assert pool["job_variables"]["env"] == quiet
        assert pool["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(HEARTBEAT_S)


def test_a_run_stands_where_the_packages_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ((step, inputs),) = FILE["pull"][0].items()
    assert (step, inputs) == (f"{enter_project.__module__}.{enter_project.__name__}", {})
    assert enter_project() == {"directory": str(PROJECT)}
    assert Path(os.getcwd()) == ROOT.resolve()


def test_it_holds_no_place_of_a_machine_and_no_secret():
    assert re.findall(r"(?:^|[\s\"'])(?:/|~)\w+", TEXT) == []
    assert re.findall(r"password|token|secret|://", TEXT, re.IGNORECASE) == []
