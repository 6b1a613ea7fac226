"""One night, read top to bottom: ingest, validate, targets, train, evaluate, gate, promote or keep, score, report."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal

from prefect import flow

from flows.approval import with_approval
from flows.ending import ended, name_after, name_of_run, scheduled_start, skipped
from flows.train import train_where_it_belongs
from flows.turn import let_older_nights_go_first
from models.calendar import Calendar
from models.clean_process import CleanProcess
from models.completeness import refuse_partial, waits_for_the_rest
from models.config import DEFAULT, Day, RetrainConfig
from models.errors import ConfigError, DeadlinePassed
from models.gate import too_little_history
from models.night import NightRecord
from models.notation import moment
from models.records import DeliveryRecord, Forced, NightResult, Snapshot, Verdict
from models.schedule import deadline, planned_night
from models.timings import Timings
from models.universe import nobody_belongs
from tasks.close import (
    Outcome,
    close_night,
    decided_outcome,
    deliveries_of,
    finish_night,
    judged_before,
    recorded_result,
    refuse_second_decision,
    with_delivery,
    with_force,
)
from tasks.drift import measure_drift
from tasks.evaluate import evaluate
from tasks.gate import judge
from tasks.ingest import ingest_new
from tasks.promote import actor
from tasks.report import report_night
from tasks.score import score_session
from tasks.snapshot import identify_night, only_run_of, take_snapshot
from tasks.status_page import publish_status
from tasks.targets import measure_history, recompute_targets
from tasks.tell import decision_told, tell_failure


@flow(name="retrain", flow_run_name=name_of_run, on_failure=[tell_failure])
def retrain(
    session: Day | None = None,
    deliveries: Sequence[str] = (),
    promote: bool = True,
    scheduled: bool = False,
    config: RetrainConfig = DEFAULT,
    force: Literal["promote", "keep"] | None = None,
    force_reason: str = "",
    force_by: str = "",
) -> NightResult:
    """Retrain tonight's model and make it champion if it passes the gate.

    Args:
        session: Session to run for; the last in the store when empty.
        deliveries: Files to ingest first, paths or URIs; of a directory, a glob or a URI prefix whatever is new there.
            {session} stands for the date of the session.
        promote: Off: judge and report, but decide nothing; the same night can still be decided later.
        scheduled: For schedules: run for the day at the exchange for which the run was scheduled. On a day without a
            session, and for a night that was judged already or that operation.catch_up leaves out, nothing is done.
        config: All settings of the night.
        force: Decide this one night in place of the gate. Health checks and checks for leaks cannot be forced away, and
            a night that was decided already is not decided again.
        force_reason: Why it is forced, for the ledger and for whoever is told. Needed with force.
        force_by: Who forces it; the user whose worker runs the night when empty.
    """
    forced = Forced.asked(force, force_reason, force_by or actor(), promote=promote, scheduled=scheduled)
    calendar = Calendar.of(config.data)
    if scheduled and session is None:
        night = planned_night(scheduled_start(), datetime.now(UTC), config.operation.catch_up, calendar)
        session = night.session
        if why := night.skip or judged_before(session, config):
            return skipped(why)
        if config.operation.catch_up == "all":
            let_older_nights_go_first()
    if session is not None:
        calendar.refuse_other_days(session)
    result = _night(session, config, deliveries, promote, forced)
    publish_status(config, return_state=True)  # a page that fails is no reason for a good night to fail
    return ended(result)


def _night(
    session: date | None, config: RetrainConfig, deliveries: Sequence[str], promote: bool, forced: Forced | None
) -> NightResult:
    timings = Timings()
    if session is None and any("{session}" in uri for uri in deliveries):
        raise ConfigError(
            "A delivery names {session}, so the session must be stated: --session DATE, or by a schedule."
        )
    with timings("ingest"):
        delivered = ingest_new([uri.replace("{session}", str(session)) for uri in deliveries], config)
    with timings("snapshot"):
        night = take_snapshot(session, config)
    name_after(night.snapshot.session)
    with only_run_of(night, config), decision_told(night, config):
        if (recorded := recorded_result(night, config)) is not None:
            refuse_second_decision(recorded, forced)
            return with_delivery(recorded, delivered, timings) if delivered else recorded
        return _decide(night, delivered, config, promote, forced, timings)


def _decide(
    night: NightRecord,
    delivered: Sequence[DeliveryRecord],
    config: RetrainConfig,
    promote: bool,
    forced: Forced | None,
    timings: Timings,
) -> NightResult:
    delivered = deliveries_of(night, delivered, config)
    with CleanProcess.start() as clean:
        outcome = earn(night, config, timings)
        if forced is not None:
            outcome = with_force(outcome, forced, night, config)
        elif promote:
            outcome = with_approval(outcome, night, config, timings.began)
        with timings("decide"):
            result = close_night(night, outcome, clean, config, promote)
    with timings("score"):
        served = score_session(night.snapshot.session, config)
    result = with_delivery(result, delivered, timings)
    with timings("report"):
        page = report_night(result, outcome, delivered, served, config)
    return finish_night(result, page, timings, config)


def earn(night: NightRecord, config: RetrainConfig, timings: Timings) -> Outcome:
    """Train and judge tonight's candidate, as far as the data allow; a night that is decided is only told."""
    if (decided := decided_outcome(night, config)) is not None:
        return decided
    snapshot = night.snapshot
    if why := _nothing_to_learn_from(snapshot, config):
        return Outcome(Verdict(verdict="keep", reason=why))
    with timings("drift"):
        measure_drift(night, config)
    with timings("targets"):
        history = measure_history(night.night_id, config)
        if not history.enough:
            return Outcome(too_little_history(history.available, history.needed))
        targets = recompute_targets(night, config)
    last_moment = deadline(snapshot.session, config.operation.must_finish_by, timings.began, Calendar.of(config.data))
    try:
        if last_moment is not None and datetime.now(UTC) >= last_moment:
            raise DeadlinePassed(last_moment)
        with timings("train"):
            candidate = train_where_it_belongs(night.night_id, config, last_moment)
    except DeadlinePassed as passed:
        return Outcome(Verdict(verdict="keep", reason=str(passed)), targets=targets)
    timings.split("train", "folds", sum(fold.seconds for fold in candidate.folds if not fold.reused))
    with timings("evaluate"):
        evidence = evaluate(night, candidate, config)
    with timings("gate"):
        verdict = judge(night, candidate, evidence, config)
    return Outcome(verdict, candidate, targets, evidence)


def _nothing_to_learn_from(snapshot: Snapshot, config: RetrainConfig) -> str:
    """Why tonight's bars are not learned from, in words; empty where they are.

    Raises:
        DeliveryStopped: the session is partial, and that is to stop the night.
    """
    if not snapshot.rows or snapshot.last != snapshot.session:
        return (
            f"no data: no bars of {snapshot.session} were known by {moment(snapshot.as_of)}. Bars count from their "
            f"arrival unless told otherwise: see --known-at of `nocturne ingest`"
        )
    if snapshot.members == 0:
        return nobody_belongs(snapshot.session, config.data.universe)
    refuse_partial(snapshot.session, snapshot.coverage, config.contract)
    return waits_for_the_rest(snapshot, config.contract)


def plan(session: date | None, config: RetrainConfig, deliveries: Sequence[str] = ()) -> dict[str, Any]:
    """What a night would read and do, without doing it; deliveries are not opened."""
    from models.credentials import without_credentials
    from models.ledger import Ledger
    from models.locations import Locations
    from models.store import BarsStore

    locations = Locations(config.storage)
    if session is None and BarsStore(locations).last_session() is None:
        return {"would_ingest": list(deliveries), "would_read": "what these deliveries bring; the store is empty"}
    night = identify_night(session, config, datetime.now(UTC), write=False)
    decision = Ledger(locations).decision(night.night_id)
    return {
        "would_ingest": list(deliveries),
        "session": str(night.snapshot.session),
        "as_of": night.snapshot.as_of.isoformat(),
        "rows": night.snapshot.rows,
        "symbols": night.snapshot.symbols,
        "first": str(night.snapshot.first),
        "night_id": night.night_id,
        "would_make": night.version,
        "decided_already": None if decision is None else f"{decision.verdict}: {decision.reason}",
        "champion": Ledger(locations).champion_version(),
        "would_write": {"home": locations.home, "tracking": without_credentials(locations.tracking_uri)},
    }
