"""A person's word in place of the gate's. It can keep any champion; it cannot let an unsound or leaking model serve."""

from collections.abc import Mapping
from typing import Final

from models.records import Check, CheckGroup, Forced, Verdict

NEVER_FORCED: Final[Mapping[CheckGroup, str]] = {"health": "a health check", "leak": "a check for leaks"}
"""Groups whose failed checks keep a candidate out whoever asks: what they find is no matter of judgement."""


def force(verdict: Verdict, forced: Forced, version: str | None) -> Verdict:
    """The verdict as somebody forced it, or the gate's own `keep` with what stood in the way.

    Args:
        verdict: What the gate said.
        forced: What is asked for, by whom and why.
        version: The candidate; None where the night made none.
    """
    said = f"the gate said: {verdict.reason}"
    if forced.what == "promote" and (obstacle := _obstacle(verdict, version)):
        reason = f"not forced, since {obstacle}; {forced.by} asked for it: {forced.reason}; {said}"
        return verdict.model_copy(update={"verdict": "keep", "reason": reason})
    reason = f"forced by {forced.by}: {forced.reason}; {said}"
    word = {"verdict": forced.what, "reason": reason, "decided_by": forced.by, "forced": forced}
    return verdict.model_copy(update=word)


def _obstacle(verdict: Verdict, version: str | None) -> str:
    """Why nobody can promote this candidate; empty where somebody can."""
    if version is None:
        return "there is no candidate"
    if not any(check.group == "health" for check in verdict.checks):
        return "its health was not checked, which cannot be forced away"
    return "; ".join(_told(check) for check in verdict.failed if check.group in NEVER_FORCED)


def _told(check: Check) -> str:
    return f"{check.name}, {NEVER_FORCED[check.group]} that cannot be forced away, failed ({check.why})"
