"""What people are told when it matters: one message that reads as well in a chat as in an e-mail."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final, Literal

from models.credentials import without_credentials
from models.errors import NightStopped, NocturneError
from models.notation import flip, moment, value_and_bound
from models.records import Check, NightResult, Record

Kind = Literal["promoted", "kept", "waiting", "attention", "stopped", "failed", "rolled back"]

EVENTS: Final[Mapping[Kind, str]] = {
    "promoted": "nocturne.night.promoted",
    "kept": "nocturne.night.kept",
    "waiting": "nocturne.night.waiting",
    "attention": "nocturne.status.attention",
    "stopped": "nocturne.night.stopped",
    "failed": "nocturne.night.failed",
    "rolled back": "nocturne.champion.rolled-back",
}
"""Name of the event of each kind of message."""


class FailedCheck(Record):
    """A check that was not passed, with its numbers as they are written for people."""

    check: str
    value: str
    bound: str
    would_pass: str
    """The smallest change of the value that would have let it pass; empty where that is no number."""
    why: str

    @classmethod
    def of(cls, check: Check) -> "FailedCheck":
        value, bound = value_and_bound(check)
        return cls(check=check.name, value=value, bound=bound, would_pass=flip(check) or "", why=check.why)

    @property
    def limit(self) -> str:
        """The bound, and what it would have taken to get there."""
        return f"{self.bound}; {self.would_pass}" if self.would_pass else self.bound


class Message(Record):
    """One thing that happened, for people: no credentials, and nothing that a chat would take for a command."""

    kind: Kind
    subject: str
    what: str
    why: str
    failed: tuple[FailedCheck, ...] = ()
    report: str | None = None
    """Path or URI of the night's page."""

    @property
    def text(self) -> str:
        """All but the subject, in lines of plain text."""
        lines = [self.what, f"Why: {self.why}"]
        if self.failed:
            lines.append("Not passed:")
            lines += [f"• {one.check} {one.value} ({one.limit}): {one.why}" for one in self.failed]
        if self.report:
            lines.append(f"Report: {self.report}")
        return "\n".join(lines)

    def harmless(self) -> "Message":
        """The same message with every text of it as it may be shown."""
        texts = {name: _shown(getattr(self, name)) for name in ("subject", "what", "why")}
        failed = tuple(
            FailedCheck(**{name: _shown(text) for name, text in one.model_dump().items()}) for one in self.failed
        )
        report = _shown(self.report) if self.report else None
        return self.model_copy(update={**texts, "failed": failed, "report": report})


def of_decision(result: NightResult) -> Message:
    """That tonight's candidate was promoted, or that the champion was kept."""
    serves = f"{result.champion} serves" if result.champion else "Nothing serves"
    failed = tuple(FailedCheck.of(check) for check in result.checks if not check.passed)
    if result.verdict == "promote":
        kind, subject, what = "promoted", f"promoted {result.version}", f"{serves} from now on."
    else:
        candidate = f" The candidate {result.version} does not." if result.version else ""
        kept = "kept the champion" if result.champion else "promoted nothing"
        kind, subject, what = "kept", kept, f"{serves}, as before.{candidate}"
    if result.forced is not None:
        subject = f"{subject}, forced by {result.forced.by}"
        what = f"{what} {result.forced.by} decided this in place of the gate: {result.forced.reason}"
    return Message.model_validate(
        {
            "kind": kind,
            "subject": f"Nocturne {result.session}: {subject}",
            "what": what,
            "why": result.reason,
            "failed": failed,
            "report": result.report,
        }
    ).harmless()


def of_waiting(version: str, session: date, reason: str, until: datetime) -> Message:
    """That a candidate passed the gate and waits for a person's word."""
    return Message(
        kind="waiting",
        subject=f"Nocturne {session}: {version} waits for your approval",
        what=f"It passed the gate. Without an answer by {moment(until)} the champion stays: open the run, Resume.",
        why=reason,
    ).harmless()


def of_concerns(concerns: Sequence[str], due: date) -> Message:
    """That something is not as it should be, although perhaps no run has failed."""
    n = len(concerns)
    return Message(
        kind="attention",
        subject=f"Nocturne: {n} {'thing' if n == 1 else 'things'} to look at",
        what=f"By now all of {due} should be done.",
        why=" ".join(concerns),
    ).harmless()


def of_failure(run: str, error: BaseException) -> Message:
    """That a run was stopped by a check of its data, or failed."""
    stopped = isinstance(error, NightStopped)
    why = str(error)
    if not isinstance(error, NocturneError):
        why = f"{type(error).__name__}: {why}. This was not foreseen; the log of the run says where it happened."
    return Message(
        kind="stopped" if stopped else "failed",
        subject=f"Nocturne: {run} {'was stopped by its data' if stopped else 'failed'}",
        what="The run ended here. `nocturne status` says what serves.",
        why=why,
    ).harmless()


def of_rollback(before: str, champion: str, reason: str, actor: str) -> Message:
    """That somebody moved the champion back."""
    return Message(
        kind="rolled back",
        subject=f"Nocturne: rolled back to {champion}",
        what=f"{champion} serves from now on, instead of {before}; {actor} asked for it.",
        why=reason,
    ).harmless()


def _shown(text: str) -> str:
    """Without credentials, and with no opening angle bracket: `<!channel>` in a delivered name would call everybody."""
    return re.sub(r"<(?=\S)", "‹", without_credentials(text))
