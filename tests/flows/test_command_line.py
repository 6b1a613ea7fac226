"""Exit status, streams and speed of the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.__main__ import app, main

ROOT = Path(__file__).parents[2]
COMMANDS = [command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands]


@pytest.fixture
def nocturne(monkeypatch, capsys, tmp_path):
    """Run a command in this process with a home of its own; returns exit status, standard output and error."""
    monkeypatch.setenv("NOCTURNE_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nocturne", *arguments])
        status = main()
        return status, *capsys.readouterr()

    return run


def modules_after(*arguments: str) -> set[str]:
    code = (
        f"import sys; sys.argv = ['nocturne', *{arguments!r}]\n"
        "from flows.__main__ import main\n"
        "main(); print(*sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(ended.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["retrain", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    heavy = {"prefect", "tensorflow", "keras", "pandas", "numpy", "great_expectations", "mlflow"}
    assert heavy & modules_after(*arguments) == set()


@pytest.mark.parametrize("arguments", [["show-config", "--json"], ["retrain", "--set", "nonsense=1"]])
def test_the_configuration_is_checked_before_anything_heavy_is_imported(arguments):
    assert {"prefect", "tensorflow", "pandas"} & modules_after(*arguments) == set()


def test_the_commands_are_those_of_the_manual():
    looking, serving = ["score", "status", "explain", "rollback", "verify"], ["up", "down", "show-config"]
    assert ["ingest", "retrain", *looking, "synthetic", *serving] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_takes_json(nocturne, command):
    status, out, _ = nocturne(command, "--help")
    assert status == 0
    assert "--json" in out


def test_automations_explain_themselves_without_importing_prefect():
    assert {"prefect", "pandas"} & modules_after("automations", "apply", "--help") == set()


def test_splits_explain_themselves_without_importing_anything_heavy():
    assert {"prefect", "pandas"} & modules_after("splits", "confirm", "--help") == set()


def test_decisions_on_quarantine_explain_themselves_without_importing_anything_heavy():
    assert {"prefect", "pandas"} & modules_after("quarantine", "release", "--help") == set()


def test_an_empty_store_has_nothing_in_quarantine(nocturne):
    told = "Nothing waits: no row that was asked for is in quarantine without a decision.\n"
    assert nocturne("quarantine", "list")[:2] == (0, told)
    assert json.loads(nocturne("quarantine", "list", "--json")[1]) == {"groups": [], "rows": [], "more": 0}


def test_a_delivery_that_nobody_knows_has_no_quarantine(nocturne):
    status, _, told = nocturne("quarantine", "drop", "abcdef", "7", "--reason", "seen")
    assert status == 2
    assert "'abcdef' names 0 deliveries" in told


def test_splits_of_an_empty_store_are_no_question(nocturne):
    assert nocturne("splits", "list")[:2] == (0, "No open question: no suspect split, none that prices contradict.\n")
    assert json.loads(nocturne("splits", "list", "--json")[1]) == {"actions": []}


def test_a_ruling_on_a_bar_that_is_not_there_is_refused(nocturne):
    status, _, told = nocturne("splits", "confirm", "DHR", "2010-06-14", "3/2", "--reason", "seen")
    assert status == 2
    assert "no bar of DHR on 2010-06-14" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["splits", "confirm", "DHR", "2010-06-14", "two", "--reason", "seen"],
        ["splits", "confirm", "DHR", "2010-06-14"],
        ["retrain", "--bogus"],
        ["retrain", "--session", "yesterday"],
        ["rollback"],
        ["ingest"],
        ["retrain", "--force-promote", "--force-keep", "--reason", "why"],
    ],
)
def test_wrong_arguments_end_with_status_2_and_one_json_document(nocturne, arguments):
    status, out, err = nocturne(*arguments, "--json")
    assert status == 2
    assert json.loads(out)["error"]["type"] == "UsageError"
    assert "Error" in err


def test_ctrl_c_ends_with_status_130_and_one_json_document(tmp_path):
    delivery = tmp_path / "never.csv"
    os.mkfifo(delivery)  # to read it is to wait
    # a job in the background is deaf to it
    heard = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heard}; runpy.run_module('flows', run_name='__main__')"]
    command += ["ingest", str(delivery), "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "NOCTURNE_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as waiting:  # fmt: skip
        assert waiting.stderr.readline().startswith("ingest ")
        time.sleep(1)
        waiting.send_signal(signal.SIGINT)
        try:
            out, err = waiting.communicate(timeout=60)
        finally:
            waiting.kill()
    assert waiting.returncode == 130
    assert json.loads(out)["error"]["type"] == "Interrupted"
    assert "the same command goes on from there" in err
    assert "Traceback" not in err


def test_a_wrong_setting_ends_with_status_2_and_no_trace(nocturne):
    status, out, err = nocturne("retrain", "--set", "gate.fresh_sesions=3")
    assert (status, out) == (2, "")
    assert "Did you mean gate.fresh_sessions?" in err
    assert "Traceback" not in err


def test_a_directory_is_ingested_and_its_bad_file_named_with_status_1_and_one_document(nocturne, tmp_path):
    (tmp_path / "in").mkdir()
    header = "symbol,timestamp,open,high,low,close,volume\n"
    (tmp_path / "in" / "good.csv").write_text(header + "A,2024-07-01,2,3,1,2,10\n")
    (tmp_path / "in" / "bad.csv").write_bytes(b"\x1f\x8bjunk")
    status, out, err = nocturne("ingest", str(tmp_path / "in"))
    assert status == 1
    assert "good.csv" in out
    assert "1 of 2 deliveries were not taken, the others are in. Cannot read bad.csv" in err
    status, out, _ = nocturne("ingest", str(tmp_path / "in"), "--json")
    assert (status, json.loads(out)["error"]["type"]) == (1, "DeliveryError")
    (tmp_path / "in" / "bad.csv").unlink()
    status, out, _ = nocturne("ingest", f"{tmp_path}/in/*.csv")
    assert (status, out.strip()) == (0, "Nothing new has been delivered.")


@pytest.mark.parametrize("half", [["--force-promote"], ["--reason", "why"], ["--force-keep", "--reason", ""]])
def test_half_of_what_it_takes_to_force_a_night_ends_with_status_2_before_anything_runs(nocturne, tmp_path, half):
    status, out, err = nocturne("retrain", *half)
    assert (status, out) == (2, "")
    assert "--force-" in err
    assert not (tmp_path / "home").exists()


def test_a_trial_cannot_be_forced(nocturne):
    assert nocturne("retrain", "--force-keep", "--reason", "why", "--no-promote")[0] == 2


def test_debug_shows_the_trace_of_a_refusal(nocturne):
    assert "Traceback" in nocturne("status", "--set", "seed=3", "--debug")[2]


def test_a_refusal_is_one_json_document_too(nocturne):
    _, out, _ = nocturne("status", "--set", "seed=3", "--json")
    error = json.loads(out)["error"]
    assert error["type"] == "ConfigError"
    assert "training.seed" in error["message"]


def test_status_of_an_empty_home_says_that_nothing_serves_and_where_it_looked(nocturne, tmp_path):
    told = json.loads(nocturne("status", "--json")[1])
    assert (told["well"], told["champion"], told["nights"]) == (False, None, [])
    assert told["home"] == str(tmp_path / "home")
    status, out, _ = nocturne("status")
    assert status == 0
    assert "Nothing serves" in out
    assert f"Looked in {tmp_path / 'home'}" in out
    assert not (tmp_path / "home").exists(), "to look at a mistyped home makes none"


def test_a_night_that_was_never_decided_cannot_be_explained(nocturne):
    status, out, err = nocturne("explain", "2024-07-03")
    assert (status, out) == (2, "")
    assert "No night 2024-07-03 was decided in " in err


def test_show_config_says_where_each_value_came_from(nocturne, tmp_path):
    _, out, _ = nocturne("show-config", "--demo", "--set", "training.seed=2", "--json")
    shown = json.loads(out)
    assert shown["config"]["training"]["seed"] == 2
    assert shown["origins"]["training.seed"] == "--set"
    assert shown["origins"]["storage.home"] == "NOCTURNE_HOME"
    assert "demo.yaml, line" in shown["origins"]["network.window"]


def test_the_module_runs_as_the_command():
    command = [sys.executable, "-m", "flows", "show-config", "--set", "a=1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
