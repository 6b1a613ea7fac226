"""What the gate decides, on synthetic evidence whose skill is known because it was planted."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calendar import Calendar
from models.config import GateConfig, HeadLosses, TargetsConfig
from models.gate import ChampionEvidence, decide, too_little_history
from models.placebo import PlaceboRecord
from models.records import Finding, Scale, at_most

N_SESSIONS, N_SYMBOLS = 60, 24
CALENDAR = Calendar("XNYS")
SESSION = date(2020, 6, 30)
TRAINED_UNTIL = date(2020, 3, 27)
CONFIG = GateConfig(bootstrap_replicates=200)
HEALTHY = CONFIG.model_copy(update={"first_champion": "healthy"})
PREDICTIONS = ("p_up", "volatility", "magnitude")


def market(skill=0.1, seed=0, n_sessions=N_SESSIONS):
    """Evidence of a candidate whose P(up) is moved by `skill` times the outcome; its bounded heads are good.

    Sessions end five before SESSION, as those of a night do whose targets look five ahead. The skill changes nothing
    but `p_up`: every other number is the same for one seed.
    """
    random = np.random.default_rng(seed)
    shape = (n_sessions, N_SYMBOLS)
    days = CALENDAR.sessions
    last = np.searchsorted(days, np.datetime64(SESSION)) - 5
    sigma = 0.012 * np.exp(0.5 * random.normal(size=(1, N_SYMBOLS)) + 0.2 * random.normal(size=(n_sessions, 1)))
    direction = np.argsort(np.argsort(random.normal(size=shape), axis=1), axis=1) >= N_SYMBOLS // 2
    volatility = sigma * np.exp(0.3 * random.normal(size=shape))
    magnitude = 2.2 * sigma * np.abs(random.normal(size=shape))
    rms = np.sqrt(np.mean((volatility / sigma) ** 2))
    mean = np.mean(magnitude) / np.mean(sigma)
    z = 0.4 * random.normal(size=shape)
    columns = {
        "p_up": 1 / (1 + np.exp(-(z + skill * (direction - 0.5)))),
        "volatility": rms * sigma,
        "magnitude": mean * sigma,
        "direction": direction,
        "volatility_target": volatility,
        "magnitude_target": magnitude,
        "volatility_har": 1.05 * rms * sigma * np.exp(0.1 * random.normal(size=shape)),
        "magnitude_ewma": mean * sigma * np.exp(0.3 * random.normal(size=shape)),
        "p_up_prior": np.full(shape, 0.5),
        "p_up_volatility_only": 0.5 + 0.01 * random.normal(size=shape),
        "reversal": random.normal(size=shape),
        "direction_next_close": direction,
    }
    frame = pd.DataFrame({name: values.ravel().astype(float) for name, values in columns.items()})
    frame.insert(0, "session", np.repeat(days[last - n_sessions + 1 : last + 1], N_SYMBOLS).astype("datetime64[s]"))
    frame.insert(1, "symbol", [f"S{number:02d}" for number in range(N_SYMBOLS)] * n_sessions)
    return frame.assign(fold=0, version="candidate")


def scale(head, frame, bound):
    target = frame[f"{head}_target"]
    return Scale(
        head=head,
        scale=bound,
        proposed=bound,
        mean=target.mean(),
        median=target.median(),
        percentiles={},
        clipped_share=0.0,
        rows=len(frame),
    )


def judge(frame, config=CONFIG, champion=None, **changed):
    facts = {
        "targets": TargetsConfig(),
        "relative": True,
        "heads": ("direction", "volatility", "magnitude"),
        "losses": HeadLosses(),
        "scales": {
            "volatility": scale("volatility", market(), 0.2),
            "magnitude": scale("magnitude", market(), 0.6),
        },
        "session": SESSION,
        "trained_until": TRAINED_UNTIL,
        "agreement": 1e-7,
        "findings": (Finding(rule="range", level="stop", count=0, why="held"),),
        "calendar": CALENDAR,
    }
    return decide(frame, config=config, champion=champion, **(facts | changed))


def served(frame, **changed):
    """The champion that made these predictions on the night before."""
    columns = frame[["session", "symbol", *PREDICTIONS]]
    facts = {
        "version": "champion",
        "session": date(2020, 6, 29),
        "same_recipe": True,
        "trained_until": TRAINED_UNTIL,
        "stored": frame,
        "fresh": columns,
    }
    return ChampionEvidence(**(facts | changed))


def failed(verdict):
    return {check.name for check in verdict.failed}


def check(verdict, name):
    return next(check for check in verdict.checks if check.name == name)


# The first champion


def test_a_healthy_and_skilled_candidate_becomes_the_first_champion():
    verdict = judge(market())
    assert verdict.verdict == "promote"
    assert verdict.failed == ()


def test_without_direction_skill_a_skilled_first_champion_is_refused_and_told_by_how_much():
    verdict = judge(market(skill=0.0, seed=4))
    assert verdict.verdict == "keep"
    assert f"direction_auc misses 0.5 by {0.5 - verdict.metrics['direction_auc_low']:.2g}" in verdict.reason


def test_healthy_promotes_without_direction_skill_and_says_so():
    verdict = judge(market(skill=0.0, seed=4), HEALTHY)
    assert verdict.verdict == "promote"
    assert "direction skill not shown" in verdict.reason


def test_unproven_skill_stays_visible_as_a_failed_check():
    assert "direction_auc" in failed(judge(market(skill=0.0, seed=4), HEALTHY))


def test_healthy_refuses_a_direction_that_points_the_wrong_way():
    verdict = judge(market(skill=-0.2), HEALTHY)
    assert verdict.verdict == "keep"
    assert "direction_not_below_chance" in verdict.reason


def test_healthy_refuses_a_volatility_worse_than_log_har():
    frame = market()
    verdict = judge(frame.assign(volatility=1.2 * frame["volatility_har"]), HEALTHY)
    assert verdict.verdict == "keep"
    assert "volatility_no_worse_than_har" in verdict.reason


def test_too_good_is_suspicious_even_where_health_would_do():
    verdict = judge(market(skill=0.4), HEALTHY)
    assert verdict.verdict == "keep"
    assert verdict.reason.startswith("suspicious: ")


def test_on_long_evidence_the_point_estimate_is_what_is_suspicious():
    check_of = {n: check(judge(market(skill=0.2, n_sessions=n)), "not_too_good") for n in (60, 130)}
    assert [check_of[n].bound for n in (60, 130)] == [CONFIG.suspicious_auc_low, CONFIG.suspicious_auc]


def placebo(mean):
    """AUCs on shuffled labels around this mean."""
    aucs = tuple(mean + 0.01 * np.sin(np.arange(40)))
    moment = datetime(2020, 6, 27, tzinfo=UTC)
    return PlaceboRecord(recipe="r", session=SESSION, measured_at=moment, aucs=aucs, seconds=1.0)


@pytest.mark.parametrize("policy", ["non_inferior", "always_if_healthy"])
def test_a_recipe_that_finds_something_in_shuffled_labels_is_kept_out_whatever_the_policy(policy):
    config = CONFIG.model_copy(update={"policy": policy})
    frame = market()
    verdict = judge(frame, config, served(frame), placebo=placebo(0.52))
    assert verdict.verdict == "keep"
    assert failed(verdict) == {"placebo"}


def test_the_nights_auc_stands_beside_what_shuffled_labels_give():
    verdict = judge(market(), placebo=placebo(0.5))
    assert verdict.verdict == "promote"
    assert verdict.metrics["placebo_share_below"] == 1.0


# With a champion


def test_a_candidate_as_good_as_the_champion_replaces_it():
    frame = market()
    verdict = judge(frame, champion=served(frame))
    assert verdict.verdict == "promote"
    assert "champion" in verdict.reason


@pytest.mark.parametrize("seed", range(5))
def test_a_model_is_never_inferior_to_itself(seed):
    frame = market(seed=seed)
    verdict = judge(frame, champion=served(frame))
    assert not any(one.group == "champion" for one in verdict.failed)


def test_a_much_better_champion_stays():
    assert "auc_to_champion" in failed(judge(market(), champion=served(market(skill=0.4))))


def test_a_candidate_whose_volatility_is_worse_than_the_champions_is_kept_out():
    frame = market()
    worse = frame.assign(volatility=1.15 * frame["volatility"])
    assert "qlike_to_champion" in failed(judge(worse, champion=served(frame)))


def test_a_candidate_that_broke_on_the_last_sessions_is_caught_by_the_guard():
    frame = market(skill=0.2)
    last = frame["session"] >= frame["session"].unique()[-21]
    broken = frame.assign(p_up=frame["p_up"].where(~last, 1 - frame["p_up"]))
    assert "guard_auc" in failed(judge(broken, champion=served(frame)))


def test_a_night_not_later_than_the_champions_is_superseded():
    frame = market()
    verdict = judge(frame, champion=served(frame, session=SESSION))
    assert verdict.verdict == "keep"
    assert verdict.reason.startswith("superseded: ")


def test_a_superseded_night_still_shows_the_comparison():
    frame = market()
    assert check(judge(frame, champion=served(frame, session=SESSION)), "auc_to_champion").passed


def test_a_champion_that_was_asked_something_else_is_incomparable():
    frame = market()
    verdict = judge(frame, champion=served(frame, incomparable="horizon 10 instead of 5 sessions"))
    assert verdict.reason.startswith("incomparable: ")
    assert "horizon 10" in verdict.reason


def test_a_different_recipe_waits_for_sixty_fresh_sessions_and_says_until_when():
    frame = market()
    trained_until = frame["session"].unique()[19].date()
    verdict = judge(frame, champion=served(frame, same_recipe=False, trained_until=trained_until))
    assert verdict.verdict == "keep"
    assert verdict.reason.startswith("undecided: 40 sessions")
    assert str(CALENDAR.after(SESSION, 20)) in verdict.reason


def test_a_different_recipe_is_judged_on_sessions_that_neither_has_seen():
    frame = market()
    verdict = judge(frame, champion=served(frame, same_recipe=False, stored=None))
    assert verdict.verdict == "promote"
    assert check(verdict, "fresh_sessions").value == N_SESSIONS


def test_refreshes_whose_stored_frames_never_meet_are_judged_on_fresh_sessions():
    frame = market()
    verdict = judge(frame, champion=served(frame, stored=frame.iloc[:0]))
    assert check(verdict, "fresh_sessions").passed


@pytest.mark.parametrize("lost", ["stored", "fresh"])
def test_a_champion_whose_predictions_are_missing_is_never_beaten_by_default(lost):
    frame = market()
    broken = frame.assign(p_up=np.nan)
    assert judge(frame, champion=served(frame, **{lost: broken})).verdict == "keep"


def test_a_champion_without_fresh_predictions_stays():
    frame = market()
    assert judge(frame, champion=served(frame, fresh=None)).verdict == "keep"


def test_always_if_healthy_replaces_a_better_champion():
    config = CONFIG.model_copy(update={"policy": "always_if_healthy"})
    verdict = judge(market(), config, served(market(skill=0.4)))
    assert verdict.verdict == "promote"
    assert "auc_to_champion" in verdict.reason


def test_always_if_healthy_still_refuses_what_is_not_healthy():
    config = CONFIG.model_copy(update={"policy": "always_if_healthy"})
    frame = market()
    assert judge(frame.assign(volatility=3 * frame["volatility"]), config, served(frame)).verdict == "keep"


def test_manual_leaves_a_candidate_that_passed_everything_to_a_person():
    frame = market()
    verdict = judge(frame, CONFIG.model_copy(update={"policy": "manual"}), served(frame))
    assert verdict.verdict == "keep"
    assert verdict.reason.startswith("manual: ")


# Other shapes of evidence


def test_a_candidate_with_direction_alone_can_become_champion():
    frame = market().drop(columns=["volatility", "magnitude"])
    verdict = judge(frame, heads=("direction",), scales={}, champion=served(market()))
    assert verdict.verdict == "promote"
    assert not any("volatility_" in one.name and one.name != "direction_over_volatility" for one in verdict.checks)


def test_absolute_direction_is_the_mean_of_the_sessions_own_areas():
    frame = market()
    shifted = frame.assign(p_up=frame["p_up"] + 1e-3 * np.arange(len(frame)) // N_SYMBOLS)
    same = [judge(of, relative=False).metrics["direction_auc"] for of in (frame, shifted)]
    assert same[0] == pytest.approx(same[1])


def test_the_order_of_the_rows_does_not_matter():
    frame = market()
    assert judge(frame.sample(frac=1.0, random_state=1)) == judge(frame)


def test_too_few_sessions_cannot_be_judged():
    verdict = judge(market(n_sessions=39))
    assert verdict.reason.startswith("too little history: 39 ")


def test_too_little_history_names_the_sessions_needed():
    verdict = too_little_history(31, 120)
    assert (verdict.verdict, verdict.failed[0].value, verdict.failed[0].bound) == ("keep", 31, 120)


def test_the_metrics_show_the_interval_the_baselines_and_the_size_of_the_evidence():
    metrics = judge(market()).metrics
    assert metrics["evidence_rows"] == N_SESSIONS * N_SYMBOLS
    assert metrics["direction_auc_low"] < metrics["direction_auc"] < metrics["direction_auc_high"]
    assert {"direction_auc_reversal", "direction_auc_next_close", "volatility_qlike_har", "brier"} <= set(metrics)


def test_a_missing_baseline_never_lets_a_candidate_pass():
    assert judge(market().drop(columns="volatility_har")).verdict == "keep"


# What must always hold


@given(column=st.sampled_from(PREDICTIONS), row=st.integers(0, N_SESSIONS * N_SYMBOLS - 1), healthy=st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_single_missing_prediction_never_yields_a_promotion(column, row, healthy):
    frame = market()
    frame.loc[row, column] = np.nan
    assert judge(frame, HEALTHY if healthy else CONFIG).verdict == "keep"


@given(skill=st.floats(0.0, 0.12), more=st.floats(0.0, 0.3), seed=st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_raising_the_auc_never_turns_a_pass_of_the_floor_into_a_failure(skill, more, seed):
    lower, higher = (check(judge(market(of, seed)), "direction_auc") for of in (skill, skill + more))
    assert higher.passed or not lower.passed


@given(p_up=st.floats(0, 1), volatility=st.floats(1e-4, 0.2), magnitude=st.floats(1e-4, 0.6), first=st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_constant_forecast_is_never_promoted(p_up, volatility, magnitude, first):
    frame = market()
    constant = frame.assign(p_up=p_up, volatility=volatility, magnitude=magnitude)
    config = HEALTHY.model_copy(update={"policy": "always_if_healthy"})
    assert judge(constant, config, None if first else served(frame)).verdict == "keep"


@given(p_up=st.floats(0, 1))
@settings(max_examples=10, deadline=None)
def test_a_constant_direction_is_never_promoted(p_up):
    assert judge(market().assign(p_up=p_up), HEALTHY).verdict == "keep"


def test_a_broken_contract_of_predictions_keeps_the_champion():
    broken = (Finding(rule="range", level="stop", count=3, why="3 rows above the scale"),)
    verdict = judge(market(), findings=broken)
    assert verdict.verdict == "keep"
    assert "contract" in failed(verdict)


def test_a_contract_that_was_not_checked_does_not_pass():
    assert "contract" in failed(judge(market(), findings=()))


# Leaks

LEAK = at_most("truncation", "leak", 0.3, 1e-6, "summaries move when later bars are cut off")


@pytest.mark.parametrize("policy", ["non_inferior", "always_if_healthy", "manual"])
def test_a_leak_keeps_the_champion_under_every_policy_and_is_the_reason(policy):
    frame = market()
    config = CONFIG.model_copy(update={"policy": policy})
    verdict = judge(frame, config=config, champion=served(frame), leaks=(LEAK,))
    assert verdict.verdict == "keep"
    assert verdict.reason.startswith("leak: truncation (summaries move")


def test_a_leak_refuses_a_first_champion_that_need_only_be_healthy():
    assert judge(market(), config=HEALTHY).verdict == "promote"
    assert judge(market(), config=HEALTHY, leaks=(LEAK,)).verdict == "keep"


def test_a_champion_that_is_compared_on_its_own_training_sessions_is_a_leak():
    frame = market()
    seen = replace(served(frame), stored=frame.assign(version="champion"), trained_until=SESSION)
    assert "champion_out_of_sample" in failed(judge(frame, champion=seen))
    honest = replace(served(frame), stored=frame.assign(version="champion"))
    assert "champion_out_of_sample" not in failed(judge(frame, champion=honest))
