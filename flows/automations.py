"""Who is told, by the Prefect server: automations that send each message to a notification block.

Most of them speak of what the flows say themselves (`tasks/tell.py`); the rest of what only the server can see: a run
whose process is gone, that never began, that ran out of time, or that Prefect ended before our code could begin.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events import AutomationCore, EventTrigger, Posture
from prefect.events.actions import ChangeFlowRunState, RunDeployment, SendNotification
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from flows.arrival import EVENT
from flows.nightly import NIGHTLY
from models.credentials import without_credentials
from models.errors import ConfigError, NocturneError
from models.messages import EVENTS
from models.records import Record
from tasks.tell import RAISED, automation_of

FLOWS: Final = ("retrain", "score", "rollback", "maintenance", "status")
"""Flows whose end somebody is told. A training run is not among them: the night that sent it speaks for it."""
WATCHED: Final = (*FLOWS, "train")
"""Flows whose silence means that their process is gone."""
HEARTBEAT: Final = "prefect.flow-run.heartbeat"
BEGUN: Final = (
    "Pending",
    "Running",
    "AwaitingConcurrencySlot",
    "Completed",
    "Failed",
    "Cancelled",
    "Crashed",
    "Skipped",
)
ENDED: Final = (
    "Completed",
    "Skipped",
    "Failed",
    "TimedOut",
    "Cancelling",
    "Cancelled",
    "Crashed",
    "Paused",
    "Suspended",
    "AwaitingConcurrencySlot",  # a night that let an older one go first
)
PREFECT_HEARTBEAT_S: Final = 180
"""What Prefect does where nobody says otherwise."""
LATE_AFTER: Final = timedelta(minutes=5)
ONE_NIGHT: Final = timedelta(hours=12)
"""Of the deliveries for one session, the first in this time starts its night."""
ONCE: Final = timedelta(minutes=5)
"""A crash is often reported several times within seconds; of one run, one report in this time is told."""

RUN: Final = "{{ flow_run.name if flow_run.name.startswith(flow.name) else flow.name ~ ' ' ~ flow_run.name }}"
LINK: Final = "Run: {{ flow_run | ui_url }}"


class AppliedAutomation(Record):
    """One automation on the server."""

    name: str
    done: Literal["created", "updated"]
    enabled: bool
    """Somebody may have paused it in the Prefect UI; that is left so."""


class Applied(Record):
    """What `nocturne automations apply` did."""

    block: str | None
    automations: tuple[AppliedAutomation, ...]
    why: str


class ServerUnavailable(NocturneError):
    """The Prefect server that was named cannot be reached, or refuses."""


def apply(
    block: str | None = None,
    heartbeat: timedelta = timedelta(seconds=PREFECT_HEARTBEAT_S),
    late_after: timedelta | None = None,
    on_arrival: bool = False,
) -> Applied:
    """Create or update our automations on the configured Prefect server; the same call again changes nothing.

    Args:
        block: Notification block that the messages go to, `type/name`; None makes only what needs none.
        heartbeat: How often a run says that it is alive: PREFECT_FLOWS_HEARTBEAT_FREQUENCY of the workers, by default
            three minutes. If this is less than theirs, healthy runs are marked crashed.
        late_after: A run that has not begun so long after it became late is told; None leaves that as it is on the
            server, and is five minutes at first.
        on_arrival: Also start the night of a session when its delivery is ingested.

    Raises:
        ConfigError: no server is configured, or the block does not exist or cannot notify.
        ServerUnavailable: the server cannot be reached.
    """
    address = PREFECT_API_URL.value()
    if not address:
        raise ConfigError(
            "Automations live on a Prefect server, and none is configured: the temporary server of a command ends with "
            "it. Start one and set PREFECT_API_URL; without a server, NOCTURNE_WEBHOOK names an address to be told at."
        )
    try:
        with get_client(sync_client=True) as client:
            wanted = [_stuck(heartbeat)]
            if on_arrival:
                wanted.append(_on_arrival(client))
            if block is not None:
                wanted += _messages(_notifier(client, block), late_after or _present_patience(client))
            done = tuple(_put(client, one) for one in wanted)
            why = f"messages go to {block}" if block else _why_without_block(client)
    except HTTPError as error:
        raise ServerUnavailable(
            f"The Prefect server at {without_credentials(address)} could not be spoken to: {error}. Nothing further "
            f"was changed; the same command again completes it. Check PREFECT_API_URL, and PREFECT_API_AUTH_STRING if "
            f"the server asks for a password."
        ) from error
    return Applied(block=block, automations=done, why=why)


def _why_without_block(client: SyncPrefectClient) -> str:
    if client.read_automations_by_name(automation_of("failed")):
        return "messages go where they went before; lost runs are marked"
    return "without --block nobody is told; lost runs are marked all the same"


def _stuck(heartbeat: timedelta) -> AutomationCore:
    """A run that was alive and says nothing any more is marked crashed; which then is told like any crash."""
    silence = max(2.5 * heartbeat, timedelta(seconds=10))
    return AutomationCore(
        name=automation_of("stuck"),
        description=f"A run without a sign of life for {silence.total_seconds():.0f} s is marked Crashed.",
        tags=["nocturne"],
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_of(WATCHED),
            after={HEARTBEAT},
            expect={HEARTBEAT, *_states(ENDED)},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, name="Crashed", message="no sign of life: its process or its machine is gone"
            )
        ],
    )


def _on_arrival(client: SyncPrefectClient) -> AutomationCore:
    """The night of a session starts when its delivery is there, once; the schedule then finds it judged."""
    try:
        nightly = client.read_deployment_by_name(NIGHTLY)
    except ObjectNotFound:
        raise ConfigError(
            f"There is no deployment {NIGHTLY} on the Prefect server for a delivery to start; nothing was changed. "
            f"Make it with `nocturne up` or `prefect deploy --all`."
        ) from None
    session = {"__prefect_kind": "jinja", "template": "{{ event.payload.session }}"}
    return AutomationCore(
        name=automation_of("arrival"),
        description="Starts the night of a session when its delivery is ingested, once.",
        tags=["nocturne"],
        trigger=EventTrigger(
            expect={EVENT},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=ONE_NIGHT,
        ),
        actions=[RunDeployment(deployment_id=nightly.id, parameters={"session": session})],
    )


def _present_patience(client: SyncPrefectClient) -> timedelta:
    found = client.read_automations_by_name(automation_of("late"))
    trigger = found[0].trigger if found else None
    return trigger.within if isinstance(trigger, EventTrigger) else LATE_AFTER


def _messages(block: UUID, late_after: timedelta) -> Iterator[AutomationCore]:
    for kind, event in EVENTS.items():
        trigger = EventTrigger(expect={event}, posture=Posture.Reactive, threshold=1)
        said = "{{ event.payload.subject }}", "{{ event.payload.text }}"
        yield _message(kind, f"Sends what the flows say of `{event}`.", trigger, block, *said)
    not_from_our_code = {"prefect.state-message": f"!{RAISED}*"}
    yield _of_runs("ended by Prefect", "failed", block, "{{ flow_run.state.message }}", {"Failed"}, not_from_our_code)
    yield _of_runs("timed out", "timed out", block, "{{ flow_run.state.message }}", {"TimedOut"})
    yield _of_runs("crashed", "crashed", block, "its process ended: {{ flow_run.state.message }}", {"Crashed"})
    late = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=_of(FLOWS),
        after={"prefect.flow-run.Late"},
        expect=set(_states(BEGUN)),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=late_after,
    )
    yield _message(
        "late", "Sends which run has not begun in time.", late, block, f"Nocturne: {RUN} has not begun",
        "It was to start at {{ flow_run.expected_start_time.strftime('%Y-%m-%d %H:%M') }} UTC; no worker took it.\n"
        "Do: start the worker of its pool, `prefect worker start --pool cpu`; the run then begins by itself.",
    )  # fmt: skip


def _of_runs(
    kind: str, ended: str, block: UUID, why: str, states: set[str], match: dict[str, str] | None = None
) -> AutomationCore:
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*", **(match or {})},
        match_related=_of(FLOWS),
        expect=set(_states(states)),
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=ONCE,
    )
    body = (
        f"`nocturne status` says what serves.\nWhy: {why}\n"
        f"Do: run the same again; a night goes on from what is finished."
    )
    return _message(kind, f"Sends which run {ended}.", trigger, block, f"Nocturne: {RUN} {ended}", body)


def _message(
    kind: str, description: str, trigger: EventTrigger, block: UUID, subject: str, body: str
) -> AutomationCore:
    action = SendNotification(block_document_id=block, subject=subject, body=f"{body}\n{LINK}")
    return AutomationCore(
        name=automation_of(kind), description=description, tags=["nocturne"], trigger=trigger, actions=[action]
    )


def _of(flows: tuple[str, ...]) -> dict[str, str | list[str]]:
    return {"prefect.resource.role": "flow", "prefect.resource.name": [*flows]}


def _states(names: "tuple[str, ...] | set[str]") -> Iterator[str]:
    return (f"prefect.flow-run.{name}" for name in names)


def _put(client: SyncPrefectClient, wanted: AutomationCore) -> AppliedAutomation:
    """By name, so that there is never a second one; an automation that somebody paused stays so."""
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return AppliedAutomation(name=wanted.name, done="created", enabled=True)
    enabled = found[0].enabled
    client.update_automation(found[0].id, wanted.model_copy(update={"enabled": enabled}))
    return AppliedAutomation(name=wanted.name, done="updated", enabled=enabled)


def _notifier(client: SyncPrefectClient, block: str) -> UUID:
    kind, slash, name = block.partition("/")
    if not (kind and slash and name):
        raise ConfigError(f"--block {block} names no block. Write its type and its name: slack-webhook/ops")
    try:
        found = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound:
        raise ConfigError(
            f"There is no block {block} on the Prefect server, so nobody could be told; nothing was changed. Create it "
            f"in the Prefect UI (Blocks, +), or for Slack:\n"
            f'  python -c "from prefect.blocks.notifications import SlackWebhook; import os; '
            f"SlackWebhook(url=os.environ['SLACK_URL']).save('{name}')\"\n"
            f"`prefect block ls` lists the blocks that are there."
        ) from None
    if found.block_schema is None or "notify" not in found.block_schema.capabilities:
        raise ConfigError(
            f"The block {block} cannot send messages; nothing was changed. Name a notification block, such as one of "
            f"type slack-webhook, ms-teams-webhook, sendgrid-email or custom-webhook."
        )
    return found.id
