"""Which version a night's candidate is held to beside the champion."""

from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from models.card import ModelCard
from models.config import RetrainConfig, StorageConfig
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightRecord
from models.records import LedgerEntry, Snapshot
from tasks.evaluate import anchor_version, asked_differently

THEN, LATER, TONIGHT = date(2020, 3, 31), date(2020, 4, 1), date(2020, 6, 30)
"""63 sessions before tonight, the session after, and tonight."""


@pytest.fixture
def config(tmp_path) -> RetrainConfig:
    return RetrainConfig(storage=StorageConfig(home=str(tmp_path)))


@pytest.fixture
def night(config) -> NightRecord:
    moment = datetime(2020, 7, 1, 13, 30, tzinfo=UTC)
    snapshot = Snapshot(session=TONIGHT, as_of=moment, hash="h", rows=1, first=THEN, last=TONIGHT, symbols=1)
    return NightRecord.of(snapshot, config)


def promoted(version: str, session: date, config: RetrainConfig) -> None:
    moment = datetime(session.year, session.month, session.day, 23, tzinfo=UTC)
    ledger = Ledger(Locations(config.storage))
    ledger.append(
        LedgerEntry(
            night_id=version,
            session=session,
            as_of=moment,
            decided_at=moment,
            verdict="promote",
            reason="because",
            version=version,
            champion_before=ledger.champion_version(),
            champion_after=version,
            actor="tests",
        )
    )


def test_the_anchor_is_what_served_a_quarter_of_sessions_ago(config, night):
    promoted("old", date(2020, 1, 2), config)
    promoted("anchor", THEN, config)
    promoted("champion", LATER, config)
    assert anchor_version("champion", night, config) == "anchor"


def test_a_champion_that_has_served_so_long_is_no_anchor_to_itself(config, night):
    promoted("champion", THEN, config)
    assert anchor_version("champion", night, config) is None


def test_where_nothing_served_a_quarter_ago_there_is_no_anchor(config, night):
    promoted("first", LATER, config)
    promoted("champion", date(2020, 6, 29), config)
    assert anchor_version("champion", night, config) is None


def test_a_first_champion_has_no_anchor(config, night):
    assert anchor_version(None, night, config) is None


def card_of(config: RetrainConfig, relative: bool | None = True) -> ModelCard:
    return ModelCard.of(
        config,
        {},
        version="v",
        recipe="r",
        session="2020-06-29",
        trained_until="2020-03-31",
        epochs=1,
        relative=relative,
    )


def test_another_universe_is_another_question_and_a_longer_list_is_not(config):
    asked = RetrainConfig.model_validate({"data": {"universe": {"file": "members.csv", "min_history": 252}}})
    assert asked_differently(card_of(config), config, True) == asked_differently(card_of(asked), asked, True) == ""
    assert asked_differently(card_of(config), asked, True) == (
        "data.universe file members.csv and min_history 252 against all symbols"
    )


def test_a_universe_that_became_large_enough_for_relative_direction_is_another_question(config):
    assert asked_differently(card_of(config, False), config, True) == "direction relative against absolute"
    assert asked_differently(card_of(config, None), config, True) == ""  # a model from before this was noted


def test_a_champion_of_settings_that_are_refused_since_can_still_be_asked(config):
    card = card_of(config)
    short = card.model_copy(update={"config": card.config | {"gate": {"evidence_sessions": 30}}})
    assert short.retrain_config.gate.evidence_sessions == 30
    with pytest.raises(ValidationError):
        RetrainConfig.model_validate(short.config)


def test_the_order_of_the_heads_is_no_question(config):
    turned = RetrainConfig.model_validate({"network": {"heads": ["volatility", "direction", "magnitude"]}})
    assert asked_differently(card_of(config), turned, True) == ""
