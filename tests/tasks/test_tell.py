"""Messages from the process itself, where no server sends them: a real flow run, and a receiver."""

import logging
import shutil

import pytest

from flows.retrain import retrain
from flows.rollback import rollback
from models.config import RetrainConfig, StorageConfig
from models.errors import DeliveryError, RegistryError
from tests.flows.test_retrain import config_at, deliver
from tests.real_prefect import free_port
from tests.receiver import SECRET, receiver

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def received(monkeypatch):
    with receiver() as one:
        monkeypatch.setenv("NOCTURNE_WEBHOOK", one.url)
        yield one


@pytest.fixture
def too_little(make_market, tmp_path) -> str:
    """A delivery on which a night decides within seconds: keep, for want of history."""
    return deliver(make_market(n_symbols=25, n_sessions=60), tmp_path / "in", "short.csv")


def test_a_decided_night_is_told_once_in_the_form_that_slack_takes(received, too_little, tmp_path):
    night = retrain(config=config_at(tmp_path), deliveries=[too_little])
    retrain(config=config_at(tmp_path))
    (message,) = received.messages
    assert message.keys() == {"text"}
    assert message["text"].startswith(f"*Nocturne {night.session}: promoted nothing*")
    assert f"Why: {night.reason}" in message["text"]
    assert "• enough_history 39 (min 120; +81 would have passed)" in message["text"]
    assert message["text"].endswith(f"Report: {night.report}")


def test_a_night_that_was_killed_before_it_told_is_told_by_its_repetition(received, too_little, tmp_path):
    night = retrain(config=config_at(tmp_path / "first"), deliveries=[too_little])
    received.messages.clear()
    untold = tmp_path / "untold"  # elsewhere, so that the server has no event of it yet
    shutil.copytree(tmp_path / "first", untold, ignore=shutil.ignore_patterns("told.json"))
    assert retrain(config=config_at(untold)).repeated
    assert len(received.texts(night.reason)) == 1
    assert list((untold / "nights").glob("*/told.json"))


def test_a_night_that_fails_after_its_decision_tells_both(received, too_little, tmp_path):
    (tmp_path / "file").write_text("in the way of the reports")
    storage = StorageConfig(home=str(tmp_path), reports=f"{tmp_path}/file/reports")
    with pytest.raises(OSError, match="file"):
        retrain(config=config_at(tmp_path).model_copy(update={"storage": storage}), deliveries=[too_little])
    decided, failed = (message["text"] for message in received.messages)
    assert "promoted nothing" in decided
    assert "failed" in failed.splitlines()[0]


def test_a_trial_that_decides_nothing_is_not_told(received, too_little, tmp_path):
    retrain(config=config_at(tmp_path), deliveries=[too_little], promote=False)
    assert received.messages == []


def test_a_failed_night_is_told_once(received, tmp_path):
    with pytest.raises(DeliveryError):
        retrain(config=config_at(tmp_path))
    (message,) = received.messages
    assert "retrain latest failed" in message["text"]
    assert "nocturne ingest" in message["text"]


def test_a_failed_rollback_is_told(received, tmp_path):
    with pytest.raises(RegistryError):
        rollback(reason="it drifts", config=RetrainConfig.model_validate({"storage": {"home": str(tmp_path)}}))
    assert len(received.texts("Nothing serves yet, so there is nothing to roll back")) == 1


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (f"http://127.0.0.1:{free_port()}/{SECRET}", "Connection refused"),
        (f"http://127.0.0.1:{SECRET}/", "no http"),
        (f"{SECRET}", "no http"),
    ],
)
def test_a_webhook_out_of_reach_is_said_without_its_address_and_fails_no_night(
    address, why, too_little, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("NOCTURNE_WEBHOOK", address)
    with caplog.at_level(logging.WARNING):
        assert retrain(config=config_at(tmp_path), deliveries=[too_little]).verdict == "keep"
    warnings = [record.getMessage() for record in caplog.records if "NOCTURNE_WEBHOOK" in record.getMessage()]
    assert len(warnings) == 1
    assert why in warnings[0]
    assert SECRET not in caplog.text
