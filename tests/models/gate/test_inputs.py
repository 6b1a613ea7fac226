"""What the gate reads is kept whole: cut, written and read back it says what it says about everything."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from models.calendar import Calendar
from models.config import RetrainConfig
from models.gate import ChampionEvidence, decide
from models.gate.inputs import (
    DIRECTORY,
    EVIDENCE,
    ComparedModel,
    GateFrames,
    GateInputs,
    ask_again,
    ask_gate,
    processor,
    read_inputs,
    read_verdict,
    write_inputs,
    write_verdict,
)
from tests.synthetic_night import SESSION, evidence, scale

CONFIG = RetrainConfig.model_validate({"gate": {"bootstrap_replicates": 100}})


def another(frame: pd.DataFrame, version: str, sessions: int, seed: int, **facts) -> ChampionEvidence:
    """A model that began to be judged some sessions earlier, with predictions a little different."""
    rng = np.random.default_rng(seed)
    days = np.sort(frame["session"].unique())
    moved = frame.assign(
        version=np.where(frame["session"] < days[-sessions], "fold-2010Q1-aaaaaaaa", version),
        p_up=frame["p_up"] * rng.normal(1, 0.01, len(frame)),
        volatility=frame["volatility"] * rng.normal(1, 0.05, len(frame)),
    )
    older = moved.assign(session=moved["session"] - pd.Timedelta(days=3 * len(days)))
    made = {"session": days[-2].astype("datetime64[D]").item(), "same_recipe": True, "trained_until": date(2010, 5, 20)}
    fresh = moved[moved["session"] > pd.Timestamp("2010-05-20")]
    return ChampionEvidence(version, **{**made, **facts}, stored=pd.concat([older, moved]), fresh=fresh)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rows = evidence(n_symbols=60)
    return rows.assign(
        volatility_har=rows["volatility"] * 1.01,
        volatility_ewma=rows["volatility"] * 1.02,
        magnitude_ewma=rows["magnitude"] * 1.01,
    )


@pytest.fixture(scope="module")
def gathered(frame) -> dict:
    """Arguments of the gate besides the evidence."""
    return {
        "config": CONFIG.gate, "targets": CONFIG.targets, "relative": True, "heads": CONFIG.network.heads,
        "losses": CONFIG.training.losses, "session": SESSION, "trained_until": date(2010, 5, 19), "agreement": 0.0,
        "scales": {head: scale(head, frame[f"{head}_target"]) for head in ("volatility", "magnitude")},
        "findings": (), "leaks": (), "placebo": None,
    }  # fmt: skip


def inputs_of(gathered: dict, champion: ChampionEvidence, anchor: ChampionEvidence | None) -> GateInputs:
    compared = {
        role: ComparedModel.of(one) if one else None for role, one in [("champion", champion), ("anchor", anchor)]
    }
    return GateInputs(**gathered, **compared, exchange=CONFIG.data.exchange, processor="some")


@pytest.mark.parametrize("same_recipe", [True, False])
def test_the_gate_says_of_what_was_kept_what_it_says_of_everything(frame, gathered, same_recipe, tmp_path):
    champion = another(frame, "v1", 20, seed=1, same_recipe=same_recipe)
    anchor = another(frame, "v0", 5, seed=2)
    calendar = Calendar.of(CONFIG.data)
    whole = decide(frame, **gathered, champion=champion, anchor=anchor, calendar=calendar)
    assert {"auc_to_champion", "auc_to_anchor", "champion_out_of_sample"} <= {check.name for check in whole.checks}

    frame.to_parquet(tmp_path / EVIDENCE, index=False)
    kept = GateFrames.of(frame, champion, anchor)
    assert len(kept.others["champion_stored"]) < len(champion.stored)
    write_inputs(tmp_path / DIRECTORY, inputs_of(gathered, champion, anchor), kept.others)
    write_verdict(tmp_path / DIRECTORY, whole)
    assert ask_again(tmp_path, read_inputs(tmp_path / DIRECTORY)) == whole == read_verdict(tmp_path / DIRECTORY)


def test_rows_of_a_model_that_trained_on_them_are_kept_and_found(frame, gathered):
    champion = another(frame, "v1", 20, seed=1, trained_until=SESSION)
    kept = GateFrames.of(frame, champion, None)
    verdict = ask_gate(inputs_of(gathered, champion, None), kept)
    seen = next(check for check in verdict.checks if check.name == "champion_out_of_sample")
    assert seen.value == (champion.stored["version"] == "v1").sum() > 0


def test_nothing_is_kept_of_a_model_that_was_asked_something_else(frame, gathered):
    champion = another(frame, "v1", 20, seed=1, incomparable="targets.horizon_sessions 5 against 3")
    kept = GateFrames.of(frame, champion, None)
    assert kept.others == {}
    assert ask_gate(inputs_of(gathered, champion, None), kept).verdict == "keep"


def test_evidence_whose_rows_cannot_be_told_apart_is_a_verdict(frame, gathered):
    champion = another(frame, "v1", 20, seed=1)
    broken = frame.drop(columns="symbol")
    verdict = ask_gate(inputs_of(gathered, champion, None), GateFrames.of(broken, champion, None))
    assert verdict.reason.startswith("unreadable evidence")


def test_an_agreement_that_is_no_number_is_kept_and_does_not_pass(frame, gathered, tmp_path):
    inputs = inputs_of({**gathered, "agreement": float("nan")}, another(frame, "v1", 20, seed=1), None)
    write_inputs(tmp_path, inputs, {})
    verdict = ask_gate(read_inputs(tmp_path), GateFrames(frame, {}))
    assert not next(check for check in verdict.checks if check.name == "agreement").passed


def test_other_kernels_than_the_processors_own_are_another_kind_of_processor(monkeypatch):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    own = processor()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert processor() == f"{own}, OPENBLAS_CORETYPE=Haswell"
