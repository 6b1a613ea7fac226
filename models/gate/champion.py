"""Third question: is the candidate at least as good as the champion? Paired on common rows, never recorded scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

import pandas as pd
from scipy.special import ndtr, ndtri

from models.bootstrap import MIN_BLOCKS, Interval, Statistic, block_length, difference, ratio
from models.calendar import Calendar
from models.config import GateConfig, Head
from models.gate.evidence import Evidence, Rows
from models.gate.influence import weighed
from models.notation import count, fixed, percent
from models.records import Check, above, at_least, at_most
from models.scores import qlike_losses

PREDICTIONS: Final = ("p_up", "volatility")

FALSE_REFUSALS: Final = 0.2
"""Share of nights on which a candidate that is exactly as good may fail for want of evidence; above it, it is told."""


@dataclass(frozen=True)
class ChampionEvidence:
    """All that the gate may know of a model that serves, or served."""

    version: str
    session: date
    """Session of the night that made it."""
    same_recipe: bool
    """Whether the candidate is a refresh of it."""
    trained_until: date
    stored: pd.DataFrame | None
    """Out-of-sample frame stored with it, of recipe folds that never saw their own rows."""
    fresh: pd.DataFrame | None
    """Its own model on tonight's evidence rows after its `trained_until`: `session, symbol, p_up, volatility…`."""
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


class Comparison(NamedTuple):
    """Names and margins of the checks that compare the candidate with one model."""

    to: str
    """End of the checks' names."""
    who: str
    """The model, in the checks' sentences."""
    margin_auc: float
    margin_qlike: float


def champion_checks(
    candidate: pd.DataFrame,
    champion: ChampionEvidence,
    scene: Scene,
    *,
    session: date,
    trained_until: date,
    calendar: Calendar,
) -> tuple[Check, ...]:
    """All checks of the group `champion` that compare with what serves.

    Refreshes of one recipe are compared on the out-of-sample frames stored with each, and a wide margin on the last
    sessions guards against a broken candidate. Different recipes, and refreshes so far apart that their stored frames
    hardly meet, are compared on the sessions after the champion's training. The candidate's frame is out of sample row
    by row, whichever of its models made a row; only the guard asks for rows of the candidate itself.
    """
    if champion.incomparable:
        return _later(champion, session), _incomparable(champion)
    unseen = _unseen(champion)
    config = scene.config
    serving = Comparison("champion", champion.version, config.margin_auc, config.margin_qlike)
    rows, is_stored = _common_rows(candidate, champion, scene)
    if is_stored:
        own = scene.common(candidate, champion.fresh, after=max(trained_until, champion.trained_until))
        return (
            _later(champion, session),
            unseen,
            *_non_inferior(rows, scene, serving),
            *_guard(own, scene, champion.version),
        )
    return (
        _later(champion, session),
        unseen,
        _enough_fresh(rows.n_sessions, config, session, calendar),
        *_non_inferior(rows, scene, serving),
    )


def anchor_checks(candidate: pd.DataFrame, anchor: ChampionEvidence, scene: Scene) -> tuple[Check, ...]:
    """Not worse than what served a quarter ago, so that many small losses, each within its margin, cannot add up.

    A model that was asked something else has no say: the change that made it incomparable was a person's decision.
    """
    if anchor.incomparable:
        return ()
    config = scene.config
    factor = config.anchor_margin_factor
    who = f"{anchor.version}, which served {config.anchor_sessions} sessions ago"
    then = Comparison("anchor", who, factor * config.margin_auc, factor * config.margin_qlike)
    rows, _ = _common_rows(candidate, anchor, scene)
    return _non_inferior(rows, scene, then)


def _common_rows(candidate: pd.DataFrame, other: ChampionEvidence, scene: Scene) -> tuple[Evidence, bool]:
    """The rows on which both are out of sample, and whether they are those of the stored frames."""
    if other.same_recipe:
        stored = scene.common(candidate, other.stored)
        if stored.n_sessions >= max(scene.config.min_evidence_sessions, MIN_BLOCKS * block_length(scene.reach)):
            return stored, True
    return scene.common(candidate, other.fresh, after=other.trained_until), False


def _later(champion: ChampionEvidence, session: date) -> Check:
    why = f"champion {champion.version} was made for {champion.session}; this night is for {session}"
    return above("later_session", "champion", (session - champion.session).days, 0, why)


def _unseen(champion: ChampionEvidence) -> Check:
    """Of the stored frame; the fresh one is cut at both trainings before anything is compared.

    Recipe folds in it have versions and trainings of their own, which were asked about when they were judged.
    """
    stored = pd.DataFrame(columns=["session", "version"]) if champion.stored is None else champion.stored
    own = stored[stored["version"] == champion.version]
    seen = int((own["session"] <= pd.Timestamp(champion.trained_until)).sum())
    why = (
        f"{seen} of {len(own)} stored rows on which {champion.version} itself is compared lie in its training, whose "
        f"last label ended on {champion.trained_until}"
    )
    return at_most("champion_out_of_sample", "leak", seen, 0, why)


def _incomparable(champion: ChampionEvidence) -> Check:
    why = f"champion {champion.version} was asked something else: {champion.incomparable}"
    return Check(name="comparable", group="champion", value=None, bound=None, passed=False, why=why)


def _enough_fresh(n_sessions: int, config: GateConfig, session: date, calendar: Calendar) -> Check:
    needed = config.min_different_recipe_sessions
    why = f"{n_sessions} sessions on which both are out of sample, {needed} needed"
    if n_sessions < needed:
        why += f": decidable from the night of {calendar.after(session, needed - n_sessions)} on"
    return at_least("fresh_sessions", "champion", n_sessions, needed, why)


def _non_inferior(rows: Evidence, scene: Scene, other: Comparison) -> tuple[Check, ...]:
    auc = rows.interval(_auc_gained(rows))
    where = f"on {rows.n_sessions} common sessions"
    why = f"AUC minus that of {other.who} {where}: {fixed(auc.value)}, interval {fixed(auc.low)} to {fixed(auc.high)}"
    as_good = above(
        f"auc_to_{other.to}", "champion", auc.low, -other.margin_auc, why + _too_wide(auc, other.margin_auc, rows)
    )
    checks = [weighed(as_good, rows, _auc_gained)]
    if _both_predict_volatility(rows, scene.heads):
        qlike = rows.interval(_relative_qlike(rows))
        why = (
            f"QLIKE over that of {other.who} {where}: {fixed(qlike.value, 3)}, "
            f"interval {fixed(qlike.low, 3)} to {fixed(qlike.high, 3)}"
        )
        as_good = at_most(
            f"qlike_to_{other.to}",
            "champion",
            qlike.high,
            1.0 + other.margin_qlike,
            why + _too_wide(qlike, other.margin_qlike, rows),
        )
        checks.append(weighed(as_good, rows, _relative_qlike))
    return tuple(checks)


def _too_wide(of: Interval, margin: float, rows: Evidence) -> str:
    """What would be enough evidence, where two equally good models would fail more often than `FALSE_REFUSALS`.

    The estimate of an exact tie is normal around no difference with the paired standard error s, and fails when it is
    more than margin − z s on the wrong side. Blocks of sessions are nearly independent, so s falls with the square root
    of their number; with that of the symbols it falls at best so, since what moves all of them does not average out.
    """
    error = (of.high - of.low) / (2 * rows.resamples.standard_errors(rows.config.confidence))
    if not error > 0:
        return ""
    z = float(ndtri(0.5 + rows.config.confidence / 2))
    refused = float(ndtr(z - margin / error))
    if refused <= FALSE_REFUSALS:
        return ""
    longer = (error * (z - float(ndtri(FALSE_REFUSALS))) / margin) ** 2
    sessions, symbols = rows.n_sessions, rows.frame["symbol"].nunique()
    return (
        f"; its standard error {fixed(error)} is wide for a margin of {fixed(margin, 3)}: of two equally good models "
        f"the newer would fail on {percent(refused, 0)} of such nights; about {count(_rounded_up(sessions * longer))} "
        f"sessions of evidence, or at least {count(_rounded_up(symbols * longer))} symbols, would bring that to "
        f"{percent(FALSE_REFUSALS, 0)}"
    )


def _rounded_up(number: float) -> float:
    """To two significant digits: the standard error is known no better."""
    unit = 10.0 ** max(math.floor(math.log10(number)) - 1, 0)
    return unit * math.ceil(number / unit)


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
    auc = last.interval(_auc_gained(last)).value
    margin = config.guard_factor * config.margin_auc
    sound = above("guard_auc", "champion", auc, -margin, f"AUC minus that of {version} is {fixed(auc)} {where}")
    checks = [weighed(sound, last, _auc_gained)]
    if _both_predict_volatility(last, scene.heads):
        qlike = last.interval(_relative_qlike(last)).value
        margin = config.guard_factor * config.margin_qlike
        why = f"QLIKE is {percent(qlike)} of that of {version} {where}"
        sound = at_most("guard_qlike", "champion", qlike, 1.0 + margin, why)
        checks.append(weighed(sound, last, _relative_qlike))
    return tuple(checks)


def _both_predict_volatility(rows: Evidence, heads: Sequence[Head]) -> bool:
    return "volatility" in heads and "volatility_champion" in rows.frame


def _auc_gained(rows: Rows) -> Statistic:
    return difference(rows.auc("p_up"), rows.auc("p_up_champion"))


def _relative_qlike(rows: Rows) -> Statistic:
    own = rows.mean_loss(qlike_losses, "volatility_target", "volatility")
    theirs = rows.mean_loss(qlike_losses, "volatility_target", "volatility_champion")
    return ratio(own, theirs)
