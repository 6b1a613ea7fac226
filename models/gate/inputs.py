"""All that the gate reads, kept with the model, so that anybody can ask it again and must get the same answer.

Below an exported model lies `gate/`: `inputs.json`, the rows of the champion and of the anchor that were compared, and
`verdict.json`. The candidate's own rows are its `evidence.parquet`. A night writes them, reads them back and judges
what it has read; whoever asks again later does the same.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import pandas as pd

from models.calendar import Calendar
from models.config import GateConfig, Head, HeadLosses, TargetsConfig
from models.gate.champion import PREDICTIONS, ChampionEvidence
from models.gate.evidence import KEYS, unreadable
from models.gate.verdict import decide
from models.placebo import PlaceboRecord
from models.records import Check, Finding, Measured, Record, Scale, Verdict

DIRECTORY: Final = "gate"
"""Below an exported model."""
EVIDENCE: Final = "evidence.parquet"
_INPUTS: Final = "inputs.json"
_VERDICT: Final = "verdict.json"


class ComparedModel(Record):
    """A model that the candidate is compared with; the fields are those of `ChampionEvidence`."""

    version: str
    session: date
    same_recipe: bool
    trained_until: date
    incomparable: str = ""

    @classmethod
    def of(cls, evidence: ChampionEvidence) -> "ComparedModel":
        return cls(**{name: getattr(evidence, name) for name in cls.model_fields})


class GateInputs(Record):
    """What the gate reads besides rows; see the arguments of `decide`."""

    config: GateConfig
    targets: TargetsConfig
    exchange: str
    """Whose calendar tells when an undecided comparison will be decidable."""
    relative: bool
    heads: tuple[Head, ...]
    losses: HeadLosses
    scales: dict[str, Scale]
    session: date
    trained_until: date
    agreement: Measured
    findings: tuple[Finding, ...]
    leaks: tuple[Check, ...]
    placebo: PlaceboRecord | None
    champion: ComparedModel | None
    anchor: ComparedModel | None
    processor: str
    """Of the machine that asked; another kind may round the last digits otherwise."""


@dataclass(frozen=True)
class GateFrames:
    """The rows that the gate reads."""

    evidence: pd.DataFrame
    """The candidate's out-of-sample frame."""
    others: Mapping[str, pd.DataFrame]
    """`champion_stored, champion_fresh, anchor_stored, anchor_fresh`, as far as there are any."""

    @classmethod
    def of(
        cls, evidence: pd.DataFrame, champion: ChampionEvidence | None, anchor: ChampionEvidence | None
    ) -> "GateFrames":
        """Of the other models' frames only the rows and columns that some check reads."""
        others: dict[str, pd.DataFrame] = {}
        for role, model in (("champion", champion), ("anchor", anchor)):
            if model is None or model.incomparable or unreadable(evidence):
                continue
            if model.stored is not None:
                others[f"{role}_stored"] = _compared(model.stored, evidence, model.version)
            if model.fresh is not None:
                others[f"{role}_fresh"] = _columns(model.fresh)
        return cls(evidence, others)


def ask_gate(inputs: GateInputs, frames: GateFrames) -> Verdict:
    """The gate's answer to what a night gathered; the same again whenever it is asked."""
    return decide(
        frames.evidence,
        config=inputs.config,
        targets=inputs.targets,
        relative=inputs.relative,
        heads=inputs.heads,
        losses=inputs.losses,
        scales=inputs.scales,
        session=inputs.session,
        trained_until=inputs.trained_until,
        agreement=float("nan") if inputs.agreement is None else inputs.agreement,
        findings=inputs.findings,
        champion=_with_rows("champion", inputs.champion, frames),
        calendar=Calendar(inputs.exchange),
        anchor=_with_rows("anchor", inputs.anchor, frames),
        leaks=inputs.leaks,
        placebo=inputs.placebo,
    )


def processor() -> str:
    """Kind of this machine's processor, and the kernels that linear algebra was told to take in place of its own."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    kind = next(named, platform.processor() or platform.machine())
    kernels = os.environ.get("OPENBLAS_CORETYPE")
    return f"{kind}, OPENBLAS_CORETYPE={kernels}" if kernels else kind


def write_inputs(directory: Path, inputs: GateInputs, others: Mapping[str, pd.DataFrame]) -> None:
    """Write all but the candidate's own rows into `gate/` of a model."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _INPUTS).write_text(inputs.model_dump_json(indent=1))
    for name, frame in others.items():
        frame.to_parquet(directory / f"{name}.parquet", index=False, compression="zstd")


def write_verdict(directory: Path, verdict: Verdict) -> None:
    """Write the gate's own answer beside what it read."""
    (directory / _VERDICT).write_text(verdict.model_dump_json(indent=1))


def read_inputs(directory: Path) -> GateInputs:
    """What `gate/` of a model holds besides rows."""
    return GateInputs.model_validate_json((directory / _INPUTS).read_text())


def read_others(directory: Path) -> dict[str, pd.DataFrame]:
    """Rows of the models that the candidate was compared with, from `gate/` of a model."""
    return {path.stem: pd.read_parquet(path) for path in sorted(directory.glob("*.parquet"))}


def read_verdict(directory: Path) -> Verdict:
    """The gate's own answer, before anybody had the last word."""
    return Verdict.model_validate_json((directory / _VERDICT).read_text())


def ask_again(model: Path, inputs: GateInputs) -> Verdict:
    """Ask the gate once more, about the rows that lie with a model.

    Args:
        model: Local directory of an exported model.
        inputs: What was read besides rows.
    """
    frames = GateFrames(pd.read_parquet(model / EVIDENCE), read_others(model / DIRECTORY))
    return ask_gate(inputs, frames)


def _compared(stored: pd.DataFrame, evidence: pd.DataFrame, version: str) -> pd.DataFrame:
    """Rows that the candidate has too, and all of the model itself: these are counted against its training."""
    common = _columns(stored).merge(
        evidence[["session", "symbol"]], on=["session", "symbol"], how="left", indicator="in"
    )
    kept = (common["in"] == "both") | (common["version"] == version)
    return common.loc[kept].drop(columns="in").reset_index(drop=True)


def _columns(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[name for name in (*KEYS, *PREDICTIONS) if name in frame]]


def _with_rows(role: str, model: ComparedModel | None, frames: GateFrames) -> ChampionEvidence | None:
    if model is None:
        return None
    stored, fresh = (frames.others.get(f"{role}_{name}") for name in ("stored", "fresh"))
    return ChampionEvidence(**dict(model), stored=stored, fresh=fresh)
