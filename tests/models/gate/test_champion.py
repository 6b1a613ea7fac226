"""The candidate against what serves and what served a quarter ago, on scores whose difference is planted."""

import re

import numpy as np
import pandas as pd
import pytest

from models.calendar import Calendar
from models.config import GateConfig
from models.gate.champion import ChampionEvidence, Scene, anchor_checks, champion_checks

N_SESSIONS, N_SYMBOLS = 80, 20
CALENDAR = Calendar("XNYS")
DAYS = CALENDAR.sessions[-400:].astype("datetime64[s]")
SESSION = DAYS[-1].item().date()
BEFORE = DAYS[-N_SESSIONS - 1].item().date()
"""Of all that is judged here."""
SCENE = Scene(GateConfig(bootstrap_replicates=200), ("direction",), reach=5, relative=True)
MARGIN = SCENE.config.margin_auc


def outcomes(n_sessions=N_SESSIONS, seed=0):
    """`session, symbol, direction`: half of the symbols of each session go up."""
    random = np.random.default_rng(seed)
    up = np.argsort(np.argsort(random.normal(size=(n_sessions, N_SYMBOLS)), axis=1), axis=1) >= N_SYMBOLS // 2
    return pd.DataFrame(
        {
            "session": np.repeat(DAYS[-n_sessions:], N_SYMBOLS),
            "symbol": np.tile([f"S{number:02d}" for number in range(N_SYMBOLS)], n_sessions),
            "direction": up.ravel().astype(float),
        }
    )


def model(frame, skill, seed=1, own_noise=0.0):
    """Scores that `skill` moves towards the outcome. Noise is common to all models of one seed but for `own_noise`."""
    common, own = np.random.default_rng(7), np.random.default_rng(seed)
    noise = common.normal(size=len(frame)) + own_noise * own.normal(size=len(frame))
    return frame.assign(p_up=1 / (1 + np.exp(-(noise + skill * (frame["direction"] - 0.5)))))


def earlier(frame, **changed):
    """A model of the same recipe, by its stored frame."""
    facts = {
        "version": "earlier",
        "session": DAYS[-2].item().date(),
        "same_recipe": True,
        "trained_until": BEFORE,
        "stored": frame.assign(version="a recipe fold"),
        "fresh": frame[["session", "symbol", "p_up"]],
    }
    return ChampionEvidence(**(facts | changed))


def against_champion(candidate, champion, trained_until=BEFORE):
    found = champion_checks(candidate, champion, SCENE, session=SESSION, trained_until=trained_until, calendar=CALENDAR)
    return {check.name: check for check in found}


def against_anchor(candidate, anchor):
    return {check.name: check for check in anchor_checks(candidate, anchor, SCENE)}


# Which sessions count


def test_another_recipe_is_compared_on_all_sessions_after_the_champions_training():
    """The candidate's rows were each made by a model that had not seen them, so its own training is no bar."""
    frame = model(outcomes(), 0.2)
    champion = earlier(frame, same_recipe=False, trained_until=DAYS[-66].item().date())
    checks = against_champion(frame, champion, trained_until=DAYS[-27].item().date())
    assert checks["fresh_sessions"].value == 65


def test_rows_that_the_champion_was_trained_on_never_count_for_another_recipe():
    frame = outcomes()
    seen = frame["session"] <= DAYS[-66]
    champion = model(frame, 0.2)
    remembered = champion.assign(p_up=champion["p_up"].where(~seen, frame["direction"]))
    judged = earlier(remembered, same_recipe=False, trained_until=DAYS[-66].item().date())
    assert against_champion(champion, judged)["auc_to_champion"].passed


def test_the_guard_asks_only_for_rows_after_the_candidates_own_training():
    frame = model(outcomes(), 0.2)
    why = against_champion(frame, earlier(frame), trained_until=DAYS[-11].item().date())["guard_auc"].why
    assert "on the last 10 sessions" in why


def test_a_refresh_whose_stored_frames_share_less_than_two_blocks_is_judged_on_what_both_have_not_seen():
    """Labels of 20 sessions ask for blocks of 40; of 60 common stored sessions nothing has an interval."""
    frame = model(outcomes(150), 0.2)
    champion = earlier(
        frame[frame["session"] >= DAYS[-60]],
        fresh=frame[["session", "symbol", "p_up"]],
        trained_until=DAYS[-151].item().date(),
    )
    scene = SCENE._replace(reach=20)
    found = champion_checks(
        frame, champion, scene, session=SESSION, trained_until=champion.trained_until, calendar=CALENDAR
    )
    check = next(check for check in found if check.name == "auc_to_champion")
    assert "on 150 common sessions" in check.why
    assert check.passed


# Whether the evidence is enough


def pair(seed, n_sessions=N_SESSIONS):
    """Two equally good models that err apart."""
    frame = outcomes(n_sessions, seed)
    return (model(frame, 0.1, seed=10_000 + seed + one, own_noise=0.8) for one in (0, 500))


def test_a_window_too_short_for_the_margin_is_told_with_one_that_would_do():
    newer, older = pair(0)
    why = against_champion(newer, earlier(older))["auc_to_champion"].why
    assert re.search(
        r"fail on \d+ % of such nights; about [\d,]+ sessions of evidence, or at least [\d,]+ symbols", why
    )


def test_enough_evidence_needs_no_remark():
    frame = model(outcomes(), 0.1)
    assert "standard error" not in against_champion(frame, earlier(frame))["auc_to_champion"].why


def told(why):
    refused, sessions = re.search(r"fail on (\d+) % of such nights; about ([\d,]+) sessions", why).groups()
    return int(refused) / 100, float(sessions.replace(",", ""))


@pytest.mark.slow
def test_equally_good_models_fail_as_often_as_the_sentence_says():
    pairs = (pair(seed) for seed in range(150))
    checks = [against_champion(newer, earlier(older))["auc_to_champion"] for newer, older in pairs]
    failed = np.mean([not check.passed for check in checks])
    said = np.median([told(check.why)[0] for check in checks])
    assert failed == pytest.approx(said, abs=0.12)  # three standard errors of a share of 150


def test_the_window_that_would_do_does_not_depend_on_how_much_there_is():
    windows = [
        np.median([told(against_champion(a, earlier(b))["auc_to_champion"].why)[1] for a, b in pairs])
        for pairs in ([pair(seed, n) for seed in range(8)] for n in (60, 180))
    ]
    assert windows[0] == pytest.approx(windows[1], rel=0.4)


# Small losses


def losing(frame, night, each=0.004):
    """A model whose AUC is lower by `each` with every night; a skill of one is about 0.26 of AUC near a half."""
    return model(frame, 0.35 - night * each / 0.26)


def slide(with_anchor, nights=30):
    """AUC lost by what serves after many nights that each bring a model a little worse than what serves."""
    frame = outcomes()
    first = losing(frame, 0)
    serving, losses = 0, 0
    for _ in range(nights):
        candidate = losing(frame, serving + 1)
        checks = against_champion(candidate, earlier(losing(frame, serving)))
        if with_anchor and serving:
            checks |= against_anchor(candidate, earlier(first, version="anchor"))
        if all(check.passed for check in checks.values()):
            serving += 1
    from sklearn.metrics import roc_auc_score

    losses = [roc_auc_score(frame["direction"], losing(frame, night)["p_up"]) for night in (0, serving)]
    return losses[0] - losses[1]


def test_thirty_losses_within_the_margin_add_up_without_an_anchor():
    assert slide(with_anchor=False) > 0.1


def test_the_anchor_stops_many_small_losses_that_each_lie_within_the_margin():
    assert slide(with_anchor=True) < SCENE.config.anchor_margin_factor * MARGIN


def test_a_model_is_never_worse_than_itself_as_the_anchor():
    frame = model(outcomes(), 0.2)
    assert against_anchor(frame, earlier(frame))["auc_to_anchor"].passed


def test_an_anchor_that_was_asked_something_else_has_no_say():
    frame = model(outcomes(), 0.2)
    assert against_anchor(frame, earlier(frame, incomparable="horizon 10 against 5")) == {}


def test_an_anchor_without_predictions_is_never_beaten_by_default():
    frame = model(outcomes(), 0.2)
    checks = against_anchor(frame, earlier(frame, stored=None, fresh=None))
    assert not checks["auc_to_anchor"].passed


def test_volatility_is_held_to_the_anchor_as_well():
    frame = model(outcomes(), 0.2).assign(volatility=0.01, volatility_target=0.01)
    worse = frame.assign(volatility=0.015)
    both = Scene(SCENE.config, ("direction", "volatility"), reach=5, relative=True)
    spread = np.random.default_rng(3).lognormal(0, 0.3, len(frame))
    frame, worse = (one.assign(volatility_target=0.01 * spread) for one in (frame, worse))
    checks = {check.name: check for check in anchor_checks(worse, earlier(frame), both)}
    assert not checks["qlike_to_anchor"].passed


def test_the_anchors_sentence_names_it_and_how_long_ago_it_served():
    frame = model(outcomes(), 0.2)
    why = against_anchor(frame, earlier(frame))["auc_to_anchor"].why
    assert "earlier, which served 63 sessions ago" in why
