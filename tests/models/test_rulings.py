"""What people say of splits, and which nights hear it."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from models.config import DataConfig, RetrainConfig, StorageConfig
from models.errors import ConfigError
from models.locations import Locations
from models.panel import build_panel
from models.rulings import NO_ACTION, Ruling, Rulings, actions_seen
from models.store import BarsStore, content_hash
from tasks.ingest import bring_in
from tasks.splits import confirm, dismiss, see_actions
from tests.models.test_actions import AT, session_of, split_at

DAY = session_of(AT).date()
RULED = datetime(2026, 1, 2, tzinfo=UTC)
BEFORE, AFTER = RULED - timedelta(days=1), RULED + timedelta(days=1)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> RetrainConfig:
    """A store with one unstated split in it."""
    home = tmp_path_factory.mktemp("ruled")
    config = RetrainConfig(storage=StorageConfig(home=str(home)))
    bars = split_at(2).assign(timestamp=lambda frame: frame["session"])
    bars.drop(columns="session").to_csv(home / "bars.csv", index=False)
    bring_in(str(home / "bars.csv"), config, None, datetime(2025, 1, 2, tzinfo=UTC))
    confirm("S00000", DAY, None, "the company's notice", config, RULED)
    return config


def known(config: RetrainConfig, as_of: datetime) -> pd.DataFrame:
    return BarsStore(Locations(config.storage)).as_known(as_of)


def test_a_confirmed_split_joins_the_series_from_then_on_and_past_nights_do_not_see_it(config):
    panels = [build_panel(known(config, as_of), config.data) for as_of in (BEFORE, AFTER)]
    assert [int((panel.segments > 0).sum()) for panel in panels] == [1, 0]
    assert panels[1].bars[AT - 1, 3] == pytest.approx(panels[0].bars[AT - 1, 3] / 2)


def test_a_ruling_makes_another_night(config):
    assert content_hash(known(config, BEFORE)) != content_hash(known(config, AFTER))


def test_what_is_suspect_is_listed_until_somebody_has_spoken(config):
    before, after = see_actions(config, BEFORE), see_actions(config, AFTER)
    assert [(a.symbol, a.session, a.state, a.ratio) for a in before.open_questions.actions] == [
        ("S00000", DAY, "suspect", 2.0)
    ]
    assert after.open_questions.actions == ()
    assert [a.state for a in after.actions] == ["applied"]


def test_a_dismissal_is_taken_back_with_a_ratio_and_never_as_no_action_again(tmp_path):
    config = RetrainConfig(storage=StorageConfig(home=str(tmp_path)))
    bars = split_at(2).assign(timestamp=lambda frame: frame["session"])
    bars.drop(columns="session").to_csv(tmp_path / "bars.csv", index=False)
    bring_in(str(tmp_path / "bars.csv"), config, None, datetime(2025, 1, 2, tzinfo=UTC))
    dismiss("S00000", DAY, "looked genuine", config, RULED)
    with pytest.raises(ConfigError, match="Name it, for example"):
        confirm("S00000", DAY, None, "it was a split", config, AFTER)
    assert confirm("S00000", DAY, 2.0, "it was a split", config, AFTER).ratio == 2.0


def test_of_two_rulings_the_later_one_counts(tmp_path):
    rulings = Rulings(Locations(StorageConfig(home=str(tmp_path))))
    for moment, ratio in ((AFTER, NO_ACTION), (RULED, 2.0)):
        rulings.add(Ruling(symbol="S00000", session=DAY, ratio=ratio, known_at=moment, actor="me", reason="seen"))
    told = [rulings.on(split_at(2), as_of) for as_of in (BEFORE, RULED, AFTER)]
    assert "ruling" not in told[0]
    assert [bars["ruling"].dropna().tolist() for bars in told[1:]] == [[2.0], [1.0]]
    np.testing.assert_array_equal(told[2]["close"], split_at(2)["close"])


def test_a_dismissed_move_is_listed_as_such():
    bars = split_at(2).assign(ruling=lambda frame: np.where(frame.index == AT, NO_ACTION, np.nan))
    assert [a.state for a in actions_seen(bars, DataConfig()).actions] == ["dismissed"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (lambda config: confirm("NOBODY", DAY, 2.0, "seen", config, RULED), r"no bar of NOBODY .* splits list"),
        (lambda config: dismiss("S00000", date(2003, 1, 1), "seen", config, RULED), r"no bar of S00000 on 2003-01-01"),
        (lambda config: confirm("S00001", DAY, None, "seen", config, RULED), r"ratio of S00001 .* 3/2"),
        (lambda config: confirm("S00001", DAY, -2.0, "seen", config, RULED), r"above zero"),
        (lambda config: confirm("S00001", DAY, 2.0, " ", config, RULED), r"--reason"),
    ],
)
def test_a_ruling_about_nothing_is_refused_with_what_can_be_done(config, said, why):
    with pytest.raises(ConfigError, match=why):
        said(config)


def test_a_later_delivery_that_states_the_split_joins_the_series_from_then_on(tmp_path):
    config = RetrainConfig(storage=StorageConfig(home=str(tmp_path)))
    bars = split_at(2).assign(timestamp=lambda frame: frame["session"]).drop(columns="session")
    stated = bars.iloc[[AT]].assign(split_ratio=2.0)
    for name, rows, known_at in (("bars", bars, BEFORE), ("correction", stated, AFTER)):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
        bring_in(str(tmp_path / f"{name}.csv"), config, known_at, AFTER)
    segments = [build_panel(known(config, as_of), config.data).segments.max() for as_of in (RULED, AFTER)]
    assert segments == [1, 0]
