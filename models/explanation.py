"""Why a night ended as it did: what failed and by how much, what would have changed it, and what to do now.

For any night of the ledger, from what the night left. The report says the same of its own night.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final, Literal

from models.notation import ABSENT, flip, without
from models.records import Check, CheckGroup, Forced, LedgerEntry, Measured, Record

ADVICE: Final[Mapping[CheckGroup, str]] = {
    "health": "A health check failed: the model itself is unsound. Compare the report's learning curves and histograms "
    "with the data findings before anything else; a wrong delivery is the usual cause.",
    "leak": "Something that was fitted, or a number that it read, knows of what it was judged on. Nothing that was "
    "measured that night counts until the sentence of that check is understood: look at what changed in code or "
    "sources.",
    "skill": "Skill was not shown on this evidence. With little history that is common even for a good recipe: more "
    "sessions or symbols narrow the intervals, a lower floor only hides that they are wide.",
    "champion": "The candidate was not shown to be as good as the champion, so the champion goes on serving. One such "
    "night needs no action; several in a row with the same recipe mean that something in the data has changed.",
}
"""What to do about failed checks, by group."""

TRY: Final = "nocturne retrain --session {session} --set SECTION.KEY=VALUE --no-promote"
"""How to try a change on a night without deciding anything."""

ROLL_BACK: Final = 'nocturne rollback --reason "what was seen"'
"""How to go back to the champion before."""


class ExplainedCheck(Check):
    """A check that failed, and what would have let it pass."""

    smallest_change: float | None
    """Of its value, with its sign; None where there is no number to change."""
    would_pass: str | None
    """The same in words: `+0.00313 would have passed`."""

    @classmethod
    def of(cls, check: Check) -> "ExplainedCheck":
        """Say the same of a check as it was recorded."""
        return cls(**dict(check), smallest_change=check.change, would_pass=flip(check))


class Explanation(Record):
    """What `nocturne explain` prints."""

    night_id: str
    session: date
    version: str | None
    """The candidate; None where the night made none."""
    verdict: Literal["promote", "keep"]
    reason: str
    decided_at: datetime
    decided_by: str
    champion_before: str | None
    champion_after: str | None
    forced: Forced | None
    failed: tuple[ExplainedCheck, ...]
    passed: dict[CheckGroup, tuple[str, ...]]
    """Names of the checks that passed, by group."""
    metrics: dict[str, Measured]
    next_steps: tuple[str, ...]
    missing: str = ""
    """What is not known of this night any more, and why; empty where all is."""
    same_session: tuple[str, ...] = ()
    """Ids of the other nights of this session, oldest first."""


def explanation(
    entry: LedgerEntry,
    checks: Sequence[Check],
    metrics: Mapping[str, float | None],
    *,
    forced: Forced | None = None,
    missing: str = "",
    same_session: Sequence[str] = (),
) -> Explanation:
    """Explain a decision.

    Args:
        entry: The ledger's line, which alone says what was decided.
        checks: All that the gate asked, as far as it is known.
        metrics: Numbers of the verdict.
        forced: Whose word stood in place of the gate's.
        missing: What is not known any more.
        same_session: Other nights of the session.
    """
    failed = tuple(ExplainedCheck.of(check) for check in checks if not check.passed)
    groups = dict.fromkeys(check.group for check in checks if check.passed)
    return Explanation(
        night_id=entry.night_id,
        session=entry.session,
        version=entry.version,
        verdict="promote" if entry.verdict == "promote" else "keep",
        reason=entry.reason,
        decided_at=entry.decided_at,
        decided_by=entry.actor,
        champion_before=entry.champion_before,
        champion_after=entry.champion_after,
        forced=forced,
        failed=failed,
        passed={
            group: tuple(check.name for check in checks if check.passed and check.group == group) for group in groups
        },
        metrics=dict(metrics),
        next_steps=_next_steps(entry, failed),
        missing=missing,
        same_session=tuple(same_session),
    )


def advice(failed: Sequence[Check]) -> tuple[str, ...]:
    """What to do about these, a sentence or two for each group among them."""
    groups = {check.group for check in failed}
    return tuple(text for group, text in ADVICE.items() if group in groups)


def heaviest(check: Check) -> tuple[str, str]:
    """Sessions, and symbols, that weigh most in a failed check, each with the check's value without it."""
    if check.weighs is None:
        return ABSENT, ABSENT
    return without(check, check.weighs.sessions) or ABSENT, without(check, check.weighs.symbols) or ABSENT


def _next_steps(entry: LedgerEntry, failed: Sequence[Check]) -> tuple[str, ...]:
    if entry.verdict == "promote":
        return (f"If the model misbehaves in service: {ROLL_BACK}",)
    return (*advice(failed), f"Try a change on this very night: {TRY.format(session=entry.session)}")
