import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bootstrap import block_length
from models.config import DataConfig, GateConfig, NetworkConfig, RetrainConfig, TrainingConfig
from models.panel import build_panel
from models.splits import History, history, plan, rows_between, single_fold, usable_rows
from models.targets import compute_targets

SMALL = RetrainConfig(
    network=NetworkConfig(window=21, spans=(1, 3, 8)), training=TrainingConfig(validation_sessions=20)
)


@given(st.integers(120, 5000), st.integers(1, 30), st.integers(1, 60), st.integers(60, 500))
def test_no_label_of_one_part_reaches_into_the_next(sessions, reach, validation, evidence):
    config = RetrainConfig(
        training=TrainingConfig(validation_sessions=validation), gate=GateConfig(evidence_sessions=evidence)
    )
    split = single_fold(History((18, 18 + sessions), 0), reach, config)
    assert split.train[1] - 1 + reach < split.validation[0]
    assert split.validation[1] - 1 + reach < split.evidence[0]
    assert split.trained_until == split.validation[1] - 1 + reach


WEEKDAYS = np.arange("1990-01-01", "2012-01-01", dtype="datetime64[D]")
WEEKDAYS = WEEKDAYS[np.is_busday(WEEKDAYS)]


def planned(usable, reach=5, lookback=5040, **gate):
    config = RetrainConfig(gate=GateConfig(**gate), data=DataConfig(lookback_sessions=lookback))
    return plan(History(usable, 0), WEEKDAYS, reach, config), config


@given(st.integers(300, 5000), st.integers(1, 30), st.integers(60, 500), st.integers(5, 60))
def test_every_fold_learns_from_what_ended_before_its_quarter_and_no_session_is_judged_twice(
    sessions, reach, evidence, fresh
):
    found, _config = planned((18, 18 + sessions), reach, evidence_sessions=evidence, fresh_sessions=fresh)
    assert all(split.trained_until < split.evidence[0] for split in found.splits)
    for split in found.folds:
        assert split.train[1] - 1 + reach < split.validation[0]
        quarter = WEEKDAYS[split.trained_until + 1].astype("datetime64[M]").astype(int)
        assert quarter % 3 == 0
        assert WEEKDAYS[split.trained_until].astype("datetime64[M]").astype(int) == quarter - 1
        assert split.train[1] - split.train[0] >= min(evidence, sessions // 3)
    ranges = [split.evidence for split in found.splits]
    assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(ranges))
    assert ranges[-1][1] == 18 + sessions
    judged = ranges[-1][1] - ranges[0][0]
    assert judged <= min(evidence, sessions // 3) or found.folds == ()


def test_a_long_history_has_a_fold_for_each_quarter_and_a_candidate_that_knows_all_but_the_last_month():
    found, _ = planned((128, 3000))
    assert len(found.folds) in (4, 5)
    assert found.candidate.evidence == (3000 - 21, 3000)
    assert found.candidate.trained_until == 3000 - 21 - 1
    assert found.candidate.validation[0] == found.candidate.validation[1]
    assert sum(split.evidence[1] - split.evidence[0] for split in found.splits) == 250


@pytest.mark.parametrize("lookback", [5040, 900])
def test_a_fold_learns_from_the_same_sessions_on_every_night_of_its_quarter(lookback):
    """The nights read a history of fixed length that moves on; the sessions are told by date."""
    seen: dict[np.datetime64, set] = {}
    for first in range(0, 250, 10):
        axis = WEEKDAYS[first : first + lookback]
        config = RetrainConfig(data=DataConfig(lookback_sessions=lookback))
        for split in plan(History((128, lookback - 5), 0), axis, 5, config).folds:
            seen.setdefault(axis[split.trained_until], set()).add((axis[split.train[0]], axis[split.train[1]]))
    assert len(seen) >= 5
    assert all(len(trained_on) == 1 for trained_on in seen.values())


def test_a_history_too_short_for_folds_is_judged_by_the_candidate_alone():
    found, _ = planned((128, 128 + 200))
    assert found.folds == ()
    assert found.candidate.evidence == (128 + 200 - 66, 128 + 200)


def test_labels_that_look_far_ahead_leave_two_blocks_of_fresh_sessions():
    found, _ = planned((128, 3000), reach=21)
    assert found.candidate.evidence[1] - found.candidate.evidence[0] == 2 * 42 + 1


def test_evidence_is_at_most_a_third_of_what_is_usable(demo_bars):
    panel = build_panel(demo_bars, DataConfig())
    targets = compute_targets(panel, SMALL.targets)
    past = history(panel, targets, SMALL)
    split = single_fold(past, targets.reach, SMALL)
    assert split.evidence[1] - split.evidence[0] == past.sessions // 3
    assert split.evidence[1] == len(panel.sessions) - 5


@pytest.mark.parametrize(("sessions", "enough"), [(144, True), (142, False)])
def test_too_little_history_is_told_by_the_sessions_needed(make_market, sessions, enough):
    panel = build_panel(make_market(n_symbols=2, n_sessions=sessions), DataConfig())
    past = history(panel, compute_targets(panel, SMALL.targets), SMALL)
    assert past.needed == 120
    assert past.enough is enough


@pytest.mark.parametrize(
    ("horizon", "validation", "least"), [(5, 60, 40), (20, 60, 40), (60, 60, 40), (5, 100, 40), (5, 60, 20)]
)
def test_what_is_needed_leaves_room_for_every_part(make_market, horizon, validation, least):
    config = RetrainConfig.model_validate(
        {
            "targets": {"horizon_sessions": horizon},
            "training": {"validation_sessions": validation},
            "gate": {"min_evidence_sessions": least},
        }
    )
    panel = build_panel(make_market(n_symbols=2, n_sessions=40), DataConfig())
    reach = compute_targets(panel, config.targets).reach
    needed = history(panel, compute_targets(panel, config.targets), config).needed
    for sessions in range(needed, needed + 40):
        split = single_fold(History((128, 128 + sessions), needed), reach, config)
        assert split.train[1] > split.train[0]
        assert split.evidence[1] - split.evidence[0] >= min(least, 2 * block_length(reach) + 1)


def test_a_quarter_without_a_row_to_learn_or_to_judge_has_no_fold():
    """All symbols were renamed: for a window's length no row is usable."""
    config = RetrainConfig()
    whole = History((128, 3000), 0)
    every = plan(whole, WEEKDAYS[:3000], 5, config).folds
    empty = every[1].validation
    holed = replace(whole, with_rows=frozenset(range(128, 3000)) - frozenset(range(*empty)))
    assert [fold.evidence for fold in plan(holed, WEEKDAYS[:3000], 5, config).folds] == [
        fold.evidence for fold in every if fold is not every[1]
    ]


def test_symbols_that_are_too_short_leave_nothing_usable(make_market):
    panel = build_panel(make_market(n_symbols=3, n_sessions=3), DataConfig())
    past = history(panel, compute_targets(panel, SMALL.targets), SMALL)
    assert past.sessions == 0
    assert not past.enough


def test_rows_are_chosen_by_session_never_by_row(make_market):
    panel = build_panel(make_market(n_symbols=7, n_sessions=150), DataConfig())
    targets = compute_targets(panel, SMALL.targets)
    rows = usable_rows(panel, targets, SMALL)
    split = single_fold(history(panel, targets, SMALL), targets.reach, SMALL)
    parts = [np.unique(panel.session[rows_between(panel, rows, part)]) for part in (split.train, split.evidence)]
    assert not np.intersect1d(*parts).size
