"""Third question: is the candidate at least as good as the champion? Paired on common rows, never recorded scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

import pandas as pd

from models.bootstrap import Statistic, difference, ratio
from models.calendar import Calendar
from models.config import GateConfig, Head
from models.gate.evidence import Evidence
from models.notation import fixed, percent
from models.records import Check, above, at_least, at_most
from models.scores import qlike_losses

PREDICTIONS: Final = ("p_up", "volatility")


@dataclass(frozen=True)
class ChampionEvidence:
    """All that the gate may know of the model that serves."""

    version: str
    session: date
    """Session of the night that made it."""
    same_recipe: bool
    """Whether the candidate is a refresh of it."""
    trained_until: date
    stored: pd.DataFrame | None
    """Out-of-sample frame stored with it, of recipe folds that never saw their own rows."""
    fresh: pd.DataFrame | None
    """The champion's own model on tonight's evidence rows: `session, symbol, p_up, volatility, magnitude`."""
    incomparable: str = ""
    """What is asked differently of the two (horizon, target, universe…); empty when nothing is."""


class Scene(NamedTuple):
    """What a comparison needs besides the rows."""

    config: GateConfig
    heads: Sequence[Head]
    reach: int
    relative: bool

    def common(self, candidate: pd.DataFrame, champion: pd.DataFrame | None, after: date | None = None) -> Evidence:
        """Rows of both, the champion's predictions as `<column>_champion`; realised targets are the candidate's."""
        theirs = candidate.iloc[:0] if champion is None else champion
        renamed = {name: f"{name}_champion" for name in PREDICTIONS if name in theirs}
        served = theirs[["session", "symbol", *renamed]].rename(columns=renamed)
        rows = candidate.merge(served, on=["session", "symbol"], validate="one_to_one")
        if after is not None:
            rows = rows[rows["session"] > pd.Timestamp(after)]
        return Evidence.of(rows, self.config, reach=self.reach, relative=self.relative)


def champion_checks(
    candidate: pd.DataFrame,
    champion: ChampionEvidence,
    scene: Scene,
    *,
    session: date,
    trained_until: date,
    calendar: Calendar,
) -> tuple[Check, ...]:
    """All checks of the group `champion`.

    Refreshes of one recipe are compared on the out-of-sample frames stored with each, and a wide margin on the last
    sessions guards against a broken candidate. Different recipes, and refreshes so far apart that their stored frames
    hardly meet, are compared on the sessions that neither model has seen.
    """
    if champion.incomparable:
        return _later(champion, session), _incomparable(champion)
    fresh = scene.common(candidate, champion.fresh, after=max(trained_until, champion.trained_until))
    stored = scene.common(candidate, champion.stored)
    if champion.same_recipe and stored.n_sessions >= scene.config.min_evidence_sessions:
        return (
            _later(champion, session),
            *_non_inferior(stored, scene, champion.version),
            *_guard(fresh, scene, champion.version),
        )
    return (
        _later(champion, session),
        _enough_fresh(fresh.n_sessions, scene.config, session, calendar),
        *_non_inferior(fresh, scene, champion.version),
    )


def _later(champion: ChampionEvidence, session: date) -> Check:
    why = f"champion {champion.version} was made for {champion.session}; this night is for {session}"
    return above("later_session", "champion", (session - champion.session).days, 0, why)


def _incomparable(champion: ChampionEvidence) -> Check:
    why = f"champion {champion.version} was asked something else: {champion.incomparable}"
    return Check(name="comparable", group="champion", value=None, bound=None, passed=False, why=why)


def _enough_fresh(n_sessions: int, config: GateConfig, session: date, calendar: Calendar) -> Check:
    needed = config.min_different_recipe_sessions
    why = f"{n_sessions} sessions that neither model was trained on, {needed} needed"
    if n_sessions < needed:
        why += f": decidable from the night of {calendar.after(session, needed - n_sessions)} on"
    return at_least("fresh_sessions", "champion", n_sessions, needed, why)


def _non_inferior(rows: Evidence, scene: Scene, version: str) -> tuple[Check, ...]:
    config = scene.config
    auc = rows.interval(difference(rows.auc("p_up"), rows.auc("p_up_champion")))
    where = f"on {rows.n_sessions} common sessions"
    checks = [
        above(
            "auc_to_champion",
            "champion",
            auc.low,
            -config.margin_auc,
            f"AUC minus that of {version} {where}: {fixed(auc.value)}, interval {fixed(auc.low)} to {fixed(auc.high)}",
        )
    ]
    if _both_predict_volatility(rows, scene.heads):
        qlike = rows.interval(_relative_qlike(rows))
        checks.append(
            at_most(
                "qlike_to_champion",
                "champion",
                qlike.high,
                1.0 + config.margin_qlike,
                f"QLIKE over that of {version} {where}: {fixed(qlike.value, 3)}, "
                f"interval {fixed(qlike.low, 3)} to {fixed(qlike.high, 3)}",
            )
        )
    return tuple(checks)


def _guard(fresh: Evidence, scene: Scene, version: str) -> tuple[Check, ...]:
    """Point estimates: the few last sessions hold too few blocks for an interval, and only breakage is looked for."""
    config = scene.config
    last = Evidence.of(
        fresh.frame[fresh.session >= fresh.n_sessions - config.fresh_sessions],
        config,
        reach=scene.reach,
        relative=scene.relative,
    )
    where = f"on the last {last.n_sessions} sessions that neither has seen"
    auc = last.interval(difference(last.auc("p_up"), last.auc("p_up_champion"))).value
    margin = config.guard_factor * config.margin_auc
    checks = [above("guard_auc", "champion", auc, -margin, f"AUC minus that of {version} is {fixed(auc)} {where}")]
    if _both_predict_volatility(last, scene.heads):
        qlike = last.interval(_relative_qlike(last)).value
        margin = config.guard_factor * config.margin_qlike
        why = f"QLIKE is {percent(qlike)} of that of {version} {where}"
        checks.append(at_most("guard_qlike", "champion", qlike, 1.0 + margin, why))
    return tuple(checks)


def _both_predict_volatility(rows: Evidence, heads: Sequence[Head]) -> bool:
    return "volatility" in heads and "volatility_champion" in rows.frame


def _relative_qlike(rows: Evidence) -> Statistic:
    own = rows.mean_loss(qlike_losses, "volatility_target", "volatility")
    theirs = rows.mean_loss(qlike_losses, "volatility_target", "volatility_champion")
    return ratio(own, theirs)
