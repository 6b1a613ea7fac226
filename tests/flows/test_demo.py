"""What a new user does: the demo night from the command line, the same night again, and another one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEPT = ("tables", "nights", "deliveries", "reports", "mlflow")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


def nocturne(home: Path, *arguments: str) -> tuple[int, dict]:
    """Exit status and the one JSON document of a command, run as a user runs it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-m", "flows", *arguments, "--json"]
    environment = {**own, "NOCTURNE_HOME": str(home)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, json.loads(ended.stdout)


def contents(home: Path) -> dict[str, int]:
    """All that a night keeps: path and time of the last change."""
    files = (path for part in KEPT for path in (home / part).rglob("*") if path.is_file())
    return {str(path.relative_to(home)): path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def first(home):
    return nocturne(home, "retrain", "--demo")


def test_the_demo_night_completes_with_a_champion(first):
    status, night = first
    assert status == 0
    assert night["verdict"] == "promote", night["reason"]
    assert night["champion"] == night["version"]


def test_the_demo_says_openly_what_is_unproven(first):
    _, night = first
    unproven = [check["name"] for check in night["checks"] if not check["passed"]]
    assert all(name in night["reason"] for name in unproven)
    assert "proves no skill" in Path(night["report"]).read_text()


def test_the_demo_panel_is_accounted_for(first):
    _, night = first
    account = {"delivered": 122_574, "accepted": 122_497, "quarantined": 77, "duplicate": 0, "revised": 0}
    assert night["delivery"] == {**account, "by_rule": {"ohlc_order": 77}}
    assert night["snapshot"]["symbols"] == 524


def test_the_same_command_again_is_a_repeated_night_and_writes_nothing(first, home):
    before = contents(home)
    status, night = nocturne(home, "retrain", "--demo")
    assert status == 0
    assert night["repeated"] is True
    assert night["version"] == first[1]["version"]
    assert night["delivery"]["duplicate"] == 122_574
    assert contents(home) == before


@pytest.mark.slow
def test_another_seed_is_a_second_real_night_with_a_champion_to_compare_with(first, home):
    status, night = nocturne(home, "retrain", "--demo", "--set", "training.seed=2")
    assert status == 0
    assert night["repeated"] is False
    assert night["version"] != first[1]["version"]
    assert [check["name"] for check in night["checks"] if check["group"] == "champion"]
    assert night["champion"] == first[1]["champion"]


def test_status_tells_what_serves_and_the_nights(first, home):
    status, told = nocturne(home, "status")
    assert status == 0
    assert told["champion"]["version"] == first[1]["version"]
    assert told["nights"]


def test_a_missing_delivery_fails_with_one_json_document(first, home):
    status, told = nocturne(home, "retrain", "--delivery", "/does/not/exist.csv")
    assert status == 1
    assert told["error"]["type"] == "DeliveryError"
    assert "/does/not/exist.csv" in told["error"]["message"]


def test_a_wrong_setting_is_refused_with_its_range(home):
    status, told = nocturne(home, "retrain", "--set", "network.window=3")
    assert status == 2
    assert "network.window = 3" in told["error"]["message"]
