"""Work for a worker elsewhere: sent by id, watched until it ends. Nothing but small parameters goes there."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import LogSort
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Crashed

from models.errors import DeadlinePassed, DispatchError

POLL_S: Final = 1.0
LOG_LAG_S: Final = 2.0
ATTEMPTS: Final = 3
"""Runs that may be lost with their worker before the night gives up."""
STARTS_WITHIN_S: Final = 180.0
"""Seconds that a worker may take from taking a run to starting it. Its death in between leaves the run pending, and no
other worker ever takes it."""
_WAITING: Final = (StateType.SCHEDULED, StateType.PENDING)
_UNFINISHED: Final = (*_WAITING, StateType.RUNNING, StateType.PAUSED)
_LOG_PAGE: Final = 200


def has_deployment(name: str) -> bool:
    """Whether the Prefect server of this run knows a deployment, named `flow/deployment`."""
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(name)
        except ObjectNotFound:
            return False
        return True


def run_elsewhere(
    deployment: str, parameters: Mapping[str, Any], tag: str, pick_up_s: float, deadline: datetime | None = None
) -> None:
    """Run a deployment and wait for its end, with its log in ours.

    A run of this tag that has not ended, left by a night that was killed, is taken over. A run that is lost with its
    worker is sent again.

    Args:
        deployment: `flow/deployment`.
        parameters: JSON-like; they are shown in the Prefect UI.
        tag: What the run is for, for example `train:3f0c…`.
        pick_up_s: Seconds within which a worker must take it, and then start it.
        deadline: When it is given up, even if it runs.

    Raises:
        DeadlinePassed: it was not done in time; it is cancelled.
        DispatchError: nobody took it, it was lost several times, or it failed; with its own last words.
    """
    log = get_run_logger()
    for attempt in range(1, ATTEMPTS + 1):
        with get_client(sync_client=True) as client:
            run = _unfinished(client, tag) or _sent(deployment, parameters, tag)
            log.info("%s was sent to another worker as the run %s", deployment, run.name)
            run = _Watch(client, run.id, deployment, pick_up_s, deadline).until_the_end()
        state = run.state
        if state is not None and state.is_completed():
            return
        told = state.message if state is not None else None
        if deadline is not None and datetime.now(UTC) >= deadline:
            raise DeadlinePassed(deadline)
        if state is None or not state.is_crashed() or attempt == ATTEMPTS:
            raise DispatchError(
                f"The run {run.name} of {deployment} ended {state.name if state else 'without a state'}: "
                f"{told or 'its log says why.'} The champion stays; the same night goes on from what is finished."
            )
        log.warning("the run %s was lost with its worker (%s); it is sent again", run.name, told)
        time.sleep(random.uniform(0.5, 1.5) * 2**attempt)


def _sent(deployment: str, parameters: Mapping[str, Any], tag: str) -> FlowRun:
    sent = run_deployment(deployment, parameters=dict(parameters), timeout=0, tags=[tag])
    return cast(FlowRun, sent)  # where no event loop runs, which is where flows run, it is never a coroutine


def _unfinished(client: SyncPrefectClient, tag: str) -> FlowRun | None:
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[tag]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_UNFINISHED))),
        )
    )
    return found[0] if found else None


@dataclass
class _Watch:
    """One run that is waited for."""

    client: SyncPrefectClient
    run_id: UUID
    deployment: str
    pick_up_s: float
    deadline: datetime | None
    _read: int = 0
    _taken_at: float | None = None

    def until_the_end(self) -> FlowRun:
        patience_ends = time.monotonic() + self.pick_up_s
        while True:
            run = self.client.read_flow_run(self.run_id)
            self._hand_on_log()
            if run.state is not None and run.state.is_final():
                self._hand_on_rest()
                return run
            if self._is_lost(run):
                continue
            waits = run.state is None or run.state.is_scheduled()
            if self.deadline and datetime.now(UTC) >= self.deadline:
                self._cancel("the night was not done in time")
                raise DeadlinePassed(self.deadline)
            if waits and time.monotonic() > patience_ends:
                self._cancel("no worker took it in time")
                raise self._nobody_took(run)
            time.sleep(POLL_S)

    def _hand_on_rest(self) -> None:
        """Its last lines are sent a little after its end."""
        time.sleep(LOG_LAG_S)
        while self._hand_on_log():
            pass

    def _is_lost(self, run: FlowRun) -> bool:
        """Whether its worker took it and died before starting it; the run is then marked as what it is, crashed."""
        if run.state is None or not run.state.is_pending():
            self._taken_at = None
            return False
        self._taken_at = self._taken_at or time.monotonic()
        patience = min(self.pick_up_s, STARTS_WITHIN_S)
        if time.monotonic() - self._taken_at < patience:
            return False
        why = f"a worker took it and did not start it within {patience:.0f} s"
        self.client.set_flow_run_state(self.run_id, Crashed(message=why))
        return True

    def _hand_on_log(self) -> int:
        log = get_run_logger()
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.run_id]))
        lines = self.client.read_logs(wanted, limit=_LOG_PAGE, offset=self._read, sort=LogSort.TIMESTAMP_ASC)
        for line in lines:
            log.log(line.level, "%s: %s", self.deployment.partition("/")[0], line.message)
        self._read += len(lines)
        return len(lines)

    def _cancel(self, why: str) -> None:
        state = self.client.read_flow_run(self.run_id).state
        begun = state is not None and state.type not in _WAITING  # then its worker has to end it
        self.client.set_flow_run_state(self.run_id, Cancelling(message=why) if begun else Cancelled(message=why))

    def _nobody_took(self, run: FlowRun) -> DispatchError:
        return DispatchError(
            f"No worker took the run {run.name} of {self.deployment} within {self.pick_up_s:.0f} s "
            f"(operation.dispatch_timeout; its last state was {run.state.name if run.state else 'none'}), so nothing "
            f"was trained and the champion stays. Start a worker for its pool, for example `prefect worker start "
            f"--pool gpu`, or wait until the one that is there is free, and run the night again; it goes on from there."
        )
