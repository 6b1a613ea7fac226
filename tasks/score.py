"""The champion's predictions for the latest bars, checked before anybody can read them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
from prefect import task

from models.calendar import Calendar
from models.completeness import coverage_of, partial
from models.config import RetrainConfig
from models.errors import ConfigError, DeliveryError, DeliveryStopped, PredictionsStopped
from models.ledger import Ledger
from models.locations import Locations
from models.market import market_of
from models.night import local_copy
from models.notation import count, moment
from models.panel import build_panel, eligible, last_rows
from models.records import Finding, Record
from models.registry import Registry
from models.serving import ServedModel
from models.store import BarsStore
from models.universe import members_on, nobody_belongs
from tasks.outside import RETRIED
from tasks.run_log import sum_up


class ScoreResult(Record):
    """What was published for a session."""

    session: date | None
    version: str | None
    """The champion; None where nothing serves."""
    predictions: int
    """Symbols that were predicted now."""
    published: bool
    """False where predictions of this model were there before, which stand, or nothing serves."""
    stale: bool = False
    """The newest delivery was stopped, so these bars are older than they should be."""
    why: str
    findings: tuple[Finding, ...] = ()

    @property
    def sentence(self) -> str:
        """The same for people."""
        if self.version is None:
            return self.why
        done = f"{count(self.predictions)} predictions published" if self.published else "Nothing published"
        stale = " These bars are older than they should be: the newest delivery was stopped." if self.stale else ""
        return f"{done} for session {self.session} by {self.version}: {self.why}.{stale}"


@task(name="score", **RETRIED)
def score_session(session: date | None, config: RetrainConfig, allow_stale: bool = False) -> ScoreResult:
    """Predict every symbol with enough recent bars and publish the predictions, once per session and version.

    Raises:
        DeliveryError: the store is empty.
        DeliveryStopped: the newest delivery was stopped, no session was named, and `allow_stale` is not set.
        PredictionsStopped: the predictions break their contract; nothing is published.
    """
    result = _score(session, config, allow_stale)
    sum_up(result.sentence)
    return result


def _score(session: date | None, config: RetrainConfig, allow_stale: bool) -> ScoreResult:
    locations = Locations(config.storage)
    store = BarsStore(locations)
    version = Ledger(locations).champion_version()
    day = session or store.newest_session(config.data)
    if version is None:
        why = "Nothing serves yet: no night has promoted a model. Run `nocturne retrain`."
        return ScoreResult(session=day, version=None, predictions=0, published=False, why=why)
    if day is None:
        raise DeliveryError(
            f"No bars in {locations.table('bars')}: there is nothing to score. "
            f"Bring a delivery in with `nocturne ingest PATH`."
        )
    stopped = [one.name for one in store.deliveries() if one.status == "stopped" and (one.last or day) > day]
    if session is None and stopped and not allow_stale:
        raise DeliveryStopped(
            f"The newest delivery ({stopped[-1]}) was stopped, so the last good bars are those of {day}. Mend and "
            f"deliver it again, or score on the last good bars with --allow-stale."
        )
    return _publish(day, version, store, config, stale=session is None and bool(stopped))


def what_stands(stored: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """What is told where a model's predictions for a session were published before: those stand, whatever is known now.

    Args:
        stored: Rows of the session and version in the table.
        predictions: What the model says now.
    """
    both = stored.merge(predictions, on="symbol", suffixes=("", " now"))
    changed = int((~np.isclose(both["p_up"], both["p_up now"], rtol=0, atol=1e-6)).sum())
    added, gone = len(predictions) - len(both), len(stored) - len(both)
    if not (changed or added or gone):
        return "these predictions were there before"
    return (
        f"the {count(len(stored))} predictions of {moment(stored['made_at'].max())} stand; by what is known now "
        f"{count(changed)} of them would be others, {count(gone)} missing and {count(added)} added"
    )


@contextmanager
def _model_named(version: str, made_with: RetrainConfig) -> Iterator[None]:
    """A champion is scored on the universe that it was made for, whatever tonight's settings say."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(
            f"{version} cannot be asked: it was made for the universe of {made_with.data.universe.file}, and that list "
            f"is not there as it should be. {error} Settings of today do not replace it: put the list back, or make "
            f"another champion with `nocturne retrain` or `nocturne rollback`."
        ) from error


def _publish(day: date, version: str, store: BarsStore, config: RetrainConfig, stale: bool) -> ScoreResult:
    from expectations.predictions import check_predictions

    locations = Locations(config.storage)
    with local_copy(str(Registry(locations).fetch(version))) as directory:
        model = ServedModel(directory)
    made_with = model.card.retrain_config
    calendar = Calendar.of(config.data)
    as_of = min(datetime.now(UTC), calendar.as_of(day))
    sessions_read = 2 * made_with.network.window + made_with.data.gap_sessions
    with _model_named(version, made_with):
        bars = store.of_universe(as_of, calendar.after(day, -sessions_read), day, made_with.data)
    if not (bars["session"] == pd.Timestamp(day)).any():
        why = f"no bars of {day} were known in time"
        return ScoreResult(session=day, version=version, predictions=0, published=False, stale=stale, why=why)
    if not members_on(bars, day):
        why = nobody_belongs(day, made_with.data.universe)
        return ScoreResult(session=day, version=version, predictions=0, published=False, stale=stale, why=why)
    if why := partial(day, coverage_of(bars, day), config.contract):
        return ScoreResult(session=day, version=version, predictions=0, published=False, stale=stale, why=why)
    panel = build_panel(bars, made_with.data, market_of(store, bars, made_with.data, as_of))
    ready = eligible(panel, made_with.network.window, made_with.data.min_present)
    rows = np.intersect1d(last_rows(panel), np.flatnonzero(ready))
    predictions = model.predict(panel, rows)
    findings = check_predictions(
        predictions, scales=model.card.scales, name=f"{version} served {day}", docs=locations.data_docs
    )
    broken = [found for found in findings if not found.held]
    if broken:
        raise PredictionsStopped(
            f"The predictions of {version} for {day} break their contract and were not published: "
            f"{' '.join(f'{found.rule}: {found.why}' for found in broken)} "
            f"Yesterday's stay. Look at the bars of {day}, or roll back with `nocturne rollback`."
        )
    published = store.publish_predictions(predictions, made_at=datetime.now(UTC))
    why = f"{len(predictions)} symbols have enough recent bars"
    if not published:
        stored = store.predictions(day)
        why = what_stands(stored[stored["version"] == version], predictions)
    return ScoreResult(
        session=day,
        version=version,
        predictions=len(predictions),
        published=published,
        stale=stale,
        why=why,
        findings=findings,
    )
