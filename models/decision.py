"""The decision as a document: one JSON that says what was decided and on what, bound by its hash to the ledger's line.

It is written before the line, under the name of its own hash, so that no crash leaves a line whose document is lost;
what was written for a line that another writer came before is bound by nothing.
"""

import hashlib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

from pydantic import Field

from models.clean_process import Transcript
from models.config import RetrainConfig, StorageConfig
from models.gate.inputs import GateInputs
from models.night import NightRecord
from models.records import CandidateRecord, FoldRecord, LedgerEntry, Measured, Record, Verdict, VerdictWord

NAME: Final = "decision.json"
"""Of the document that lies beside a model."""
BOUND_BY: Final = "decision"
"""Name of the document's own hash in the ledger's line."""
IDENTITY: Final = ("snapshot", "config", "code", "recipe")
"""Names of the night's hashes in the ledger's line; all others there are files of the model."""


class Training(Record):
    """How the candidate's weights came about: what it takes to make them again, with snapshot, config and code."""

    seed: int
    threads: int | None
    device: str
    cut_short: bool = False
    epochs: int
    trained_until: date
    folds: tuple[FoldRecord, ...]

    @classmethod
    def of(cls, candidate: CandidateRecord, config: RetrainConfig) -> "Training":
        kept = {name: getattr(candidate, name) for name in cls.model_fields if name != "seed"}
        return cls(seed=config.training.seed, **kept)


class Grounds(Record):
    """What a decision rests on: known before anything is decided."""

    night: NightRecord
    """Snapshot with its hash, hashes of configuration, code and recipe."""
    config: RetrainConfig
    """All settings but where things are kept."""
    judged: Verdict
    """The gate's own answer, with every check and interval."""
    version: str | None = None
    """The candidate; None for a night that made none, which has none of the following."""
    training: Training | None = None
    gate: GateInputs | None = None
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of every file of the model and of all rows that the gate read, by relative path."""
    clean_process: Transcript | None = None
    """What the process saw that reproduced the golden batch; None for a candidate that was not to serve."""

    @classmethod
    def without_candidate(cls, night: NightRecord, verdict: Verdict, config: RetrainConfig) -> "Grounds":
        """Of a night that ended before anything was trained."""
        return cls(night=night, config=_unplaced(config), judged=verdict)

    @classmethod
    def of(
        cls,
        night: NightRecord,
        candidate: CandidateRecord,
        config: RetrainConfig,
        gate: GateInputs,
        judged: Verdict,
        files: Mapping[str, str],
    ) -> "Grounds":
        """Of a candidate that was judged and registered."""
        return cls(
            night=night,
            config=_unplaced(config),
            judged=judged,
            version=candidate.version,
            training=Training.of(candidate, config),
            gate=gate,
            files=dict(files),
        )


class Decision(Record):
    """The document: the last word, who had it, and all that it rests on."""

    decided_at: datetime
    actor: str
    verdict: VerdictWord
    reason: str
    decided_by: str | None
    """Whoever had the last word over the gate; None where the gate alone decided."""
    champion_before: str | None
    champion_after: str | None
    facts: dict[str, Measured]
    """Numbers that later nights read, as the ledger has them."""
    grounds: Grounds

    @classmethod
    def of(
        cls, grounds: Grounds, verdict: Verdict, champions: tuple[str | None, str | None], **facts: Any
    ) -> "Decision":
        """The last word, as a document.

        Args:
            grounds: What it rests on.
            verdict: The last word, which may be a person's.
            champions: What served before and what serves after.
            facts: `decided_at`, `actor` and `facts` as the fields.
        """
        before, after = champions
        return cls(
            verdict=verdict.verdict,
            reason=verdict.reason,
            decided_by=verdict.decided_by,
            champion_before=before,
            champion_after=after,
            grounds=grounds,
            **facts,
        )

    @property
    def content(self) -> bytes:
        """The document as it is kept, byte by byte."""
        return self.model_dump_json(indent=1).encode()

    def line(self, content_hash: str) -> LedgerEntry:
        """The ledger's line, which follows from the document and binds it by the SHA-256 of its content."""
        night = self.grounds.night
        identity = (night.snapshot.hash, night.config_hash, night.code_hash, night.recipe)
        return LedgerEntry(
            night_id=night.night_id,
            session=night.snapshot.session,
            as_of=night.snapshot.as_of,
            decided_at=self.decided_at,
            verdict=self.verdict,
            reason=self.reason,
            version=self.grounds.version,
            champion_before=self.champion_before,
            champion_after=self.champion_after,
            actor=self.actor,
            hashes={
                **dict(zip(IDENTITY, identity, strict=True)),
                **self.grounds.files,
                BOUND_BY: content_hash,
            },
            facts=self.facts,
        )


def sha256(content: bytes) -> str:
    """Of a document as it is kept."""
    return hashlib.sha256(content).hexdigest()


def kept_as(content_hash: str) -> str:
    """Where the night's files hold the document with this hash."""
    return f"decisions/{content_hash}.json"


def _unplaced(config: RetrainConfig) -> RetrainConfig:
    """Places are no part of a decision, and may hold credentials."""
    return config.model_copy(update={"storage": StorageConfig()})
