"""A night that never was: 60 sessions × 300 symbols with weak but real skill, and everything that a report shows."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd

from models.drift import ColumnDrift
from models.records import (
    Account,
    CandidateRecord,
    Finding,
    NightResult,
    Scale,
    Snapshot,
    above,
    at_least,
    at_most,
    within,
)
from models.report import NightMaterial

SESSION = date(2010, 8, 19)
SECTORS = ("Energy", "Financials", "Health Care", "Industrials", "Information Technology", "Utilities")


def evidence(n_sessions: int = 60, n_symbols: int = 300, seed: int = 3) -> pd.DataFrame:
    """An out-of-sample frame whose P(up) ranks direction with an AUC near 0.53."""
    rng = np.random.default_rng(seed)
    shape = (n_sessions, n_symbols)
    level = rng.lognormal(-4.1, 0.35, n_symbols) * np.exp(rng.normal(0, 0.25, (n_sessions, 1)))
    edge = rng.normal(size=shape)
    drift = 0.07 * edge * (1 + rng.normal(0, 0.8, (n_sessions, 1)))
    shock = drift + rng.standard_t(6, shape)
    volatility = level * rng.lognormal(0, 0.28, shape)
    reversal = 0.3 * edge + rng.normal(size=shape)
    frame = pd.DataFrame(
        {
            "session": np.repeat(pd.bdate_range(end=SESSION, periods=n_sessions).as_unit("s"), n_symbols),
            "symbol": np.tile([f"S{k:03d}" for k in range(n_symbols)], n_sessions),
            "fold": 0,
            "version": "2010-08-19-5f0c11ab",
            "p_up": (1 / (1 + np.exp(-0.1 * edge))).ravel(),
            "volatility": (level * np.exp(rng.normal(0, 0.1, shape))).ravel(),
            "magnitude": (1.8 * level).ravel(),
            "direction": (shock > 0).astype("float64").ravel(),
            "volatility_target": volatility.ravel(),
            "volatility_har": (level * np.exp(rng.normal(0, 0.15, shape))).ravel(),
            "dollar_volume": np.tile(rng.lognormal(17, 1, n_symbols), n_sessions),
            "magnitude_target": np.abs(volatility * shock * 2).ravel(),
            "p_up_volatility_only": (0.5 + 0.5 * (level - level.mean())).ravel(),
            "reversal": reversal.ravel(),
        }
    )
    kept = rng.random(len(frame)) > 0.03 * (np.arange(len(frame)) % 7 == 0)
    return frame[kept].reset_index(drop=True)


def scale(head: str, targets: pd.Series) -> Scale:
    """What the percentile rule makes of these targets."""
    shares = {"p1": 0.01, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
    percentiles = {name: float(targets.quantile(share)) for name, share in shares.items()}
    bound = round(max(3 * percentiles["p99"], 1.5 * percentiles["p99.9"]), 2)
    return Scale(
        head=head,
        scale=bound,
        proposed=bound,
        mean=float(targets.mean()),
        median=percentiles["p50"],
        percentiles={**percentiles, "max": float(targets.max())},
        clipped_share=float((targets > bound).mean()),
        rows=len(targets),
    )


def history(scales: dict[str, Scale], n_nights: int = 40, seed: int = 4) -> pd.DataFrame:
    """Nights before this one whose percentiles wander slowly around tonight's."""
    rng = np.random.default_rng(seed)
    sessions = pd.bdate_range(end=SESSION - timedelta(days=1), periods=n_nights).as_unit("s")
    frame = pd.DataFrame({"session": sessions, "version": "earlier", "verdict": "keep"})
    for head, one in scales.items():
        wander = np.exp(np.cumsum(rng.normal(0, 0.01, n_nights)))
        facts = {"mean": one.mean, "median": one.median, **one.percentiles}
        columns = {f"{head}_{name}": value * wander for name, value in facts.items()}
        frame = frame.assign(**columns, **{f"{head}_scale": one.scale})
    return frame.assign(direction_auc=0.52 + 0.008 * rng.normal(size=n_nights))


def curves(n_epochs: int = 9, chosen: int = 7) -> pd.DataFrame:
    """A fit that stops two epochs after its best."""
    epoch = np.arange(1, n_epochs + 1)
    bowl = 0.004 * (epoch - chosen) ** 2 / n_epochs
    return pd.DataFrame(
        {
            "epoch": epoch,
            "loss": 0.70 - 0.09 * (1 - np.exp(-epoch / 3)),
            "val_loss": 0.66 + bowl,
            "val_direction": 0.6905 + bowl / 4,
            "val_volatility": 0.41 + 0.2 * np.exp(-epoch / 2) + bowl,
            "val_magnitude": 0.11 + 0.05 * np.exp(-epoch / 2) + bowl,
            "chosen": epoch == chosen,
        }
    )


def candidate() -> CandidateRecord:
    """How the candidate was trained."""
    return CandidateRecord(
        version="2010-08-19-5f0c11ab",
        uri="nights/5f0c11ab90d34e7c/candidate",
        hashes={},
        scales={},
        trained_until=date(2010, 5, 19),
        recipe="r",
        epochs=7,
        seconds=31.2,
        head_weights={"direction": 1.0, "volatility": 0.031, "magnitude": 0.42},
        head_shares={"direction": 0.7, "volatility": 0.2, "magnitude": 0.1},
        threads=2,
        device="CPU",
    )


def findings() -> tuple[Finding, ...]:
    """Broken and held rules, as a real panel has them."""
    return (
        Finding(
            rule="ohlc_order",
            level="quarantine",
            count=77,
            why="77 rows break low ≤ open, close ≤ high by more than 1 part in 10⁶.",
            examples=("PM 2010-05-06", "CNP 2010-05-06"),
        ),
        Finding(
            rule="overnight_jump",
            level="warn",
            count=8,
            why="8 closes moved by more than 40 % without a stated split.",
            examples=("DHR 2010-06-14", "ETFC 2010-06-30", "STR 2010-07-01"),
        ),
        Finding(rule="duplicate_keys", level="quarantine", count=0, why="No key appears twice."),
        Finding(rule="completeness", level="stop", count=0, why="500 of the usual 500 symbols were delivered."),
    )


def result(verdict: str = "promote") -> NightResult:
    """The record of the night, with one skill check that is not shown."""
    why = "The lower end of the 90 % interval of the direction AUC is 0.4988; it must exceed 0.5."
    checks = (
        at_least("finite", "health", 1.0, 1.0, "All 17,900 predictions of every head are finite."),
        within("volatility calibration", "health", 0.973, (0.8, 1.25), "Mean of y² / ŷ² is 0.973."),
        at_most("volatility saturation", "health", 0.0, 0.01, "No prediction lies above 0.9 × the scale."),
        above("direction floor", "skill", 0.4988, 0.5, why),
        at_most("volatility against log-HAR", "skill", -0.031, 0.02, "QLIKE is 3.1 % lower than that of log-HAR."),
        at_least("direction non-inferior", "champion", -0.0021, -0.006, "Paired difference on 14,200 common rows."),
    )
    promoted = verdict == "promote"
    reason = (
        "Healthy, and volatility is no worse than log-HAR. Direction skill is not shown: the interval of the AUC "
        "reaches 0.4988."
        if promoted
        else "Direction floor failed: the lower end of the interval is 0.4988 and 0.5 must be exceeded."
    )
    version = "2010-08-19-5f0c11ab"
    return NightResult(
        session=SESSION,
        as_of=datetime(2010, 8, 20, 13, 30, tzinfo=UTC),
        night_id="5f0c11ab90d34e7c",
        verdict=verdict,
        reason=reason,
        version=version,
        champion=version if promoted else "2010-08-12-aa41c022",
        trained_until=date(2010, 5, 19),
        checks=checks,
        metrics={
            "direction_auc": 0.5272,
            "direction_auc_low": 0.4988,
            "direction_auc_high": 0.5521,
            "direction_auc_reversal": 0.5091,
            "volatility_qlike": 0.1622,
        },
        delivery=Account(delivered=122_574, accepted=122_497, quarantined=77, by_rule={"ohlc_order": 77}),
        snapshot=Snapshot(
            session=SESSION,
            as_of=datetime(2010, 8, 20, 13, 30, tzinfo=UTC),
            hash="c81e728d9d4c2f63",
            rows=122_497,
            first=date(2009, 8, 21),
            last=SESSION,
            symbols=524,
            members=487,
            ended=29,
            ended_rows=0.034,
        ),
        timings={"ingest": 9.4, "targets": 1.8, "train": 31.2, "evaluate": 4.1, "gate": 2.2, "promote": 3.9},
    )


def drift() -> tuple[ColumnDrift, ...]:
    """Of fourteen columns; the volume of tonight lies out."""
    usual = np.random.default_rng(5).uniform(0.05, 0.2, (14, 60)).round(3)
    measured = [ColumnDrift(name=f"return_{k}", tonight=0.1, earlier=tuple(usual[k])) for k in range(13)]
    return (*measured, ColumnDrift(name="volume", tonight=0.7, earlier=tuple(usual[13])))


def material(verdict: str = "promote", n_sessions: int = 60, n_symbols: int = 300) -> NightMaterial:
    """Everything that the report of a whole night shows."""
    frame = evidence(n_sessions, n_symbols)
    scales = {head: scale(head, frame[f"{head}_target"]) for head in ("volatility", "magnitude")}
    return NightMaterial(
        result=result(verdict),
        findings=findings(),
        drift=drift(),
        scales=scales,
        history=history(scales),
        curves=curves(),
        candidate=candidate(),
        evidence=frame,
        sectors={symbol: SECTORS[k % len(SECTORS)] for k, symbol in enumerate(sorted(set(frame["symbol"])))},
        note="The demo's settings were chosen with its own scores in view, so its AUC proves no skill.",
    )
