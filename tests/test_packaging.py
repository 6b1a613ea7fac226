"""What is installed, and from which locks."""

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", "requirements-setup.lock")
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", re.MULTILINE)


def pins(lock: str) -> dict[str, set[str]]:
    """Distribution → its locked versions; more than one where Python versions need different ones."""
    locked: dict[str, set[str]] = {}
    for name, version in PIN.findall((ROOT / lock).read_text()):
        locked.setdefault(canonicalize_name(name), set()).add(version)
    return locked


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_registry_address(lock):
    assert "://" not in (ROOT / lock).read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock):
    entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / lock).read_text())
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements.lock", PROJECT["project"]["optional-dependencies"]["demo"]),
        ("requirements.lock", PROJECT["project"]["optional-dependencies"]["dev"]),
        ("requirements-setup.lock", PROJECT["dependency-groups"]["setup"]),
    ],
)
def test_the_lock_holds_what_the_project_asks_for(lock, wanted):
    locked = pins(lock)
    for requirement in map(Requirement, wanted):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement} is not in {lock}: run make lock"
        assert all(version in requirement.specifier for version in versions), f"{requirement}: run make lock"


def test_the_two_locks_agree_where_they_meet():
    main, setup = map(pins, LOCKS)
    assert {name: setup[name] for name in main.keys() & setup.keys() if setup[name] != main[name]} == {}


def test_the_wheel_holds_the_four_packages_and_the_configurations(tmp_path):
    wheel_builder = pytest.importorskip(
        "hatchling.builders.wheel", reason="hatchling comes with make setup"
    ).WheelBuilder
    (wheel,) = wheel_builder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {
        "flows",
        "tasks",
        "models",
        "expectations",
        "configs",
    }
    expected = {"configs/demo.yaml", "configs/origin.yaml", "configs/prefect.yaml", "flows/__main__.py"}
    expected |= {"models/report.html.j2"}
    assert expected - set(names) == set()
    assert [name for name in names if name.endswith(".pyc")] == []


def test_ci_runs_what_a_developer_runs():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
