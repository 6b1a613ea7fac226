"""How a run looks in Prefect: its name, when it was meant to start, and the state it ends in."""

from datetime import UTC, date, datetime
from typing import cast

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from models.records import NightResult


def name_of_run() -> str:
    """`retrain 2024-07-03`; a run that has to find its session out is called so later, by `name_after`."""
    parameters, flow = flow_run.parameters, flow_run.flow_name
    if session := parameters.get("session"):
        return f"{flow} {session}"
    return f"{flow} of {scheduled_start():%Y-%m-%d %H:%M} UTC" if parameters.get("scheduled") else f"{flow} latest"


def name_after(session: date) -> None:
    """Rename this run after its session, as soon as that is known; a name that cannot be set fails no night."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    name = f"{flow_run.flow_name} {session}"
    if run is None or run.name == name:
        return
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_name(run.id, name)
    except (HTTPError, PrefectException) as error:
        get_run_logger().warning("this run keeps the name %r: Prefect did not take %r (%s)", run.name, name, error)
        return
    run.name = name  # for what this process still tells of it, such as its failure


def scheduled_start() -> datetime:
    """When this run was meant to start, in UTC: after an outage that may be days ago."""
    planned = flow_run.scheduled_start_time
    return datetime.fromisoformat(str(planned)).astimezone(UTC) if planned else datetime.now(UTC)


def ended(result: NightResult) -> NightResult:
    """The result as Prefect's final state, which says the verdict; whoever calls the flow gets the result itself."""
    repeated = "decided before: " if result.repeated else ""
    told = f"{repeated}{result.verdict.upper()}: {result.reason}"
    return cast(NightResult, Completed(message=told, data=result))


def skipped(why: str) -> NightResult:
    """The state of a scheduled run with nothing to do: completed, and named so that nobody takes it for a night."""
    return cast(NightResult, Completed(name="Skipped", message=why))
