"""What passes by itself is tried again, what was refused is not: real tasks on a real Prefect and real failures."""

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import flow_run

from models.config import RetrainConfig
from models.errors import DeliveryError, StoreError
from models.ledger import Ledger
from models.locations import Locations
from models.registry import Registry
from tasks.ingest import ingest_delivery
from tasks.promote import keep_champion
from tests.crash.work import KEEP, night
from tests.real_prefect import until

pytestmark = pytest.mark.usefixtures("prefect")

HEADER = "symbol,timestamp,open,high,low,close,volume\n"
LOCK = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1])
held.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
input()
"""


@pytest.fixture
def config(tmp_path) -> RetrainConfig:
    return RetrainConfig.model_validate({"storage": {"home": str(tmp_path / "home")}})


@pytest.fixture
def delivery(make_market, tmp_path) -> str:
    bars = make_market(n_symbols=10, n_sessions=8)
    bars = bars.assign(timestamp=bars["session"].dt.date).drop(columns="session")
    bars.to_csv(tmp_path / "prices.csv", index=False)
    return str(tmp_path / "prices.csv")


def in_a_flow(work: Callable[[], Any], mend: Callable[[], None] | None = None) -> tuple[Any, int]:
    """Run one task in a flow and mend what is broken once it waits for its next try; what it said, and its tries."""
    known: list[UUID] = []

    @flow(name="outside", persist_result=False)
    def outside() -> Any:
        known.append(UUID(flow_run.id))
        try:
            return work()
        except Exception as error:
            return repr(error)

    mending = threading.Thread(target=lambda: (until(lambda: _waiting(known)), mend and mend()))
    if mend:
        mending.start()
    result = outside()
    if mend:
        mending.join()
    (run,) = until(lambda: [one for one in _tasks(known) if one.state and one.state.is_final()])
    return result, run.run_count


def _tasks(known: list[UUID]) -> list[TaskRun]:
    if not known:
        return []
    with get_client(sync_client=True) as client:
        return client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=known)))


def _waiting(known: list[UUID]) -> bool:
    return any(one.state_name == "AwaitingRetry" for one in _tasks(known))


def test_a_store_that_fails_once_is_tried_again(config, delivery, tmp_path):
    home = tmp_path / "home"
    home.write_text("a file where the home should be")
    record, tries = in_a_flow(lambda: ingest_delivery(delivery, config), mend=home.unlink)
    assert record.account.accepted == 80
    assert tries == 2


def test_a_file_that_is_no_table_of_bars_is_not_tried_again(config, tmp_path):
    (tmp_path / "bad.csv").write_text(HEADER.replace("close", "shut") + "A,2015-01-05,1,9,1,2,10\n")
    told, tries = in_a_flow(lambda: ingest_delivery(str(tmp_path / "bad.csv"), config))
    assert told.startswith(DeliveryError.__name__)
    assert tries == 1


def test_what_the_store_refuses_is_not_tried_again(config):
    locations = Locations(config.storage)
    registry = Registry(locations)
    registry.prepare()
    registry._client.create_registered_model("nocturne")
    made = registry._client.create_model_version("nocturne", "nowhere", tags={"nocturne.version": "v1"})
    registry._client.set_registered_model_alias("nocturne", "champion", made.version)
    told, tries = in_a_flow(lambda: keep_champion(night(1), None, KEEP, {}, config))
    assert f"{StoreError.__name__}('The ledger at" in told
    assert tries == 1


@pytest.mark.slow
def test_a_registry_that_another_process_locks_for_a_while_is_tried_again(config):
    """MLflow itself waits 20 s for the lock first."""
    locations = Locations(config.storage)
    Registry(locations).prepare()
    database = locations.tracking_uri.removeprefix("sqlite:///")
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    entry, tries = in_a_flow(
        lambda: keep_champion(night(1), None, KEEP, {}, config), mend=lambda: holder.communicate() and None
    )
    assert Ledger(locations).entries() == (entry,)
    assert tries == 2
