"""Kill -9 at seeded points of everything that the store, the registry and the ledger write.

Real: the store, Delta, MLflow on SQLite, the exported model, the contract's answer and the clean process's proof (each
given once by the real one, since neither writes any of this), the processes and the signal. One half of the points are
lines of our source, spread evenly over those of the undisturbed run; the other half are moments, spread evenly over its
duration, which fall inside Delta and SQLite. No Prefect server, no TensorFlow.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.card import file_hashes
from models.clean_process import CleanProcess
from models.locations import Locations
from tasks.promote import let_serve, promote_candidate, register
from tests.crash.victim import ROOT
from tests.crash.work import PROMOTE, candidate, config_at, night

Json = dict[str, Any]


class Victims:
    """The process from which all that is killed is forked."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.crash.victim"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.loaded: list[str] = self._answer()["loaded"]

    def do(self, job: str, **order: Any) -> Json:
        assert self._process.stdin is not None
        print(json.dumps({"job": job, **order}), file=self._process.stdin, flush=True)
        answer = self._answer()
        assert answer["killed"] or "error" not in answer["said"], answer
        return answer

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> Json:
        assert self._process.stdout is not None
        answer: Json = json.loads(self._process.stdout.readline())
        return answer


@dataclass(frozen=True)
class Commit:
    """Work that commits something, and the home that it begins with; the home is the same directory each time."""

    victims: Victims
    job: str
    starts_in: str
    before: Path
    home: Path
    order: Json

    def undisturbed(self) -> Json:
        self._afresh()
        return self._do()

    def killed(self, how: Json) -> Json:
        """Kill it once, look, do it again undisturbed, and look again."""
        while True:
            self._afresh()
            crash = self._do(**how)
            if crash["killed"]:
                break
            how = {"kill_after_s": how["kill_after_s"] / 2}  # it was quicker this time
        later = self.victims.do("again", of=self.job, home=str(self.home), minutes_later=5, **self.order)
        return {**crash, **later["said"]}

    def _do(self, **how: float) -> Json:
        return self.victims.do(self.job, starts_in=self.starts_in, home=str(self.home), **self.order, **how)

    def _afresh(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.before, self.home)


def points(n: int, undisturbed: Json, seed: int) -> Iterator[Json]:
    """How to kill: after lines and after seconds in turns, one point in each of n equal parts, by seed."""
    rng = np.random.default_rng(seed)
    for part, within in enumerate(rng.random(n)):
        share = (part + within) / n
        if part % 2:
            yield {"kill_after_s": share * undisturbed["said"]["commit_s"]}
        else:
            yield {"kill_at": 1 + int(share * undisturbed["lines"])}


def crashes(commit: Commit, n: int, seed: int) -> tuple[Json, list[Json]]:
    """What an undisturbed run leaves, and what was found after each of n kills."""
    undisturbed = commit.undisturbed()
    left = commit.victims.do("look", of=commit.job, home=str(commit.home))["said"]
    found = [commit.killed(how) for how in points(n, undisturbed, seed)]
    return {name: value for name, value in left.items() if name != "commit_s"}, found


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    one = Victims()
    yield one
    one.close()


def test_what_is_killed_has_loaded_no_tensorflow(victims):
    assert victims.loaded == ["deltalake", "great_expectations", "mlflow"]


# The store


@pytest.fixture(scope="module")
def delivery(victims, make_market, tmp_path_factory) -> Commit:
    """A store with six sessions, and a delivery of sessions that are new, repeated, revised and broken."""
    place = tmp_path_factory.mktemp("deliveries")
    bars = make_market(n_symbols=10, n_sessions=8)
    bars = bars.assign(timestamp=bars["session"].dt.strftime("%Y-%m-%d"))
    days = sorted(bars["timestamp"].unique())
    bars.drop(columns="session")[bars["timestamp"].isin(days[:6])].to_csv(place / "first.csv", index=False)
    second = bars.drop(columns="session")[bars["timestamp"].isin(days[4:])].reset_index(drop=True)
    second.loc[[0, 5, 9], "volume"] *= 1.5
    second.loc[[2, 7], "high"] = second.loc[[2, 7], "low"] / 2
    second.to_csv(place / "second.csv", index=False)
    file, home = str(place / "second.csv"), str(place / "home")
    victims.do("ingest", file=str(place / "first.csv"), home=home)
    order = {"file": file, "broken": victims.do("check", file=file, home=home)["said"]["broken"]}
    shutil.copytree(home, place / "before")
    return Commit(victims, "store delivery", "keep_file", place / "before", place / "home", order)


def steps_of_a_delivery(found: Json) -> int:
    """How many of its four writes are there: the file, quarantine, the bars, its own row."""
    there = found["after_the_crash"]
    return (
        (len(there["kept"]) > 1) + bool(there["quarantine"]) + (len(there["bars"]) > 60) + (len(there["recorded"]) > 1)
    )


def accounts_add_up(tables: Json) -> bool:
    """Every delivered row of every recorded delivery lies in exactly one place."""
    accounts = tables["accounts"].values()
    stored = sum(one["accepted"] + one["revised"] for one in accounts)
    return len(tables["bars"]) == stored and len(tables["quarantine"]) == sum(one["quarantined"] for one in accounts)


@pytest.mark.parametrize("n", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_a_delivery_killed_anywhere_is_whole_after_the_next_try(delivery, n):
    wanted, found = crashes(delivery, n, seed=n)
    assert all(one["in_the_end"] == wanted for one in found)
    assert accounts_add_up(wanted)
    assert {steps_of_a_delivery(one) for one in found} >= {0, 1, 2, 3}


@pytest.mark.slow
def test_a_whole_ingest_killed_anywhere_is_whole_after_the_next_try(delivery):
    ingest = replace(delivery, job="ingest", starts_in="bring_in")
    wanted, found = crashes(ingest, 10, seed=3)
    assert all(one["in_the_end"] == wanted for one in found)


# Promotions, kept nights and rollbacks


@pytest.fixture(scope="module")
def serving(exported, tmp_path_factory) -> tuple[Path, Json]:
    """A place with a home in which v2 serves and v1 served before, as it is before v3 is registered and after; and
    the clean process's proof."""
    place = tmp_path_factory.mktemp("serving")
    home = place / "home"
    locations = Locations(config_at(str(home)).storage)
    with CleanProcess.start() as clean:
        first = promote_candidate.fn(night(1), candidate(1, exported), PROMOTE, {}, None, clean, config_at(str(home)))
    grounds = register(night(2), candidate(2, exported), PROMOTE, {}, config_at(str(home)))
    let_serve(grounds, PROMOTE, first.facts, "v1", locations)
    shutil.copytree(home, place / "before")
    register(night(3), candidate(3, exported), PROMOTE, first.facts, config_at(str(home)))
    shutil.copytree(home, place / "registered")
    return place, dict(first.facts)


def commit_of(job: str, starts_in: str, victims: Victims, serving: tuple[Path, Json], exported: Path) -> Commit:
    place, proof = serving
    before = place / ("registered" if starts_in in ("let_serve", "decide") else "before")
    return Commit(victims, job, starts_in, before, place / "home", {"exported": str(exported), "proof": proof})


DECISIONS = [
    ("promote", "register", 4),
    ("promote", "let_serve", 6),
    ("keep", "register", 2),
    ("keep", "decide", 2),
    ("roll back", "let_serve_again", 6),
]
"""Work, the function with which its commit begins, and how many times it is killed in the everyday suite."""
STEPS = {
    "register": {(False, False)},
    "let_serve": {(False, False), (True, False)},
    "decide": {(False, False)},
    "let_serve_again": {(False, False), (True, False)},
}
"""Between which steps at least one kill must have come: the decision in the ledger, the alias where it says."""


def steps_of_a_decision(found: Json) -> tuple[bool, bool]:
    """Whether the decision is written, and whether the alias has moved since."""
    there = found["after_the_crash"]
    return len(there["decisions"]) > 2, there["alias"] != "v2"


def one_loadable_champion(found: Json, exported: Path) -> bool:
    """What the ledger names is in the registry with the very files that a clean process has loaded."""
    return found["champion"] in ("v1", "v2", "v3") and found["files"] == file_hashes(exported)


@pytest.mark.parametrize(
    ("job", "starts_in", "n"),
    [
        *((job, starts_in, n) for job, starts_in, n in DECISIONS),
        *(pytest.param(job, starts_in, 5 * n, marks=pytest.mark.slow) for job, starts_in, n in DECISIONS),
    ],
)
def test_a_decision_killed_anywhere_leaves_one_champion_and_is_made_once(job, starts_in, n, victims, serving, exported):
    commit = commit_of(job, starts_in, victims, serving, exported)
    wanted, found = crashes(commit, n, seed=n)
    assert all(one_loadable_champion(one["after_the_crash"], exported) for one in found)
    assert all(one["in_the_end"] == wanted for one in found)
    assert all(wanted["documents"])
    assert {steps_of_a_decision(one) for one in found} >= STEPS[starts_in]


@pytest.mark.slow
def test_a_promotion_killed_anywhere_between_its_proof_and_its_end_leaves_one_champion(victims, serving, exported):
    commit = commit_of("promote with proof", "promote_candidate", victims, serving, exported)
    wanted, found = crashes(commit, 10, seed=5)
    assert all(one_loadable_champion(one["after_the_crash"], exported) for one in found)
    assert all(one["in_the_end"] == wanted for one in found)
    assert any("CleanProcess.reproduce" in one["place"] for one in found)


@pytest.mark.parametrize("n", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_registry_killed_while_its_database_is_made_can_be_opened(n, victims, tmp_path):
    (tmp_path / "before").mkdir()
    commit = Commit(victims, "open registry", "prepare", tmp_path / "before", tmp_path / "home", {})
    _, found = crashes(commit, n, seed=n)
    assert all(one["in_the_end"]["versions"] == [] for one in found)
    assert any("_make_database" in one["place"] for one in found)
