"""Telling people: each thing that happened becomes one event, and one message.

Where the Prefect server has our automation for this kind of message (`nocturne automations apply`), the server sends
it. Where it has not, as with the temporary server, this process posts it to the address in NOCTURNE_WEBHOOK, if there
is one. So it is never both.
"""

import http.client
import json
import logging
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.error import HTTPError
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from httpx import HTTPError as PrefectError
from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.events import Event, RelatedResource, Resource
from prefect.events.filters import EventFilter, EventIDFilter
from prefect.flows import Flow

from models.config import RetrainConfig
from models.errors import NocturneError
from models.locations import Locations
from models.messages import EVENTS, Kind, Message, of_concerns, of_decision, of_failure, of_rollback, of_waiting
from models.night import NightFiles, NightRecord
from models.records import Record
from tasks.close import decided_result
from tasks.rollback import RollbackResult
from tasks.status import StatusReport

WEBHOOK: Final = "NOCTURNE_WEBHOOK"
WEBHOOK_TIMEOUT_S: Final = 10.0
RAISED: Final = "Flow run encountered an exception"
"""How Prefect begins the message of a run that its own code ended; such a run speaks for itself (`tell_failure`)."""

log = logging.getLogger(__name__)


class Told(Record):
    """The mark in a night's files that its decision was told."""

    event: str
    at: datetime


def automation_of(kind: str) -> str:
    """Name of the automation on the Prefect server that sends the messages of a kind."""
    return f"nocturne: {kind}"


@contextmanager
def decision_told(night: NightRecord, config: RetrainConfig) -> Iterator[None]:
    """Tell what the body decided, or an earlier run that was killed before it could tell; once a night.

    A night that was decided and fails afterwards tells its decision too.
    """
    try:
        yield
    except Exception:
        with suppress(NocturneError):  # what went wrong first is what the night ends with
            _tell_decision(night, config)
        raise
    _tell_decision(night, config)


def tell_waiting(version: str, session: date, reason: str, until: datetime) -> None:
    """Tell that a candidate waits for approval; once for each run that asks."""
    told = uuid5(NAMESPACE_URL, f"{runtime.flow_run.id} {EVENTS['waiting']}")
    _tell(of_waiting(version, session, reason, until), _run(), told)


def tell_concerns(report: StatusReport, config: RetrainConfig) -> None:
    """Tell what is not as it should be; the same once a session, however often it is looked at."""
    if not report.concerns:
        return
    message = of_concerns(report.concerns, report.fresh.due)
    what = f"{Locations(config.storage).home} {report.fresh.due} {message.why}"
    _tell(message, _run(), uuid5(NAMESPACE_URL, what))


def tell_rollback(result: RollbackResult) -> None:
    """Tell that the champion moved back."""
    _tell(of_rollback(result.champion_before, result.champion, result.reason, result.actor), _run(), uuid4())


def tell_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """The `on_failure` of our flows: tell what their code raised.

    What Prefect itself ended, such as a run with wrong parameters or out of time, is told by Prefect's own event; here
    only where no automation listens to that.
    """
    error = state.result(raise_on_failure=False)
    message = of_failure(flow_run.name, error if isinstance(error, Exception) else RuntimeError(state.message))
    if (state.message or "").startswith(RAISED):
        _tell(message, _related(flow_run.id, flow_run.name), uuid4())
    else:
        with get_client(sync_client=True) as client:
            if not _sent_by_server(client, message.kind):
                _post(message)


def _tell_decision(night: NightRecord, config: RetrainConfig) -> None:
    files = NightFiles(Locations(config.storage), night.night_id)
    if files.has("told.json") or (result := decided_result(night, config)) is None:
        return
    message = of_decision(result)
    event = EVENTS[message.kind]
    if _tell(message, _run(), uuid5(NAMESPACE_URL, f"{files.root} {event}")):
        files.write_record("told", Told(event=event, at=datetime.now(UTC)))


def _tell(message: Message, run: RelatedResource, event_id: UUID) -> bool:
    """Tell one message; False if the Prefect server could not be reached, which ends no night."""
    event = Event(
        id=event_id,
        event=EVENTS[message.kind],
        resource=_resource(f"nocturne.{EVENTS[message.kind].split('.')[1]}", message.subject),
        related=[run],
        payload={**message.model_dump(mode="json"), "text": message.text},
    )
    try:
        with get_client(sync_client=True) as client:
            if _known(client, event_id):
                return True
            # Not `emit_event`, which sends a little later: a run that is killed meanwhile would have told nobody.
            client.request("POST", "/events", json=[event.model_dump(mode="json")])
            sent = _sent_by_server(client, message.kind)
    except PrefectError as error:
        log.warning("%r could not be told to the Prefect server (%s)", message.subject, type(error).__name__)
        return False
    if not sent:
        _post(message)
    return True


def _run() -> RelatedResource:
    return _related(runtime.flow_run.id, runtime.flow_run.name)


def _related(run_id: object, name: object) -> RelatedResource:
    labels = {"prefect.resource.role": "flow-run", "prefect.resource.name": str(name)}
    return RelatedResource({"prefect.resource.id": f"prefect.flow-run.{run_id}", **labels})


def _resource(resource_id: str, name: str) -> Resource:
    return Resource({"prefect.resource.id": resource_id, "prefect.resource.name": name})


def _known(client: SyncPrefectClient, event_id: UUID) -> bool:
    """Whether a run that was killed before it left its mark has told this already."""
    return bool(client.read_events(EventFilter(id=EventIDFilter(id=[event_id])), limit=1).events)


def _sent_by_server(client: SyncPrefectClient, kind: Kind) -> bool:
    return bool(client.read_automations_by_name(automation_of(kind)))


def _post(message: Message) -> None:
    """To the webhook of the environment, if there is one. No night ever fails because nobody could be told."""
    address = os.environ.get(WEBHOOK)
    if not address:
        return
    content = json.dumps({"text": f"*{message.subject}*\n\n{message.text}"}).encode()
    try:
        request = urllib.request.Request(address, content, {"Content-Type": "application/json"}, method="POST")
        urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S).close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        log.warning("%r could not be sent to the address in %s: %s", message.subject, WEBHOOK, _reason(error))


def _reason(error: Exception) -> str:
    """Why, without the error's own words: some errors quote the address, which is a secret."""
    if isinstance(error, HTTPError):
        return f"it answered {error.code}"
    if isinstance(error, OSError):
        cause = getattr(error, "reason", error)
        return f"it cannot be reached ({getattr(cause, 'strerror', None) or type(cause).__name__})"
    return "it is no http(s) address"
