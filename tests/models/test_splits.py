import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import DataConfig, GateConfig, NetworkConfig, RetrainConfig, TrainingConfig
from models.panel import build_panel
from models.splits import History, history, rows_between, single_fold, usable_rows
from models.targets import compute_targets

SMALL = RetrainConfig(
    network=NetworkConfig(window=21, spans=(1, 3, 8)), training=TrainingConfig(validation_sessions=20)
)


@given(st.integers(120, 5000), st.integers(1, 30), st.integers(1, 60), st.integers(40, 500))
def test_no_label_of_one_part_reaches_into_the_next(sessions, reach, validation, evidence):
    config = RetrainConfig(
        training=TrainingConfig(validation_sessions=validation), gate=GateConfig(evidence_sessions=evidence)
    )
    split = single_fold(History((18, 18 + sessions), 0), reach, config)
    assert split.train[1] - 1 + reach < split.validation[0]
    assert split.validation[1] - 1 + reach < split.evidence[0]
    assert split.trained_until == split.validation[1] - 1 + reach


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
