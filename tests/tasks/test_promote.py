"""Promotion, and a crash after each of its steps: the steps are called one by one, then the whole again."""

import shutil
from datetime import UTC, date, datetime

import numpy as np
import pytest

from models.card import file_hashes
from models.clean_process import CleanProcess
from models.config import RetrainConfig
from models.decision import BOUND_BY, NAME, sha256
from models.errors import CandidateRejected, ConfigError, RegistryError, StoreError
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightRecord
from models.records import CandidateRecord, Forced, Snapshot, Verdict
from models.registry import Registry
from tasks.close import Outcome, close_night
from tasks.evaluate import EvidenceRecord
from tasks.promote import keep_champion, let_serve, promote_candidate, register, superseded
from tasks.rollback import let_serve_again, move_back
from tasks.verify import verify

PROMOTE = Verdict(verdict="promote", reason="earned it")
KEEP = Verdict(verdict="keep", reason="not shown")
FACTS = {"volatility_scale": 0.15}


@pytest.fixture(scope="module")
def homes(exported, tmp_path_factory):
    """Homes in which no, one and two candidates were promoted: made once, since each proof starts a TensorFlow."""
    made = [tmp_path_factory.mktemp("promotions")]
    Registry(Locations(config_at(made[0]).storage)).prepare()
    for number in (1, 2):
        made.append(shutil.copytree(made[-1], tmp_path_factory.mktemp("promotions") / "home"))
        promote(number, exported, config_at(made[-1]))
    return made


@pytest.fixture
def config(homes, tmp_path):
    """A configuration whose registry has its database already, and nothing else."""
    return config_at(shutil.copytree(homes[0], tmp_path / "home"))


@pytest.fixture
def after_v1(homes, tmp_path):
    """The same after the promotion of v1."""
    return config_at(shutil.copytree(homes[1], tmp_path / "home"))


@pytest.fixture
def after_v2(homes, tmp_path):
    """The same after v1 and then v2."""
    return config_at(shutil.copytree(homes[2], tmp_path / "home"))


def config_at(home) -> RetrainConfig:
    return RetrainConfig.model_validate({"storage": {"home": str(home)}})


def night(number: int) -> NightRecord:
    session = date(2015, 8, 10 + number)
    as_of = datetime(2015, 8, 11 + number, 13, 30, tzinfo=UTC)
    snapshot = Snapshot(session=session, as_of=as_of, hash="h", rows=1, first=session, last=session, symbols=1)
    return NightRecord(night_id=f"{number:016x}", snapshot=snapshot, config_hash="c", code_hash="d", recipe="r")


def candidate(number: int, directory) -> CandidateRecord:
    return CandidateRecord(
        version=f"v{number}",
        uri=str(directory),
        hashes=file_hashes(directory),
        scales={},
        trained_until=date(2015, 6, 1),
        recipe="r",
        epochs=1,
        seconds=1.0,
        head_weights={},
    )


def promote(number, directory, config):
    champion = Ledger(Locations(config.storage)).champion_version()
    with CleanProcess.start() as clean:
        return promote_candidate.fn(
            night(number), candidate(number, directory), PROMOTE, FACTS, champion, clean, config
        )


def state(config):
    locations = Locations(config.storage)
    return Registry(locations).champion(), Ledger(locations).champion_version(), len(Ledger(locations).entries())


def test_a_document_that_a_crash_kept_from_its_model_is_laid_there_by_the_same_night(exported, config):
    registry = Registry(Locations(config.storage))
    keep_champion.fn(night(1), candidate(1, exported), KEEP, FACTS, config)
    whole = registry.kept_beside("v1", NAME)
    beside = registry.fetch("v1").parent / NAME
    for left in (None, whole[:100]):
        beside.unlink() if left is None else beside.write_bytes(left)
        entry = keep_champion.fn(night(1), candidate(1, exported), KEEP, FACTS, config)
        assert registry.kept_beside("v1", NAME) == whole
        assert entry.hashes[BOUND_BY] == sha256(whole)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_crash_after_any_step_is_mended_by_the_same_night(steps, exported, config):
    registry = Registry(Locations(config.storage))
    if steps > 0:
        register(night(1), candidate(1, exported), PROMOTE, FACTS, config)
    if steps > 1:
        promote(1, exported, config)
    if steps == 2:
        registry.move_champion(None)  # the alias as it was before the decision
    promote(1, exported, config)
    assert state(config) == ("v1", "v1", 1)
    assert registry.versions() == ("v1",)


def test_an_alias_that_says_something_else_than_the_ledger_is_put_right_by_the_next_night(exported, after_v1):
    register(night(2), candidate(2, exported), PROMOTE, FACTS, after_v1)
    Registry(Locations(after_v1.storage)).move_champion("v2")
    entry = keep_champion.fn(night(3), None, KEEP, FACTS, after_v1)
    assert entry.champion_after == "v1"
    assert state(after_v1) == ("v1", "v1", 2)


@pytest.mark.slow
def test_a_rollback_while_a_candidate_is_proven_is_not_overridden(exported, after_v2):
    grounds = register(night(3), candidate(3, exported), PROMOTE, FACTS, after_v2)
    move_back.fn("v2 drifts", None, after_v2)
    entry = let_serve(grounds, PROMOTE, FACTS, "v2", Locations(after_v2.storage))
    assert (entry.verdict, entry.champion_after) == ("keep", "v1")
    assert entry.reason == "superseded: judged against v2, but meanwhile v1 serves"
    assert state(after_v2) == ("v1", "v1", 4)


@pytest.mark.slow
def test_a_promotion_while_a_rollback_is_proven_is_not_overridden(exported, config):
    for number in (1, 2, 3):
        promote(number, exported, config)
    with pytest.raises(RegistryError, match="v3 became champion in place of v2"):
        let_serve_again("v2 drifts", "v2", "v1", "desk", Locations(config.storage))
    assert state(config) == ("v3", "v3", 3)


def test_a_ledger_that_is_gone_is_no_fresh_start(exported, after_v1):
    shutil.rmtree(Locations(after_v1.storage).table("ledger"))
    for read in (Ledger.champion_version, lambda ledger: ledger.append(promote(1, exported, after_v1))):
        with pytest.raises(StoreError, match=r"gone, but the registry .* has the champion v1"):
            read(Ledger(Locations(after_v1.storage)))


def test_the_decision_names_what_it_rests_on(exported, config):
    entry = promote(1, exported, config)
    assert entry.hashes.items() >= file_hashes(exported).items()
    assert "evidence.parquet" in entry.hashes
    assert {"snapshot", "config", "code", "recipe"} <= set(entry.hashes)
    assert entry.facts["clean_direction"] <= 1e-6


def test_a_candidate_that_does_not_reproduce_leaves_alias_and_ledger_alone(exported, after_v1, tmp_path):
    altered = shutil.copytree(exported, tmp_path / "altered")
    with np.load(altered / "golden.npz") as golden:
        arrays = dict(golden)
    np.savez(altered / "golden.npz", **{**arrays, "direction": arrays["direction"] + 1e-3})
    with pytest.raises(CandidateRejected, match="direction"):
        promote(2, altered, after_v1)
    assert state(after_v1) == ("v1", "v1", 1)


def test_a_kept_candidate_can_be_looked_at_and_does_not_serve(exported, after_v1):
    keep_champion.fn(night(2), candidate(2, exported), KEEP, FACTS, after_v1)
    assert Registry(Locations(after_v1.storage)).versions() == ("v2", "v1")
    assert state(after_v1) == ("v1", "v1", 2)


def test_a_candidate_that_never_served_is_no_place_to_go_back_to(exported, after_v1):
    keep_champion.fn(night(2), candidate(2, exported), KEEP, FACTS, after_v1)
    with pytest.raises(RegistryError, match="v2 has never served"):
        move_back.fn("why not", "v2", after_v1)
    assert state(after_v1) == ("v1", "v1", 2)


def test_a_night_that_ran_again_with_other_files_serves_those(exported, config, tmp_path):
    other = shutil.copytree(exported, tmp_path / "other")
    (other / "evidence.parquet").write_bytes(b"another run of the same night")
    register(night(1), candidate(1, exported), PROMOTE, FACTS, config)
    entry = promote(1, other, config)
    served = Registry(Locations(config.storage)).fetch("v1")
    assert file_hashes(served)["evidence.parquet"] == entry.hashes["evidence.parquet"]


@pytest.mark.usefixtures("prefect")
@pytest.mark.slow
def test_a_rollback_while_a_night_is_judged_is_not_overridden(exported, after_v2):
    judged = EvidenceRecord(agreement=0.0, findings=(), champion="v2")
    move_back.fn("v2 drifts", None, after_v2)
    with CleanProcess.start() as clean:
        outcome = Outcome(PROMOTE, candidate(3, exported), None, judged)
        result = close_night(night(3), outcome, clean, after_v2, True)
    assert result.verdict == "keep"
    assert result.reason.startswith("superseded")
    assert state(after_v2) == ("v1", "v1", 4)


def test_a_decided_night_is_not_decided_again(exported, config):
    first = promote(1, exported, config)
    assert keep_champion.fn(night(1), None, KEEP, FACTS, config) == first


def test_rollback_goes_back_and_says_who_and_why(after_v2, monkeypatch):
    monkeypatch.setenv("NOCTURNE_ACTOR", "desk")
    result = move_back.fn("it drifts", None, after_v2)
    assert (result.champion_before, result.champion, result.actor) == ("v2", "v1", "desk")
    assert state(after_v2) == ("v1", "v1", 3)
    assert Ledger(Locations(after_v2.storage)).entries()[-1].reason == "it drifts"
    for version in ("v1", "v2"):  # what was decided on them stays proven, but for the night, which never was
        compared = verify(version, after_v2).comparisons
        assert [one.what for one in compared if one.outcome == "differs"] == ["night"]


@pytest.mark.parametrize(
    ("to", "words"), [(None, "first champion"), ("v1", "serves already"), ("v9", "v9 has never served")]
)
def test_a_rollback_that_leads_nowhere_is_refused(after_v1, to, words):
    with pytest.raises(RegistryError, match=words):
        move_back.fn("why not", to, after_v1)
    assert state(after_v1) == ("v1", "v1", 1)


def test_a_rollback_says_why(config):
    with pytest.raises(ConfigError, match="--reason"):
        move_back.fn("  ", None, config)


def test_a_rollback_where_nothing_serves_is_refused(config):
    with pytest.raises(RegistryError, match="Nothing serves yet"):
        move_back.fn("why not", None, config)


@pytest.mark.slow
def test_a_rollback_to_a_damaged_model_moves_nothing(after_v2):
    (Registry(Locations(after_v2.storage)).fetch("v1") / "saved_model" / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(CandidateRejected, match="cannot load"):
        move_back.fn("why not", None, after_v2)
    assert state(after_v2) == ("v2", "v2", 2)


def test_nobody_promotes_by_force_what_was_judged_against_something_that_no_longer_serves():
    word = Forced(what="promote", reason="seen by hand", by="Ann")
    changes = {"reason": "forced by Ann: seen by hand", "forced": word, "decided_by": "Ann"}
    verdict = superseded(PROMOTE.model_copy(update=changes), "v1", "v2")
    assert (verdict.verdict, verdict.forced, verdict.decided_by) == ("keep", None, None)
    assert verdict.reason.startswith(
        "superseded: judged against v1, but meanwhile v2 serves; before that it was forced"
    )


def test_a_champion_that_was_kept_by_force_is_kept_for_that_reason_whatever_serves():
    forced = KEEP.model_copy(update={"forced": Forced(what="keep", reason="no", by="Ann"), "decided_by": "Ann"})
    assert superseded(forced, "v1", "v2") == forced


def test_what_a_person_has_answered_in_the_form_is_not_lost_when_something_else_serves_meanwhile():
    kept = KEEP.model_copy(update={"reason": "kept by Bob: I do not trust the volumes", "decided_by": "Bob"})
    assert superseded(kept, "v1", "v2") == kept
    approved = PROMOTE.model_copy(update={"reason": "approved by Bob: looks right", "decided_by": "Bob"})
    verdict = superseded(approved, "v1", "v2")
    assert (verdict.verdict, verdict.decided_by) == ("keep", None)
    assert verdict.reason.endswith("before that it was approved by Bob: looks right")
