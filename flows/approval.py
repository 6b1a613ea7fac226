"""A person's word before a model serves: a run that pauses with a form in the Prefect UI, which shows the checks.

It is a run of its own below the night's: a paused run loses its place in its deployment's concurrency limit, and
Prefect ends it when that cannot be renewed. The night itself goes on running, and keeps its place.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from prefect import flow
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run

from models.calendar import Calendar
from models.config import RetrainConfig
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightRecord
from models.notation import moment, passed_or_not, value_and_bound
from models.page import Column, Page, Section, Table, to_markdown
from models.records import Verdict
from models.schedule import deadline
from tasks.approval import Approval
from tasks.close import Outcome
from tasks.tell import tell_waiting

POLL_S: Final = 5


@flow(name="approval", flow_run_name="approval of {version}")
def ask(version: str, session: date, reason: str, page: str, until: datetime) -> Approval:
    """Wait for a person's word.

    Args:
        version: The candidate that passed the gate.
        session: The night's session.
        reason: What the gate said.
        page: The checks, as Markdown above the form.
        until: When nobody is waited for any longer.
    """
    tell_waiting(version, session, reason, until)
    seconds = max(int((until - datetime.now(UTC)).total_seconds()), 1)
    answer: Approval = pause_flow_run(
        wait_for_input=Approval.with_initial_data(description=page, decision="keep"),
        timeout=seconds,
        poll_interval=POLL_S,
    )
    return answer


def with_approval(outcome: Outcome, night: NightRecord, config: RetrainConfig, began: datetime) -> Outcome:
    """The outcome after somebody was asked, where the gate would promote and `gate.approval` asks for a person."""
    verdict = outcome.verdict
    decided = Ledger(Locations(config.storage)).decision(night.night_id) is not None
    if config.gate.approval == "none" or verdict.verdict != "promote" or decided:
        return outcome
    until = _until(night, config, began)
    try:
        answer = ask(night.version, night.snapshot.session, verdict.reason, _page(verdict, night, until), until)
    except FlowPauseTimeout:
        reason = f"not approved: nobody answered by {moment(until)}. The gate said: {verdict.reason}"
        return replace(outcome, verdict=verdict.model_copy(update={"verdict": "keep", "reason": reason}))
    return replace(outcome, verdict=_answered(verdict, answer))


def _until(night: NightRecord, config: RetrainConfig, began: datetime) -> datetime:
    """After `gate.approval_hours`, or when the night must be done, if that is earlier."""
    latest = datetime.now(UTC) + timedelta(hours=config.gate.approval_hours)
    session, calendar = night.snapshot.session, Calendar.of(config.data)
    must_finish = deadline(session, config.operation.must_finish_by, began, calendar)
    return min(latest, must_finish) if must_finish else latest


def _answered(verdict: Verdict, answer: Approval) -> Verdict:
    said = f"{answer.who}: {answer.reason}. The gate said: {verdict.reason}"
    if answer.decision == "approve":
        update = {"reason": f"approved by {said}"}
    else:
        update = {"verdict": "keep", "reason": f"not approved by {said}"}
    return verdict.model_copy(update={**update, "decided_by": answer.who})


def _page(verdict: Verdict, night: NightRecord, until: datetime) -> str:
    columns = (Column("check"), Column("value", numeric=True), Column("bound", numeric=True), Column(""), Column("why"))
    rows = tuple(
        (check.name, *value_and_bound(check), passed_or_not(check.passed), check.why) for check in verdict.checks
    )
    page = Page(
        overline=f"Nocturne · the night of {night.snapshot.session}",
        headline=f"Shall {night.version} serve?",
        passed=True,
        lead=f"{verdict.reason}. Without an answer by {moment(until)} the champion stays.",
        sections=(Section("The gate", (Table(columns, rows),)),),
    )
    return to_markdown(page)
