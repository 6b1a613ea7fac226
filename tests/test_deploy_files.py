"""What lies under deploy/ is well formed, and every command in it is one that exists, with options that it knows."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
EXECUTABLES = "/opt/nocturne/.venv/bin/"


def unit(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)  # a unit may say the same key several times
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(path.read_text())
    return parser


def variables(file: str) -> dict[str, str]:
    """Of an environment file, those that are only proposed among them."""
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (DEPLOY / file).read_text(), re.MULTILINE))


def commands() -> list[tuple[str, list[str]]]:
    """Every command of ours: where it stands, and its words."""
    found = [(path.name, shlex.split(unit(path)["Service"]["ExecStart"].removeprefix(EXECUTABLES))) for path in UNITS]
    for name, service in SERVICES.items():
        words = service.get("command", [])
        scripts = [shlex.split(line) for line in words[-1].splitlines()] if words[:1] == ["sh"] else [words]
        found += [(f"compose {name}", script) for script in scripts if script]
    return found


@cache
def help_of(*subcommand: str) -> str:
    told = subprocess.run(
        [BIN / subcommand[0], *subcommand[1:], "--help"], capture_output=True, text=True, check=True,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
    )  # fmt: skip
    return told.stdout


def subcommand_of(words: list[str]) -> tuple[str, ...]:
    named = [word for word in words if not word.startswith("-")]
    depth = 3 if named[:2] in (["prefect", "server"], ["prefect", "worker"], ["prefect", "work-pool"]) else 2
    return tuple(named[:depth])


@pytest.mark.parametrize(("where", "words"), commands(), ids=[f"{where}: {' '.join(w)}" for where, w in commands()])
def test_every_command_exists_and_knows_its_options(where, words):
    said = help_of(*subcommand_of(words))  # fails where there is no such command
    options = {word for word in words if word.startswith("--")} - {"--no-prompt"}
    assert {option for option in options if not re.search(rf"{option}(?![\w-])", said)} == set()


def test_there_is_a_unit_for_each_service_of_one_machine():
    assert [path.stem for path in UNITS] == [
        f"nocturne-{name}" for name in ("mlflow", "server", "worker-cpu", "worker-gpu")
    ]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_as_nobody_special_comes_back_and_ends_its_runs_itself(path):
    service = unit(path)["Service"]
    assert service["ExecStart"].startswith(EXECUTABLES)
    assert service["User"] == "nocturne"
    assert service["Restart"] == "always"
    assert service["KillMode"] == "mixed"
    assert service["EnvironmentFile"] == "/etc/nocturne/environment"
    assert unit(path)["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_takes_the_units(tmp_path):
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text().replace(EXECUTABLES, f"{BIN}/"))
    told = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_the_units_listen_on_this_machine_alone():
    listening = [words for _, words in commands() if _ in {path.name for path in UNITS} and "--host" in words]
    assert len(listening) == 2
    assert {words[words.index("--host") + 1] for words in listening} == {"127.0.0.1"}


def test_compose_has_what_a_night_needs_and_waits_in_the_right_order():
    assert SERVICES.keys() == {"postgres", "server", "deployments", "worker-cpu", "worker-gpu", "mlflow"}
    for service in SERVICES.values():
        waited = service.get("depends_on", {})
        assert waited.keys() <= SERVICES.keys()
        healthy = [name for name, how in waited.items() if how["condition"] == "service_healthy"]
        assert [name for name in healthy if "healthcheck" not in SERVICES[name]] == []
        named = [one.partition(":")[0] for one in service.get("volumes", [])]
        assert set(named) <= COMPOSE["volumes"].keys()


def test_compose_reserves_the_gpu_for_the_worker_that_trains_alone():
    reserving = {name: service["deploy"]["resources"] for name, service in SERVICES.items() if "deploy" in service}
    assert reserving == {
        "worker-gpu": {"reservations": {"devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}}
    }


def test_compose_opens_ports_to_this_machine_alone():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_password_comes_from_outside():
    wanted = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    example = variables("compose.env.example")
    assert wanted == example.keys()
    assert set(example.values()) == {""}
    named = {name: value for name, value in variables("systemd/environment.example").items() if "AUTH" in name}
    assert named == {"PREFECT_SERVER_API_AUTH_STRING": "", "PREFECT_API_AUTH_STRING": ""}


def test_both_workers_reach_the_same_store_and_server():
    cpu, gpu = SERVICES["worker-cpu"], SERVICES["worker-gpu"]
    assert cpu["environment"] == gpu["environment"]
    assert cpu["volumes"] == gpu["volumes"]


def test_the_image_is_made_from_the_locks_and_does_not_run_as_root():
    installs = re.findall(r"pip install ([^\n\\&]+)", DOCKERFILE)
    assert [one for one in installs if "--require-hashes" not in one and "--no-deps" not in one] == []
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    assert [stage.split()[-1] == "nocturne" for stage in stages] == [False, True]
    assert [re.findall(r"^USER (\w+)", stage, re.MULTILINE)[-1] for stage in stages] == ["nocturne", "nocturne"]
    targets = re.findall(r"^FROM \S+ AS (\w+)", DOCKERFILE, re.MULTILINE)
    built = {service["build"]["target"] for service in SERVICES.values() if "build" in service}
    assert built == set(targets)


def test_the_image_gets_all_that_is_copied_into_it():
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {"flows", "tasks", "expectations", "models", "configs", "prefect.yaml"} <= set(copied)


def test_the_gpu_lock_holds_what_tensorflow_asks_for():
    lock = (DEPLOY / "requirements-gpu.lock").read_text()
    entries = re.split(r"\n(?=[a-z])", lock)
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in lock
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    wanted = [Requirement(one) for one in requires("tensorflow") or [] if "and-cuda" in one]
    assert wanted
    for requirement in wanted:
        assert pins.get(requirement.name, "nothing") in requirement.specifier, requirement.name
