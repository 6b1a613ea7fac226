"""What a run is called, on a real Prefect."""

import logging
from datetime import date
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import SyncClientContext
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.ending import name_after, name_of_run
from tests.real_prefect import free_port

pytestmark = pytest.mark.usefixtures("prefect")

SESSION = date(2024, 7, 3)


@flow(flow_run_name=name_of_run)
def night(session: date | None = None, scheduled: bool = False) -> tuple[str, str, str]:
    """Id, name at the start, and name once the session is known."""
    begun_as = flow_run.name
    name_after(SESSION)
    return flow_run.id, begun_as, flow_run.name


def name_on_the_server(run_id: str) -> str:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(run_id)).name


def test_a_run_that_finds_its_session_out_is_renamed_after_it():
    run_id, begun_as, name = night()
    assert (begun_as, name) == ("night latest", "night 2024-07-03")
    assert name_on_the_server(run_id) == name


def test_a_scheduled_run_is_renamed_after_the_session_that_it_stands_in_for():
    run_id, begun_as, _ = night(scheduled=True)
    assert begun_as.startswith("night of 2")
    assert name_on_the_server(run_id) == "night 2024-07-03"


@flow(flow_run_name=name_of_run)
def night_without_its_server(session: date | None = None) -> str:
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    gone = SyncPrefectClient(nowhere, server_type=ServerType.CLOUD)  # of which no version is asked at the start
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), SyncClientContext.model_construct(client=gone):
        name_after(SESSION)
    return flow_run.name


def test_a_server_that_is_gone_for_the_moment_costs_a_run_its_name_and_nothing_else(caplog):
    with caplog.at_level(logging.WARNING):
        assert night_without_its_server() == "night-without-its-server latest"
    assert "keeps the name 'night-without-its-server latest'" in caplog.text


def test_a_run_that_has_its_name_already_asks_the_server_for_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        assert night_without_its_server(session=SESSION) == "night-without-its-server 2024-07-03"
    assert "keeps the name" not in caplog.text
