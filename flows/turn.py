"""Under operation.catch_up = all, missed nights are run oldest first.

Of the runs that wait for the one place of their deployment Prefect tries each by a clock of its own, so a newer night
can find the place free before an older one does. It then gives the place back, before it has done anything.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.exceptions import Pause, PrefectException
from prefect.logging import get_run_logger
from prefect.states import AwaitingConcurrencySlot

AGAIN_AFTER: Final = timedelta(seconds=30)
"""As long as Prefect itself lets a run wait that finds no place."""
AT_MOST: Final = 20
"""Starts after which a night runs although an older one waits, so that one that cannot start never stops the others."""


def let_older_nights_go_first() -> None:
    """End this process and leave the night to a later one, if an older scheduled night waits for its place.

    Without a server of one's own, and where the deployment lets more than one night run at a time, nothing is done.
    A server that does not answer costs the order, not the night.

    Raises:
        Pause: this run waits again; Prefect ends the process without calling the run failed or crashed.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None or run.run_count >= AT_MOST:
        return
    try:
        with get_client(sync_client=True) as client:
            waiting = _given_back(client, run)
    except (HTTPError, PrefectException) as error:
        get_run_logger().warning("whether an older night waits could not be found out (%s); this one goes on", error)
        return
    if waiting is not None:
        raise Pause(state=waiting)


def _given_back(client: SyncPrefectClient, run: FlowRun) -> State[Any] | None:
    """The state in which this run waits, now that an older night has its place; None where no older one waits."""
    older = _oldest_waiting(client, run)
    if older is None or older.expected_start_time is None or not _one_at_a_time(client, run):
        return None
    # While this run has the place, the older one cannot be on its way. With its first planned start it stands before
    # all others that a worker finds.
    client.set_flow_run_state(older.id, AwaitingConcurrencySlot(scheduled_time=older.expected_start_time))
    message = f"The night that was planned for {older.expected_start_time:%Y-%m-%d %H:%M} UTC goes first."
    waiting: State[Any] = AwaitingConcurrencySlot(scheduled_time=datetime.now(UTC) + AGAIN_AFTER, message=message)
    done = client.set_flow_run_state(run.id, waiting)
    return done.state if done.status == SetStateStatus.ACCEPT else None


def _oldest_waiting(client: SyncPrefectClient, run: FlowRun) -> FlowRun | None:
    """The first planned of the scheduled runs that the same worker could take now and that were planned before this."""
    waiting = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[run.deployment_id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=run.expected_start_time),
            next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC) + 2 * AGAIN_AFTER),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    return next((one for one in waiting if one.id != run.id and _by_schedule(one) and _beside(one, run)), None)


def _by_schedule(run: FlowRun) -> bool:
    return bool(run.parameters.get("scheduled")) and not run.parameters.get("session")


def _beside(one: FlowRun, run: FlowRun) -> bool:
    return one.work_queue_id == run.work_queue_id and one.expected_start_time != run.expected_start_time


def _one_at_a_time(client: SyncPrefectClient, run: FlowRun) -> bool:
    limit = client.read_deployment(run.deployment_id).global_concurrency_limit if run.deployment_id else None
    return limit is not None and limit.limit == 1
