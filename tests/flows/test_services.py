"""`nocturne up` and `nocturne down`, with real processes: one home with a password, about half a minute."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from flows.environment import start_prefect
from flows.nightly import in_words, parameters_of
from flows.running import Api, Process, Running, ServiceFailed, recall, remember, started_at
from flows.services import Wanted, _warnings, up
from models.config import StorageConfig
from models.locations import Locations
from models.settings import load_settings, shipped
from tests.real_prefect import free_port, until

ROOT = Path(__file__).parents[2]
SECRET = "operator:hunter2-and-more"
SERVICES = {"server", "mlflow", "worker-cpu", "worker-gpu"}


@dataclass(frozen=True)
class Home:
    """A home in which everything was brought up."""

    path: Path
    port: int
    mlflow_port: int
    first: dict[str, Any]
    """What the first `up` reported."""

    @property
    def environment(self) -> dict[str, str]:
        return environment_of(self.path)

    @property
    def running(self) -> Running:
        running = recall(self.path / "server")
        assert running is not None
        return running

    @property
    def api(self) -> Api:
        return Api(f"http://127.0.0.1:{self.port}/api", SECRET)

    def nocturne(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return nocturne(self.path, *arguments, **environment)

    def pids(self) -> dict[str, int]:
        return {one.name: one.pid for one in self.running.processes if one.alive}

    def run(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        """The run of a deployment, sent as the UI does, at its end."""
        found = self.api.ask(f"/deployments/name/{deployment}")
        sent = self.api.ask(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters}, "POST")
        ended = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

        def final() -> dict[str, Any] | None:
            run: dict[str, Any] = self.api.ask(f"/flow_runs/{sent['id']}")
            return run if run["state"]["type"] in ended else None

        return until(final)

    def as_if_running(self, deployment: str, worker: str, **parameters: Any) -> dict[str, Any]:
        """A run that says it runs on this worker, without a process."""
        found = self.api.ask(f"/deployments/name/{deployment}")
        never = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2099-01-01T00:00:00Z"}}
        body = {"parameters": parameters, "state": never}
        sent: dict[str, Any] = self.api.ask(f"/deployments/{found['id']}/create_flow_run", body, "POST")
        running = {"state": {"type": "RUNNING", "name": "Running"}, "force": True}
        self.api.ask(f"/flow_runs/{sent['id']}/set_state", running, "POST")
        self.api.ask(f"/flow_runs/{sent['id']}/labels", {"prefect.worker.name": worker}, "PATCH")
        return sent

    def worker(self, pool: str) -> str:
        return str(self.api.ask(f"/work_pools/{pool}/workers/filter", {}, "POST")[0]["name"])


def environment_of(home: Path, **extra: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NOCTURNE_"))}
    secret = {"PREFECT_SERVER_API_AUTH_STRING": SECRET}
    return {**own, "PYTHONPATH": str(ROOT), "NOCTURNE_HOME": str(home), **secret, **extra}


def nocturne(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment_of(home, **environment), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Home]:
    path = tmp_path_factory.mktemp("home")
    port, mlflow_port = free_port(), free_port()
    options = ["--port", str(port), "--mlflow-port", str(mlflow_port), "--set", "training.seed=7", "--json"]
    try:
        told = nocturne(path, "up", *options)
        assert told.returncode == 0, told.stderr
        yield Home(path, port, mlflow_port, json.loads(told.stdout))
    finally:
        nocturne(path, "down")


def test_up_brings_everything_up_and_says_where_it_is(home):
    assert home.pids().keys() == SERVICES
    assert home.first["prefect"] == f"http://127.0.0.1:{home.port}"
    assert home.first["mlflow"] == f"http://127.0.0.1:{home.mlflow_port}"
    assert {log.stem for log in Path(home.first["logs"]).glob("*.log")} >= SERVICES
    assert home.first["warnings"] == []
    for pool in ("cpu", "gpu"):
        workers = home.api.ask(f"/work_pools/{pool}/workers/filter", {}, "POST")
        assert [one["status"] for one in workers] == ["ONLINE"]


def test_the_settings_that_were_given_stand_in_the_form_of_the_deployment(home):
    assert home.api.ask("/deployments/name/retrain/nightly")["parameters"] == {
        "config": {"training": {"seed": 7}}, "deliveries": []
    }  # fmt: skip
    assert home.api.ask("/deployments/name/train/gpu")["parameters"] == {}
    assert home.first["configuration"] == "retrain/nightly has settings for training.seed"


def test_up_again_changes_nothing_not_even_what_was_edited_in_the_ui(home):
    pids = home.pids()
    nightly = home.api.ask("/deployments/name/retrain/nightly")
    home.api.ask(f"/deployments/{nightly['id']}", {"parameters": {"promote": False}}, "PATCH")
    again = json.loads(home.nocturne("up", "--json").stdout)
    assert home.pids() == pids
    assert all(told.startswith("running already") for told in again["services"].values())
    assert home.api.ask("/deployments/name/retrain/nightly")["parameters"] == {"promote": False}
    assert again["configuration"].startswith("retrain/nightly keeps promote = False, from an earlier `up` or the UI")


def test_prefect_deploy_all_may_be_repeated_and_makes_nothing_twice(home):
    before = home.api.ask("/deployments/filter", {}, "POST")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    client = {"PREFECT_API_URL": home.api.url, "PREFECT_API_AUTH_STRING": SECRET, "PREFECT_HOME": str(home.path / "u")}
    subprocess.run(
        command, cwd=ROOT, env={**home.environment, **client}, check=True, capture_output=True, stdin=subprocess.DEVNULL
    )
    after = home.api.ask("/deployments/filter", {}, "POST")
    assert {one["id"] for one in after} == {one["id"] for one in before}
    assert [len(one["schedules"]) for one in after] == [len(one["schedules"]) for one in before]
    assert str(ROOT) not in json.dumps(after)


def test_the_schedule_makes_runs_by_itself(home):
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    until(
        lambda: any(one["parameters"].get("scheduled") for one in home.api.ask("/flow_runs/filter", scheduled, "POST"))
    )


def test_without_its_password_the_server_answers_401(home):
    with pytest.raises(HTTPError) as refused:
        Api(home.api.url).ask("/deployments/name/retrain/nightly")
    assert refused.value.code == 401


def test_a_worker_runs_what_is_sent_to_its_pool_although_the_server_asks_for_a_password(home):
    ended = home.run("score/daily")
    assert ended["state"]["type"] == "COMPLETED", ended["state"]["message"]
    assert ended["work_pool_name"] == "cpu"


def test_a_command_of_this_home_uses_the_server_and_its_password(home):
    environment = environment_of(home.path)
    assert start_prefect(Locations(StorageConfig(home=str(home.path))), environment) is None
    assert environment["PREFECT_API_URL"] == home.api.url
    assert environment["PREFECT_API_AUTH_STRING"] == SECRET


def test_a_command_without_the_password_is_told_what_to_set(home):
    environment = environment_of(home.path, PREFECT_SERVER_API_AUTH_STRING="")
    with pytest.raises(ServiceFailed, match=r"asks for credentials.*PREFECT_API_AUTH_STRING"):
        start_prefect(Locations(StorageConfig(home=str(home.path))), environment)


def test_a_server_of_the_users_own_wins(home):
    environment = environment_of(home.path, PREFECT_API_URL="http://prefect.example/api")
    assert start_prefect(Locations(StorageConfig(home=str(home.path))), environment) is None
    assert environment["PREFECT_API_URL"] == "http://prefect.example/api"


def test_another_port_while_it_runs_is_refused(home):
    refused = home.nocturne("up", "--port", str(free_port()))
    assert refused.returncode == 1
    assert f"--port {home.port} already" in refused.stderr
    assert "nocturne down" in refused.stderr


def test_a_run_that_was_killed_with_its_worker_is_closed_and_the_worker_started_again(home):
    pids = home.pids()
    os.kill(pids["worker-cpu"], signal.SIGKILL)
    lost = home.as_if_running("rollback/manual", home.worker("cpu"), reason="x")
    elsewhere = home.as_if_running("train/gpu", "a worker of another machine", night_id="x")
    assert home.nocturne("up").returncode == 0
    after = home.pids()
    assert after.keys() == SERVICES
    assert {name for name in SERVICES if after[name] != pids[name]} == {"worker-cpu"}
    state = home.api.ask(f"/flow_runs/{lost['id']}")["state"]
    assert (state["type"], state["message"]) == ("CRASHED", "its worker was lost")
    assert home.api.ask(f"/flow_runs/{elsewhere['id']}")["state"]["type"] == "RUNNING"


def test_the_password_is_in_no_file_and_no_message(home):
    told = [home.nocturne("up", "--json"), home.nocturne("up", "--port", "1")]
    texts = [one.stdout + one.stderr for one in told] + [json.dumps(home.first)]
    files = [file for file in home.path.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".log", ".json", ".db"}
    assert [text for text in texts if SECRET in text or "hunter2" in text] == []
    assert [file for file in files if b"hunter2" in file.read_bytes()] == []


def test_down_ends_it_all_and_once_more_does_nothing(home):  # the last: nothing runs afterwards
    pids = home.pids()
    interrupted = home.as_if_running("score/daily", home.worker("cpu"))
    report = json.loads(home.nocturne("down", "--json").stdout)
    assert report["ended"] == ["worker-cpu", "worker-gpu", "mlflow", "server"]
    assert report["interrupted"] == [interrupted["name"]]
    assert [pid for pid in pids.values() if started_at(pid) is not None] == []
    assert not home.api.answers()
    again = json.loads(home.nocturne("down", "--json").stdout)
    assert (again["ended"], again["had_ended_before"]) == ([], [])
    environment = environment_of(home.path)
    temporary = start_prefect(Locations(StorageConfig(home=str(home.path))), environment)
    assert temporary is not None
    temporary.stop()


def test_a_taken_port_is_refused_by_the_name_of_its_option(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        settings = load_settings(assignments=[f"storage.home={tmp_path}"])
        with pytest.raises(ServiceFailed, match=rf"127.0.0.1:{port} cannot be used: .*--port or --host"):
            up(settings, Wanted(port=port), say=lambda _: None, environment=environment_of(tmp_path))
    assert recall(tmp_path / "server") is None


def test_what_does_not_come_up_is_told_with_the_end_of_its_log(tmp_path):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "prefect.db").write_bytes(b"no database " * 1000)
    told = nocturne(tmp_path, "up", "--port", str(free_port()), NOCTURNE_STORAGE__TRACKING_URI="http://mlflow.example")
    nocturne(tmp_path, "down")
    assert told.returncode == 1
    assert "The model registry at http://mlflow.example does not answer" in told.stderr
    assert "server ended before it could answer" in told.stderr
    assert "file is not a database" in told.stderr
    assert "hunter2" not in told.stderr


def test_a_process_that_has_the_id_of_one_of_ours_by_now_is_left_alone(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        since = started_at(stranger.pid)
        assert since is not None
        earlier = Process(name="server", pid=stranger.pid, since="earlier", settings="")
        remember(tmp_path, Running(processes=(earlier,)))
        assert not earlier.alive
        assert not earlier.end(within_s=0)
        assert stranger.poll() is None
        assert Process(name="server", pid=stranger.pid, since=since, settings="").alive
        stranger.communicate(b"\n")
    assert started_at(stranger.pid) is None


def test_a_process_that_does_not_listen_is_ended_all_the_same():
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        since = started_at(process.pid)
        begun = time.monotonic()
        assert Process(name="server", pid=process.pid, since=since, settings="").end(within_s=0.5)
        assert process.wait(10) == -signal.SIGKILL
        assert time.monotonic() - begun >= 0.5


@pytest.mark.parametrize(("host", "told"), [("127.0.0.1", 0), ("localhost", 0), ("::1", 0), ("0.0.0.0", 1)])
def test_a_server_that_others_reach_without_a_password_is_warned_of(host, told):
    assert len(_warnings(Running(host=host), {})) == told
    assert _warnings(Running(host=host), {"PREFECT_SERVER_API_AUTH_STRING": SECRET}) == ()


def test_the_deployments_are_given_what_differs_from_the_defaults_and_no_place():
    settings = load_settings(assignments=["gate.first_champion=healthy", "storage.home=/somewhere"])
    assert parameters_of(settings, []) == {"config": {"gate": {"first_champion": "healthy"}}, "deliveries": []}
    assert parameters_of(load_settings(), ["a.csv"]) == {"config": {}, "deliveries": ["a.csv"]}


def test_what_the_nights_keep_of_an_earlier_demo_is_named():
    demo = parameters_of(load_settings(base=shipped("demo.yaml")), ["/somewhere/SP500_ind.csv"])
    told = in_words(demo, kept=True)
    assert "keeps settings for source (" in told
    assert "training.validation_sessions" in told
    assert "the delivery SP500_ind.csv each night" in told
    assert "/somewhere" not in told
    assert "--config FILE" in told
    assert in_words(parameters_of(load_settings(), []), kept=True) == "retrain/nightly has the defaults"
