"""Second question: has the candidate skill? Each check reads one end of a block-bootstrap interval."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from models.bootstrap import Interval, Statistic, difference, ratio
from models.config import GateConfig, Head
from models.gate.evidence import Evidence, Rows, absolute_errors
from models.gate.influence import weighed
from models.notation import fixed, percent, significant
from models.records import Check, above, at_least, at_most
from models.scores import brier, qlike_losses

HAR_MARGIN: Final = 0.02
"""Volatility may be this much worse than log-HAR, relative QLIKE: the best network at best matches it."""

LONG_EVIDENCE_SESSIONS: Final = 125
"""From here on the point estimate is steady enough to call it too good."""


class SkillReport(NamedTuple):
    """Checks of the group `skill` and the numbers behind them."""

    checks: tuple[Check, ...]
    metrics: dict[str, float]


def skill_report(evidence: Evidence, config: GateConfig, heads: Sequence[Head]) -> SkillReport:
    """Direction against chance and against volatility alone; volatility against log-HAR; magnitude against EWMA."""
    auc, direction, metrics = _direction(evidence, config)
    checks = [*direction]
    if "volatility" in heads:
        check, numbers = _volatility(evidence)
        checks.append(check)
        metrics |= numbers
    if "magnitude" in heads:
        check, numbers = _magnitude(evidence)
        checks.append(check)
        metrics |= numbers
    return SkillReport((*checks, _not_too_good(auc, evidence, config)), metrics)


def healthy_enough(evidence: Evidence, metrics: Mapping[str, float]) -> tuple[Check, ...]:
    """What `gate.first_champion = healthy` asks instead of proof: nothing that speaks against the candidate.

    Args:
        evidence: All judged rows.
        metrics: Of the skill report.
    """
    not_below = _not_below_chance(metrics["direction_auc"], metrics["direction_auc_high"])
    checks = [weighed(not_below, evidence, lambda rows: rows.auc("p_up"))]
    if "volatility_qlike" in metrics:
        own, har = metrics["volatility_qlike"], metrics["volatility_qlike_har"]
        relative = own / har if 0.0 < har < math.inf else math.nan
        why = f"QLIKE {fixed(own)} against {fixed(har)} of log-HAR on the same rows, {percent(HAR_MARGIN, 0)} allowed"
        no_worse = at_most("volatility_no_worse_than_har", "skill", relative, 1.0 + HAR_MARGIN, why)
        checks.append(weighed(no_worse, evidence, _qlike_to_har))
    return tuple(checks)


def _not_below_chance(auc: float, high: float) -> Check:
    why = f"AUC {fixed(auc)}, and its interval ends at {fixed(high)}; below 0.5 it would point the wrong way"
    return at_least("direction_not_below_chance", "skill", high, 0.5, why)


def _direction(evidence: Evidence, config: GateConfig) -> tuple[Interval, tuple[Check, ...], dict[str, float]]:
    area = evidence.auc("p_up")
    auc = evidence.interval(area)
    excess = evidence.interval(_over_volatility(evidence))
    volatility_only = evidence.interval(evidence.auc("p_up_volatility_only")).value
    beside = _Beside.of(evidence, area, auc)
    ranks = above("direction_auc", "skill", auc.low, config.direction_floor, _auc_sentence(auc, beside, config))
    exceeds = above(
        "direction_over_volatility",
        "skill",
        excess.low,
        0.0,
        f"AUC exceeds that of a model which knows volatility alone ({fixed(volatility_only)}) by "
        f"{fixed(excess.value)}, interval {fixed(excess.low)} to {fixed(excess.high)}",
    )
    checks = (
        weighed(ranks, evidence, lambda rows: rows.auc("p_up")),
        weighed(exceeds, evidence, _over_volatility),
    )
    metrics = {
        "direction_auc": auc.value,
        "direction_auc_low": auc.low,
        "direction_auc_high": auc.high,
        "direction_auc_volatility_only": volatility_only,
        "direction_excess": excess.value,
        "direction_excess_low": excess.low,
        "direction_excess_high": excess.high,
        **beside.metrics,
        **_brier_metrics(evidence),
    }
    return auc, checks, metrics


def _over_volatility(rows: Rows) -> Statistic:
    return difference(rows.auc("p_up"), rows.auc("p_up_volatility_only"))


class _Beside(NamedTuple):
    """What is printed beside the direction AUC: it decides nothing, and says what the number is worth."""

    reversal: float
    """AUC of 5-day reversal."""
    feature: str
    """The best single feature of the training rows; empty when none was looked for."""
    best: float
    """Its AUC."""
    over_best: Interval
    """AUC minus that."""
    next_close: Interval
    """AUC for somebody who can only trade at the next close."""
    edge_left: float
    """Share of AUC − 0.5 that is left then; NaN where no edge is shown."""

    @classmethod
    def of(cls, evidence: Evidence, area: Statistic, auc: Interval) -> "_Beside":
        area_best = evidence.auc("best_feature")
        next_close = evidence.interval(evidence.auc("p_up", "direction_next_close"))
        return cls(
            reversal=evidence.interval(evidence.auc("reversal")).value,
            feature=_best_feature(evidence),
            best=evidence.interval(area_best).value,
            over_best=evidence.interval(difference(area, area_best)),
            next_close=next_close,
            edge_left=(next_close.value - 0.5) / (auc.value - 0.5) if auc.low > 0.5 else float("nan"),
        )

    @property
    def metrics(self) -> dict[str, float]:
        return {
            "direction_auc_reversal": self.reversal,
            "direction_auc_best_feature": self.best,
            "direction_over_best_feature": self.over_best.value,
            "direction_over_best_feature_low": self.over_best.low,
            "direction_over_best_feature_high": self.over_best.high,
            "direction_auc_next_close": self.next_close.value,
            "direction_auc_next_close_low": self.next_close.low,
            "direction_auc_next_close_high": self.next_close.high,
            "direction_next_close_edge": self.edge_left,
        }

    @property
    def sentence(self) -> str:
        low, high = fixed(self.next_close.low), fixed(self.next_close.high)
        best = f", the best single feature of the training rows ({self.feature}) {fixed(self.best)}"
        left = f", {percent(self.edge_left, 0)} of the edge" if self.edge_left == self.edge_left else ""
        return (
            f"5-day reversal alone scores {fixed(self.reversal)}{best if self.feature else ''}; entered at the next "
            f"close the AUC is {fixed(self.next_close.value)}, interval {low} to {high}{left}"
        )


def _best_feature(evidence: Evidence) -> str:
    """Its name; where the frame's models chose different ones, the most frequent and how many chose it."""
    frame = evidence.frame
    if "best_feature_name" not in frame or frame.empty:
        return ""
    chosen = frame.groupby("fold")["best_feature_name"].first()
    name, times = str(chosen.mode().iloc[0]), int(chosen.value_counts().max())
    return name if times == len(chosen) else f"{name} in {times} of {len(chosen)} models"


def _auc_sentence(auc: Interval, beside: _Beside, config: GateConfig) -> str:
    return (
        f"AUC {fixed(auc.value)}, {percent(config.confidence, 0)} interval {fixed(auc.low)} to {fixed(auc.high)}, "
        f"lower end above {fixed(config.direction_floor, 2)} asked; {beside.sentence}"
    )


def _brier_metrics(evidence: Evidence) -> dict[str, float]:
    """Of the candidate and of the training rows' share of ups; the skill is the part of the latter that is gained."""
    own, prior = (brier(evidence.column("direction"), evidence.column(name)) for name in ("p_up", "p_up_prior"))
    return {"brier": own, "brier_prior": prior, "brier_skill": 1.0 - own / prior if prior > 0 else math.nan}


def _volatility(evidence: Evidence) -> tuple[Check, dict[str, float]]:
    own, har, ewma = (
        evidence.mean_loss(qlike_losses, "volatility_target", forecast)
        for forecast in ("volatility", "volatility_har", "volatility_ewma")
    )
    to_har, to_ewma = evidence.interval(_qlike_to_har(evidence)), evidence.interval(ratio(own, ewma))
    value, value_har, value_ewma = (evidence.interval(of).value for of in (own, har, ewma))
    check = at_most(
        "volatility_to_har",
        "skill",
        to_har.high,
        1.0 + HAR_MARGIN,
        f"QLIKE is {fixed(to_har.value, 3)} times that of log-HAR ({fixed(value_har)}), "
        f"interval {fixed(to_har.low, 3)} to {fixed(to_har.high, 3)}; calibrated EWMA volatility scores "
        f"{fixed(value_ewma)}",
    )
    metrics = {
        "volatility_qlike": value,
        "volatility_qlike_har": value_har,
        "volatility_qlike_ewma": value_ewma,
        "volatility_to_har": to_har.value,
        "volatility_to_har_high": to_har.high,
        "volatility_to_ewma": to_ewma.value,
        "volatility_to_ewma_high": to_ewma.high,
        "volatility_mae": evidence.interval(
            evidence.mean_loss(absolute_errors, "volatility_target", "volatility")
        ).value,
    }
    return weighed(check, evidence, _qlike_to_har), metrics


def _qlike_to_har(rows: Rows) -> Statistic:
    own, har = (rows.mean_loss(qlike_losses, "volatility_target", name) for name in ("volatility", "volatility_har"))
    return ratio(own, har)


def _magnitude(evidence: Evidence) -> tuple[Check, dict[str, float]]:
    own = evidence.mean_loss(absolute_errors, "magnitude_target", "magnitude")
    ewma = evidence.mean_loss(absolute_errors, "magnitude_target", "magnitude_ewma")
    relative, value, value_ewma = (evidence.interval(of) for of in (_mae_to_ewma(evidence), own, ewma))
    check = at_most(
        "magnitude_to_ewma",
        "skill",
        relative.high,
        1.0,
        f"MAE is {fixed(relative.value, 3)} times that of a multiple of EWMA volatility "
        f"({significant(value_ewma.value, 3)}), interval {fixed(relative.low, 3)} to {fixed(relative.high, 3)}",
    )
    metrics = {"magnitude_mae": value.value, "magnitude_mae_ewma": value_ewma.value}
    return weighed(check, evidence, _mae_to_ewma), metrics


def _mae_to_ewma(rows: Rows) -> Statistic:
    own, ewma = (rows.mean_loss(absolute_errors, "magnitude_target", name) for name in ("magnitude", "magnitude_ewma"))
    return ratio(own, ewma)


def _not_too_good(auc: Interval, evidence: Evidence, config: GateConfig) -> Check:
    n_sessions = evidence.n_sessions
    steady = n_sessions >= LONG_EVIDENCE_SESSIONS
    value, bound = (auc.value, config.suspicious_auc) if steady else (auc.low, config.suspicious_auc_low)
    what = "a direction AUC" if steady else "a lower end of the direction AUC"
    why = (
        f"{what} of {fixed(value)} on {n_sessions} sessions; above {fixed(bound, 2)} means a leak until shown otherwise"
    )
    check = at_most("not_too_good", "skill", value, bound, why)
    return weighed(check, evidence, lambda rows: rows.auc("p_up"))
