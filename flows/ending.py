"""How a run looks in Prefect: its name, when it was meant to start, and the state it ends in."""

from datetime import UTC, datetime
from typing import cast

from prefect.runtime import flow_run
from prefect.states import Completed

from models.records import NightResult


def name_of_run() -> str:
    """`retrain 2024-07-03`; a run that has to find its session out is named by when it was meant to start."""
    parameters, flow = flow_run.parameters, flow_run.flow_name
    if session := parameters.get("session"):
        return f"{flow} {session}"
    return f"{flow} of {scheduled_start():%Y-%m-%d %H:%M} UTC" if parameters.get("scheduled") else f"{flow} latest"


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
