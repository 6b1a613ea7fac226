"""A past night explained from what is left of it."""

import io
import json
import shutil
from datetime import UTC, date, datetime

import pytest

from flows.console import show_explanation
from models.config import RetrainConfig, StorageConfig
from models.explanation import ADVICE, Explanation
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles
from models.records import Check, Forced, Influence, LedgerEntry, NightResult, Verdict, Weighs, above, at_least, at_most
from models.registry import Registry
from tasks.explain import explain

SESSION, NOW = date(2024, 7, 3), datetime(2024, 7, 4, tzinfo=UTC)
WEIGHS = Weighs(
    sessions=(Influence(name="2024-05-02", value_without=1.071),),
    symbols=(Influence(name="S07", value_without=1.0004), Influence(name="S11", value_without=1.08)),
)
WORSE = at_most("volatility_to_har", "skill", 1.0802, 1.02, "QLIKE is 0.993 times that of log-HAR")
CHECKS = (
    at_least("finite", "health", 1.0, 1.0, "all are"),
    at_least("direction_in_range", "health", 1.0, 1.0, "all are"),
    WORSE.model_copy(update={"weighs": WEIGHS}),
    above("later_session", "champion", 0, 0, "the champion was made for that session"),
)


@pytest.fixture
def config(tmp_path):
    return RetrainConfig(storage=StorageConfig(home=str(tmp_path)))


def decided(config, night_id="0123456789abcdef", version="2024-07-03-01234567"):
    entry = LedgerEntry(
        night_id=night_id, session=SESSION, as_of=NOW, decided_at=NOW, verdict="keep", reason="2 of 4 checks failed",
        version=version, champion_before="v1", champion_after="v1", actor="Ann", facts={"direction_auc": 0.51},
    )  # fmt: skip
    Ledger(Locations(config.storage)).append(entry)
    return entry


def leave(config, entry, checks=CHECKS, **more):
    result = NightResult(
        session=SESSION, as_of=NOW, night_id=entry.night_id, verdict="keep", reason=entry.reason,
        version=entry.version, champion="v1", trained_until=None, checks=checks, metrics={"direction_auc": 0.51},
        snapshot=None, **more,
    )  # fmt: skip
    NightFiles(Locations(config.storage), entry.night_id).write_record("result", result)


def shown(told: Explanation) -> str:
    file = io.StringIO()
    show_explanation(told, file)
    return file.getvalue()


def test_each_failed_check_tells_value_bound_change_and_what_weighs_most(config):
    leave(config, decided(config))
    told = explain("0123", config)
    har, later = told.failed
    assert (har.value, har.bound, har.would_pass) == (1.0802, 1.02, "−0.0602 would have passed")
    assert har.value + har.smallest_change <= 1.02
    assert har.weighs == WEIGHS
    assert later.would_pass == "anything above 0 would have passed"
    assert told.passed == {"health": ("finite", "direction_in_range")}
    assert ADVICE["skill"] in told.next_steps


def test_people_read_all_of_it(config):
    entry = decided(config)
    leave(config, entry)
    text = " ".join(shown(explain(entry.version, config)).split())
    for part in (
        "Session 2024-07-03, night 0123456789abcdef: KEEP. 2 of 4 checks failed",
        "Before v1 served, afterwards v1 served.",
        "✗ volatility_to_har: 1.08 (max 1.02); −0.0602 would have passed",
        "sessions that weigh most (value without): 2024-05-02 (1.071)",
        "symbols that weigh most (value without): S07 (1), S11 (1.08)",
        "it is no average over sessions and symbols",
        "healthy 2 finite, direction_in_range",
        "nocturne retrain --session 2024-07-03 --set SECTION.KEY=VALUE --no-promote",
    ):
        assert part in text


def test_it_is_one_document_that_is_read_back_as_it_was(config):
    leave(config, decided(config), forced=Forced(what="keep", reason="an election", by="Ann"))
    told = explain(None, config)
    assert Explanation.model_validate(json.loads(told.model_dump_json())) == told
    assert told.forced.by == "Ann"
    assert "by Ann, by force" in shown(told)


def test_a_night_that_was_killed_before_its_page_is_explained_by_its_verdict(config):
    entry = decided(config)
    verdict = Verdict(verdict="keep", reason="w", checks=CHECKS)
    NightFiles(Locations(config.storage), entry.night_id).write_record("verdict", verdict)
    assert [check.name for check in explain(None, config).failed] == ["volatility_to_har", "later_session"]


def test_a_night_from_before_this_was_recorded_is_explained_as_far_as_it_goes(config):
    old = Check(name="volatility_to_har", group="skill", value=1.08, bound=1.02, passed=False, why="worse")
    leave(config, decided(config), checks=(old,))
    text = shown(explain(None, config))
    assert "about −0.06 would have passed" in text
    assert "what weighs most was not recorded then" in text


def test_without_its_files_a_night_is_explained_by_the_ledger_and_says_what_is_missing(config):
    decided(config)
    told = explain("2024-07-03", config)
    assert (told.reason, told.failed, told.metrics) == ("2 of 4 checks failed", (), {"direction_auc": 0.51})
    assert told.missing.startswith("The files of this night are gone from ")
    assert told.missing.endswith("those of the ledger.")
    assert "The files of this night are gone" in shown(told)
    assert Registry(Locations(config.storage)).is_new, "to look makes no registry"


@pytest.mark.slow
def test_the_registry_adds_what_was_measured_of_a_version(config, tmp_path):
    entry, registry = decided(config), Registry(Locations(config.storage))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.json").write_text("{}")
    registry.register(entry.version, tmp_path / "model", {}, {"volatility_qlike": 0.44}, {})
    shutil.rmtree(tmp_path / "nights", ignore_errors=True)
    told = explain(entry.night_id, config)
    assert told.metrics == {"direction_auc": 0.51, "volatility_qlike": 0.44}
    assert told.missing.endswith("those of the ledger and the registry.")


def test_the_other_nights_of_the_session_are_named(config):
    first, second = decided(config), decided(config, "fedcba9876543210", "2024-07-03-fedcba98")
    leave(config, second)
    assert explain("2024-07-03", config).same_session == (first.night_id,)
