"""What was fitted: on which rows, with labels that end when, and whether later bars would have changed it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.baselines import baselines
from models.dataset import Dataset
from models.features import summaries, summary_names
from models.leaks.sample import Sample
from models.notation import count, significant
from models.offset import Standardisation, fit_direction_line, fit_offset
from models.panel import FloatArray, IntArray, Panel, eligible
from models.records import Check, at_least, at_most
from models.splits import Split
from models.targets import label_reach

_STIR: Final = np.uint64(0x9E3779B97F4A7C15)
"""Odd and without a pattern (Knuth's multiplicative hashing)."""
_SAME: Final = 1e-9

HashArray = npt.NDArray[np.uint64]


def fitted_checks(
    dataset: Dataset, sample: Sample, splits: Sequence[Split], evidence: pd.DataFrame
) -> tuple[Check, ...]:
    """Of the splits, of the rows on either side of them, and of everything that is measured on training rows.

    Args:
        dataset: The night's.
        sample: Of it.
        splits: Of everything that predicted a row of the evidence, the candidate's last.
        evidence: The out-of-sample frame.
    """
    return (
        _label_end(dataset, splits, evidence),
        _trained_until(dataset, splits),
        _repeated_rows(evidence),
        _selected_rows(dataset, splits, evidence),
        _repeated_windows(dataset, splits),
        _refit(sample),
    )


def _label_end(dataset: Dataset, splits: Sequence[Split], evidence: pd.DataFrame) -> Check:
    """The rows that were really fitted on, against the rows that were really judged, fold by fold."""
    panel = dataset.panel
    gaps, told = [], []
    for fold, rows in evidence.groupby("fold"):
        split = next((one for one in splits if one.fold == fold), None)
        ends = _last_label_end(dataset, split, splits) if split else None
        if ends is None:
            gaps.append(float("nan"))
            told.append(f"fold {fold} has no known training rows")
            continue
        first = rows["session"].min()
        gaps.append(float(np.searchsorted(panel.sessions, np.datetime64(first, "D")) - ends))
        told.append(f"fold {fold} is judged from {first:%Y-%m-%d} on, its last label ended {_day(panel, ends)}")
    gap = float(np.min(gaps)) if gaps else float("nan")
    return at_least("label_end", "leak", gap, 1, f"sessions between, {significant(gap)}: {'; '.join(told)}")


def _trained_until(dataset: Dataset, splits: Sequence[Split]) -> Check:
    """Whether each model's training ended when it says: by this date it is later kept from rows that it has seen."""
    late, told = [], []
    for split in splits:
        ends = _last_label_end(dataset, split, splits)
        late.append(float("nan") if ends is None else float(ends - split.trained_until))
        told.append(f"fold {split.fold} says {_day(dataset.panel, split.trained_until)}")
    by = float(np.max(late)) if late else float("nan")
    why = f"the last label that was fitted on ended {significant(by)} sessions after trained_until at most"
    return at_most("trained_until", "leak", by, 0, f"{why}: {'; '.join(told)}")


def _last_label_end(dataset: Dataset, split: Split, splits: Sequence[Split]) -> int | None:
    """Position of the session on which the last label of the fitted rows ends; None without rows."""
    seen = np.concatenate(_fitted_rows(dataset, split, splits))
    return int(dataset.panel.session[seen].max()) + label_reach(dataset.config.targets) if len(seen) else None


def _fitted_rows(dataset: Dataset, split: Split, splits: Sequence[Split]) -> tuple[IntArray, IntArray]:
    """Training and validation rows; of the candidate those that its fit is given."""
    if split is splits[-1]:
        return dataset.train, dataset.validation
    return dataset.between(split.train), dataset.between(split.validation)


def _day(panel: Panel, position: int) -> str:
    return str(panel.sessions[min(position, len(panel.sessions) - 1)])


def _repeated_rows(evidence: pd.DataFrame) -> Check:
    repeated = evidence[evidence.duplicated(["session", "symbol"])]
    why = f"{count(len(repeated))} of {count(len(evidence))} judged rows repeat the symbol and session of another"
    examples = [f"{row.symbol} {row.session:%Y-%m-%d}" for row in repeated.head(3).itertuples()]
    value = len(repeated) if len(evidence) else float("nan")
    return at_most("repeated_rows", "leak", value, 0, f"{why}{': ' if examples else ''}{', '.join(examples)}")


def _selected_rows(dataset: Dataset, splits: Sequence[Split], evidence: pd.DataFrame) -> Check:
    """Rows that could be judged and are not, or the other way round: whoever may choose can look good."""
    panel = dataset.panel
    rows = np.concatenate([dataset.between(split.evidence) for split in splits])
    usable = pd.MultiIndex.from_arrays([panel.session_of(rows).astype("datetime64[s]"), panel.symbol_of(rows)])
    judged = pd.MultiIndex.from_arrays(
        [evidence["session"].to_numpy("datetime64[s]"), evidence["symbol"].to_numpy(str)]
    )
    left_out, added = int((~usable.isin(judged)).sum()), int((~judged.isin(usable)).sum())
    why = (
        f"{count(left_out)} of {count(len(usable))} rows of the judged sessions with a whole window and horizon are "
        f"not judged, and {count(added)} others are"
    )
    return at_most("selected_rows", "leak", left_out + added if len(usable) else float("nan"), 0, why)


def _repeated_windows(dataset: Dataset, splits: Sequence[Split]) -> Check:
    """Judged windows whose bars, number for number, were trained on as well."""
    panel, window = dataset.panel, dataset.config.network.window
    hashes, moves = _window_hashes(panel, window), _moves(panel, window)
    in_order = np.sort(hashes[dataset.rows])
    twice = in_order[1:][in_order[1:] == in_order[:-1]]
    repeated, n_judged, where = 0, 0, ""
    for split in splits:
        judged = dataset.between(split.evidence)
        n_judged += len(judged)
        seen = np.concatenate(_fitted_rows(dataset, split, splits))
        alike = judged[np.isin(hashes[judged], twice) & moves[judged]]
        again = np.union1d(
            judged[np.isin(judged, seen)], alike[np.isin(hashes[alike], hashes[seen])] if len(alike) else alike
        )
        repeated += len(again)
        where = where or _examples(panel, again)
    why = f"the {window} bars of {count(repeated)} of {count(n_judged)} judged windows were trained on as well{where}"
    return at_most("repeated_windows", "leak", repeated if n_judged else float("nan"), 0, why)


def _examples(panel: Panel, rows: IntArray) -> str:
    some = rows[:3]
    pairs = zip(panel.symbol_of(some), panel.session_of(some), strict=True)
    return f": {', '.join(f'{symbol} {day}' for symbol, day in pairs)}" if len(some) else ""


def _window_hashes(panel: Panel, window: int) -> HashArray:
    """(M,) hash of the bars of each row's window: that of twice as many rows is made of two of half as many."""
    bits = np.ascontiguousarray(panel.bars).view(np.uint32).astype(np.uint64)
    one = np.zeros(len(bits), np.uint64)
    for column in bits.T:
        one = (one ^ column) * _STIR
        one ^= one >> np.uint64(29)
    position = np.arange(len(one)) - panel.offsets[panel.series]
    whole, length, doubled = np.zeros(len(one), np.uint64), 0, 1
    while doubled <= window:
        if window & doubled:
            whole = whole * _power(doubled) + _earlier(one, length, position)
            length += doubled
        one = one + _earlier(one, doubled, position) * _power(doubled)
        doubled *= 2
    return whole


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(int(_STIR), exponent, 2**64))


def _earlier(values: HashArray, rows: int, position: IntArray) -> HashArray:
    """(M,) value that many rows before in the same series, else 0."""
    if not rows:
        return values
    earlier = np.zeros_like(values)
    earlier[rows:] = values[:-rows]
    earlier[position < rows] = 0
    return earlier


def _moves(panel: Panel, window: int) -> "npt.NDArray[np.bool_]":
    """(M,) rows in whose window some bar differs from the one before: a price that stands still repeats itself."""
    same = np.concatenate([[False], (panel.bars[1:] == panel.bars[:-1]).all(axis=1)])
    changes = np.concatenate([[0], np.cumsum(~same)])
    row = np.arange(len(same))
    first = np.maximum(panel.offsets[panel.series], row - window + 1) + 1
    moving: npt.NDArray[np.bool_] = changes[row + 1] - changes[np.minimum(first, row + 1)] > 0
    return moving


def _refit(sample: Sample) -> Check:
    """Everything measured on training rows, once more with noise from the first judged session on."""
    panel = sample.dataset.panel
    stretch = sample.stretch(sample.steady, 0, len(panel.sessions))
    plan = sample.dataset.plan  # one of the sample's own would move with the noise
    dataset = replace(sample.made_of(stretch), planned=plan)
    first = dataset.split.evidence[0]
    noisy = stretch.with_noise_after(first - 1, dataset.config.data.jump_limit)
    corrupted = replace(sample.made_of(noisy), planned=plan)
    if not (len(dataset.train) and len(corrupted.train)):
        return at_most("refit", "leak", float("nan"), _SAME, "no symbol of the sample has training rows")
    once, again = _measured(dataset), _measured(corrupted)
    moved = {name: _relative(once[name], again[name]) for name in once}
    worst = max(moved.values())
    guilty = [name for name, by in moved.items() if not by <= _SAME]
    why = (
        f"{'moved: ' + ', '.join(guilty) if guilty else 'none moves of ' + ', '.join(moved)} (by "
        f"{significant(worst, 2)} at most), when all bars from {_day(panel, first)} on are noise; "
        f"{len(sample.steady)} symbols, {count(len(dataset.train))} training rows"
    )
    return at_most("refit", "leak", worst, _SAME, why)


def _measured(dataset: Dataset) -> Mapping[str, FloatArray]:
    network, targets, train = dataset.config.network, dataset.targets, dataset.train
    seen = summaries(dataset.panel, network.window, network.spans)
    scaling = Standardisation.of(seen, train)
    offset = fit_offset(seen, targets, train, scaling, network.spans, dataset.config.training.losses)
    line = fit_direction_line(seen, targets.direction, train, train, scaling)
    rows = np.union1d(train, _on_the_eve(dataset))
    forecasts = baselines(dataset.panel, targets, [(train, rows)], seen, summary_names(network.spans))
    scales = dataset.scales().values()
    return {
        "standardisation": np.concatenate([scaling.mean, scaling.sd]),
        "volatility line": np.append(offset.slopes, list(offset.intercepts.values())),
        "direction line": line.slopes,
        "scales": np.array([[one.proposed, one.mean, one.median, *one.percentiles.values()] for one in scales]),
        "baselines": forecasts.select_dtypes("number").to_numpy(float),
        "number of training rows": np.array([len(train), len(dataset.validation)], float),
    }


def _on_the_eve(dataset: Dataset) -> IntArray:
    """Rows just before the first judged session: their bars are known, their labels end in what was made noise.

    A baseline that is fitted on what it forecasts would move by them, one that is fitted on training rows does not.
    """
    panel, config = dataset.panel, dataset.config
    first = dataset.split.evidence[0]
    known = eligible(panel, config.network.window, config.data.min_present)
    return np.flatnonzero(known & (panel.session >= first - label_reach(config.targets)) & (panel.session < first))


def _relative(once: FloatArray, again: FloatArray) -> float:
    """Largest difference, relative to the largest value; infinite where one side has no number or other sizes."""
    if once.shape != again.shape:
        return float("inf")
    difference = np.abs(once - again)
    difference[np.isnan(once) & np.isnan(again)] = 0.0
    difference[np.isnan(difference)] = np.inf
    unit = max(float(np.nanmax(np.abs(once), initial=0.0)), 1e-12)
    return float(difference.max(initial=0.0)) / unit
