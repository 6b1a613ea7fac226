"""The decision: which checks must pass, by policy, and the reason in one sentence."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

import pandas as pd

from models.calendar import Calendar
from models.config import GateConfig, Head, HeadLosses, TargetsConfig
from models.gate.champion import ChampionEvidence, Scene, anchor_checks, champion_checks
from models.gate.evidence import Evidence, unreadable
from models.gate.health import contract_held, health_checks
from models.gate.skill import healthy_enough, skill_report
from models.notation import significant
from models.placebo import PlaceboRecord, placebo_check, placebo_metrics
from models.records import Check, Finding, Scale, Verdict, at_least
from models.targets import label_reach

OVERRIDING: Final[Mapping[str, str]] = {"later_session": "superseded", "not_too_good": "suspicious"}
"""Checks that decide whatever else was found, and the word that the reason opens with."""

OPEN: Final[Mapping[str, str]] = {"comparable": "incomparable", "fresh_sessions": "undecided"}
"""Checks that say the question cannot be answered; they are the reason when no other group failed."""

UNPROVEN_ALLOWED: Final = frozenset(
    {"direction_auc", "direction_over_volatility", "volatility_to_har", "magnitude_to_ewma"}
)
"""Skill that a first champion may lack under gate.first_champion = healthy."""


def decide(
    evidence: pd.DataFrame,
    *,
    config: GateConfig,
    targets: TargetsConfig,
    relative: bool,
    heads: Sequence[Head],
    losses: HeadLosses,
    scales: Mapping[str, Scale],
    session: date,
    trained_until: date,
    agreement: float,
    findings: Sequence[Finding],
    champion: ChampionEvidence | None,
    calendar: Calendar,
    anchor: ChampionEvidence | None = None,
    leaks: Sequence[Check] = (),
    placebo: PlaceboRecord | None = None,
) -> Verdict:
    """Judge tonight's candidate by its out-of-sample predictions.

    Args:
        evidence: The out-of-sample frame: `session, symbol, fold, version, p_up, volatility, magnitude`, the realised
            `direction, volatility_target, magnitude_target`, the columns of `models.baselines` and
            `direction_next_close`. Columns of heads that are not built may be missing.
        config: Margins, intervals and policy.
        targets: Horizon and entry, from which the blocks of the bootstrap follow.
        relative: Whether direction is in fact relative to the session's median; a small universe makes it absolute.
        heads: What the candidate predicts.
        losses: What the bounded heads were fitted with.
        scales: Scale and training median of each bounded head.
        session: Of this night.
        trained_until: Last label end of anything that the candidate was fitted on.
        agreement: Largest difference, relative to a head's scale, between a row's outputs alone, in a batch and with
            later bars present.
        findings: What the predictions' contract found in this frame.
        champion: What serves now, or None.
        calendar: Tells when an undecided comparison will be decidable.
        anchor: What served `gate.anchor_sessions` before this night, or None where that is the champion or nothing.
        leaks: The checks of `models.leaks`; they must pass under every policy.
        placebo: AUCs of this recipe on shuffled labels, or None while none were measured.
    """
    if fault := unreadable(evidence):
        return _unreadable(fault)
    reach = label_reach(targets)
    rows = Evidence.of(evidence, config, reach=reach, relative=relative)
    if rows.n_sessions < config.min_evidence_sessions:
        return too_little_history(rows.n_sessions, config.min_evidence_sessions, "out-of-sample sessions")
    health = health_checks(
        _own(rows, config, reach),
        heads=heads,
        scales=scales,
        losses=losses,
        trained_until=trained_until,
        agreement=agreement,
    )
    skill = skill_report(rows, config, heads)
    checks = (contract_held(findings), *health, *leaks, *skill.checks)
    metrics = skill.metrics
    if placebo is not None:
        checks += (placebo_check(placebo, metrics["direction_auc"]),)
        metrics |= placebo_metrics(placebo, metrics["direction_auc"])
    if champion is not None:
        scene = Scene(config, heads, reach, relative)
        checks += champion_checks(
            evidence, champion, scene, session=session, trained_until=trained_until, calendar=calendar
        )
        checks += anchor_checks(evidence, anchor, scene) if anchor is not None else ()
    elif config.first_champion == "healthy":
        checks += healthy_enough(rows, metrics)
    metrics |= {
        "evidence_sessions": float(rows.n_sessions),
        "evidence_rows": float(len(evidence)),
        "block_sessions": float(rows.block),
    }
    return _verdict(checks, metrics, config, champion)


def _own(rows: Evidence, config: GateConfig, reach: int) -> Evidence:
    """The candidate's own rows, which are the latest; all of them where no recipe fold was judged before it."""
    version = rows.frame["version"]
    own = version == version.iloc[-1]
    return rows if own.all() else Evidence.of(rows.frame[own], config, reach=reach, relative=rows.relative)


def too_little_history(available: int, needed: int, what: str = "sessions with a full window and a target") -> Verdict:
    """The verdict of a night that cannot be judged.

    Args:
        available: How many there are.
        needed: How many would do.
        what: What is counted.
    """
    why = f"{available} {what}, {needed} needed"
    check = at_least("enough_history", "health", available, needed, why)
    metrics = {"evidence_sessions": float(available)}
    return Verdict(verdict="keep", reason=f"too little history: {why}", checks=(check,), metrics=metrics)


def _unreadable(fault: str) -> Verdict:
    why = f"the rows of the out-of-sample frame cannot be told apart: {fault}"
    check = Check(name="evidence_readable", group="health", value=None, bound=None, passed=False, why=why)
    return Verdict(verdict="keep", reason=f"unreadable evidence: {why}", checks=(check,))


def _verdict(
    checks: tuple[Check, ...], metrics: Mapping[str, float], config: GateConfig, champion: ChampionEvidence | None
) -> Verdict:
    required = [check for check in checks if _is_required(check, config, champion)]
    failed = [check for check in required if not check.passed]
    manual = champion is not None and config.policy == "manual"
    if failed:
        reason = _why_kept(failed, len(required))
    elif manual:
        reason = f"manual: all {len(required)} checks passed, and gate.policy leaves the promotion to a person"
    else:
        reason = _why_promoted(checks, config, champion)
    promote = not failed and not manual
    return Verdict(verdict="promote" if promote else "keep", reason=reason, checks=checks, metrics=dict(metrics))


def _is_required(check: Check, config: GateConfig, champion: ChampionEvidence | None) -> bool:
    if check.group in ("health", "leak") or check.name in OVERRIDING:
        return True
    if champion is None:
        return config.first_champion == "skilled" or check.name not in UNPROVEN_ALLOWED
    return config.policy != "always_if_healthy"


def _why_kept(failed: Sequence[Check], n_required: int) -> str:
    for check in failed:
        if check.name in OVERRIDING and check.value is not None:
            return f"{OVERRIDING[check.name]}: {check.why}"
    leaking = [check for check in failed if check.group == "leak"]
    if leaking:
        return f"leak: {'; '.join(f'{check.name} ({check.why})' for check in leaking)}"
    if all(check.group == "champion" for check in failed):
        for check in failed:
            if check.name in OPEN:
                return f"{OPEN[check.name]}: {check.why}"
    missed = [f"{check.name} {_shortfall(check)}" for check in failed]
    explained = [
        f"{short} ({check.why})" if len(failed) == 1 or check.name in OPEN else short
        for short, check in zip(missed, failed, strict=True)
    ]
    return f"{len(failed)} of {n_required} checks failed: {'; '.join(explained)}"


def _why_promoted(checks: Iterable[Check], config: GateConfig, champion: ChampionEvidence | None) -> str:
    unproven = [check for check in checks if not check.passed]
    if champion is not None and config.policy == "always_if_healthy":
        return f"healthy, and gate.policy = always_if_healthy asks no more{_not_shown(unproven)}"
    if champion is not None:
        return f"healthy, skilled and at least as good as champion {champion.version}"
    if config.first_champion == "skilled":
        return "first champion: healthy and skilled"
    return f"first champion: healthy, and gate.first_champion = healthy asks no more{_not_shown(unproven)}"


def _not_shown(unproven: Sequence[Check]) -> str:
    if not unproven:
        return ""
    names = [check.name for check in unproven]
    opening = "; direction skill not shown" if any(name.startswith("direction") for name in names) else "; not shown"
    return f"{opening}: " + "; ".join(f"{check.name} {_shortfall(check)}" for check in unproven)


def _shortfall(check: Check) -> str:
    """By how much a failed check misses its bound."""
    if check.value is None or check.bound is None:
        return "has no value"
    low, high = check.bound if isinstance(check.bound, tuple) else (check.bound, check.bound)
    bound = low if abs(check.value - low) <= abs(check.value - high) else high
    if check.value == bound:
        return f"only equals its bound {significant(bound)}"
    return f"misses {significant(bound)} by {significant(abs(check.value - bound), 2)}"
