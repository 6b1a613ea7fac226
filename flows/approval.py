"""A person's word before a model serves: the run pauses with a form in the Prefect UI that shows the checks."""

from dataclasses import replace
from typing import Final, Literal

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Running
from pydantic import Field

from models.config import GateConfig, RetrainConfig
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightRecord
from models.notation import passed_or_not, value_and_bound
from models.page import Column, Page, Section, Table, to_markdown
from models.records import Verdict
from tasks.close import Outcome
from tasks.tell import tell_waiting

POLL_S: Final = 5


class Approval(RunInput):
    """The word of whoever decides; it goes to the ledger with name and reason."""

    decision: Literal["approve", "keep"] = Field("keep", description="approve: it serves. keep: the champion stays.")
    who: str = Field(min_length=1, description="Your name.")
    reason: str = Field(min_length=1, description="Why, for whoever reads the ledger later.")


def with_approval(outcome: Outcome, night: NightRecord, config: RetrainConfig) -> Outcome:
    """The outcome after somebody was asked, where the gate would promote and `gate.approval` asks for a person."""
    verdict = outcome.verdict
    decided = Ledger(Locations(config.storage)).decision(night.night_id) is not None
    if config.gate.approval == "none" or verdict.verdict != "promote" or decided:
        return outcome
    tell_waiting(night, verdict, config)
    return replace(outcome, verdict=_asked(verdict, night, config.gate))


def _asked(verdict: Verdict, night: NightRecord, gate: GateConfig) -> Verdict:
    try:
        answer: Approval = pause_flow_run(
            wait_for_input=Approval.with_initial_data(description=_page(verdict, night, gate), decision="keep"),
            timeout=int(gate.approval_hours * 3600),
            poll_interval=POLL_S,
        )
    except FlowPauseTimeout:
        _go_on()
        reason = f"not approved: nobody answered within {gate.approval_hours:g} hours. The gate said: {verdict.reason}"
        return verdict.model_copy(update={"verdict": "keep", "reason": reason})
    said = f"{answer.who}: {answer.reason}. The gate said: {verdict.reason}"
    if answer.decision == "approve":
        update = {"reason": f"approved by {said}"}
    else:
        update = {"verdict": "keep", "reason": f"not approved by {said}"}
    return verdict.model_copy(update={**update, "decided_by": answer.who})


def _go_on() -> None:
    """Prefect lets a run that nobody resumed only fail; but a night that nobody approved is a good night."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Running(), force=True)


def _page(verdict: Verdict, night: NightRecord, gate: GateConfig) -> str:
    columns = (Column("check"), Column("value", numeric=True), Column("bound", numeric=True), Column(""), Column("why"))
    rows = tuple(
        (check.name, *value_and_bound(check), passed_or_not(check.passed), check.why) for check in verdict.checks
    )
    page = Page(
        overline=f"Nocturne · the night of {night.snapshot.session}",
        headline=f"Shall {night.version} serve?",
        passed=True,
        lead=f"{verdict.reason}. Without an answer within {gate.approval_hours:g} hours the champion stays.",
        sections=(Section("The gate", (Table(columns, rows),)),),
    )
    return to_markdown(page)
