"""What no structure shows: a feature that knows the direction better than anything honest does."""

from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from models.config import GateConfig
from models.dataset import Dataset
from models.features import summaries, summary_names
from models.gate.evidence import Evidence
from models.gate.skill import LONG_EVIDENCE_SESSIONS
from models.leaks.sample import Sample
from models.notation import count, fixed
from models.panel import FloatArray, Panel
from models.records import Check, at_most
from models.scores import session_aucs
from models.targets import is_relative, label_reach

MISSINGNESS: Final = "share of bars present"
"""Whether a bar is there is a feature too, and a cheap way to leak."""
_BEST: Final = 3
"""Features whose interval is looked at where the evidence is short."""
_LUCK: Final = 2.5
"""Half widths of its interval, about four standard errors: so far the best of all features can lie from 0.5 by luck."""


def single_feature(dataset: Dataset, sample: Sample, evidence: pd.DataFrame) -> Check:
    """Every summary, and missingness, alone against direction; either way round, since a network can turn a sign."""
    config, relative = dataset.config.gate, is_relative(dataset.panel, dataset.config.targets)
    rows = evidence.loc[
        evidence["direction"].notna() & evidence["symbol"].isin(sample.scanned), ["session", "symbol", "direction"]
    ]
    if rows["direction"].nunique() < 2:
        why = f"{count(len(rows))} rows of {len(sample.scanned)} symbols, not of both directions"
        return at_most("single_feature", "leak", float("nan"), config.suspicious_auc, why)
    features, keys = _features(dataset, sample, rows)
    rows = rows.merge(keys, on=["session", "symbol"])
    values = features[rows.pop("row").to_numpy()]
    areas = _areas(values, rows, relative)
    if not np.isfinite(areas).any():
        why = "not asked: no session has symbols of both directions, so none can be ranked"
        return Check(name="single_feature", group="leak", value=None, bound=None, passed=True, why=why)
    names = (*summary_names(dataset.config.network.spans), MISSINGNESS)
    order = np.argsort(-np.abs(areas - 0.5))[:_BEST]
    n_sessions = int(rows["session"].nunique())
    best = int(order[0])
    about = (
        f"of {len(names)} single features {names[best]} ranks direction best, AUC {fixed(areas[best])} on "
        f"{count(len(rows))} rows of {n_sessions} sessions and {rows['symbol'].nunique()} symbols"
    )
    signed = values[:, order] * np.sign(areas[order] - 0.5)
    lows = _lower_ends(rows, signed, config, label_reach(dataset.config.targets), relative)
    if n_sessions >= LONG_EVIDENCE_SESSIONS:
        value = 0.5 + abs(float(areas[best]) - 0.5)
        bound = float(np.fmax(config.suspicious_auc, 0.5 + _LUCK * (value - lows[0])))
        return at_most("single_feature", "leak", value, bound, f"{about}; {_bounds(bound)}")
    bound = config.suspicious_auc_low
    told = f"{about}; the lower end of its interval, counted from 0.5 upwards, is {fixed(lows[0])}; {_bounds(bound)}"
    return at_most("single_feature", "leak", float(np.max(lows)), bound, told)


def _bounds(bound: float) -> str:
    return f"beyond {fixed(bound, 2)} or {fixed(1 - bound, 2)} it holds the answer until shown otherwise"


def _features(dataset: Dataset, sample: Sample, evidence: pd.DataFrame) -> tuple[FloatArray, pd.DataFrame]:
    """(M, n + 1) summaries and missingness over the judged sessions, and `session, symbol, row` of each present one."""
    network, sessions = dataset.config.network, dataset.panel.sessions
    first = int(np.searchsorted(sessions, evidence["session"].min().to_datetime64().astype("datetime64[D]")))
    stretch = sample.stretch(sample.scanned, max(first - network.window, 0), len(sessions))
    panel = sample.made_of(stretch).panel
    rows = np.flatnonzero(panel.present)
    keys = pd.DataFrame(
        {
            "session": panel.session_of(rows).astype("datetime64[s]"),
            "symbol": pd.Series(panel.symbol_of(rows), dtype=evidence["symbol"].dtype),
            "row": rows,
        }
    )
    values = np.column_stack([summaries(panel, network.window, network.spans), _presence(panel, network.window)])
    return values.astype(np.float64), keys.astype({"session": evidence["session"].dtype})


def _presence(panel: Panel, window: int) -> FloatArray:
    """(M,) bars present in each row's window."""
    counts = np.concatenate([[0.0], np.cumsum(panel.present)])
    row = np.arange(len(panel.present))
    presence: FloatArray = counts[row + 1] - counts[np.maximum(panel.offsets[panel.series], row - window + 1)]
    return presence


def _areas(values: FloatArray, rows: pd.DataFrame, relative: bool) -> FloatArray:
    """(n,) AUC of each column: pooled, or for the absolute target the mean of the sessions' own."""
    label = rows["direction"].to_numpy(float)
    if not relative:
        session = rows["session"].to_numpy()
        return np.array([session_aucs(label, column, session).mean() for column in values.T])
    up = label == 1.0
    n_up, ranks = int(up.sum()), rankdata(values, axis=0, nan_policy="propagate")
    areas: FloatArray = (ranks[up].sum(axis=0) - n_up * (n_up + 1) / 2) / (n_up * (len(up) - n_up))
    return areas


def _lower_ends(rows: pd.DataFrame, signed: FloatArray, config: GateConfig, reach: int, relative: bool) -> FloatArray:
    """(n,) lower end of each column's AUC interval, oriented so that the AUC is at least 0.5."""
    names = [f"feature_{column}" for column in range(signed.shape[1])]
    frame = rows.assign(**dict(zip(names, signed.T, strict=True)))
    evidence = Evidence.of(frame, config, reach=reach, relative=relative)
    return np.array([evidence.interval(evidence.auc(name)).low for name in names])
