"""Second question: has the candidate skill? Each check reads one end of a block-bootstrap interval."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from models.bootstrap import Interval, difference, ratio
from models.config import GateConfig, Head
from models.gate.evidence import Evidence, absolute_errors
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
    return SkillReport((*checks, _not_too_good(auc, evidence.n_sessions, config)), metrics)


def healthy_enough(metrics: Mapping[str, float]) -> tuple[Check, ...]:
    """What `gate.first_champion = healthy` asks instead of proof: nothing that speaks against the candidate.

    Args:
        metrics: Of the skill report.
    """
    checks = [_not_below_chance(metrics["direction_auc"], metrics["direction_auc_high"])]
    if "volatility_qlike" in metrics:
        own, har = metrics["volatility_qlike"], metrics["volatility_qlike_har"]
        why = f"QLIKE {fixed(own)} against {fixed(har)} of log-HAR on the same rows, {percent(HAR_MARGIN, 0)} allowed"
        checks.append(at_most("volatility_no_worse_than_har", "skill", own / har, 1.0 + HAR_MARGIN, why))
    return tuple(checks)


def _not_below_chance(auc: float, high: float) -> Check:
    why = f"AUC {fixed(auc)}, and its interval ends at {fixed(high)}; below 0.5 it would point the wrong way"
    return at_least("direction_not_below_chance", "skill", high, 0.5, why)


def _direction(evidence: Evidence, config: GateConfig) -> tuple[Interval, tuple[Check, ...], dict[str, float]]:
    area, area_volatility = evidence.auc("p_up"), evidence.auc("p_up_volatility_only")
    auc = evidence.interval(area)
    excess = evidence.interval(difference(area, area_volatility))
    volatility_only = evidence.interval(area_volatility).value
    reversal = evidence.interval(evidence.auc("reversal")).value
    checks = (
        above("direction_auc", "skill", auc.low, config.direction_floor, _auc_sentence(auc, reversal, config)),
        above(
            "direction_over_volatility",
            "skill",
            excess.low,
            0.0,
            f"AUC exceeds that of a model which knows volatility alone ({fixed(volatility_only)}) by "
            f"{fixed(excess.value)}, interval {fixed(excess.low)} to {fixed(excess.high)}",
        ),
    )
    metrics = {
        "direction_auc": auc.value,
        "direction_auc_low": auc.low,
        "direction_auc_high": auc.high,
        "direction_auc_next_close": evidence.interval(evidence.auc("p_up", "direction_next_close")).value,
        "direction_auc_volatility_only": volatility_only,
        "direction_auc_reversal": reversal,
        "direction_excess": excess.value,
        "direction_excess_low": excess.low,
        "brier": brier(evidence.column("direction"), evidence.column("p_up")),
    }
    return auc, checks, metrics


def _auc_sentence(auc: Interval, reversal: float, config: GateConfig) -> str:
    return (
        f"AUC {fixed(auc.value)}, {percent(config.confidence, 0)} interval {fixed(auc.low)} to {fixed(auc.high)}, "
        f"lower end above {fixed(config.direction_floor, 2)} asked; 5-day reversal alone scores {fixed(reversal)}"
    )


def _volatility(evidence: Evidence) -> tuple[Check, dict[str, float]]:
    own = evidence.mean_loss(qlike_losses, "volatility_target", "volatility")
    har = evidence.mean_loss(qlike_losses, "volatility_target", "volatility_har")
    relative, value, value_har = (evidence.interval(of) for of in (ratio(own, har), own, har))
    check = at_most(
        "volatility_to_har",
        "skill",
        relative.high,
        1.0 + HAR_MARGIN,
        f"QLIKE is {fixed(relative.value, 3)} times that of log-HAR ({fixed(value_har.value)}), "
        f"interval {fixed(relative.low, 3)} to {fixed(relative.high, 3)}",
    )
    mae = evidence.interval(evidence.mean_loss(absolute_errors, "volatility_target", "volatility"))
    metrics = {"volatility_qlike": value.value, "volatility_qlike_har": value_har.value, "volatility_mae": mae.value}
    return check, metrics


def _magnitude(evidence: Evidence) -> tuple[Check, dict[str, float]]:
    own = evidence.mean_loss(absolute_errors, "magnitude_target", "magnitude")
    ewma = evidence.mean_loss(absolute_errors, "magnitude_target", "magnitude_ewma")
    relative, value, value_ewma = (evidence.interval(of) for of in (ratio(own, ewma), own, ewma))
    check = at_most(
        "magnitude_to_ewma",
        "skill",
        relative.high,
        1.0,
        f"MAE is {fixed(relative.value, 3)} times that of a multiple of EWMA volatility "
        f"({significant(value_ewma.value, 3)}), interval {fixed(relative.low, 3)} to {fixed(relative.high, 3)}",
    )
    return check, {"magnitude_mae": value.value, "magnitude_mae_ewma": value_ewma.value}


def _not_too_good(auc: Interval, n_sessions: int, config: GateConfig) -> Check:
    steady = n_sessions >= LONG_EVIDENCE_SESSIONS
    value, bound = (auc.value, config.suspicious_auc) if steady else (auc.low, config.suspicious_auc_low)
    what = "a direction AUC" if steady else "a lower end of the direction AUC"
    why = (
        f"{what} of {fixed(value)} on {n_sessions} sessions; above {fixed(bound, 2)} means a leak until shown otherwise"
    )
    return at_most("not_too_good", "skill", value, bound, why)
